//! Requests of the DynamoDB store: their conditions, their effects, and the fence expression.

use std::{sync::Arc, time::Duration};

use dynamo_lock::store::{Condition, Consistency};
use dynamo_lock::{Client, DynamoDb, FenceExpression, FencingToken, LockName, Memory, Store, StoreErrorKind};
use dynamo_lock_protocol::{
    EndedHold, Ends, EntryKey, HoldEnd, HoldHistory, Kind, Lease, Number, Op, OpKind, Outcome, Path, Row, Target,
    Value, Verdict, apply, holds,
};
use serde_json::json;
use test_support::{LocalDynamoDb, Reply, ServerFault, row};

const TABLE: &str = "Lock";

fn name() -> LockName {
    LockName::new("orders/rebuild").expect("a name")
}

fn op(kind: OpKind) -> Op {
    Op { name: name(), version: "g2".into(), row_kind: Kind::Mutex, kind }
}

fn ends(service_timestamp: bool) -> Ends {
    Ends { expires_on: 50_000, service_timestamp, ttl: 900 }
}

fn lease(lease_id: &str, service_timestamp: bool) -> Lease {
    Lease {
        lease_id: lease_id.into(),
        token_floor: FencingToken::new(100),
        lease_ms: 20_000,
        ends: ends(service_timestamp),
        owner: "me".to_owned(),
        acquired_on: 30_000,
        data: Some("payload".to_owned()),
        liveness_key: None,
    }
}

fn map<const N: usize>(parts: [(&str, Value); N]) -> Value {
    Value::Map(parts.map(|(name, part)| (name.to_owned(), part)).into())
}

