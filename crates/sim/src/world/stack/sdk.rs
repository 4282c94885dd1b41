//! The product's DynamoDB store over the real AWS SDK, on the clocks of a host, and its table: an in-process DynamoDB
//! with the model beside it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use dynamo_lock::simulation::Clock;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row, ServiceDate};
use dynamo_lock::{DynamoDb, LockName, Store, StoreErrorKind};
use serde_json::{Value as Json, json};
use test_support::{LocalDynamoDb, Reply, item};

use crate::mutants::OpTag;
use crate::world::{
    Process, ProcessEnv, World, lock, show, show_op, stack::RealStore, stack::response::Response, stack::wire,
    stack::wire::HttpLink,
};

pub const TABLE: &str = "locks";

/// One request of the store, from its call to its answer.
#[derive(Debug)]
pub struct Call {
    pub store_request: StoreRequest,
    /// Number of HTTP requests that were sent for it.
    pub sent: AtomicU64,
    /// Response that arrived over HTTP, and the `Date` that counts.
    pub received: Mutex<Option<(Response, Option<ServiceDate>)>>,
}

#[derive(Debug)]
pub enum StoreRequest {
    Read(LockName, Consistency),
    Write(Op),
}

impl fmt::Display for StoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(name, consistency) => write!(f, "{name} read ({consistency:?})"),
            Self::Write(op) => f.write_str(&show_op(op)),
        }
    }
}

tokio::task_local! {
    /// Request that the SDK sends within this future. The connector receives only bytes.
    pub static CALL: Arc<Call>;
}

/// Store of one process.
#[derive(Debug)]
pub struct Sdk {
    process: Arc<Process>,
    store: DynamoDb,
}

impl Sdk {
    pub fn new(process: &Arc<Process>, table: &Arc<Table>, lease: Duration) -> Self {
        let config = table
            .0
            .config()
            .sleep_impl(Timers(ProcessEnv(process.clone())))
            .time_source(Timers(ProcessEnv(process.clone())))
            .http_client(HttpLink::new(process, table))
            .build();
        let store = DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config), TABLE);
        let hasty = process.draw(|rng| rng.chance(300));
        let store = if hasty { store.attempt_timeout(lease / 8) } else { store };
        Self { process: process.clone(), store: store.service_clock(process.world.plan.service_clock) }
    }

    /// Sends one request through the SDK. A process that is paused receives nothing.
    async fn call<T>(
        &self,
        store_request: StoreRequest,
        request: BoxFuture<'_, Answer<T>>,
        response: fn(&T) -> Response,
    ) -> Answer<T> {
        self.process.gate().await;
        let call = Arc::new(Call { store_request, sent: AtomicU64::new(0), received: Mutex::default() });
        let answer = CALL.scope(call.clone(), request).await;
        self.process.gate().await;
        let world = &self.process.world;
        let sent = call.sent.load(Relaxed);
        world.check_specified(sent == 1, || format!("{sent} requests were sent for {}", call.store_request));
        let (received, date) = lock(&call.received).take().unwrap_or_else(|| {
            world.count("abandoned by the SDK");
            (Response::Error(StoreErrorKind::Unanswered), None)
        });
        let returned = answer.result.as_ref().map_or_else(|error| Response::Error(error.kind()), response);
        world.check_agreement(&call.store_request, &returned, &received);
        world.check_specified(answer.date == date, || {
            format!("{}: {:?} for the date {date:?}", call.store_request, answer.date)
        });
        world.record_received(&self.process, returned.row_of_other());
        answer
    }
}

impl Store for Sdk {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            self.process.check_poll(name);
            let request = self.store.read(name, consistency);
            let store_request = StoreRequest::Read(name.clone(), consistency);
            let answer = self.call(store_request, request, |row| Response::Row(row.clone())).await;
            if answer.result.as_ref().is_err_and(|error| !error.is_retryable()) {
                self.process.record_other_work(); // A refusal ends the acquisition.
            }
            self.process.world.count("read");
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            self.process.check_retry(op);
            self.process.world.record_sent(&self.process, op);
            self.process.record_other_work();
            let request = self.store.write(op);
            let store_request = StoreRequest::Write(op.clone());
            let answer = self.call(store_request, request, |outcome| Response::Outcome(outcome.clone())).await;
            self.process.record_result(op, answer.result.as_ref().ok());
            self.process.world.count("write");
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

/// Timers and wall clock of the SDK, which are those of the host.
#[derive(Debug)]
struct Timers(ProcessEnv);

impl AsyncSleep for Timers {
    fn sleep(&self, length: Duration) -> Sleep {
        let process = self.0.0.clone();
        Sleep::new(async move { process.sleep(length).await })
    }
}

impl TimeSource for Timers {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.now().wall_ms)
    }
}

/// The table of a world.
pub struct Table(LocalDynamoDb);

/// Response of the table, as HTTP and as the protocol's result.
#[derive(Debug)]
pub struct Served {
    pub reply: Reply,
    pub response: Response,
}

