//! Responses to the DynamoDB store: error kinds, messages and dates.

use aws_sdk_dynamodb::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Region};
use dynamo_lock::store::{Answer, Consistency, ServiceDate, StoreErrorCause, StoreOperation};
use dynamo_lock::{DynamoDb, LockName, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Kind, Op, OpKind, Outcome, Row};
use test_support::{LocalDynamoDb, Reply, ServerFault, row, secs};

const TABLE: &str = "Lock";
const NOW: u64 = 1_795_000_000;

fn name() -> LockName {
    LockName::new("lock").expect("a name")
}

fn release() -> Op {
    Op {
        name: name(),
        version: "g2".into(),
        row_kind: Kind::Mutex,
        kind: OpKind::Release { lease_id: "r1".into(), token: None, ttl: 9, history: None, ended: None },
    }
}

fn held() -> Row {
    row(&[
        ("v", 1.into()),
        ("guid", "g1".into()),
        ("leaseId", "r1".into()),
        ("token", 7.into()),
        ("expiresOn", 40_000.into()),
    ])
}

async fn server() -> (LocalDynamoDb, DynamoDb) {
    let server = LocalDynamoDb::new();
    server.set_clock(|| NOW);
    let store = server.store(TABLE).await;
    server.set_row(TABLE, name().as_str(), Some(&held()));
    (server, store)
}

async fn read(store: &DynamoDb) -> Answer<Option<Row>> {
    store.read(&name(), Consistency::Strong).await
}

/// Checks that a write with this fault fails with this kind of error, and that its message contains these words.
async fn check(fault: ServerFault, kind: StoreErrorKind, words: &[&str]) {
    let (server, store) = server().await;
    server.faults().push(fault.clone());
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

fn refused(code: &str, message: &str) -> ServerFault {
    ServerFault::error(400, code, message)
}

/// The write may have been applied.
#[tokio::test(start_paused = true)]
async fn possibly_applied_write_is_unanswered() {
    use StoreErrorKind::Unanswered;
    check(ServerFault::LoseRequest, Unanswered, &["the connection broke", "UpdateItem", "table Lock in eu-west-1"])
        .await;
    check(ServerFault::LoseAnswer, Unanswered, &["the connection broke"]).await;
    check(ServerFault::ErrorBefore, Unanswered, &["HTTP 500"]).await;
    check(ServerFault::ErrorAfter, Unanswered, &["HTTP 500"]).await;
    check(ServerFault::Hang, Unanswered, &["did not answer in time"]).await;
    check(ServerFault::HangAfter, Unanswered, &["did not answer in time"]).await;
    check(ServerFault::DelayAnswer(secs(6)), Unanswered, &["did not answer in time"]).await;
    check(ServerFault::Connector("tcp connect error: Connection refused (os error 111)"), Unanswered, &["refused"])
        .await;
    check(ServerFault::Connector("dns error: failed to lookup address"), Unanswered, &["host name", "region"]).await;
    check(ServerFault::Connector("invalid peer certificate: UnknownIssuer"), Unanswered, &["TLS", "CA"]).await;
    for (status, body) in [(200, "<html>"), (200, ""), (403, "<html>"), (302, ""), (400, "{}"), (503, "")] {
        let reply = Reply { status, body: body.to_owned() };
        check(ServerFault::Reply(reply), Unanswered, &["no answer from DynamoDB"]).await;
    }
    // A 5xx status leaves the outcome unknown, whatever its code.
    check(ServerFault::error(500, "ConditionalCheckFailedException", "?"), Unanswered, &["HTTP 500"]).await;
    check(ServerFault::error(503, "AccessDeniedException", "?"), Unanswered, &["HTTP 503"]).await;
}

/// The write was certainly not applied, and a later one may succeed.
#[tokio::test]
async fn temporary_rejection_is_throttled() {
    use StoreErrorKind::Throttled;
    check(ServerFault::Throttle, Throttled, &["throttles", "capacity"]).await;
    for code in ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"] {
        check(refused(code, "Rate exceeded"), Throttled, &["throttles"]).await;
    }
    check(refused("TransactionConflictException", "ongoing"), Throttled, &["another write"]).await;
    check(
        refused("LimitExceededException", "too many tables"),
        Throttled,
        &["limit of this AWS account (too many", "quota"],
    )
    .await;
}

