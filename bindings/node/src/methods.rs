//! The methods that JavaScript can call, by name and with JSON arguments.

use std::future::Future;
use std::sync::Arc;

use dynamo_lock::store::StoreOperation;
use dynamo_lock::{Client, FencingToken, Lock, LockOptions, StoreErrorKind, TableError, TableOptions, TryAcquire};
use serde_json::{Value as Json, json};

use crate::connection::{CallResult, Connection};
use crate::failure::Failure;
use crate::json;
use crate::settings::{Opened, millis};

/// Maximum number of rows per page of a listing.
const PAGE_ROWS: usize = 64;

impl Connection {
    /// Performs `method` and returns its result.
    pub(crate) async fn perform(self: &Arc<Self>, method: &str, args: &Json) -> CallResult {
        // Do not open the store only to close it, because opening may search for a Region and creates SQLite files.
        if !self.is_open() && matches!(method, "close" | "endList") {
            return Ok(Json::Null);
        }
        let opened = self.open().await?;
        let lock = || opened.client.lock(args["name"].as_str().unwrap_or_default());
        match method {
            "acquire" => self.acquire(&lock()?, args).await,
            "release" => self.release(args).await,
            "hold" => {
                let token = lock()?.hold(millis(&args["ms"]).unwrap_or_default()).await?;
                Ok(json!(token.to_string()))
            }
            "inspect" => Ok(json::inspection(&lock()?.inspect().await?)),
            "revoke" => revoke(&lock()?, args).await,
            "list" => self.list(&opened.client, args).await,
            "endList" => {
                self.take_list(number(&args["list"]));
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
            "createTable" => create_table(opened).await,
            "deleteTable" => delete_table(opened).await,
            other => Err(Failure::argument(&format!("unknown method {other:?}"))),
        }
    }

    /// Acquires a lock. Returns the number of its guard and its token, or null if `try` is set and the lock is held.
    async fn acquire(self: &Arc<Self>, lock: &Lock, args: &Json) -> CallResult {
        let options = acquire_options(lock, args);
        let guard = match (args["try"].as_bool(), millis(&args["waitMs"])) {
            (Some(true), _) => match options.try_acquire().await? {
                TryAcquire::Acquired(guard) => guard,
                TryAcquire::Held(_) => return Ok(Json::Null),
            },
            (_, Some(limit)) => options.acquire_within(limit).await?,
            (_, None) => options.acquire().await?,
        };
        let token = guard.token().to_string();
        Ok(json!({ "guard": self.add_guard(guard), "token": token }))
    }

    /// Releases a lock. Does nothing if its guard was released or forgotten before.
    async fn release(&self, args: &Json) -> CallResult {
        match self.take_guard(number(&args["guard"])) {
            Some(guard) => guard.release().await.map(|()| Json::Null).map_err(Failure::from),
            None => Ok(Json::Null),
        }
    }

    /// Returns the next page of a listing, and whether more rows follow. The first page starts the listing.
    async fn list(&self, client: &Client, args: &Json) -> CallResult {
        let id = number(&args["list"]);
        let mut list = self.take_list(id).unwrap_or_else(|| client.list());
        let mut rows = Vec::new();
        while rows.len() < PAGE_ROWS {
            let Some(listed) = list.try_next().await? else {
                return Ok(json!({ "rows": rows, "more": false }));
            };
            rows.push(match &listed.inspection {
                Ok(inspection) => json!({ "name": listed.name, "inspection": json::inspection(inspection) }),
                Err(error) => json!({ "name": listed.name, "failure": Failure::from(error.clone()).into_json() }),
            });
        }
        self.put_list(id, list);
        Ok(json!({ "rows": rows, "more": true }))
    }
}

fn acquire_options(lock: &Lock, args: &Json) -> LockOptions {
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
    options
}

async fn revoke(lock: &Lock, args: &Json) -> CallResult {
    let token = args["token"].as_str().and_then(|token| token.parse().ok()).map(FencingToken::new);
    let token = token.ok_or_else(|| Failure::argument(&"the token must be a whole number"))?;
    if args["force"].as_bool() == Some(true) {
        lock.force_revoke(token).await?;
    } else {
        lock.revoke(token).await?;
    }
    Ok(Json::Null)
}

/// Creates the table like npm dynamo-lock: with one read and one write unit, and without deletion of idle rows, because
/// that would require more permissions.
async fn create_table(opened: &Opened) -> CallResult {
    let table = opened.table.as_ref().ok_or_else(Failure::not_dynamodb)?;
    accepted(table.create_table(TableOptions::default().provisioned(1, 1).ttl(false))).await
}

async fn delete_table(opened: &Opened) -> CallResult {
    let table = opened.table.as_ref().ok_or_else(Failure::not_dynamodb)?;
    accepted(table.delete_table()).await
}

/// Succeeds if the request was accepted but `DescribeTable` is denied, because npm dynamo-lock did not need that
/// permission: it did not wait for the end of the creation or deletion.
async fn accepted(work: impl Future<Output = Result<(), TableError>>) -> CallResult {
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

/// Returns the number of a guard or a listing. Numbers start at 1, so 0 matches none.
fn number(json: &Json) -> u32 {
    json.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}
