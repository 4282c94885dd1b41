//! The methods for locks with several holders: semaphores and read/write locks.

use std::sync::Arc;

use dynamo_lock::{Client, LeaseId, PermitOptions, RwLock, TryPermit};
use serde_json::{Value as Json, json};

use crate::connection::{CallResult, Connection};
use crate::methods::without_value;
use crate::{failure::Failure, held::Held, json, settings::millis};

impl Connection {
    /// Acquires a slot of a semaphore. Returns the number of its guard and its lease ID, or a holder if `try` is set and
    /// all slots are taken.
    pub(crate) async fn acquire_permit(self: &Arc<Self>, client: &Client, args: &Json) -> CallResult {
        let options = permit_options(client, args)?;
        let permit = match (args["try"].as_bool(), millis(&args["waitMs"])) {
            (Some(true), _) => match options.try_acquire().await? {
                TryPermit::Acquired(permit) => permit,
                TryPermit::Full(holder) => return Ok(json!({ "holder": json::holder(&holder) })),
            },
            (_, Some(limit)) => options.acquire_within(limit).await?,
            (_, None) => options.acquire().await?,
        };
        let lease_id = json::lease_id(permit.lease_id().as_ref());
        Ok(json!({ "guard": self.add_guard(Held::Permit(permit)), "leaseId": lease_id }))
    }
}

fn permit_options(client: &Client, args: &Json) -> Result<PermitOptions, Failure> {
    let slots = args["slots"].as_u64().unwrap_or(0);
    let mut options = client.semaphore(name(args), slots).map_err(Failure::argument)?.options();
    if let Some(lease) = millis(&args["leaseMs"]) {
        options = options.lease(lease);
    }
    if let Some(max_hold) = millis(&args["maxHoldMs"]) {
        options = options.max_hold(max_hold);
    }
    Ok(options)
}

/// Returns the read/write lock with the name in `args`.
pub(crate) fn named_rw_lock(client: &Client, args: &Json) -> Result<RwLock, Failure> {
    client.rw_lock(name(args)).map_err(Failure::argument)
}

/// Revokes one holder of a row with several holders, also of a semaphore.
pub(crate) async fn revoke_holder(lock: &RwLock, args: &Json) -> CallResult {
    let id = LeaseId::from(args["id"].as_str().unwrap_or_default());
    without_value(match args["force"].as_bool() {
        Some(true) => lock.force_revoke(&id).await,
        _ => lock.revoke(&id).await,
    })
}

fn name(args: &Json) -> &str {
    args["name"].as_str().unwrap_or_default()
}