#[tokio::test]
async fn lasting_error_message_names_the_fix() {
    use StoreErrorKind::{AccessDenied, Misconfigured, Refused};
    check(ServerFault::Deny, AccessDenied, &["dynamodb:UpdateItem", "IAM policy", "User: u is not authorized"]).await;
    let missing = refused("ResourceNotFoundException", "Requested resource not found");
    check(missing, Misconfigured, &["there is no table Lock in eu-west-1", "DynamoDb::create_table"]).await;
    let key = refused("ValidationException", "The provided key element does not match the schema");
    check(key, Misconfigured, &["partition key `name` of type S", "no sort key", "partition_key"]).await;
    let expired = refused("ExpiredTokenException", "The security token included in the request is expired");
    check(expired, Misconfigured, &["expired", "aws sso login"]).await;
    let unknown = refused("UnrecognizedClientException", "The security token included in the request is invalid.");
    check(unknown, Misconfigured, &["credentials", "access key"]).await;
    let clock = refused("InvalidSignatureException", "Signature expired: 20261123T080000Z is now earlier than");
    check(clock, Misconfigured, &["clock", "NTP"]).await;
    let signature = refused("InvalidSignatureException", "The request signature we calculated does not match");
    check(signature, Misconfigured, &["secret"]).await;
    let other = refused("ValidationException", "Item size has\nexceeded \u{1b}[31m the maximum");
    check(other, Refused, &["ValidationException: Item size has exceeded [31m the maximum"]).await;
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
        (ServerFault::Deny, None),
    ];
    for (fault, cause) in cases {
        let (server, store) = server().await;
        server.faults().push(fault.clone()).push(fault.clone()).push(fault.clone());
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
async fn invalid_configuration_sends_no_request() {
    let server = LocalDynamoDb::new();
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
async fn every_response_contains_the_date() {
    let (server, store) = server().await;
    let date = Some(ServiceDate(NOW));
    assert_eq!(read(&store).await.date, date);
    assert_eq!(store.list(None).await.date, date);
    let applied = store.write(&release()).await;
    assert!(matches!(applied.result, Ok(Outcome::Applied(_))));
    assert_eq!(applied.date, date);
    let conflict = store.write(&release()).await;
    assert!(matches!(conflict.result, Ok(Outcome::Conflict(Some(_)))));
    assert_eq!(conflict.date, date, "errors contain it too");
    server.faults().push(ServerFault::Throttle);
    assert_eq!(read(&store).await.date, date);
}

/// A cache or another server may have set such a date.
#[tokio::test]
async fn untrusted_date_is_ignored() {
    let (server, store) = server().await;
    let doubts = [
        ("age", Some("0")),
        ("x-amzn-requestid", None),
        ("date", None),
        ("date", Some("Mon, 23 Nov 2026 08:00:00 GMT")),
    ];
    for (header, value) in doubts {
        server.faults().push(ServerFault::Header(header, value));
        let answer = read(&store).await;
        assert_eq!(answer.result.expect("a read"), Some(held()));
        assert_eq!(answer.date, None, "{header}: {value:?}");
    }
    server.faults().push(ServerFault::Header("x-other", Some("1")));
    assert_eq!(read(&store).await.date, Some(ServiceDate(NOW)), "other headers do not matter");
    server.faults().push(ServerFault::LoseAnswer);
    assert_eq!(read(&store).await.date, None);
}

/// Returns a store with the SDK's own HTTP client, which sends no request in these tests.
fn store_of(endpoint: Option<&str>, change: impl FnOnce(Builder) -> Builder) -> DynamoDb {
    let mut config = Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
    config.set_endpoint_url(endpoint.map(str::to_owned));
    DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(change(config).build()), TABLE)
}

#[test]
fn service_clock_is_on_for_aws_endpoints_only() {
    let store = |endpoint: Option<&str>| store_of(endpoint, |config| config);
    assert!(store(None).service_clock_is_on());
    assert!(store(Some("https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com/")).service_clock_is_on());
    for endpoint in [
        "http://127.0.0.1:8000",
        "http://localhost",
        "https://amazonaws.com.example.org",
        "https://[::1]:1",
        "http://dynamodb.eu-west-1.amazonaws.com",
    ] {
        assert!(!store(Some(endpoint)).service_clock_is_on(), "{endpoint}");
    }
    assert!(store(Some("http://127.0.0.1:8000")).service_clock(true).service_clock_is_on());
    assert!(!store(None).service_clock(false).service_clock_is_on());
}

#[tokio::test]
async fn service_clock_is_on_with_loaded_aws_configuration() {
    let loaded = aws_config::defaults(BehaviorVersion::latest()).region(Region::new("eu-west-1")).load().await;
    let store = DynamoDb::new(aws_sdk_dynamodb::Client::new(&loaded), TABLE);
    assert!(store.service_clock_is_on());
}

/// A resolver that leads all requests to one host.
#[derive(Debug)]
struct OwnResolver;

impl ResolveEndpoint for OwnResolver {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url("https://proxy.example.org").build()))
    }
}

