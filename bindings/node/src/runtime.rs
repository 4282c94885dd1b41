//! The one thread that everything runs on.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

/// Begun at the first call, never ended: it goes with the process, also when the worker that began it is gone.
pub(crate) fn handle() -> Result<&'static Handle, String> {
    static HANDLE: OnceLock<Result<Handle, String>> = OnceLock::new();
    HANDLE.get_or_init(start).as_ref().map_err(Clone::clone)
}

fn start() -> Result<Handle, String> {
    let cannot = |error| format!("the thread of dynamo-lock cannot start: {error}; is the process out of threads?");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("dynamo-lock".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(cannot)?;
    Ok(handle)
}
