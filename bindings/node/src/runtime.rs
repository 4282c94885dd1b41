//! The one thread that everything runs on.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle};

/// Begun at the first call that can, never ended: it goes with the process, also when the worker that began it is gone.
pub(crate) fn handle() -> Result<Handle, String> {
    static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);
    let mut begun = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*begun {
        return Ok(handle.clone());
    }
    Ok(begun.insert(start()?).clone())
}

fn start() -> Result<Handle, String> {
    let cannot =
        |error| format!("the thread of dynamo-lock cannot start: {error}; is the process out of threads or files?");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("dynamo-lock".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(cannot)?;
    Ok(handle)
}
