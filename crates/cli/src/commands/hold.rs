//! `hold`: acquires a lock for a fixed time.

use std::time::Duration;

use dynamo_lock::HoldError;
use serde_json::json;

use crate::{exit::Exit, exit::NOT_ACQUIRED, failure::Failure, store::OpenStore, ui::format, ui::output};

/// Acquires the lock for the given time and prints its token. The lock stays held after this process has ended.
pub async fn hold(
    store: &OpenStore,
    name: &str,
    duration: Duration,
    owner: String,
    json: bool,
) -> Result<Exit, Failure> {
    let client = store.client().owner(owner).build()?;
    let held = client.lock(name).map_err(Failure::usage)?.hold(duration).await;
    // If the lock was acquired but not for the whole time, the client releases it in the background, and close waits.
    client.close().await;
    match held {
        Ok(token) => {
            let object = json!({ "name": name, "token": token.get(), "leaseMs": duration.as_millis() as u64 });
            let line = if json { output::json_line(&object) } else { token.to_string() };
            output::print_once(&line).map(|()| Exit::Success).map_err(|failure| {
                let message = format!("lock {name:?} is held with token {token}, but: {}", failure.message);
                Failure { message, ..failure }
            })
        }
        Err(HoldError::Held { holder }) => {
            let message = format!("lock {name:?} is held by {}; try again later", format::holder(&holder));
            Ok(Exit::NotAcquired { code: NOT_ACQUIRED, message: Some(message) })
        }
        Err(error) => Err(error.into()),
    }
}
