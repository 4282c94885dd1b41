//! The product's DynamoDB store over the real AWS SDK, on a host's clocks, and the table that it asks: a DynamoDB in
//! process, with the model beside it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::{AsyncSleep, BehaviorVersion, Config, Credentials, Region, Sleep};
use aws_smithy_async::time::TimeSource;
use dynamo_lock::simulation::Clock;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row, ServiceDate};
use dynamo_lock::{DynamoDb, LockName, Store, StoreErrorKind};
use dynoxide::{Database, DynoxideError};
use serde_json::{Value as Json, json};

use super::Real;
use super::told::Told;
use super::wire::{self, Wire};
use crate::mutants::OpTag;
use crate::world::host::{Host, Inside};
use crate::world::store::{show, show_op};
use crate::world::{World, lock};

pub const TABLE: &str = "locks";

/// One request of the store, from its call to its answer.
#[derive(Debug)]
pub struct Call {
    pub asked: Asked,
    /// HTTP requests that were sent for it.
    pub sent: AtomicU64,
    /// What the wire brought back, and the `Date` that counts.
    pub heard: Mutex<Option<(Told, Option<ServiceDate>)>>,
}

#[derive(Debug)]
pub enum Asked {
    Read(LockName, Consistency),
    Write(Op),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(name, consistency) => write!(f, "{name} read ({consistency:?})"),
            Self::Write(op) => f.write_str(&show_op(op)),
        }
    }
}

tokio::task_local! {
    /// What the SDK is asked within this future: the connector sees only bytes.
    pub static CALL: Arc<Call>;
}

/// The real store, and what it is asked.
#[derive(Debug)]
pub struct Sdk {
    host: Arc<Host>,
    store: DynamoDb,
}

impl Sdk {
    pub fn new(host: &Arc<Host>, table: &Arc<Table>, lease: Duration) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "simulated"))
            .sleep_impl(Timers(Inside(host.clone())))
            .time_source(Timers(Inside(host.clone())))
            .http_client(Wire::new(host, table))
            .build();
        let store = DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config), TABLE);
        let hasty = host.roll(|dice| dice.chance(300));
        let store = if hasty { store.attempt_timeout(lease / 8) } else { store };
        Self { host: host.clone(), store: store.service_clock(host.world.plan.service_clock) }
    }

    /// One request through the SDK. A process that is stopped hears nothing, whoever answers.
    async fn call<T>(&self, asked: Asked, request: BoxFuture<'_, Answer<T>>, told: fn(&T) -> Told) -> Answer<T> {
        self.host.gate().await;
        let call = Arc::new(Call { asked, sent: AtomicU64::new(0), heard: Mutex::default() });
        let answer = CALL.scope(call.clone(), request).await;
        self.host.gate().await;
        let world = &self.host.world;
        let sent = call.sent.load(Relaxed);
        world.specified(sent == 1, || format!("{sent} requests were sent for {}", call.asked));
        let (heard, date) = lock(&call.heard).take().unwrap_or_else(|| {
            world.count("not waited for by the SDK");
            (Told::Error(StoreErrorKind::Unanswered), None)
        });
        let said = answer.result.as_ref().map_or_else(|error| Told::Error(error.kind()), told);
        world.agree(&call.asked, &said, &heard);
        world.specified(answer.date == date, || format!("{}: {:?} for the date {date:?}", call.asked, answer.date));
        world.note_heard(&self.host, said.news());
        answer
    }
}

impl Store for Sdk {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            self.host.asks_again(name);
            let request = self.store.read(name, consistency);
            let asked = Asked::Read(name.clone(), consistency);
            let answer = self.call(asked, request, |row| Told::Row(row.clone())).await;
            self.host.has_read(name.clone());
            self.host.world.count("read");
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            self.host.begins();
            self.host.tries(op);
            self.host.world.note_sent(&self.host, op);
            let request = self.store.write(op);
            let asked = Asked::Write(op.clone());
            let answer = self.call(asked, request, |outcome| Told::Outcome(outcome.clone())).await;
            self.host.has_tried(op, answer.result.as_ref().ok());
            self.host.world.count("write");
            answer
        })
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { Ok(Page::default()).into() })
    }

    fn service_clock(&self) -> bool {
        Store::service_clock(&self.store)
    }
}

/// The SDK's timers and its wall clock, which are the host's.
#[derive(Debug)]
struct Timers(Inside);

impl AsyncSleep for Timers {
    fn sleep(&self, length: Duration) -> Sleep {
        let host = self.0.0.clone();
        Sleep::new(async move { host.sleep(length).await })
    }
}

impl TimeSource for Timers {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.now().wall_ms)
    }
}

/// The table of a world.
pub struct Table {
    database: Database,
}

/// What the table says to a request, in HTTP and in the protocol's words.
#[derive(Debug)]
pub struct Served {
    pub status: u16,
    pub body: String,
    pub told: Told,
}