/// Either may lead to a proxy, a cache or a mock, which may change the `Date`.
#[test]
fn service_clock_is_off_with_own_http_client_or_resolver() {
    let server = LocalDynamoDb::new();
    let with_client = || store_of(None, |config| config.http_client(server.clone()));
    assert!(!with_client().service_clock_is_on());
    assert!(with_client().service_clock(true).service_clock_is_on());
    assert!(server.requests().is_empty(), "no request was sent");
    assert!(!store_of(None, |config| config.endpoint_resolver(OwnResolver)).service_clock_is_on());
}

/// Gives access to the method of `Store`, which the builder method of the same name hides.
trait IsOn {
    fn service_clock_is_on(&self) -> bool;
}

impl IsOn for DynamoDb {
    fn service_clock_is_on(&self) -> bool {
        Store::service_clock(self)
    }
}

/// The setting is a hint for the client. The store returns dates either way.
#[tokio::test]
async fn dates_are_returned_with_service_clock_off() {
    let (_, store) = server().await;
    for on in [false, true] {
        let store = store.clone().service_clock(on);
        assert_eq!(store.service_clock_is_on(), on);
        assert_eq!(read(&store).await.date, Some(ServiceDate(NOW)));
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_configurable() {
    let (server, store) = server().await;
    let patient = store.clone().attempt_timeout(secs(7));
    for (store, answers) in [(&store, false), (&patient, true)] {
        server.faults().push(ServerFault::DelayRequest(secs(6)));
        assert_eq!(read(store).await.result.is_ok(), answers);
    }
}

#[tokio::test]
async fn lost_answer_is_applied_and_lost_request_is_not() {
    let (server, store) = server().await;
    server.faults().push(ServerFault::LoseRequest).push(ServerFault::LoseAnswer);
    assert!(store.write(&release()).await.result.is_err());
    assert_eq!(server.item(TABLE, name().as_str())["guid"]["S"], "g1");
    assert!(store.write(&release()).await.result.is_err());
    assert_eq!(server.item(TABLE, name().as_str())["guid"]["S"], "g2");
    server.faults().clear();
    server.faults().set_all_of("GetItem", ServerFault::Throttle);
    let error = read(&store).await.result.expect_err("throttled");
    assert_eq!(error.kind(), StoreErrorKind::Throttled);
    assert!(store.list(None).await.result.is_ok());
}

#[tokio::test]
async fn write_that_arrives_twice_is_applied_once() {
    let (server, store) = server().await;
    server.faults().push(ServerFault::Twice);
    let Ok(Outcome::Conflict(Some(row))) = store.write(&release()).await.result else {
        panic!("the second one conflicts")
    };
    assert_eq!(row.version(), Some("g2".into()), "the first one was applied");
    assert_eq!(row.whole("expiresOn"), Some(0));
}