impl Table {
    pub fn new() -> Self {
        let create = json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "name", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "name", "KeyType": "HASH" }],
        });
        let server = LocalDynamoDb::new();
        server.call("CreateTable", create).expect("the table can be created");
        Self(server)
    }

    /// Applies a request at this instant, in the table and in the model.
    pub fn serve(&self, process: &Arc<Process>, call: &Call, operation: &str, body: &str) -> Served {
        match &call.store_request {
            StoreRequest::Read(name, consistency) => self.read(process, call, (name, *consistency), (operation, body)),
            StoreRequest::Write(op) => self.write(process, call, op, (operation, body)),
        }
    }

    fn write(&self, process: &Arc<Process>, call: &Call, op: &Op, (operation, body): (&str, &str)) -> Served {
        let world = &process.world;
        let forgets = process.forgets();
        let model = world.apply(process, op);
        if let (true, Outcome::Applied(row)) = (forgets, &model) {
            let body = row.as_ref().map_or(json!({}), |row| json!({ "Attributes": item(row) }));
            let reply = Reply { status: 200, body: body.to_string() };
            return Served { reply, response: Response::Outcome(model) };
        }
        let body = with_fault(world, op, body);
        let reply = self.raw(operation, &body);
        let real = wire::outcome(&reply);
        let unknown = if real.is_some() { "" } else { reply.body.as_str() };
        world.trace(|| format!("the table answers HTTP {}{unknown}", reply.status));
        let response = real.clone().map_or(Response::Error(StoreErrorKind::Refused), Response::Outcome);
        let mut agrees = world.check_agreement(&call.store_request, &response, &Response::Outcome(model.clone()));
        if agrees && model == Outcome::Applied(None) {
            let row = Response::Row(wire::row(&self.0.item(TABLE, op.name.as_str())));
            agrees =
                world.check_agreement(&call.store_request, &row, &Response::Row(world.row(&op.name, Duration::ZERO)));
        }
        if !agrees {
            self.copy_model_row(world, &op.name);
        }
        Served { reply, response: Response::Outcome(real.unwrap_or(model)) }
    }

    fn read(
        &self,
        process: &Arc<Process>,
        call: &Call,
        store_request: (&LockName, Consistency),
        sent: (&str, &str),
    ) -> Served {
        let (world, (name, consistency), (operation, body)) = (&process.world, store_request, sent);
        let strong = serde_json::from_str::<Json>(body).is_ok_and(|body| body["ConsistentRead"] == true);
        world.check_specified(strong == (consistency == Consistency::Strong), || {
            format!("{}: it was sent with ConsistentRead = {strong}", call.store_request)
        });
        let mut reply = self.raw(operation, body);
        let model = world.row(name, Duration::ZERO);
        let response = wire::read(&reply).map_or(Response::Error(StoreErrorKind::Refused), Response::Row);
        if !world.check_agreement(&call.store_request, &response, &Response::Row(model.clone())) {
            self.copy_model_row(world, name);
        }
        // The table contains only the current row, so stale reads come from the model.
        let stale = world.staleness(if strong { Consistency::Strong } else { Consistency::Eventual });
        let row = if stale.is_zero() { model } else { world.row(name, stale) };
        world.trace(|| format!("{process:?} {name} read {stale:?} old: {}", show(row.as_ref())));
        if !stale.is_zero() {
            reply = Reply { status: 200, body: wire::found(name, row.as_ref()) };
        }
        Served { reply, response: Response::Row(row) }
    }

    /// Copies the model's row to the table after a reported difference, because clients could wait for ever on two
    /// different rows.
    fn copy_model_row(&self, world: &World, name: &LockName) {
        self.mirror_row(name.as_str(), world.row(name, Duration::ZERO).as_ref());
    }

    fn raw(&self, operation: &str, body: &str) -> Reply {
        match self.0.call(operation, serde_json::from_str(body).expect("the SDK sends JSON")) {
            Ok(body) => Reply { status: 200, body: body.to_string() },
            Err(error) => Reply { status: error.status_code(), body: error.to_json() },
        }
    }
}

impl RealStore for Table {
    fn store(self: Arc<Self>, process: &Arc<Process>, lease: Duration) -> Arc<dyn Store> {
        Arc::new(Sdk::new(process, &self, lease))
    }

    fn mirror_row(&self, name: &str, row: Option<&Row>) {
        self.0.set_row(TABLE, name, row);
    }
}

/// Returns the request as a faulty service understands it.
fn with_fault(world: &World, op: &Op, body: &str) -> String {
    let unchecked = world.mutant.unchecked.filter(|unchecked| unchecked.tag == OpTag::of(op));
    let unchecked = unchecked.map_or(&[][..], |unchecked| unchecked.attributes);
    let body = unchecked
        .iter()
        .fold(body.to_owned(), |body, name| wire::without(&body, "ConditionExpression", " AND ", &format!("#{name} ")));
    let lost = world.mutant.lost_changes(op).into_iter();
    lost.fold(body, |body, name| wire::without(&body, "UpdateExpression", ", ", &format!("#{name} =")))
}
