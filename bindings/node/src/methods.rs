//! The methods that JavaScript can call, by name and with JSON arguments.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::{StoreOperation, TableFault};
use dynamo_lock::{
    Client, FencingToken, Lock, LockOptions, LockSetOptions, OnceStart, StoreErrorKind, TableError, TableOptions,
    TryAcquire,
};
use serde_json::{Value as Json, json};

use crate::connection::{CallResult, Connection, lock};
use crate::shared::{named_rw_lock, revoke_holder};
use crate::{failure::Failure, held::Held, json, settings::millis};

/// Maximum number of rows per page of a listing.
const PAGE_ROWS: usize = 64;

impl Connection {
    /// Performs `method` and returns its result.
    pub(crate) async fn perform(self: &Arc<Self>, method: &str, args: &Json) -> CallResult {
        // Do not open the store only to close it, because opening may search for a Region and creates SQLite files.
        if !self.opened.initialized() && matches!(method, "close" | "settle" | "endList") {
            return Ok(Json::Null);
        }
        let opened = self.open().await?;
        let named_lock = || opened.client.lock(args["name"].as_str().unwrap_or_default()).map_err(Failure::argument);
        let table = || opened.table.as_ref().ok_or_else(Failure::not_dynamodb);
        match method {
            "acquire" => self.acquire(named_lock()?.options(), args).await,
            "acquirePermit" => self.acquire_permit(&opened.client, args).await,
            "read" => self.acquire(named_rw_lock(&opened.client, args)?.read_options(), args).await,
            "write" => self.acquire(named_rw_lock(&opened.client, args)?.write_options(), args).await,
            "acquireAll" => self.acquire_all(&opened.client, args).await,
            "release" => self.release(args).await,
            "renew" => self.guard_of(args)?.renew().await,
            "updateData" => self.guard_of(args)?.update_data(args["data"].as_str().unwrap_or_default()).await,
            "once" => self.once(&named_lock()?, args).await,
            "succeed" => self.succeed(args).await,
            "resetSuccess" => without_value(named_lock()?.reset_success(token(args)?).await),
            "hold" => {
                let token = named_lock()?.hold(millis(&args["ms"]).unwrap_or_default()).await?;
                Ok(json!(token.to_string()))
            }
            "inspect" => Ok(json::inspection(&named_lock()?.inspect().await?)),
            "revoke" => revoke(&named_lock()?, args).await,
            "revokeHolder" => revoke_holder(&named_rw_lock(&opened.client, args)?, args).await,
            "convert" => without_value(named_rw_lock(&opened.client, args)?.convert().await),
            "reset" => without_value(named_lock()?.reset().await),
            "list" => self.list(&opened.client, args).await,
            "endList" => {
                lock(&self.lists).remove(&number(&args["list"]));
                Ok(Json::Null)
            }
            "close" => {
                opened.client.close().await;
                Ok(Json::Null)
            }
            "settle" => {
                opened.client.wait_for_background().await;
                Ok(Json::Null)
            }
            "getLock" => without_value(named_lock()?.legacy_get(args["ms"].as_i64().unwrap_or(0)).await),
            // Like npm dynamo-lock: with one read and one write unit, and without deletion of idle rows, because that
            // would require more permissions.
            "createTable" => {
                accepted(table()?.create_table(TableOptions::default().provisioned(1, 1).ttl(false))).await
            }
            "createNewTable" => without_value(table()?.create_table(table_options(args)).await),
            "checkTable" => {
                let faults = table()?.check_table().await.map_err(Failure::from)?;
                let fault = |fault: &TableFault| json!({ "message": fault.to_string(), "warning": fault.is_warning() });
                Ok(faults.iter().map(fault).collect())
            }
            "deleteTable" => accepted(table()?.delete_table()).await,
            other => Err(Failure::argument(format!("unknown method {other:?}"))),
        }
    }

    /// Acquires a lock. Returns what describes its guard, or its holder if `try` is set and the lock is held.
    async fn acquire(self: &Arc<Self>, options: LockOptions, args: &Json) -> CallResult {
        let options = acquire_options(options, args);
        let guard = match (args["try"].as_bool(), millis(&args["waitMs"])) {
            (Some(true), _) => match options.try_acquire().await? {
                TryAcquire::Acquired(guard) => guard,
                TryAcquire::Held(holder) => return Ok(json!({ "holder": json::holder(&holder) })),
            },
            (_, Some(limit)) => options.acquire_within(limit).await?,
            (_, None) => options.acquire().await?,
        };
        let (token, lease_id) = (guard.token().to_string(), json::lease_id(guard.lease_id().as_ref()));
        Ok(json!({ "guard": self.add_guard(Held::One(guard)), "token": token, "leaseId": lease_id }))
    }

    /// Acquires the lock on work that has not succeeded. Returns what describes its guard, or the success.
    async fn once(self: &Arc<Self>, lock: &Lock, args: &Json) -> CallResult {
        let mut options = acquire_options(lock.options(), args).once();
        if let Some(lasts) = millis(&args["forMs"]) {
            options = options.counts_for(lasts);
        }
        options = match millis(&args["waitMs"]) {
            Some(Duration::ZERO) => options.no_wait(),
            Some(limit) => options.wait_within(limit),
            None => options,
        };
        match options.start().await? {
            OnceStart::Started(guard) => {
                let (token, lease_id) = (guard.token().to_string(), json::lease_id(guard.lease_id().as_ref()));
                Ok(json!({ "guard": self.add_guard(Held::Once(guard)), "token": token, "leaseId": lease_id }))
            }
            OnceStart::Done(success) => Ok(json!({ "success": json::success(&success) })),
            OnceStart::Running(holder) => Err(Failure::running(lock.name(), &holder)),
        }
    }

