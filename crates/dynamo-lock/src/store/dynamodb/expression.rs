//! Translation of conditions and changes into DynamoDB expressions. [`dynamo_lock_protocol::apply`] specifies their
//! meaning. An expression contains no text from users, because every name and value has a placeholder.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item;
use crate::store::{Change, Condition, Row, Value, attr};

/// Expressions of one request, and their placeholders.
#[derive(Debug)]
pub(super) struct Expression<'a> {
    key: &'a str,
    /// Attribute names of the placeholders.
    pub(super) names: HashMap<String, String>,
    values: Vec<AttributeValue>,
}

/// Write that performs the changes of an op.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    /// Update of the row by this update expression.
    Update(String),
    /// Replacement of the row by a put.
    Put(Row),
}

impl<'a> Expression<'a> {
    pub(super) fn new(key: &'a str) -> Self {
        Self { key, names: HashMap::new(), values: Vec::new() }
    }

    /// Returns the values of the placeholders.
    pub(super) fn values(&self) -> HashMap<String, AttributeValue> {
        self.values.iter().enumerate().map(|(at, value)| (format!(":{at}"), value.clone())).collect()
    }

    /// Returns a condition expression.
    pub(super) fn condition(&mut self, condition: &Condition) -> String {
        self.joined(condition).0
    }

    /// Returns a condition expression, and the operator in it that is outside parentheses.
    fn joined(&mut self, condition: &Condition) -> (String, Option<&'static str>) {
        let (conditions, operator, other) = match condition {
            Condition::Missing(name) => return (format!("attribute_not_exists({})", self.name(name)), None),
            Condition::Equals(name, value) => return (self.compare(name, "=", value), None),
            // In DynamoDB, `<>` also holds for a missing attribute.
            Condition::Differs(name, value) => {
                let (name, differs) = (self.name(name), self.compare(name, "<>", value));
                return (format!("attribute_exists({name}) AND {differs}"), Some("AND"));
            }
            Condition::Below(name, to) => return (self.compare(name, "<", &(*to).into()), None),
            Condition::Above(name, to) => return (self.compare(name, ">", &(*to).into()), None),
            Condition::All(all) => (all, "AND", "OR"),
            Condition::Any(any) => (any, "OR", "AND"),
        };
        match &conditions[..] {
            // An empty `All` always holds, and an empty `Any` never does.
            [] => {
                let key = self.name(attr::NAME);
                (format!("attribute_exists({key}) {other} attribute_not_exists({key})"), Some(other))
            }
            [one] => self.joined(one),
            several => {
                // Only parentheses around the other operator are written, because DynamoDB rejects redundant ones.
                let parts = several.iter().map(|part| match self.joined(part) {
                    (text, Some(inner)) if inner == other => format!("({text})"),
                    (text, _) => text,
                });
                (parts.collect::<Vec<_>>().join(&format!(" {operator} ")), Some(operator))
            }
        }
    }

    /// Translates the changes of an op.
    pub(super) fn write(&mut self, changes: Vec<Change>) -> Write {
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Set(name, value) => set.push(self.compare(name, "=", &value)),
                Change::Next(name, token_floor) => {
                    let (name, floor, one) = (self.name(name), self.value(&token_floor.into()), self.value(&1.into()));
                    set.push(format!("{name} = if_not_exists({name}, {floor}) + {one}"));
                }
                Change::Remove(name) => remove.push(self.name(name)),
                // An op that replaces the row makes no other change.
                Change::Replace(row) => return Write::Put(row),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove)];
        let clauses = clauses.into_iter().filter(|(_, actions)| !actions.is_empty());
        let clauses = clauses.map(|(verb, actions)| format!("{verb} {}", actions.join(", ")));
        Write::Update(clauses.collect::<Vec<_>>().join(" "))
    }

    fn compare(&mut self, name: &str, operator: &str, value: &Value) -> String {
        format!("{} {operator} {}", self.name(name), self.value(value))
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        let name = if name == attr::NAME { self.key } else { name };
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let value = item::attribute(value);
        let at = self.values.iter().position(|there| *there == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        format!(":{at}")
    }
}

/// Condition of a legacy get in the texts of npm dynamo-lock: `attribute_not_exists(version)` or
/// `version = :old_version`, with the token if the row has one.
#[derive(Debug, Default)]
pub(super) struct NpmCondition {
    pub(super) text: String,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<HashMap<String, AttributeValue>>,
}