impl Table {
    pub fn new() -> Self {
        let table = Self { database: Database::memory().expect("SQLite in memory") };
        let create = json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "name", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "name", "KeyType": "HASH" }],
        });
        table.ask("CreateTable", &create.to_string()).expect("a table");
        table
    }

    /// A request takes effect at this instant, in the table and in the model.
    pub fn serve(&self, host: &Arc<Host>, call: &Call, operation: &str, body: &str) -> Served {
        match &call.asked {
            Asked::Read(name, consistency) => self.read(host, call, (name, *consistency), (operation, body)),
            Asked::Write(op) => self.write(host, call, op, (operation, body)),
        }
    }

    fn write(&self, host: &Arc<Host>, call: &Call, op: &Op, (operation, body): (&str, &str)) -> Served {
        let world = &host.world;
        let forgets = host.forgets();
        let model = world.apply(host, op);
        if let (true, Outcome::Applied(row)) = (forgets, &model) {
            let body = json!({ "Attributes": wire::item(row) }).to_string();
            return Served { status: 200, body, told: Told::Outcome(model) };
        }
        let body = spoilt(world, op, body);
        let (status, body) = self.raw(operation, &body);
        let real = match (operation, status) {
            // A put answers nothing: what it has left is looked up.
            ("PutItem", 200) => self.stands(&op.name).map(Outcome::Applied),
            _ => wire::outcome(status, &body),
        };
        world.trace(|| format!("the table says HTTP {status}{}", if real.is_some() { "" } else { body.as_str() }));
        let told = real.clone().map_or(Told::Error(StoreErrorKind::Refused), Told::Outcome);
        if !world.agree(&call.asked, &told, &Told::Outcome(model.clone())) {
            self.mend(world, &op.name);
        }
        Served { status, body, told: Told::Outcome(real.unwrap_or(model)) }
    }

    fn read(&self, host: &Arc<Host>, call: &Call, asked: (&LockName, Consistency), sent: (&str, &str)) -> Served {
        let (world, (name, consistency), (operation, body)) = (&host.world, asked, sent);
        let strong = serde_json::from_str::<Json>(body).is_ok_and(|body| body["ConsistentRead"] == true);
        world.specified(strong == (consistency == Consistency::Strong), || {
            format!("{}: it was sent with ConsistentRead = {strong}", call.asked)
        });
        let (status, body) = self.raw(operation, body);
        let model = world.row(name, Duration::ZERO);
        let told = wire::read(status, &body).map_or(Told::Error(StoreErrorKind::Refused), Told::Row);
        if !world.agree(&call.asked, &told, &Told::Row(model.clone())) {
            self.mend(world, name);
        }
        // The table knows only what is there now.
        let stale = world.staleness(if strong { Consistency::Strong } else { Consistency::Eventual });
        let row = if stale.is_zero() { model } else { world.row(name, stale) };
        world.trace(|| format!("{host:?} {name} read {stale:?} old: {}", show(row.as_ref())));
        let body = if stale.is_zero() { body } else { wire::found(name, row.as_ref()) };
        Served { status, body, told: Told::Row(row) }
    }

    /// The row that the table has.
    fn stands(&self, name: &LockName) -> Option<Row> {
        let key = json!({ "TableName": TABLE, "Key": { "name": { "S": name.as_str() } }, "ConsistentRead": true });
        let (status, body) = self.raw("GetItem", &key.to_string());
        wire::read(status, &body).flatten()
    }

    /// After a disagreement, of which has been told: a table and a model that show two rows could be waited on for ever.
    fn mend(&self, world: &World, name: &LockName) {
        self.planted(name.as_str(), world.row(name, Duration::ZERO).as_ref());
    }

    fn raw(&self, operation: &str, body: &str) -> (u16, String) {
        match self.ask(operation, body) {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    fn ask(&self, operation: &str, body: &str) -> Result<String, DynoxideError> {
        macro_rules! ask {
            ($($name:literal => $method:ident),* $(,)?) => {
                match operation {
                    $($name => {
                        let request = serde_json::from_str(body);
                        let request = request.map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
                        Ok(serde_json::to_string(&self.database.$method(request)?).expect("JSON"))
                    })*
                    _ => Err(DynoxideError::SerializationException(format!("no operation {operation}"))),
                }
            };
        }
        ask! {
            "CreateTable" => create_table,
            "GetItem" => get_item,
            "PutItem" => put_item,
            "UpdateItem" => update_item,
            "DeleteItem" => delete_item,
        }
    }
}

impl Real for Table {
    fn store(self: Arc<Self>, host: &Arc<Host>, lease: Duration) -> Arc<dyn Store> {
        Arc::new(Sdk::new(host, &self, lease))
    }

    fn planted(&self, name: &str, row: Option<&Row>) {
        let done = match row {
            Some(row) => {
                let mut item = wire::item(row);
                item["name"] = json!({ "S": name });
                self.ask("PutItem", &json!({ "TableName": TABLE, "Item": item }).to_string())
            }
            None => {
                let key = json!({ "TableName": TABLE, "Key": { "name": { "S": name } } });
                self.ask("DeleteItem", &key.to_string())
            }
        };
        done.expect("the table takes it");
    }
}

/// The request as a faulty service understands it.
fn spoilt(world: &World, op: &Op, body: &str) -> String {
    let unchecked = world.mutant.unchecked.filter(|unchecked| unchecked.tag == OpTag::of(op));
    let unchecked = unchecked.map_or(&[][..], |unchecked| unchecked.attributes);
    let body = unchecked
        .iter()
        .fold(body.to_owned(), |body, name| wire::without(&body, "ConditionExpression", " AND ", &format!("#{name} ")));
    let lost = world.mutant.lost_changes(op).into_iter();
    lost.fold(body, |body, name| wire::without(&body, "UpdateExpression", ", ", &format!("#{name} =")))
}
