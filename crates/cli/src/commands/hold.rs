//! `hold`: acquires a lock for a fixed time.

use dynamo_lock::HoldError;

use crate::exit::{Exit, NOT_ACQUIRED};
use crate::failure::Failure;
use crate::plan::HoldTask;
use crate::store::OpenStore;
use crate::ui::{format, output};

/// Acquires the lock for the given time and prints its token. The lock stays held after this process has ended.
pub async fn hold(store: &OpenStore, task: HoldTask) -> Result<Exit, Failure> {
    let name = &task.name;
    let client = store.client().owner(task.owner).build()?;
    let held = client.lock(name.as_str()).map_err(Failure::usage)?.hold(task.duration).await;
    // If the lock was acquired but not for the whole time, the client releases it in the background, and close waits.
    client.close().await;
    match held {
        Ok(token) => match output::print_once(&token.to_string()) {
            Ok(()) => Ok(Exit::Success),
            Err(failure) => {
                let message = format!("lock {name:?} is held with token {token}, but: {}", failure.message);
                Err(Failure::new(failure.kind, message))
            }
        },
        Err(HoldError::Held { holder }) => {
            let message = format!("lock {name:?} is held by {}; try again later", format::holder(&holder));
            Ok(Exit::NotAcquired { code: NOT_ACQUIRED, message: Some(message) })
        }
        Err(error) => Err(error.into()),
    }
}
