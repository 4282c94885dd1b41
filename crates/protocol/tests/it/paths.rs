//! Conditions on parts of the map `holders`.

use dynamo_lock_protocol::{Condition, EntryKey, Path, Row, Value, attr, holds};

fn entry() -> Path {
    Path::Entry(EntryKey::Shared("a1".into()))
}

fn field(name: &'static str) -> Path {
    Path::Field(EntryKey::Shared("a1".into()), name)
}

fn map<const N: usize>(parts: [(&str, Value); N]) -> Value {
    Value::Map(parts.map(|(name, part)| (name.to_owned(), part)).into())
}

fn row(holders: Value) -> Row {
    Row::new([(attr::HOLDERS.to_owned(), holders)])
}

#[test]
fn path_names_its_place() {
    assert_eq!(Path::from("token").to_string(), "token");
    assert_eq!(entry().to_string(), "holders.a1");
    assert_eq!(Path::Field(EntryKey::Exclusive, "held").to_string(), "holders.x.held");
    assert_eq!((entry().attribute(), Path::from("token").attribute()), (None, Some("token")));
}

#[test]
fn part_of_holders_is_compared_as_an_attribute_is() {
    let stored = row(map([("a1", map([("renewalSeq", 3.into()), ("revoked", Value::Bool(true))]))]));
    let holds = |condition| holds(Some(&stored), &condition);
    assert!(holds(Condition::Exists(entry())) && !holds(Condition::Missing(entry())));
    assert!(holds(Condition::Below(field("renewalSeq"), 4)) && !holds(Condition::Below(field("renewalSeq"), 3)));
    assert!(holds(Condition::Above(field("renewalSeq"), 2)) && !holds(Condition::Above(field("renewalSeq"), 3)));
    assert!(holds(Condition::Equals(field("revoked"), Value::Bool(true))));
    assert!(!holds(Condition::Equals(field("revoked"), Value::Bool(false))));
    assert!(holds(Condition::Missing(field("held"))) && !holds(Condition::Missing(field("revoked"))));
}

/// A part of something that is no map is missing, so that comparisons with it do not hold.
#[test]
fn part_of_another_type_is_missing() {
    for stored in [row("text".into()), row(map([])), row(map([("a1", "text".into())])), Row::default()] {
        assert!(holds(Some(&stored), &Condition::Missing(field("renewalSeq"))), "{stored:?}");
        for condition in [
            Condition::Below(field("renewalSeq"), 9),
            Condition::Differs(field("renewalSeq"), 9.into()),
            Condition::Exists(field("renewalSeq")),
            Condition::IsMap(entry()),
        ] {
            assert!(!holds(Some(&stored), &condition), "{condition:?} on {stored:?}");
        }
    }
}

#[test]
fn only_maps_have_a_size() {
    let size = |holders, to| holds(Some(&row(holders)), &Condition::SizeIs(attr::HOLDERS.into(), to));
    let below = |holders, to| holds(Some(&row(holders)), &Condition::SizeBelow(attr::HOLDERS.into(), to));
    let one = || map([("a1", map([]))]);
    assert!(size(map([]), 0) && size(one(), 1) && !size(one(), 0));
    assert!(below(one(), 2) && !below(one(), 1));
    assert!(!size("a".into(), 1) && !below("a".into(), 2) && !size(1.into(), 1) && !below(1.into(), 2));
    assert!(holds(Some(&row(map([]))), &Condition::IsMap(attr::HOLDERS.into())));
    assert!(!holds(Some(&row("a".into())), &Condition::IsMap(attr::HOLDERS.into())));
}
