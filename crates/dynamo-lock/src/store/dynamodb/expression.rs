//! Translation of conditions and changes into DynamoDB expressions. [`dynamo_lock_protocol::apply`] specifies their
//! meaning. An expression contains no text from users, because every name and value has a placeholder.
//!
//! Ops of one kind have the same texts, which differ in their values only. So an op is first reduced to its [`Shape`],
//! and each shape is translated once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item;
use super::shape::{Key, Part, Place, Shape, key_placeholder};
use crate::store::{Condition, EntryKey, Path, attr};
use crate::sync::lock;

/// Maximum number of shapes with texts that are kept. Ops have fewer shapes.
const TEXTS_MAX: usize = 128;

/// Expressions of one shape, and the names of their placeholders, except for the keys of entries.
#[derive(Debug)]
pub(super) struct Texts {
    of: (Vec<Part>, Vec<Part>),
    pub(super) condition: String,
    pub(super) update: String,
    names: HashMap<String, String>,
}

impl Texts {
    /// Returns the names of all placeholders of an op with this shape.
    pub(super) fn names(&self, shape: &Shape) -> HashMap<String, String> {
        let mut names = self.names.clone();
        names.extend(shape.keys());
        names
    }

    /// Translates a shape, for a table whose partition key is `key`.
    pub(super) fn new(key: &str, shape: &Shape) -> Self {
        let mut writer = Writer { key, names: HashMap::new() };
        let condition = writer.condition(&mut shape.condition.iter()).0;
        let update = writer.update(&shape.update);
        Self { of: (shape.condition.clone(), shape.update.clone()), condition, update, names: writer.names }
    }
}

/// Texts of the shapes that were translated for one table.
#[derive(Debug, Default)]
pub(super) struct TextCache(Mutex<Vec<Arc<Texts>>>);

impl TextCache {
    /// Returns the texts of a shape, for a table whose partition key is `key`.
    pub(super) fn get(&self, key: &str, shape: &Shape) -> Arc<Texts> {
        let mut cached = lock(&self.0);
        let known = cached.iter().find(|texts| texts.of.0 == shape.condition && texts.of.1 == shape.update);
        known.cloned().unwrap_or_else(|| {
            let texts = Arc::new(Texts::new(key, shape));
            if cached.len() < TEXTS_MAX {
                cached.push(texts.clone());
            }
            texts
        })
    }
}

/// Translation of one shape.
struct Writer<'a> {
    key: &'a str,
    names: HashMap<String, String>,
}

