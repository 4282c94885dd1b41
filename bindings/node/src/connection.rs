//! One client of JavaScript: its store, opened at the first call, its held locks, and its calls under way.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_sdk_dynamodb::types::ConditionCheck;
use dynamo_lock::store::StoreOperation;
use dynamo_lock::{FencingToken, Guard, List, Lock, StoreErrorKind, TableError, TableOptions, TryAcquire};
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::port::{Kind, Port};
use crate::settings::{Opened, Settings, millis};
use crate::show;

/// Rows that a listing gives in one message.
const ROWS: usize = 64;

type Said = Result<Json, Failure>;

pub(crate) struct Connection {
    settings: Settings,
    port: Arc<Port>,
    opened: OnceCell<Opened>,
    guards: Mutex<HashMap<u32, Guard>>,
    lists: Mutex<HashMap<u32, List>>,
    calls: Mutex<HashMap<u32, CancellationToken>>,
    next_guard: AtomicU32,
    abandoned: CancellationToken,
}

impl Connection {
    pub(crate) fn new(settings: Settings, port: Port) -> Self {
        Self {
            settings,
            port: Arc::new(port),
            opened: OnceCell::new(),
            guards: Mutex::default(),
            lists: Mutex::default(),
            calls: Mutex::default(),
            next_guard: AtomicU32::new(1),
            abandoned: CancellationToken::new(),
        }
    }

    /// Begins a call; whatever it comes to is posted once.
    pub(crate) fn call(this: &Arc<Self>, runtime: &Handle, id: u32, method: String, args: &str) {
        let args: Json = serde_json::from_str(args).unwrap_or_default();
        let stop = this.abandoned.child_token();
        locked(&this.calls).insert(id, stop.clone());
        // Its drop answers, so that a fault of ours leaves no promise open.
        let under_way = UnderWay { connection: this.clone(), id, said: Err(Failure::fault(&method)) };
        runtime.spawn(async move {
            let said = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failure::cancelled()),
                said = under_way.connection.perform(&method, &args) => said,
            };
            under_way.end(said);
        });
    }

    pub(crate) fn cancel(&self, id: u32) {
        if let Some(stop) = locked(&self.calls).get(&id) {
            stop.cancel();
        }
    }

    pub(crate) fn reply(&self, question: u32, answer: String) {
        self.port.reply(question, answer);
    }

    pub(crate) fn with_guard<T>(&self, id: u32, f: impl FnOnce(&Guard) -> T) -> Option<T> {
        locked(&self.guards).get(&id).map(f)
    }

    /// Returns the condition for a transaction, `None` if the store is not DynamoDB.
    pub(crate) fn condition_check(&self, id: u32) -> Option<ConditionCheck> {
        let table = self.opened.get()?.table.as_ref()?;
        self.with_guard(id, |guard| table.condition_check(guard).ok())?
    }

    /// Gives a lock up in the background.
    pub(crate) fn forget(&self, id: u32) {
        let guard = locked(&self.guards).remove(&id);
        drop(guard);
    }

    /// Nobody hears us any more: calls end, and what is held is released in the background.
    pub(crate) fn abandon(&self) {
        self.abandoned.cancel();
        let guards = std::mem::take(&mut *locked(&self.guards));
        drop(guards);
    }

    async fn perform(self: &Arc<Self>, method: &str, args: &Json) -> Said {
        // Nothing is opened only to be left: that may look for a Region, and makes files.
        if self.opened.get().is_none() && matches!(method, "close" | "endList") {
            return Ok(Json::Null);
        }
        let opened = self.opened.get_or_try_init(|| self.settings.open(&self.port)).await?;
        let lock = || opened.client.lock(args["name"].as_str().unwrap_or_default());
        match method {
            "open" => Ok(Json::Null),
            "acquire" => self.acquire(&lock()?, args).await,
            "release" => self.release(args).await,
            "hold" => {
                let token = lock()?.hold(duration(&args["ms"])).await?;
                Ok(json!(token.to_string()))
            }
            "inspect" => Ok(show::inspection(&lock()?.inspect().await?)),
            "revoke" => {
                let token = args["token"].as_str().and_then(|token| token.parse().ok()).map(FencingToken::new);
                let token = token.ok_or_else(|| Failure::argument(&"a token is a whole number"))?;
                lock()?.revoke(token).await?;
                Ok(Json::Null)
            }
            "list" => self.list(&opened.client, args).await,
            "endList" => {
                locked(&self.lists).remove(&number(&args["list"]));
                Ok(Json::Null)
            }
            "close" => {
                opened.client.close().await;
                Ok(Json::Null)
            }
            "getLock" => {
                lock()?.legacy_get(args["ms"].as_i64().unwrap_or(0)).await?;
                Ok(Json::Null)
            }
            "createTable" => {
                let table = opened.table.as_ref().ok_or_else(Failure::not_dynamodb)?;
                // As the original: without deletion of idle rows, which asks for more permissions.
                accepted(table.create_table(TableOptions::default().provisioned(1, 1).ttl(false))).await
            }
            "deleteTable" => {
                let table = opened.table.as_ref().ok_or_else(Failure::not_dynamodb)?;
                accepted(table.delete_table()).await
            }
            other => Err(Failure::argument(&format!("there is no method {other}"))),
        }
    }

    /// A guard's number and token; nothing if somebody else holds the lock and there is no waiting.
    async fn acquire(self: &Arc<Self>, lock: &Lock, args: &Json) -> Said {
        let mut options = lock.options();
        if let Some(lease) = millis(&args["leaseMs"]) {
            options = options.lease(lease);
        }
        if let Some(max_hold) = millis(&args["maxHoldMs"]) {
            options = options.max_hold(max_hold);
        }
        if let Some(data) = args["data"].as_str() {
            options = options.data(data);
        }
        let guard = match (args["try"].as_bool(), millis(&args["waitMs"])) {
            (Some(true), _) => match options.try_acquire().await? {
                TryAcquire::Acquired(guard) => guard,
                TryAcquire::Held(_) => return Ok(Json::Null),
            },
            (_, Some(limit)) => options.acquire_within(limit).await?,
            (_, None) => options.acquire().await?,
        };
        let token = guard.token().to_string();
        let id = self.next_guard.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(watch(Arc::downgrade(self), id, guard.cancellation()));
        locked(&self.guards).insert(id, guard);
        if self.abandoned.is_cancelled() {
            self.forget(id);
        }
        Ok(json!({ "guard": id, "lockToken": token }))
    }

    async fn release(&self, args: &Json) -> Said {
        let id = number(&args["guard"]);
        let guard = locked(&self.guards).remove(&id);
        match guard {
            Some(guard) => guard.release().await.map(|()| Json::Null).map_err(Failure::from),
            None => Ok(Json::Null), // released before
        }
    }

    /// Some rows of a listing, and whether there are more.
    async fn list(&self, client: &dynamo_lock::Client, args: &Json) -> Said {
        let id = number(&args["list"]);
        let begun = locked(&self.lists).remove(&id);
        let mut list = begun.unwrap_or_else(|| client.list());
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let Some(listed) = list.next().await else {
                return Ok(json!({ "rows": rows, "more": false }));
            };
            let listed = listed?;
            rows.push(match &listed.inspection {
                Ok(said) => json!({ "name": listed.name, "said": show::inspection(said) }),
                Err(error) => json!({ "name": listed.name, "failure": Failure::from(error.clone()).json() }),
            });
        }
        locked(&self.lists).insert(id, list);
        Ok(json!({ "rows": rows, "more": true }))
    }
}

