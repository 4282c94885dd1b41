//! `docs/item-format.md`: its examples, read from a table, and its names, compared with the schema.

use std::collections::BTreeSet;

use dynamo_lock::{Client, Inspection};
use serde_json::{Value as Json, json};
use test_support::LocalDynamoDb;

const PAGE: &str = include_str!("../../../../docs/item-format.md");
const SCHEMA: &str = include_str!("../../../protocol/src/schema.rs");

/// Time of the service while the examples are read, in seconds since 1970: within the leases of the examples.
const NOW: u64 = 1_795_952_400;

/// Returns the heading and the item of each example.
fn examples() -> Vec<(&'static str, Json)> {
    let (_, examples) = PAGE.split_once("## Examples").expect("the section exists");
    let parts = examples.split("\n### ").skip(1).map(|part| {
        let (heading, rest) = part.split_once('\n').expect("a heading");
        let block = rest.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        (heading, serde_json::from_str(block.expect("a block")).expect("JSON"))
    });
    parts.collect()
}

/// Returns the state in the words of the page, as a client reads the item from a table.
async fn state_of(item: &Json) -> String {
    let server = LocalDynamoDb::new();
    server.set_clock(|| NOW);
    let client = Client::builder(server.store("Lock").await.service_clock(true)).build().expect("valid");
    server.call("PutItem", json!({ "TableName": "Lock", "Item": item })).expect("a valid item");
    let name = item["name"]["S"].as_str().expect("a name");
    match client.lock(name).expect("a valid name").inspect().await {
        Ok(Inspection::Free { .. }) => "free".into(),
        Ok(Inspection::Held { holder, .. }) if holder.token.is_none() => "legacy".into(),
        Ok(Inspection::Held { .. }) => "held".into(),
        Ok(Inspection::Done { .. }) => "finished".into(),
        Ok(Inspection::Shared(row)) => row.kind.to_string(),
        Ok(Inspection::Expired { .. }) => "expired".into(),
        Err(_) => "refused".into(),
        Ok(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn example_items_have_the_states_of_their_headings() {
    let examples = examples();
    assert_eq!(examples.len(), 7, "the examples were not found");
    for (heading, item) in &examples {
        let expected = heading.split([',', ' ']).next().expect("a word");
        assert_eq!(state_of(item).await, expected, "{heading}");
    }
    // Control: a value outside of its range is refused, and an expired lease is not held.
    let mut held = examples[1].1.clone();
    held["expiresOn"] = json!({ "N": "1795952300000" });
    assert_ne!(state_of(&held).await, "refused");
    held["leaseMs"] = json!({ "N": "2592000001" });
    assert_eq!(state_of(&held).await, "refused");
}

/// Returns the names between backticks in the first column of the tables.
fn names_of_page(page: &str) -> BTreeSet<&str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    cells.flat_map(|cell| cell.split([' ', ',', '`'])).filter(|name| !name.is_empty()).collect()
}

/// Returns the values of the constants in `attr`, apart from values of attributes.
fn names_of_schema() -> BTreeSet<&'static str> {
    let (attr, _) = SCHEMA.split_once("/// Value of [`KIND`]").expect("values follow the names");
    let constants = attr.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split('"').nth(1));
    constants.collect()
}

#[test]
fn page_and_schema_have_the_same_attributes() {
    let schema = names_of_schema();
    assert!(schema.len() > 30, "{schema:?}");
    assert_eq!(names_of_page(PAGE), schema);
    let used: BTreeSet<String> =
        examples().iter().flat_map(|(_, item)| item.as_object().expect("an item").keys().cloned()).collect();
    assert!(used.iter().all(|name| schema.contains(name.as_str())), "{used:?}");
    assert_ne!(names_of_page(&PAGE.replace("| `handovers` |", "| `handover` |")), schema, "control");
}
