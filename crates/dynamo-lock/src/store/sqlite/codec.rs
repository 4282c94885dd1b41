//! Encoding of a row as text.
//!
//! The text is a JSON object in the notation of DynamoDB, so that users of DynamoDB can read it. Values of types
//! that the protocol does not use keep their text byte by byte.

use std::collections::BTreeMap;

use dynamo_lock_protocol::{Number, Row, Value};
use serde_json::value::RawValue;

/// Type names of DynamoDB besides S, N, BOOL and M.
const OTHER_TYPES: [&str; 6] = ["B", "BS", "L", "NS", "NULL", "SS"];

/// Maximum depth of maps, as in DynamoDB.
const DEPTH_MAX: u32 = 32;

type Attributes = BTreeMap<String, Box<RawValue>>;

/// Encodes a row. Fails if a value would not decode to itself.
pub(super) fn encode(row: &Row) -> Result<String, String> {
    let mut attributes = Attributes::new();
    for (name, value) in row.attributes() {
        let raw = encode_value(value).map_err(|cause| format!("attribute {name:?}: {cause}"))?;
        attributes.insert(name.to_owned(), raw);
    }
    serde_json::to_string(&attributes).map_err(|error| error.to_string())
}

/// Decodes a row.
pub(super) fn decode(text: &str) -> Result<Row, String> {
    let attributes: Attributes = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut row = Row::default();
    for (name, raw) in attributes {
        let value = decode_value(&raw, 1).map_err(|cause| format!("attribute {name:?}: {cause}"))?;
        row.set(&name, value);
    }
    Ok(row)
}

fn encode_value(value: &Value) -> Result<Box<RawValue>, String> {
    let raw = RawValue::from_string(text(value)).map_err(|error| error.to_string())?;
    // A row that could be written and not read back would make its lock unusable.
    match decode_value(&raw, 1)? == *value {
        true => Ok(raw),
        false => Err(format!("{} does not decode to itself", raw.get())),
    }
}

/// Returns a value in the notation of DynamoDB.
fn text(value: &Value) -> String {
    match value {
        Value::S(text) => serde_json::json!({ "S": text }).to_string(),
        Value::N(number) => serde_json::json!({ "N": number.as_str() }).to_string(),
        Value::Bool(value) => serde_json::json!({ "BOOL": value }).to_string(),
        Value::Map(map) => {
            let parts = map.iter().map(|(name, part)| format!("{}:{}", serde_json::json!(name), text(part)));
            format!("{{\"M\":{{{}}}}}", parts.collect::<Vec<_>>().join(","))
        }
        Value::Other(text) => text.clone(),
    }
}

fn decode_value(raw: &RawValue, depth: u32) -> Result<Value, String> {
    let typed: Attributes = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    let mut typed = typed.into_iter();
    let (Some((kind, value)), None) = (typed.next(), typed.next()) else {
        return Err("a value must be an object with exactly one type".to_owned());
    };
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).map_err(|error| error.to_string());
    match kind.as_str() {
        "S" => Ok(Value::S(text(&value)?)),
        "N" => Number::parse(&text(&value)?).map(Value::N).ok_or_else(|| format!("{value} is not a number")),
        "BOOL" => serde_json::from_str(value.get()).map(Value::Bool).map_err(|error| error.to_string()),
        "M" if depth == DEPTH_MAX => Err(format!("its maps are nested more than {DEPTH_MAX} deep")),
        "M" => {
            let parts: Attributes = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
            let parts = parts.into_iter().map(|(name, raw)| Ok((name, decode_value(&raw, depth + 1)?)));
            parts.collect::<Result<_, _>>().map(Value::Map)
        }
        other if OTHER_TYPES.contains(&other) => Ok(Value::Other(raw.get().to_owned())),
        other => Err(format!("{other:?} is not a type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Row {
        Row::new([("x".to_owned(), value)])
    }

    #[test]
    fn every_type_of_value_round_trips() {
        let values = [
            Value::S("quote \" NUL \0 ESC \u{1b} é 🦀".to_owned()),
            Value::N(Number::parse("-12.50e3").expect("a number")),
            Value::Other(r#"{"L" : [ {"S":"a"} , {"N":"1.0"}, {"BOOL":true} ]}"#.to_owned()),
            Value::Bool(true),
            Value::Map([].into()),
            Value::Map(
                [
                    ("quote \" é".to_owned(), Value::Other(r#"{"B" : "AAE="}"#.to_owned())),
                    ("a".to_owned(), Value::Map([("b".to_owned(), Value::Bool(false))].into())),
                ]
                .into(),
            ),
        ];
        for value in values {
            let before = row(value);
            let text = encode(&before).expect("encodes");
            assert_eq!(decode(&text).as_ref(), Ok(&before), "{text}");
        }
    }

    #[test]
    fn text_has_dynamodb_notation() {
        let row = Row::new([("guid".to_owned(), "g".into()), ("token".to_owned(), 7.into())]);
        assert_eq!(encode(&row).as_deref(), Ok(r#"{"guid":{"S":"g"},"token":{"N":"7"}}"#));
    }

    #[test]
    fn malformed_row_is_not_decoded() {
        for text in [
            "",
            "7",
            "[]",
            r#"{"x":7}"#,
            r#"{"x":{}}"#,
            r#"{"x":{"S":"a","N":"1"}}"#,
            r#"{"x":{"N":"one"}}"#,
            r#"{"x":{"N":1}}"#,
            r#"{"x":{"Q":"a"}}"#,
            r#"{"x":{"BOOL":1}}"#,
            r#"{"x":{"M":[]}}"#,
            r#"{"x":{"M":{"a":1}}}"#,
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_of_maps_is_bounded() {
        let nested = |depth| (0..depth).fold(Value::from("x"), |part, _| Value::Map([("m".to_owned(), part)].into()));
        assert!(encode(&row(nested(DEPTH_MAX - 1))).is_ok());
        assert!(encode(&row(nested(DEPTH_MAX))).is_err());
        let text = format!(r#"{{"x":{}{{"S":""}}{}}}"#, r#"{"M":{"m":"#.repeat(100_000), "}}".repeat(100_000));
        assert!(decode(&text).is_err());
    }

    #[test]
    fn value_that_does_not_round_trip_is_not_encoded() {
        for text in ["", "nonsense", r#"{"S":"in disguise"}"#, r#"{"Q":1}"#, r#"{"BOOL":true} {}"#] {
            assert!(encode(&row(Value::Other(text.to_owned()))).is_err(), "{text}");
        }
    }
}
