use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::FencingToken;

/// Parts of a DynamoDB write that protect a row of your own with a fencing token, without a transaction.
///
/// The row stores the largest token of its writers, and the condition rejects smaller ones. So a holder that was paused
/// until its lock passed to another holder cannot overwrite the writes of that holder.
///
/// Every write to the row must include the fence, because a write without it is not checked.
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

    /// Creates a fence for writes with this token, which the row stores in the attribute `fence`.
    pub fn new(token: FencingToken) -> Self {
        Self { attribute: "fence".to_owned(), token }
    }

    /// Sets the attribute that stores the token. Default: `fence`.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>) -> Self {
        self.attribute = name.into();
        self
    }

    /// Returns the condition, in parentheses. Join it to other conditions with AND. Do not add parentheses, because
    /// DynamoDB rejects redundant ones.
    pub fn condition(&self) -> String {
        format!("(attribute_not_exists({name}) OR {name} <= {})", Self::VALUE, name = Self::NAME)
    }

    /// Returns the assignment for the SET clause of the same write.
    pub fn set(&self) -> String {
        format!("{} = {}", Self::NAME, Self::VALUE)
    }

    /// Returns the name placeholder and its attribute. Set these names before adding your own.
    pub fn names(&self) -> HashMap<String, String> {
        HashMap::from([(Self::NAME.to_owned(), self.attribute.clone())])
    }

    /// Returns the value placeholder and the token. Set these values before adding your own.
    pub fn values(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([(Self::VALUE.to_owned(), AttributeValue::N(self.token.to_string()))])
    }
}