fn foreign() -> Value {
    let list = Value::Other(r#"{"L":[{"BOOL":true}]}"#.to_owned());
    map([("a", list), ("b", Value::Bool(true))])
}

fn held() -> Row {
    row(&[
        ("v", 1.into()),
        ("guid", "g1".into()),
        ("leaseId", "r1".into()),
        ("token", 7.into()),
        ("expiresOn", 40_000.into()),
        ("expiryClock", "service".into()),
        ("renewalSeq", 2.into()),
        ("leaseMs", 20_000.into()),
        ("owner", "them".into()),
        ("acquiredOn", 20_000.into()),
        ("ttl", 800.into()),
        ("foreign", foreign()),
    ])
}

fn with(mut row: Row, changes: &[(&str, Option<Value>)]) -> Row {
    for (name, value) in changes {
        match value {
            Some(value) => row.set(name, value.clone()),
            None => row.remove(name),
        }
    }
    row
}

/// Rows of every kind: held, free, legacy, malformed, and rows that are no locks.
fn rows() -> Vec<Option<Row>> {
    let free =
        with(held(), &[("expiresOn", Some(0.into())), ("renewalSeq", None), ("expiryClock", None), ("leaseMs", None)]);
    let legacy = row(&[("guid", "g1".into()), ("expiresOn", 40_000.into())]);
    vec![
        None,
        Some(held()),
        Some(free.clone()),
        Some(with(free.clone(), &[("leaseId", Some("r2".into()))])),
        Some(with(free.clone(), &[("token", Some("seven".into()))])),
        Some(with(free.clone(), &[("guid", None)])),
        Some(with(free.clone(), &[("v", Some(2.into()))])),
        Some(with(free.clone(), &[("kind", Some("semaphore".into()))])),
        Some(with(free, &[("revokedToken", Some(6.into())), ("livenessKey", Some(3.into()))])),
        Some(with(held(), &[("token", Some("seven".into()))])),
        Some(with(held(), &[("v", Some(2.into()))])),
        Some(with(held(), &[("renewalSeq", Some(3.into()))])),
        Some(with(held(), &[("renewalSeq", None)])),
        Some(with(held(), &[("guid", Some("g2".into()))])),
        Some(with(legacy.clone(), &[("token", Some(7.into()))])),
        Some(with(legacy.clone(), &[("expiresOn", Some(Value::N(Number::parse("40000.5").expect("a number"))))])),
        Some(legacy),
        Some(row(&[("total", 5.into())])),
        Some(row(&[])),
        Some(row(&[("holders", map([]))])),
        Some(row(&[("holders", map([("a1", map([("renewalSeq", 3.into()), ("revoked", Value::Bool(true))]))]))])),
        Some(row(&[("holders", map([("a1", map([("renewalSeq", "3".into())])), ("x", map([]))]))])),
        Some(row(&[("holders", map([("a1", "text".into()), ("x", map([("held", Value::Bool(true))]))]))])),
        Some(row(&[("holders", map([("x", map([("held", Value::Bool(false))]))]))])),
        Some(row(&[("holders", "aa".into())])),
        Some(row(&[("holders", 2.into())])),
        Some(row(&[("holders", foreign())])),
    ]
}

fn history() -> HoldHistory {
    HoldHistory::new([Duration::from_millis(5), Duration::from_secs(2)], 150)
}

fn ops() -> Vec<Op> {
    let token = FencingToken::new(7);
    let ended = |exit_code| Some(EndedHold { end: HoldEnd::Released, ended_on: 41_000, exit_code });
    let renew = |renewal_seq, service_timestamp, data| OpKind::Renew {
        lease_id: "r1".into(),
        token,
        renewal_seq,
        lease_ms: 30_000,
        ends: ends(service_timestamp),
        data,
    };
    let version = |expires_on: &str| Target::Version {
        version: "g1".into(),
        expires_on: Number::parse(expires_on).expect("a number"),
    };
    let take =
        |seen_token| OpKind::TakeOver { lease: lease("r3", true), seen: "g1".into(), seen_token, ended: ended(None) };
    vec![
        op(OpKind::Acquire(lease("r2", false))),
        op(OpKind::Acquire(Lease { liveness_key: Some("4".to_owned()), data: None, ..lease("r2", true) })),
        op(take(Some(token))),
        op(take(None)),
        op(renew(3, true, None)),
        op(renew(3, false, Some("new".to_owned()))),
        op(OpKind::Release {
            lease_id: "r1".into(),
            token: Some(token),
            ttl: 950,
            history: Some(history()),
            ended: ended(Some(3)),
        }),
        op(OpKind::Release { lease_id: "r1".into(), token: None, ttl: 950, history: None, ended: None }),
        op(OpKind::Revoke { target: Target::Token(token), lease_id: "fresh".into(), ended: ended(None) }),
        op(OpKind::Revoke { target: version("40000"), lease_id: "fresh".into(), ended: None }),
        op(OpKind::Revoke { target: version("40000.5"), lease_id: "fresh".into(), ended: None }),
        op(OpKind::ForceRevoke {
            target: Target::Token(token),
            lease_id: "fresh".into(),
            ttl: 950,
            ended: ended(None),
        }),
        op(OpKind::ForceRevoke { target: version("40000"), lease_id: "fresh".into(), ttl: 950, ended: None }),
    ]
}

/// Replaces the row of the lock, or deletes it.
fn set_row(server: &LocalDynamoDb, row: Option<&Row>) {
    server.set_row(TABLE, name().as_str(), row);
}

async fn read(store: &DynamoDb) -> Option<Row> {
    store.read(&name(), Consistency::Strong).await.result.expect("a read")
}

#[tokio::test]
async fn op_has_specified_effect_on_every_row() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let (mut applied, mut conflicts) = (0, 0);
    for op in ops() {
        let mut has_applied = false;
        for before in rows() {
            set_row(&server, before.as_ref());
            let outcome = store.write(&op).await.result.unwrap_or_else(|e| panic!("{op:?} on {before:?}: {e}"));
            let after = read(&store).await;
            let verdict = apply(before.as_ref(), &op);
            assert_eq!(outcome, verdict.clone().outcome(&op), "{op:?} on {before:?}");
            match verdict {
                Verdict::Applied(row) => {
                    assert_eq!(after, Some(row), "{op:?} on {before:?}");
                    applied += 1;
                    has_applied = true;
                }
                Verdict::Conflict(_) => {
                    assert_eq!(after, before, "{op:?} wrote on a conflict");
                    conflicts += 1;
                }
            }
        }
        assert!(has_applied, "{op:?} was applied to no row");
    }
    assert!(applied >= 20 && conflicts >= 100, "{applied} applied, {conflicts} conflicts");
}

