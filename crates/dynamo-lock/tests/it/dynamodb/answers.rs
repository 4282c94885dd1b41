//! What the DynamoDB store makes of answers: kinds, messages, dates.

use std::time::Duration;

use dynamo_lock::store::{Answer as Reply, Consistency, ServiceDate, StoreErrorCause, StoreOperation};
use dynamo_lock::{DynamoDb, LockName, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Op, OpKind, Outcome, Row};
use test_support::dynamodb::{Answer, Dynoxide, Fault};

const TABLE: &str = "Lock";
const NOW: u64 = 1_795_000_000;

fn name() -> LockName {
    LockName::new("lock").expect("a name")
}

fn release() -> Op {
    Op { name: name(), version: "g2".into(), kind: OpKind::Release { lease_id: "r1".into(), token: None, ttl: 9 } }
}

fn held() -> Row {
    let text = |name: &str, value: &str| (name.to_owned(), value.into());
    let number = |name: &str, value: u64| (name.to_owned(), value.into());
    Row::new([
        number("v", 1),
        text("guid", "g1"),
        text("leaseId", "r1"),
        number("token", 7),
        number("expiresOn", 40_000),
    ])
}

async fn server() -> (Dynoxide, DynamoDb) {
    let server = Dynoxide::new();
    server.set_clock(|| NOW);
    let store = server.store(TABLE).await;
    server.plant(TABLE, name().as_str(), &held());
    (server, store)
}

async fn read(store: &DynamoDb) -> Reply<Option<Row>> {
    store.read(&name(), Consistency::Strong).await
}

