//! A row's attributes as text: a JSON object in DynamoDB's own notation, so that a row of the one store can be read by
//! people who know the other. Values that mean nothing to the protocol keep their text byte by byte.

use std::collections::BTreeMap;

use dynamo_lock_protocol::{Number, Row, Value};
use serde_json::value::RawValue;

/// DynamoDB's types besides S and N.
const OTHER_TYPES: [&str; 8] = ["B", "BOOL", "BS", "L", "M", "NS", "NULL", "SS"];

type Attributes = BTreeMap<String, Box<RawValue>>;

/// The text of a row.
pub(super) fn encode(row: &Row) -> Result<String, String> {
    let mut attributes = Attributes::new();
    for (name, value) in row.attributes() {
        let raw = encode_value(value).map_err(|why| format!("attribute {name:?}: {why}"))?;
        attributes.insert(name.to_owned(), raw);
    }
    serde_json::to_string(&attributes).map_err(|error| error.to_string())
}

/// The row of a text.
pub(super) fn decode(text: &str) -> Result<Row, String> {
    let attributes: Attributes = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut row = Row::default();
    for (name, raw) in attributes {
        let value = decode_value(&raw).map_err(|why| format!("attribute {name:?}: {why}"))?;
        row.set(&name, value);
    }
    Ok(row)
}

fn encode_value(value: &Value) -> Result<Box<RawValue>, String> {
    let text = match value {
        Value::S(text) => serde_json::json!({ "S": text }).to_string(),
        Value::N(number) => serde_json::json!({ "N": number.as_str() }).to_string(),
        Value::Other(text) => text.clone(),
    };
    let raw = RawValue::from_string(text).map_err(|error| error.to_string())?;
    // What cannot be read back must not be written.
    match decode_value(&raw)? == *value {
        true => Ok(raw),
        false => Err(format!("{} does not read back as it is", raw.get())),
    }
}

fn decode_value(raw: &RawValue) -> Result<Value, String> {
    let typed: Attributes = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    let mut typed = typed.into_iter();
    let (Some((kind, value)), None) = (typed.next(), typed.next()) else {
        return Err("a value is an object with exactly one type".to_owned());
    };
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).map_err(|error| error.to_string());
    match kind.as_str() {
        "S" => Ok(Value::S(text(&value)?)),
        "N" => Number::parse(&text(&value)?).map(Value::N).ok_or_else(|| format!("{value} is no number")),
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
    fn every_kind_of_value_survives() {
        let values = [
            Value::S("quote \" NUL \0 ESC \u{1b} é 🦀".to_owned()),
            Value::N(Number::parse("-12.50e3").expect("a number")),
            Value::Other(r#"{"L" : [ {"S":"a"} , {"N":"1.0"}, {"BOOL":true} ]}"#.to_owned()),
            Value::Other(r#"{"M":{"z":{"B":"AAE="},"a":{"NULL":true}}}"#.to_owned()),
        ];
        for value in values {
            let before = row(value);
            let text = encode(&before).expect("encodes");
            assert_eq!(decode(&text).as_ref(), Ok(&before), "{text}");
        }
    }

    #[test]
    fn the_text_is_what_dynamodb_would_show() {
        let row = Row::new([("guid".to_owned(), "g".into()), ("token".to_owned(), 7.into())]);
        assert_eq!(encode(&row).as_deref(), Ok(r#"{"guid":{"S":"g"},"token":{"N":"7"}}"#));
    }

    #[test]
    fn what_is_no_row_is_not_read() {
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
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        for text in ["", "nonsense", r#"{"S":"in disguise"}"#, r#"{"Q":1}"#, r#"{"BOOL":true} {}"#] {
            assert!(encode(&row(Value::Other(text.to_owned()))).is_err(), "{text}");
        }
    }
}
