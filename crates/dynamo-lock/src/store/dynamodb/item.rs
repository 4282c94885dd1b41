//! Conversion between rows and DynamoDB items. A row does not contain the key attribute. The names of the other
//! attributes are in `schema.rs` of the protocol crate.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde_json::{Value as Json, json};

use crate::store::{Number, Row, Value};

/// Returns the row of an item, without the key.
pub(super) fn row(mut item: HashMap<String, AttributeValue>, key: &str) -> Row {
    item.remove(key);
    Row::new(item.into_iter().map(|(name, attribute)| (name, value(attribute))))
}

/// Converts an attribute. Values of types that the protocol does not use become JSON in the notation of DynamoDB.
fn value(attribute: AttributeValue) -> Value {
    match attribute {
        AttributeValue::S(text) => Value::S(text),
        AttributeValue::N(number) => {
            Number::parse(&number).map_or_else(|| Value::Other(json!({ "N": number }).to_string()), Value::N)
        }
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::M(map) => Value::Map(map.into_iter().map(|(name, part)| (name, value(part))).collect()),
        other => Value::Other(json(&other).to_string()),
    }
}

/// Converts a value. JSON that is not in the notation of DynamoDB becomes a string; no op of the protocol contains such
/// a value.
pub(super) fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::S(text) => AttributeValue::S(text.clone()),
        Value::N(number) => AttributeValue::N(number.to_string()),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Map(map) => AttributeValue::M(map.iter().map(|(name, part)| (name.clone(), attribute(part))).collect()),
        Value::Other(text) => serde_json::from_str(text)
            .ok()
            .and_then(|json| from_json(&json))
            .unwrap_or_else(|| AttributeValue::S(text.clone())),
    }
}

fn json(attribute: &AttributeValue) -> Json {
    let blob = |blob: &Blob| base64::encode(blob.as_ref());
    match attribute {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": blob(bytes) }),
        AttributeValue::Bool(bool) => json!({ "BOOL": bool }),
        AttributeValue::Null(null) => json!({ "NULL": *null }),
        AttributeValue::Ss(set) => json!({ "SS": set }),
        AttributeValue::Ns(set) => json!({ "NS": set }),
        AttributeValue::Bs(set) => json!({ "BS": set.iter().map(blob).collect::<Vec<_>>() }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(json).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": map.iter().map(|(k, v)| (k, json(v))).collect::<HashMap<_, _>>() }),
        unknown => json!(format!("{unknown:?}")),
    }
}

fn from_json(json: &Json) -> Option<AttributeValue> {
    let [(kind, json)] = json.as_object()?.iter().collect::<Vec<_>>()[..] else { return None };
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let blob = |json: &Json| base64::decode(json.as_str()?).ok().map(Blob::new);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(json)?),
        "N" => AttributeValue::N(text(json)?),
        "B" => AttributeValue::B(blob(json)?),
        "BOOL" => AttributeValue::Bool(json.as_bool()?),
        "NULL" => AttributeValue::Null(json.as_bool()?),
        "SS" => AttributeValue::Ss(json.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(json.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(json.as_array()?.iter().map(blob).collect::<Option<_>>()?),
        "L" => AttributeValue::L(json.as_array()?.iter().map(from_json).collect::<Option<_>>()?),
        "M" => {
            let fields = json.as_object()?.iter().map(|(name, json)| Some((name.clone(), from_json(json)?)));
            AttributeValue::M(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_round_trips() {
        let others = [
            r#"{"L":[{"BOOL":true},{"NULL":true},{"B":"AQI="},{"M":{"a":{"S":"s"}}}]}"#,
            r#"{"SS":["x"]}"#,
            r#"{"NS":["1"]}"#,
            r#"{"BS":["AQI="]}"#,
        ];
        let others = others.map(|json| Value::Other(json.to_owned()));
        let values = others.into_iter().chain(["s".into(), 1.into(), Value::Bool(false), Value::Map([].into())]);
        let map = Value::Map(values.enumerate().map(|(at, value)| (at.to_string(), value)).collect());
        let nested = Value::Map([("map".to_owned(), map)].into());
        assert_eq!(value(attribute(&nested)), nested);
        assert!(matches!(attribute(&nested), AttributeValue::M(map) if map.len() == 1));
    }

    #[test]
    fn row_has_no_key_attribute() {
        let item =
            [("key", "lock"), ("guid", "g")].map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())));
        assert_eq!(row(item.into(), "key"), Row::new([("guid".to_owned(), "g".into())]));
    }
}