/// One injected fault, what becomes of a write, and words that its one line must have.
async fn expect(fault: Fault, kind: StoreErrorKind, words: &[&str]) {
    let (server, store) = server().await;
    server.faults().next(fault.clone());
    let error = store.write(&release()).await.result.expect_err("a fault");
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{fault:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(!message.contains('\n') && message.len() < 600, "{message}");
    assert!(!message.contains("dispatch failure") && !message.contains("service error"), "{message}");
    assert_eq!(server.count("UpdateItem"), 1, "{fault:?}: the store does not retry");
}

fn refused(code: &str, message: &str) -> Fault {
    Fault::error(400, code, message)
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_unanswered() {
    use StoreErrorKind::Unanswered;
    expect(Fault::LoseRequest, Unanswered, &["the connection broke", "UpdateItem", "table Lock in eu-west-1"]).await;
    expect(Fault::LoseAnswer, Unanswered, &["the connection broke"]).await;
    expect(Fault::ErrorBefore, Unanswered, &["HTTP 500"]).await;
    expect(Fault::ErrorAfter, Unanswered, &["HTTP 500"]).await;
    expect(Fault::Hang, Unanswered, &["did not answer in time"]).await;
    expect(Fault::HangAfter, Unanswered, &["did not answer in time"]).await;
    expect(Fault::DelayAnswer(Duration::from_secs(6)), Unanswered, &["did not answer in time"]).await;
    expect(Fault::Connector("tcp connect error: Connection refused (os error 111)"), Unanswered, &["refused"]).await;
    expect(Fault::Connector("dns error: failed to lookup address"), Unanswered, &["host name", "region"]).await;
    expect(Fault::Connector("invalid peer certificate: UnknownIssuer"), Unanswered, &["TLS", "CA"]).await;
    for (status, body) in [(200, "<html>"), (200, "{}"), (403, "<html>"), (302, ""), (400, "{}"), (503, "")] {
        let answer = Answer { status, body: body.to_owned() };
        expect(Fault::Answer(answer), Unanswered, &["no answer from DynamoDB"]).await;
    }
    // A 5xx tells nothing, whatever its code says.
    expect(Fault::error(500, "ConditionalCheckFailedException", "?"), Unanswered, &["HTTP 500"]).await;
    expect(Fault::error(503, "AccessDeniedException", "?"), Unanswered, &["HTTP 503"]).await;
}

#[tokio::test]
async fn what_certainly_took_no_effect_and_may_pass_is_throttled() {
    use StoreErrorKind::Throttled;
    expect(Fault::Throttle, Throttled, &["throttles", "capacity"]).await;
    for code in ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"] {
        expect(refused(code, "Rate exceeded"), Throttled, &["throttles"]).await;
    }
    expect(refused("TransactionConflictException", "ongoing"), Throttled, &["another write"]).await;
}

#[tokio::test]
async fn what_a_person_must_mend_says_how() {
    use StoreErrorKind::{AccessDenied, Misconfigured, Refused};
    expect(Fault::Deny, AccessDenied, &["dynamodb:UpdateItem", "IAM policy", "User: u is not authorized"]).await;
    let missing = refused("ResourceNotFoundException", "Requested resource not found");
    expect(missing, Misconfigured, &["there is no table Lock in eu-west-1", "DynamoDb::create_table"]).await;
    let key = refused("ValidationException", "The provided key element does not match the schema");
    expect(key, Misconfigured, &["partition key `name` of type S", "no sort key", "partition_key"]).await;
    let expired = refused("ExpiredTokenException", "The security token included in the request is expired");
    expect(expired, Misconfigured, &["expired", "aws sso login"]).await;
    let unknown = refused("UnrecognizedClientException", "The security token included in the request is invalid.");
    expect(unknown, Misconfigured, &["credentials", "access key"]).await;
    let clock = refused("InvalidSignatureException", "Signature expired: 20261123T080000Z is now earlier than");
    expect(clock, Misconfigured, &["clock", "NTP"]).await;
    let signature = refused("InvalidSignatureException", "The request signature we calculated does not match");
    expect(signature, Misconfigured, &["secret"]).await;
    let other = refused("ValidationException", "Item size has\nexceeded \u{1b}[31m the maximum");
    expect(other, Refused, &["ValidationException: Item size has exceeded [31m the maximum"]).await;
}

#[tokio::test]
async fn error_has_operation_and_cause() {
    use StoreErrorCause::{ExpiredCredentials, KeySchema, MissingTable, RejectedCredentials, WrongClock};
    let cases = [
        (refused("ResourceNotFoundException", "?"), Some(MissingTable)),
        (refused("ValidationException", "The provided key element does not match the schema"), Some(KeySchema)),
        (refused("ExpiredTokenException", "?"), Some(ExpiredCredentials)),
        (refused("UnrecognizedClientException", "?"), Some(RejectedCredentials)),
        (refused("RequestTimeTooSkewed", "?"), Some(WrongClock)),
        (Fault::Deny, None),
    ];
    for (fault, cause) in cases {
        let (server, store) = server().await;
        server.faults().next(fault.clone()).next(fault.clone()).next(fault.clone());
        let written = store.write(&release()).await.result.expect_err("a fault");
        let read = read(&store).await.result.expect_err("a fault");
        let listed = store.list(None).await.result.expect_err("a fault");
        let operations = [&written, &read, &listed].map(StoreError::operation);
        let expected = [StoreOperation::Write, StoreOperation::Read, StoreOperation::List];
        assert_eq!(operations, expected.map(Some), "{fault:?}");
        assert!([&written, &read, &listed].iter().all(|error| error.cause() == cause), "{fault:?}: {written:?}");
    }
}

#[tokio::test]
async fn with_a_configuration_that_cannot_be_nothing_is_sent_and_the_line_says_so() {
    let server = Dynoxide::new();
    let plain = || {
        let builder = aws_sdk_dynamodb::Config::builder().http_client(server.clone());
        builder.behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
    };
    let credentials = aws_sdk_dynamodb::config::Credentials::new("key", "secret", None, None, "test");
    let region = aws_sdk_dynamodb::config::Region::new("eu-west-1");
    let whole = plain().region(region.clone()).credentials_provider(credentials.clone());
    let cases = [
        (plain().credentials_provider(credentials.clone()), "no AWS Region is configured; set AWS_REGION"),
        (plain().credentials_provider(credentials).endpoint_url("http://db"), "no AWS Region is configured"),
        (plain().region(region), "no usable AWS credentials"),
        (whole.use_fips(true).endpoint_url("http://db"), "FIPS and custom endpoint are not supported"),
    ];
    for (config, words) in cases {
        let store = DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config.build()), TABLE);
        let error = read(&store).await.result.expect_err("incomplete");
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}: {:?}", std::error::Error::source(&error));
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn every_answer_of_the_service_brings_its_date() {
    let (server, store) = server().await;
    let date = Some(ServiceDate(NOW));
    assert_eq!(read(&store).await.date, date);
    assert_eq!(store.list(None).await.date, date);
    let applied = store.write(&release()).await;
    assert!(matches!(applied.result, Ok(Outcome::Applied(_))));
    assert_eq!(applied.date, date);
    let conflict = store.write(&release()).await;
    assert!(matches!(conflict.result, Ok(Outcome::Conflict(Some(_)))));
    assert_eq!(conflict.date, date, "errors bring it too");
    server.faults().next(Fault::Throttle);
    assert_eq!(read(&store).await.date, date);
}