impl NpmCondition {
    pub(super) fn new(condition: &Condition) -> Self {
        let mut npm = Self::default();
        let all = match condition {
            Condition::All(all) => &all[..],
            one => std::slice::from_ref(one),
        };
        let mut parts = Vec::new();
        for part in all {
            match part {
                Condition::Missing(name) => parts.push(format!("attribute_not_exists({name})")),
                Condition::Equals(attr::TOKEN, value) => {
                    // `token` is a reserved word and needs a placeholder.
                    parts.push("#token = :oldtoken".to_owned());
                    npm.names = Some([("#token".to_owned(), attr::TOKEN.to_owned())].into());
                    npm.values.get_or_insert_default().insert(":oldtoken".to_owned(), item::attribute(value));
                }
                Condition::Equals(name, value) => {
                    parts.push(format!("{name} = :old{name}"));
                    npm.values.get_or_insert_default().insert(format!(":old{name}"), item::attribute(value));
                }
                // A legacy get has no other conditions.
                _ => {}
            }
        }
        npm.text = parts.join(" AND ");
        npm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{All, Any, Differs, Equals, Missing};
    use dynamo_lock_protocol::{Ends, FencingToken, Lease, LockName, Op, OpKind};

    fn text(condition: &Condition) -> String {
        Expression::new("key").condition(condition)
    }

    fn acquire() -> Op {
        let ends = Ends { expires_on: 5_000, service_timestamp: false, ttl: 9 };
        let lease = Lease {
            lease_id: "leaseId".into(),
            token_floor: FencingToken::new(7),
            lease_ms: 1_000,
            ends,
            owner: "me".into(),
            acquired_on: 4_000,
            data: None,
            liveness_key: None,
        };
        let name = LockName::new("lock").expect("a name");
        Op { name, version: "guid".into(), kind: OpKind::Acquire(lease) }
    }

    #[test]
    fn acquire_has_condition_and_update_of_protocol() {
        let mut expression = Expression::new("key");
        let op = acquire();
        assert_eq!(
            expression.condition(&op.condition()),
            "attribute_not_exists(#name) OR (#v = :0 AND attribute_not_exists(#kind) AND attribute_exists(#guid) AND \
             #guid <> :1 AND #expiresOn = :2 AND #token > :2 AND #token < :3 AND attribute_exists(#leaseId) AND #leaseId <> :4)"
        );
        assert_eq!(
            expression.write(op.changes()),
            Write::Update(
                "SET #guid = :1, #v = :0, #leaseId = :4, #token = if_not_exists(#token, :5) + :0, #renewalSeq = :2, \
             #leaseMs = :6, #owner = :7, #acquiredOn = :8, #expiresOn = :9, #ttl = :10 \
             REMOVE #expiryClock, #livenessKey, #revokedToken"
                    .to_owned()
            )
        );
        assert_eq!(expression.names["#name"], "key", "the partition key under the table's own name");
        assert_eq!(expression.names["#token"], "token");
        assert_eq!(expression.values()[":5"], AttributeValue::N("7".to_owned()));
        assert_eq!(expression.values().len(), 11);
    }

    #[test]
    fn legacy_get_has_texts_of_npm_package() {
        let get = |seen: Option<dynamo_lock_protocol::Row>| {
            let kind = OpKind::LegacyGet { seen, expires_on: 5 };
            NpmCondition::new(
                &Op { name: LockName::new("lock").expect("a name"), version: "new".into(), kind }.condition(),
            )
        };
        let op = Op {
            name: LockName::new("lock").expect("a name"),
            version: "new".into(),
            kind: OpKind::LegacyGet { seen: None, expires_on: 5 },
        };
        let put = Expression::new("name").write(op.changes());
        assert!(matches!(put, Write::Put(row) if row.whole("expiresOn") == Some(5)));
        let none = get(None);
        assert_eq!(none.text, "attribute_not_exists(guid)");
        assert!(none.names.is_none() && none.values.is_none());
        let mut row = dynamo_lock_protocol::Row::new([("guid".to_owned(), "g".into())]);
        let plain = get(Some(row.clone()));
        assert_eq!(plain.text, "guid = :oldguid");
        assert_eq!(plain.values, Some([(":oldguid".to_owned(), AttributeValue::S("g".to_owned()))].into()));
        row.set("token", 7.into());
        let native = get(Some(row));
        assert_eq!(native.text, "guid = :oldguid AND #token = :oldtoken");
        assert_eq!(native.values.expect("values")[":oldtoken"], AttributeValue::N("7".to_owned()));
    }

    #[test]
    fn equal_ops_have_equal_expressions() {
        let text = || {
            let mut expression = Expression::new("name");
            let condition = expression.condition(&acquire().condition());
            (condition, expression.write(acquire().changes()), expression.values())
        };
        assert_eq!(text(), text());
    }

    #[test]
    fn differs_requires_attribute() {
        assert_eq!(text(&Differs("guid", "x".into())), "attribute_exists(#guid) AND #guid <> :0");
    }

    #[test]
    fn nested_alternative_has_parentheses_once() {
        let either = || Any(vec![Missing("v"), Equals("v", 1.into())]);
        let expected = "(attribute_not_exists(#v) OR #v = :0) AND attribute_not_exists(#kind)";
        assert_eq!(text(&All(vec![either(), Missing("kind")])), expected);
        assert_eq!(text(&All(vec![All(vec![either()]), Missing("kind")])), expected);
        assert_eq!(text(&All(vec![Any(vec![either()]), Missing("kind")])), expected);
        assert_eq!(text(&Any(vec![either()])), "attribute_not_exists(#v) OR #v = :0");
    }

    #[test]
    fn empty_all_always_holds_and_empty_any_never() {
        assert_eq!(text(&All(vec![])), "attribute_exists(#name) OR attribute_not_exists(#name)");
        assert_eq!(text(&Any(vec![])), "attribute_exists(#name) AND attribute_not_exists(#name)");
    }
}