impl Writer<'_> {
    /// Returns a condition expression, and the operator in it that is outside parentheses.
    fn condition(&mut self, parts: &mut std::slice::Iter<'_, Part>) -> (String, Option<&'static str>) {
        let (count, operator, other) = match *parts.next().expect("a shape has all its parts") {
            Part::Missing(place) => return (format!("attribute_not_exists({})", self.place(place)), None),
            Part::Exists(place) => return (format!("attribute_exists({})", self.place(place)), None),
            Part::IsMap(place, value) => return (format!("attribute_type({}, :{value})", self.place(place)), None),
            // In DynamoDB, `<>` also holds for a missing value.
            Part::Compare(place, "<>", value) => {
                let place = self.place(place);
                return (format!("attribute_exists({place}) AND {place} <> :{value}"), Some("AND"));
            }
            Part::Compare(place, operator, value) => {
                return (format!("{} {operator} :{value}", self.place(place)), None);
            }
            // In DynamoDB, values of other types have a size too.
            Part::Size(place, operator, kind, size) => {
                let place = self.place(place);
                return (format!("attribute_type({place}, :{kind}) AND size({place}) {operator} :{size}"), Some("AND"));
            }
            Part::All(count) => (count, "AND", "OR"),
            Part::Any(count) => (count, "OR", "AND"),
            Part::Next(..) | Part::Copy(..) | Part::Remove(_) => unreachable!("only an update has these parts"),
        };
        match count {
            // An empty `All` always holds, and an empty `Any` never does.
            0 => {
                let key = self.name(attr::NAME);
                (format!("attribute_exists({key}) {other} attribute_not_exists({key})"), Some(other))
            }
            1 => self.condition(parts),
            _ => {
                // Only parentheses around the other operator are written, because DynamoDB rejects redundant ones.
                let texts = (0..count).map(|_| match self.condition(parts) {
                    (text, Some(inner)) if inner == other => format!("({text})"),
                    (text, _) => text,
                });
                (texts.collect::<Vec<_>>().join(&format!(" {operator} ")), Some(operator))
            }
        }
    }

    /// Returns an update expression.
    fn update(&mut self, parts: &[Part]) -> String {
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        for part in parts {
            match *part {
                Part::Compare(place, operator, value) => set.push(format!("{} {operator} :{value}", self.place(place))),
                Part::Next(place, floor, one) => {
                    let place = self.place(place);
                    set.push(format!("{place} = if_not_exists({place}, :{floor}) + :{one}"));
                }
                Part::Copy(to, from, default) => {
                    let (to, from) = (self.place(to), self.place(from));
                    set.push(format!("{to} = if_not_exists({from}, :{default})"));
                }
                Part::Remove(place) => remove.push(self.place(place)),
                _ => unreachable!("only a condition has the other parts"),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove)];
        let clauses = clauses.into_iter().filter(|(_, actions)| !actions.is_empty());
        let clauses = clauses.map(|(verb, actions)| format!("{verb} {}", actions.join(", ")));
        clauses.collect::<Vec<_>>().join(" ")
    }

    /// Returns the document path of a place.
    fn place(&mut self, place: Place) -> String {
        let (key, field) = match place {
            Place::Attribute(name) => return self.name(name),
            Place::Entry(key) => (key, None),
            Place::Field(key, field) => (key, Some(field)),
        };
        let key = match key {
            Key::Exclusive => self.name(EntryKey::Exclusive.as_str()),
            Key::Shared(at) => key_placeholder(at),
        };
        let map = self.name(attr::HOLDERS);
        field.map_or(format!("{map}.{key}"), |field| format!("{map}.{key}.{}", self.name(field)))
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        let name = if name == attr::NAME { self.key } else { name };
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
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
                Condition::Missing(path) => parts.push(format!("attribute_not_exists({path})")),
                Condition::Equals(Path::Attribute(attr::TOKEN), value) => {
                    // `token` is a reserved word and needs a placeholder.
                    parts.push("#token = :oldtoken".to_owned());
                    npm.names = Some([("#token".to_owned(), attr::TOKEN.to_owned())].into());
                    npm.values.get_or_insert_default().insert(":oldtoken".to_owned(), item::attribute(value));
                }
                Condition::Equals(path, value) => {
                    parts.push(format!("{path} = :old{path}"));
                    npm.values.get_or_insert_default().insert(format!(":old{path}"), item::attribute(value));
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
    use crate::store::{Change, Value};
    use Condition::{All, Any, Differs, Equals, Missing};
    use dynamo_lock_protocol::{Ends, FencingToken, Kind, Lease, LockName, Op, OpKind};

    fn text(condition: &Condition) -> String {
        Texts::new("key", &Shape::of_condition(condition)).condition
    }

    fn shape_of(op: &Op) -> Shape {
        Shape::of_write(&op.condition(), op.changes()).expect("an update")
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
        Op { name, version: "guid".into(), row_kind: Kind::Mutex, kind: OpKind::Acquire(lease) }
    }

    #[test]
    fn acquire_has_condition_and_update_of_protocol() {
        let shape = shape_of(&acquire());
        let texts = Texts::new("key", &shape);
        assert_eq!(
            texts.condition,
            "attribute_not_exists(#name) OR (#v = :0 AND attribute_not_exists(#kind) AND attribute_exists(#guid) AND \
             #guid <> :1 AND #expiresOn = :2 AND #token > :2 AND #token < :3 AND attribute_exists(#leaseId) AND #leaseId <> :4)"
        );
        assert_eq!(
            texts.update,
            "SET #guid = :1, #v = :0, #leaseId = :4, #token = if_not_exists(#token, :5) + :0, #renewalSeq = :2, \
             #leaseMs = :6, #owner = :7, #acquiredOn = :8, #expiresOn = :9, #ttl = :10 \
             REMOVE #expiryClock, #livenessKey, #revokedToken"
        );
        assert_eq!(texts.names["#name"], "key", "the partition key under the table's own name");
        assert_eq!(texts.names["#token"], "token");
        let values = shape.into_values();
        assert_eq!(values[":5"], AttributeValue::N("7".to_owned()));
        assert_eq!(values.len(), 11);
    }

    #[test]
    fn legacy_get_has_texts_of_npm_package() {
        let get = |seen: Option<dynamo_lock_protocol::Row>| {
            let kind = OpKind::LegacyGet { seen, expires_on: 5 };
            NpmCondition::new(
                &Op {
                    name: LockName::new("lock").expect("a name"),
                    version: "new".into(),
                    row_kind: Kind::Mutex,
                    kind,
                }
                .condition(),
            )
        };
        let op = Op {
            name: LockName::new("lock").expect("a name"),
            version: "new".into(),
            row_kind: Kind::Mutex,
            kind: OpKind::LegacyGet { seen: None, expires_on: 5 },
        };
        let put = Shape::of_write(&op.condition(), op.changes());
        assert!(put.is_err_and(|row| row.whole("expiresOn") == Some(5)));
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

    /// The values differ, and equal values share a placeholder, so that an op with other equal values has other texts.
    #[test]
    fn texts_are_written_once_per_shape() {
        let cache = TextCache::default();
        let renew = |renewal_seq| {
            let ends = Ends { expires_on: 5_000 + renewal_seq, service_timestamp: true, ttl: 9 };
            let (lease_id, token) = ("leaseId".into(), FencingToken::new(1_000));
            let kind = OpKind::Renew { lease_id, token, renewal_seq, lease_ms: 10_000, ends, data: None };
            Op { name: LockName::new("lock").expect("a name"), version: "guid".into(), row_kind: Kind::Mutex, kind }
        };
        let mut texts = Vec::new();
        for op in [renew(1), renew(2), renew(3), acquire(), renew(1), acquire()] {
            let shape = shape_of(&op);
            let cached = cache.get("key", &shape);
            let fresh = Texts::new("key", &shape);
            assert_eq!((&cached.condition, &cached.update), (&fresh.condition, &fresh.update), "{op:?}");
            assert_eq!(cached.names(&shape), fresh.names(&shape));
            texts.push(cached);
        }
        assert!(Arc::ptr_eq(&texts[1], &texts[2]) && Arc::ptr_eq(&texts[3], &texts[5]));
        assert!(Arc::ptr_eq(&texts[0], &texts[4]) && texts[0].update != texts[1].update, "1 is also the format");
        assert_eq!(lock(&cache.0).len(), 3);
    }

    #[test]
    fn number_of_cached_texts_is_bounded() {
        let cache = TextCache::default();
        for length in 0..2 * TEXTS_MAX {
            let all = All(vec![Missing("v".into()); length]);
            let shape = Shape::of_condition(&all);
            assert_eq!(cache.get("key", &shape).condition, text(&all));
        }
        assert_eq!(lock(&cache.0).len(), TEXTS_MAX);
    }

    #[test]
    fn many_values_have_distinct_placeholders() {
        let values = Shape::of_condition(&All((0..40).map(|n| Equals("v".into(), n.into())).collect())).into_values();
        assert_eq!(values.len(), 40);
        assert_eq!(values[":17"], AttributeValue::N("17".to_owned()));
    }

    /// Keys of entries come from rows, so they have placeholders. Texts do not depend on them.
    #[test]
    fn parts_of_holders_have_placeholders() {
        let shape = |id: &str| {
            let (entry, exclusive) = (EntryKey::Shared(id.into()), EntryKey::Exclusive);
            let condition = All(vec![
                Condition::IsMap(Path::Entry(entry.clone())),
                Missing(Path::Entry(exclusive.clone())),
                Condition::SizeBelow(attr::HOLDERS.into(), 3),
                Condition::Exists(Path::Entry(entry.clone())),
                Equals(Path::Field(exclusive.clone(), "held"), Value::Bool(true)),
            ]);
            let changes = vec![
                Change::Set(Path::Field(entry.clone(), "renewalSeq"), 3.into()),
                Change::Set(Path::Field(exclusive.clone(), "held"), Value::Bool(true)),
                Change::Remove(Path::Field(entry, "expiresOn")),
                Change::Remove(Path::Entry(exclusive)),
            ];
            Shape::of_write(&condition, changes).expect("an update")
        };
        let first = shape("0a");
        let cache = TextCache::default();
        let texts = cache.get("key", &first);
        assert_eq!(
            texts.condition,
            "attribute_type(#holders.#entry0, :0) AND attribute_not_exists(#holders.#x) \
             AND attribute_type(#holders, :0) AND size(#holders) < :1 AND attribute_exists(#holders.#entry0) AND #holders.#x.#held = :2"
        );
        assert_eq!(
            texts.update,
            "SET #holders.#entry0.#renewalSeq = :1, #holders.#x.#held = :2 \
             REMOVE #holders.#entry0.#expiresOn, #holders.#x"
        );
        assert_eq!(texts.names(&first)["#entry0"], "0a");
        assert_eq!(texts.names(&first).len(), 6);
        let second = shape("0b");
        assert!(Arc::ptr_eq(&texts, &cache.get("key", &second)));
        assert_eq!(texts.names(&second)["#entry0"], "0b");
        assert_eq!(first.into_values()[":0"], AttributeValue::S("M".to_owned()));
    }

    #[test]
    fn differs_requires_attribute() {
        assert_eq!(text(&Differs("guid".into(), "x".into())), "attribute_exists(#guid) AND #guid <> :0");
    }

    #[test]
    fn nested_alternative_has_parentheses_once() {
        let either = || Any(vec![Missing("v".into()), Equals("v".into(), 1.into())]);
        let expected = "(attribute_not_exists(#v) OR #v = :0) AND attribute_not_exists(#kind)";
        assert_eq!(text(&All(vec![either(), Missing("kind".into())])), expected);
        assert_eq!(text(&All(vec![All(vec![either()]), Missing("kind".into())])), expected);
        assert_eq!(text(&All(vec![Any(vec![either()]), Missing("kind".into())])), expected);
        assert_eq!(text(&Any(vec![either()])), "attribute_not_exists(#v) OR #v = :0");
    }

    #[test]
    fn empty_all_always_holds_and_empty_any_never() {
        assert_eq!(text(&All(vec![])), "attribute_exists(#name) OR attribute_not_exists(#name)");
        assert_eq!(text(&Any(vec![])), "attribute_exists(#name) AND attribute_not_exists(#name)");
    }
}