#[tokio::test]
async fn a_date_that_may_be_anothers_does_not_count() {
    let (server, store) = server().await;
    let doubts = [
        ("age", Some("0")),
        ("x-amzn-requestid", None),
        ("date", None),
        ("date", Some("Mon, 23 Nov 2026 08:00:00 GMT")),
    ];
    for (header, value) in doubts {
        server.faults().next(Fault::Header(header, value));
        let answer = read(&store).await;
        assert_eq!(answer.result.expect("a read"), Some(held()));
        assert_eq!(answer.date, None, "{header}: {value:?}");
    }
    server.faults().next(Fault::Header("x-other", Some("1")));
    assert_eq!(read(&store).await.date, Some(ServiceDate(NOW)), "an innocent header takes nothing away");
    server.faults().next(Fault::LoseAnswer);
    assert_eq!(read(&store).await.date, None);
}

#[test]
fn the_service_clock_is_on_where_requests_go_to_aws() {
    let server = Dynoxide::new();
    let store = |endpoint: Option<&str>| {
        let mut config = server.config();
        config.set_endpoint_url(endpoint.map(str::to_owned));
        DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config.build()), TABLE)
    };
    assert!(store(None).service_clock_is_on());
    assert!(store(Some("https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com/")).service_clock_is_on());
    for endpoint in
        ["http://127.0.0.1:8000", "http://localhost", "https://amazonaws.com.example.org", "https://[::1]:1"]
    {
        assert!(!store(Some(endpoint)).service_clock_is_on(), "{endpoint}");
    }
    assert!(store(Some("http://127.0.0.1:8000")).service_clock(true).service_clock_is_on());
    assert!(!store(None).service_clock(false).service_clock_is_on());
    assert!(server.requests().is_empty(), "asking sends nothing");
}

/// The trait's method, which the builder's of the same name hides.
trait IsOn {
    fn service_clock_is_on(&self) -> bool;
}

impl IsOn for DynamoDb {
    fn service_clock_is_on(&self) -> bool {
        Store::service_clock(self)
    }
}

#[tokio::test]
async fn whether_dates_may_be_used_is_advice_and_they_are_handed_on_in_any_case() {
    let (_, store) = server().await;
    for on in [false, true] {
        let store = store.clone().service_clock(on);
        assert_eq!(store.service_clock_is_on(), on);
        assert_eq!(read(&store).await.date, Some(ServiceDate(NOW)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timeout_can_be_chosen() {
    let (server, store) = server().await;
    let patient = store.clone().attempt_timeout(Duration::from_secs(7));
    for (store, answers) in [(&store, false), (&patient, true)] {
        server.faults().next(Fault::DelayRequest(Duration::from_secs(6)));
        assert_eq!(read(store).await.result.is_ok(), answers);
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_its_write_and_a_lost_request_does_not() {
    let (server, store) = server().await;
    server.faults().next(Fault::LoseRequest).next(Fault::LoseAnswer);
    assert!(store.write(&release()).await.result.is_err());
    assert_eq!(server.call("GetItem", get()).expect("an item")["Item"]["guid"]["S"], "g1");
    assert!(store.write(&release()).await.result.is_err());
    assert_eq!(server.call("GetItem", get()).expect("an item")["Item"]["guid"]["S"], "g2");
    server.faults().clear();
    server.faults().decide(|request| (request.operation == "GetItem").then_some(Fault::Throttle));
    let error = read(&store).await.result.expect_err("throttled");
    assert_eq!(error.kind(), StoreErrorKind::Throttled);
    assert!(store.list(None).await.result.is_ok());
}

#[tokio::test]
async fn a_write_that_arrives_twice_takes_effect_once() {
    let (server, store) = server().await;
    server.faults().next(Fault::Twice);
    let Ok(Outcome::Conflict(Some(row))) = store.write(&release()).await.result else { panic!("the second fails") };
    assert_eq!(row.version(), Some("g2".into()), "and shows what the first did");
    assert_eq!(row.whole("expiresOn"), Some(0));
}

fn get() -> serde_json::Value {
    serde_json::json!({ "TableName": TABLE, "Key": { "name": { "S": name().as_str() } } })
}