/// A call until it is answered.
struct UnderWay {
    connection: Arc<Connection>,
    id: u32,
    said: Said,
}

impl UnderWay {
    fn end(mut self, said: Said) {
        self.said = said;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        locked(&self.connection.calls).remove(&self.id);
        let body = match std::mem::replace(&mut self.said, Ok(Json::Null)) {
            Ok(value) => json!({ "value": value }),
            Err(failure) => json!({ "failure": failure.json() }),
        };
        self.connection.port.post(Kind::Answer, self.id, body.to_string());
    }
}

/// Tells JavaScript of a loss. It ends with the guard.
async fn watch(connection: Weak<Connection>, id: u32, stop: CancellationToken) {
    stop.cancelled().await;
    let Some(connection) = connection.upgrade() else { return };
    // A guard that is gone was released.
    let lost = connection.with_guard(id, |guard| guard.loss()).flatten();
    if let Some(lost) = lost {
        connection.port.post(Kind::Lost, id, Failure::from(&lost).json().to_string());
    }
}

/// The original asked to make or delete, and no more: who may not look whether it is done has it accepted all the same.
async fn accepted(work: impl Future<Output = Result<(), TableError>>) -> Said {
    match work.await {
        Ok(()) => Ok(Json::Null),
        Err(TableError::Store(error))
            if error.kind() == StoreErrorKind::AccessDenied
                && error.operation() == Some(StoreOperation::DescribeTable) =>
        {
            Ok(Json::Null)
        }
        Err(error) => Err(error.into()),
    }
}

/// Zero, which is refused, if it is none.
fn duration(json: &Json) -> Duration {
    millis(json).unwrap_or_default()
}

/// Of a guard or a listing; none has zero.
fn number(json: &Json) -> u32 {
    json.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
