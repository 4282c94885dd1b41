//! The floor: bare conditional `UpdateItem` calls of the same SDK.
//!
//! The minimal calls set and remove one attribute. The equal calls write the bytes of this library's requests, which
//! the driver has recorded. Their condition accepts every existing row first, because the recorded one is true only
//! once.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use serde_json::Value;

use super::Settings;
use crate::Outcome;

pub struct Bare {
    client: Client,
    table: String,
    /// Acquire, renew and release; `None` for the minimal calls.
    recorded: Option<[Call; 3]>,
}

/// A recorded request.
struct Call {
    update: String,
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    returns: Option<ReturnValue>,
    returns_failed: Option<ReturnValuesOnConditionCheckFailure>,
}

impl Bare {
    pub fn new(client: Client, table: &str, settings: &Settings) -> Outcome<Bare> {
        let recorded = match settings.text("recorded") {
            Ok(path) => {
                let bodies: Vec<Value> = serde_json::from_slice(&std::fs::read(path)?)?;
                let calls: Vec<Call> = bodies.iter().map(Call::parse).collect::<Outcome<_>>()?;
                Some(calls.try_into().map_err(|_| "three recorded requests are needed")?)
            }
            Err(_) => None,
        };
        Ok(Bare { client, table: table.into(), recorded })
    }

    pub async fn acquire(&self, name: &str) -> Outcome<()> {
        match &self.recorded {
            Some([acquire, _, _]) => self.send(name, acquire).await,
            None => self.minimal(name, "SET heldBy = :me", "attribute_not_exists(heldBy)").await,
        }
    }

    pub async fn renew(&self, name: &str) -> Outcome<()> {
        match &self.recorded {
            Some([_, renew, _]) => self.send(name, renew).await,
            None => self.minimal(name, "SET renewedBy = :me", "heldBy = :me").await,
        }
    }

    pub async fn release(&self, name: &str) -> Outcome<()> {
        match &self.recorded {
            Some([_, _, release]) => self.send(name, release).await,
            None => self.minimal(name, "REMOVE heldBy", "heldBy = :me").await,
        }
    }

    async fn minimal(&self, name: &str, update: &str, condition: &str) -> Outcome<()> {
        let request = self.client.update_item().table_name(&self.table).key("name", AttributeValue::S(name.into()));
        let me = AttributeValue::S("4f3c2b1a9e8d7c6b".into());
        let request = request.update_expression(update).condition_expression(condition);
        request.expression_attribute_values(":me", me).send().await?;
        Ok(())
    }

    async fn send(&self, name: &str, call: &Call) -> Outcome<()> {
        let request = self.client.update_item().table_name(&self.table).key("name", AttributeValue::S(name.into()));
        let names = (!call.names.is_empty()).then(|| call.names.clone());
        let values = (!call.values.is_empty()).then(|| call.values.clone());
        request
            .update_expression(&call.update)
            .condition_expression(&call.condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .set_return_values(call.returns.clone())
            .set_return_values_on_condition_check_failure(call.returns_failed.clone())
            .send()
            .await?;
        Ok(())
    }
}

impl Call {
    fn parse(body: &Value) -> Outcome<Call> {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let mut names = HashMap::new();
        for (key, value) in body["ExpressionAttributeNames"].as_object().into_iter().flatten() {
            names.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let mut values = HashMap::new();
        for (key, value) in body["ExpressionAttributeValues"].as_object().into_iter().flatten() {
            values.insert(key.clone(), attribute(value)?);
        }
        let recorded = text("ConditionExpression");
        names.insert("#exists".into(), "name".into());
        let condition = match recorded.is_empty() {
            true => "attribute_exists(#exists)".into(),
            false => format!("attribute_not_exists(#exists) OR attribute_exists(#exists) OR ({recorded})"),
        };
        let returns = body["ReturnValues"].as_str().map(ReturnValue::from);
        let returns_failed =
            body["ReturnValuesOnConditionCheckFailure"].as_str().map(ReturnValuesOnConditionCheckFailure::from);
        Ok(Call { update: text("UpdateExpression"), condition, names, values, returns, returns_failed })
    }
}

fn attribute(value: &Value) -> Outcome<AttributeValue> {
    let (kind, value) = value.as_object().and_then(|object| object.iter().next()).ok_or("no attribute value")?;
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => Ok(AttributeValue::S(text.clone())),
        ("N", Value::String(text)) => Ok(AttributeValue::N(text.clone())),
        ("BOOL", Value::Bool(value)) => Ok(AttributeValue::Bool(*value)),
        ("NULL", Value::Bool(value)) => Ok(AttributeValue::Null(*value)),
        ("B", Value::String(_)) => Err("recorded requests with binary values are not supported".into()),
        _ => Err(format!("unexpected attribute value {kind}").into()),
    }
}