#[tokio::test]
async fn condition_check_passes_exactly_where_specified() {
    use Condition::{Above, All, Any, Below, Differs, Equals, Exists, IsMap, Missing, SizeBelow, SizeIs};
    let entry = || EntryKey::Shared("a1".into());
    let field = |name| Path::Field(entry(), name);
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let client = server.client();
    let conditions = [
        Missing("name".into()),
        Missing("token".into()),
        Equals("token".into(), 7.into()),
        Equals("token".into(), "seven".into()),
        Equals("foreign".into(), foreign()),
        Differs("token".into(), 7.into()),
        Differs("guid".into(), "g2".into()),
        Below("renewalSeq".into(), 3),
        Below("token".into(), 8),
        Above("token".into(), 6),
        Above("expiresOn".into(), 39_999),
        Exists("name".into()),
        Exists("token".into()),
        IsMap("holders".into()),
        SizeIs("holders".into(), 1),
        SizeBelow("holders".into(), 2),
        Missing(Path::Entry(entry())),
        Exists(Path::Entry(entry())),
        IsMap(Path::Entry(entry())),
        Missing(Path::Entry(EntryKey::Exclusive)),
        Missing(field("revoked")),
        Equals(field("renewalSeq"), 3.into()),
        Below(field("renewalSeq"), 4),
        Differs(field("renewalSeq"), 4.into()),
        Equals(Path::Field(EntryKey::Exclusive, "held"), Value::Bool(true)),
        All(vec![SizeIs("holders".into(), 2), Exists(Path::Field(EntryKey::Exclusive, "held")), Exists(field("a"))]),
        All(vec![]),
        Any(vec![]),
        Any(vec![
            Any(vec![Missing("v".into()), Equals("v".into(), 2.into())]),
            All(vec![Above("renewalSeq".into(), 2), Missing("kind".into())]),
        ]),
        All(vec![
            Any(vec![Missing("v".into()), Equals("v".into(), 1.into())]),
            All(vec![Any(vec![Missing("kind".into()), Missing("v".into())])]),
        ]),
    ];
    for condition in conditions {
        for row in rows() {
            set_row(&server, row.as_ref());
            let check = store.check_condition(&name(), &condition);
            let item = aws_sdk_dynamodb::types::TransactWriteItem::builder().condition_check(check).build();
            let passed = client.transact_write_items().transact_items(item).send().await;
            let passes = passed.is_ok();
            if let Err(error) = passed {
                let cancelled = error.as_service_error().is_some_and(|e| e.is_transaction_canceled_exception());
                assert!(cancelled, "{condition:?} on {row:?}: {error:?}");
            }
            assert_eq!(passes, holds(row.as_ref(), &condition), "{condition:?} on {row:?}");
        }
    }
}

#[tokio::test]
async fn free_row_of_unknown_format_is_returned_unchanged() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let free = with(held(), &[("expiresOn", Some(0.into()))]);
    let acquire = op(OpKind::Acquire(lease("r9", false)));
    set_row(&server, Some(&free));
    assert!(matches!(store.write(&acquire).await.result, Ok(Outcome::Applied(_))), "a native row is acquired");
    for changes in [("token", Some("seven".into())), ("guid", None), ("v", Some(2.into()))] {
        let stored = with(free.clone(), &[changes]);
        set_row(&server, Some(&stored));
        let outcome = store.write(&acquire).await.result.expect("an answer");
        assert_eq!(outcome, Outcome::Conflict(Some(stored.clone())));
        assert_eq!(read(&store).await, Some(stored));
    }
}

#[tokio::test]
async fn consistency_of_read_is_in_the_request() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    for (consistency, strong) in [(Consistency::Strong, true), (Consistency::Eventual, false)] {
        server.clear_requests();
        assert_eq!(store.read(&name(), consistency).await.result.expect("a read"), None);
        assert_eq!(server.requests()[0].body["ConsistentRead"], json!(strong));
    }
}

/// Only the writer of an acquisition needs the row, because the row contains its token.
#[tokio::test]
async fn write_is_one_request_that_returns_the_row_if_used() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    for op in ops() {
        set_row(&server, Some(&held()));
        server.clear_requests();
        store.write(&op).await.result.expect("an answer");
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        let is_acquisition = matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. });
        assert_eq!(requests[0].body.get("ReturnValues"), is_acquisition.then_some(&json!("ALL_NEW")), "{op:?}");
        assert_eq!(requests[0].body["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
        assert_eq!(requests[0].body["Key"], json!({ "name": { "S": name().as_str() } }));
    }
}

/// A proxy may respond without a body. The SDK takes that for a success.
#[tokio::test]
async fn success_without_a_body_is_no_answer() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let legacy = OpKind::LegacyGet { seen: None, expires_on: 5 };
    for op in ops().into_iter().chain([op(legacy)]) {
        server.faults().push(ServerFault::Reply(Reply { status: 200, body: String::new() }));
        let error = store.write(&op).await.result.expect_err("it may not have been applied");
        assert_eq!(error.kind(), StoreErrorKind::Unanswered, "{op:?}: {error}");
    }
    // DynamoDB returns the row of an acquisition, and an empty object for other writes.
    let [acquire, renew] = [&ops()[0], &ops()[4]];
    let empty = || ServerFault::Reply(Reply { status: 200, body: "{}".to_owned() });
    server.faults().push(empty()).push(empty());
    let error = store.write(acquire).await.result.expect_err("it may not have been applied");
    assert_eq!(error.kind(), StoreErrorKind::Unanswered, "{error}");
    assert_eq!(store.write(renew).await.result.expect("applied"), Outcome::Applied(None));
}

