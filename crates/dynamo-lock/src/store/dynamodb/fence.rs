use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use dynamo_lock_protocol::FencingToken;

/// Guards a write to a row of your own with a fencing token, without a transaction: the row remembers the largest
/// token that wrote it, and refuses a smaller one. So a holder that was paused, and whose lock has gone to another,
/// cannot overwrite what the other wrote.
///
/// Every write to such a row must carry it; one that does not is not fenced.
///
/// ```
/// # use dynamo_lock::{FenceExpression, FencingToken};
/// let fence = FenceExpression::new(FencingToken::new(7));
/// let update = format!("SET balance = :balance, {}", fence.set());
/// # assert_eq!(update, "SET balance = :balance, #dynamoLockFence = :dynamoLockFence");
/// // client.update_item()…
/// //     .update_expression(update)
/// //     .condition_expression(fence.condition())
/// //     .set_expression_attribute_names(Some(fence.names()))
/// //     .set_expression_attribute_values(Some(fence.values()))
/// //     .expression_attribute_values(":balance", …)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceExpression {
    attribute: String,
    token: FencingToken,
}

impl FenceExpression {
    const NAME: &str = "#dynamoLockFence";
    const VALUE: &str = ":dynamoLockFence";

    /// For writes under this token, with the attribute `fence`.
    pub fn new(token: FencingToken) -> Self {
        Self { attribute: "fence".to_owned(), token }
    }

    /// Remembers the token in another attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>) -> Self {
        self.attribute = name.into();
        self
    }

    /// The condition, in parentheses: join it to others with AND, and do not put it in parentheses again, which
    /// DynamoDB refuses.
    pub fn condition(&self) -> String {
        format!("(attribute_not_exists({name}) OR {name} <= {})", Self::VALUE, name = Self::NAME)
    }

    /// The assignment for the SET clause of the same write.
    pub fn set(&self) -> String {
        format!("{} = {}", Self::NAME, Self::VALUE)
    }

    /// What the name placeholder stands for. Set these before adding your own.
    pub fn names(&self) -> HashMap<String, String> {
        HashMap::from([(Self::NAME.to_owned(), self.attribute.clone())])
    }

    /// What the value placeholder stands for. Set these before adding your own.
    pub fn values(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([(Self::VALUE.to_owned(), AttributeValue::N(self.token.to_string()))])
    }
}