    /// Records the success of the work under a lock. Fails if its guard was released or forgotten before.
    async fn succeed(&self, args: &Json) -> CallResult {
        match self.take_guard(number(&args["guard"])) {
            Some(held) => held.succeed().await,
            None => Err(Failure::cancelled()),
        }
    }

    /// Acquires several locks. Returns the number of their guard, and pairs of name and token.
    async fn acquire_all(self: &Arc<Self>, client: &Client, args: &Json) -> CallResult {
        let names: Vec<&str> = args["names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let options = acquire_all_options(client.lock_all(names).map_err(Failure::argument)?.options(), args);
        let guards = match millis(&args["waitMs"]) {
            Some(limit) => options.acquire_within(limit).await?,
            None => options.acquire().await?,
        };
        let tokens = guards.tokens().iter().map(|(name, token)| json!([name.as_str(), token.to_string()]));
        let tokens: Json = tokens.collect();
        Ok(json!({ "guard": self.add_guard(Held::All(guards)), "tokens": tokens }))
    }

    /// Returns the guard of a call that waits.
    fn guard_of(&self, args: &Json) -> Result<Arc<Held>, Failure> {
        self.guard(number(&args["guard"])).ok_or_else(Failure::cancelled)
    }

    /// Releases a lock. Does nothing if its guard was released or forgotten before.
    async fn release(&self, args: &Json) -> CallResult {
        match self.take_guard(number(&args["guard"])) {
            Some(held) => held.release().await,
            None => Ok(Json::Null),
        }
    }

    /// Returns the next page of a listing, and whether more rows follow. The first page starts the listing.
    async fn list(&self, client: &Client, args: &Json) -> CallResult {
        let id = number(&args["list"]);
        let stored = lock(&self.lists).remove(&id);
        let mut list = stored.unwrap_or_else(|| client.list());
        let mut rows = Vec::new();
        while rows.len() < PAGE_ROWS {
            let Some(listed) = list.try_next().await? else {
                return Ok(json!({ "rows": rows, "more": false }));
            };
            rows.push(match &listed.inspection {
                Ok(inspection) => json!({ "name": listed.name, "inspection": json::inspection(inspection) }),
                Err(error) => json!({ "name": listed.name, "failure": Failure::bad_row(error).0 }),
            });
        }
        lock(&self.lists).insert(id, list);
        Ok(json!({ "rows": rows, "more": true }))
    }
}

fn acquire_options(mut options: LockOptions, args: &Json) -> LockOptions {
    if let Some(lease) = millis(&args["leaseMs"]) {
        options = options.lease(lease);
    }
    if let Some(max_hold) = millis(&args["maxHoldMs"]) {
        options = options.max_hold(max_hold);
    }
    if let Some(data) = args["data"].as_str() {
        options = options.data(data);
    }
    options
}

fn acquire_all_options(mut options: LockSetOptions, args: &Json) -> LockSetOptions {
    if let Some(lease) = millis(&args["leaseMs"]) {
        options = options.lease(lease);
    }
    if let Some(max_hold) = millis(&args["maxHoldMs"]) {
        options = options.max_hold(max_hold);
    }
    if let Some(data) = args["data"].as_str() {
        options = options.data(data);
    }
    options
}

fn table_options(args: &Json) -> TableOptions {
    let mut options = TableOptions::default();
    let units = |json: &Json| json.as_u64().and_then(|units| u32::try_from(units).ok());
    if let (Some(read), Some(write)) = (units(&args["readUnits"]), units(&args["writeUnits"])) {
        options = options.provisioned(read, write);
    }
    if let Some(ttl) = args["ttl"].as_bool() {
        options = options.ttl(ttl);
    }
    if let Some(protected) = args["deletionProtection"].as_bool() {
        options = options.deletion_protection(protected);
    }
    args["tags"]
        .as_object()
        .into_iter()
        .flatten()
        .fold(options, |options, (key, value)| options.tag(key, value.as_str().unwrap_or_default()))
}

async fn revoke(lock: &Lock, args: &Json) -> CallResult {
    let token = token(args)?;
    without_value(match args["force"].as_bool() {
        Some(true) => lock.force_revoke(token).await,
        _ => lock.revoke(token).await,
    })
}

fn token(args: &Json) -> Result<FencingToken, Failure> {
    let token = args["token"].as_str().and_then(|token| token.parse().ok()).map(FencingToken::new);
    token.ok_or_else(|| Failure::argument("the token must be a whole number"))
}

/// Succeeds if the request was accepted but `DescribeTable` is denied, because npm dynamo-lock did not need that
/// permission: it did not wait for the end of the creation or deletion.
async fn accepted(work: impl Future<Output = Result<(), TableError>>) -> CallResult {
    match work.await {
        Err(TableError::Store(error))
            if error.kind() == StoreErrorKind::AccessDenied
                && error.operation() == Some(StoreOperation::DescribeTable) =>
        {
            Ok(Json::Null)
        }
        result => without_value(result),
    }
}

/// Returns the result of a call that has no value.
pub(crate) fn without_value<E: Into<Failure>>(result: Result<(), E>) -> CallResult {
    result.map(|()| Json::Null).map_err(Into::into)
}

/// Returns the number of a guard or a listing. Numbers start at 1, so 0 matches none.
fn number(json: &Json) -> u32 {
    json.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}