#[tokio::test]
async fn partition_key_can_have_any_name() {
    let server = LocalDynamoDb::new();
    let store = DynamoDb::new(server.client(), TABLE).partition_key("LockId").expect("a valid name");
    store.create_table(Default::default()).await.expect("a table");
    let op = op(OpKind::Acquire(lease("r2", false)));
    let outcome = store.write(&op).await.result.expect("an answer");
    let Verdict::Applied(expected) = apply(None, &op) else { panic!("an acquire of no row") };
    assert_eq!(outcome, Outcome::Applied(Some(expected.clone())));
    let page = store.list(None).await.result.expect("a page");
    assert_eq!(page.rows, [(name().to_string(), expected)]);
    assert!(matches!(store.write(&op).await.result, Ok(Outcome::Conflict(Some(_)))));
}

#[tokio::test]
async fn list_follows_pages() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let large = row(&[("guid", "g".into()), ("data", "x".repeat(300_000).as_str().into())]);
    for at in 0..10 {
        server.set_row(TABLE, &format!("lock-{at}"), Some(&large));
    }
    let (mut names, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = store.list(after.as_deref()).await.result.expect("a page");
        names.extend(page.rows.into_iter().map(|(name, _)| name));
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, (0..10).map(|at| format!("lock-{at}")).collect::<Vec<_>>());
    assert!(pages > 2, "3 MB do not fit into {pages} pages of 1 MB");
}

#[tokio::test]
async fn condition_check_rejects_guard_of_another_store() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    let guard = |store: Arc<dyn Store>| async move {
        let client = Client::builder(store).build().expect("a valid configuration");
        test_support::acquire(&client).await
    };
    let of_table = guard(Arc::new(store.clone())).await;
    assert!(store.condition_check(&of_table).is_ok());
    assert!(DynamoDb::new(server.client(), TABLE).condition_check(&of_table).is_ok());
    assert!(DynamoDb::new(server.client(), "Other").condition_check(&of_table).is_err());
    assert!(store.clone().partition_key("id").expect("a valid name").condition_check(&of_table).is_err());
    let of_memory = guard(Arc::new(Memory::new())).await;
    let error = store.condition_check(&of_memory).unwrap_err();
    assert_eq!((error.name.as_str(), error.table.as_str()), ("a", TABLE));
}

/// The protocol needs the row that caused a conflict.
#[tokio::test]
async fn conflict_without_row_on_failure_is_refused() {
    let server = LocalDynamoDb::new();
    let store = server.store(TABLE).await;
    // This server does not support ALL_OLD on failure.
    let failed = || ServerFault::error(400, "ConditionalCheckFailedException", "The conditional request failed");
    server.faults().push(failed());
    let error = store.write(&op(OpKind::Acquire(lease("r2", false)))).await.result.expect_err("no row came");
    assert_eq!(error.kind(), StoreErrorKind::Refused);
    assert!(error.to_string().contains("ReturnValuesOnConditionCheckFailure"), "{error}");
    // A deleted row explains the conflict of a release.
    server.faults().push(failed());
    let release = op(OpKind::Release { lease_id: "r1".into(), token: None, ttl: 1, history: None, ended: None });
    assert_eq!(store.write(&release).await.result.expect("an answer"), Outcome::Conflict(None));
}

#[tokio::test]
async fn fence_rejects_smaller_tokens() {
    let server = LocalDynamoDb::new();
    let store = server.store("Account").await;
    let client = server.client();
    let write = async |token, attribute: &str, balance: u64| {
        let fence = FenceExpression::new(FencingToken::new(token)).attribute(attribute);
        let key = aws_sdk_dynamodb::types::AttributeValue::S("account".to_owned());
        let balance = aws_sdk_dynamodb::types::AttributeValue::N(balance.to_string());
        let request = client
            .update_item()
            .table_name(store.table())
            .key(store.key(), key)
            .update_expression(format!("SET balance = :balance, {}", fence.set()))
            .condition_expression(format!("{} AND attribute_not_exists(settled)", fence.condition()))
            .set_expression_attribute_names(Some(fence.names()))
            .set_expression_attribute_values(Some(fence.values()))
            .expression_attribute_values(":balance", balance);
        request.send().await.map_err(|e| e.into_service_error().is_conditional_check_failed_exception())
    };
    assert!(write(7, "fence", 1).await.is_ok(), "first write");
    assert!(write(7, "fence", 2).await.is_ok(), "same holder");
    assert!(write(9, "fence", 3).await.is_ok(), "successor");
    assert_eq!(write(8, "fence", 4).await.err(), Some(true), "paused former holder");
    assert!(write(8, "guard", 5).await.is_ok(), "each attribute is a fence of its own");
    let row = store.read(&LockName::new("account").expect("a name"), Consistency::Strong).await.result.expect("a read");
    let row = row.expect("a row");
    assert_eq!((row.whole("balance"), row.whole("fence"), row.whole("guard")), (Some(5), Some(9), Some(8)));
}
