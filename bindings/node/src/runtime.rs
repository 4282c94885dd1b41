//! The thread on which all native work runs.

use std::sync::{Mutex, PoisonError};

use dynamo_lock::{THREAD_KEEP_ALIVE, reserve_thread};
use tokio::runtime::{Builder, Handle};

/// Returns the handle of the process-wide runtime, and starts its thread if necessary.
///
/// The thread runs until the process ends, because it outlives the worker thread that started it.
///
/// # Errors
/// A one-line message if the thread cannot be started. A later call tries again.
pub(crate) fn handle() -> Result<Handle, String> {
    static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    Ok(handle.insert(start()?).clone())
}

fn start() -> Result<Handle, String> {
    let cannot_start = |error| {
        format!("cannot start the thread of dynamo-lock: {error}; check the process's limits on threads and open files")
    };
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().thread_keep_alive(THREAD_KEEP_ALIVE).build().map_err(cannot_start)?;
    let handle = runtime.handle().clone();
    reserve_thread(&handle).map_err(cannot_start)?;
    std::thread::Builder::new()
        .name("dynamo-lock".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(cannot_start)?;
    Ok(handle)
}
