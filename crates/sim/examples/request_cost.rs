//! Repeats one kind of request over the AWS SDK, with an HTTP connector that answers at once, for a profiler.
//!
//! ```text
//! cargo build --release -p dynamo-lock-sim --features stacks --example request_cost
//! valgrind --tool=callgrind target/release/examples/request_cost cycle 100
//! ```
//!
//! The difference between 100 and 300 repetitions is the cost of 200. `crates/sim/examples/request_cost.py` runs all
//! kinds and prints a table. The kinds `bare-…` are the same requests, sent with the SDK alone by a client with default
//! options.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client as SdkClient;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use dynamo_lock::{Client, DynamoDb};
use serde_json::Value as Json;
use test_support::Reply;

const TABLE: &str = "Lock";
const HOUR: Duration = Duration::from_secs(3600);

/// HTTP client that answers each request at once, and keeps the body of the last one.
#[derive(Clone, Debug, Default)]
struct Instant(Arc<Mutex<String>>);

impl HttpConnector for Instant {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let returns_row = body.windows(7).any(|part| part == b"ALL_NEW");
        let mut last = self.0.lock().expect("no panic");
        last.clear();
        last.push_str(std::str::from_utf8(body).expect("JSON"));
        let body = if returns_row { row() } else { "{}".to_owned() };
        let response = Reply { status: 200, body }.into_http(seconds());
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Instant {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[allow(clippy::disallowed_methods)] // the date of a response
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Returns the response to an acquisition.
fn row() -> String {
    let (text, now) = ("0123456789abcdef0123456789abcdef", seconds());
    format!(
        r#"{{"Attributes":{{"name":{{"S":"orders/rebuild"}},"v":{{"N":"1"}},"guid":{{"S":"{text}"}},"leaseId":{{"S":"{text}"}},"token":{{"N":"1834000000000000"}},"renewalSeq":{{"N":"0"}},"leaseMs":{{"N":"20000"}},"owner":{{"S":"worker (host, pid 1, 01234567)"}},"acquiredOn":{{"N":"{now}000"}},"expiresOn":{{"N":"{}000"}},"expiryClock":{{"S":"service"}},"ttl":{{"N":"{}"}}}}}}"#,
        now + 24,
        now + 700_000
    )
}

fn config(http: &Instant) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .http_client(http.clone())
}

/// Request that is sent with the SDK alone.
struct Bare {
    client: SdkClient,
    condition: String,
    update: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    returns_row: bool,
}

impl Bare {
    /// Creates a copy of the last request.
    fn copy(http: &Instant) -> Self {
        let json: Json = serde_json::from_str(&http.0.lock().expect("no panic")).expect("JSON");
        let text = |name: &str| json[name].as_str().expect("a string").to_owned();
        let entries = |name: &str| json[name].as_object().expect("an object").clone().into_iter();
        let value = |json: Json| match (json["S"].as_str(), json["N"].as_str()) {
            (Some(text), _) => AttributeValue::S(text.to_owned()),
            (_, number) => AttributeValue::N(number.expect("S or N").to_owned()),
        };
        Self {
            client: SdkClient::from_conf(config(http).build()),
            condition: text("ConditionExpression"),
            update: text("UpdateExpression"),
            names: entries("ExpressionAttributeNames")
                .map(|(key, name)| (key, name.as_str().expect("a name").to_owned()))
                .collect(),
            values: entries("ExpressionAttributeValues").map(|(key, json)| (key, value(json))).collect(),
            returns_row: json.get("ReturnValues").is_some(),
        }
    }

    fn minimal(http: &Instant) -> Self {
        Self {
            client: SdkClient::from_conf(config(http).build()),
            condition: "attribute_not_exists(o)".to_owned(),
            update: "SET o = :o".to_owned(),
            names: HashMap::new(),
            values: HashMap::from([(":o".to_owned(), AttributeValue::S("0123456789abcdef".to_owned()))]),
            returns_row: false,
        }
    }

    async fn send(&self) {
        let request = self
            .client
            .update_item()
            .table_name(TABLE)
            .key("name", AttributeValue::S("orders/rebuild".to_owned()))
            .condition_expression(&*self.condition)
            .update_expression(&*self.update)
            .set_expression_attribute_names((!self.names.is_empty()).then(|| self.names.clone()))
            .set_expression_attribute_values(Some(self.values.clone()))
            .set_return_values(self.returns_row.then_some(ReturnValue::AllNew))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        request.send().await.expect("an answer");
    }
}

#[allow(clippy::disallowed_methods)] // the lock is held for real time
async fn run(kind: &str, times: u64) {
    let http = Instant::default();
    let store = DynamoDb::new(SdkClient::from_conf(config(&http).build()), TABLE).service_clock(true);
    // A held lock looks at its clocks four times a second. With this lease it sends no renewal meanwhile.
    let lease = if kind == "look" { HOUR } else { Duration::from_secs(20) };
    let client = Client::builder(store).lease(lease).build().expect("valid");
    let lock = client.lock("orders/rebuild").expect("valid");
    // The first acquisition loads the credentials and the time of the service.
    lock.acquire().await.expect("free").release().await.expect("held");
    let guard = lock.acquire().await.expect("free");
    let acquire = Bare::copy(&http);
    guard.renew().await.expect("held");
    let renew = Bare::copy(&http);
    match kind {
        "renew" => {
            for _ in 0..times {
                guard.renew().await.expect("held");
            }
        }
        "bare-renew" => {
            for _ in 0..times {
                renew.send().await;
            }
        }
        "look" => tokio::time::sleep(Duration::from_millis(250) * times as u32).await,
        _ => {}
    }
    guard.release().await.expect("held");
    let (release, minimal) = (Bare::copy(&http), Bare::minimal(&http));
    for _ in 0..times {
        match kind {
            "cycle" => lock.acquire().await.expect("free").release().await.expect("held"),
            "bare-acquire" => acquire.send().await,
            "bare-release" => release.send().await,
            "minimal" => minimal.send().await,
            _ => {}
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, kind, times] = &args[..] else { panic!("usage: request_cost KIND TIMES") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(kind, times.parse().expect("a number")));
}
