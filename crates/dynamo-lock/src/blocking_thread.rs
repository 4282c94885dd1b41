//! The thread on which a runtime makes blocking calls.
//!
//! The HTTP client looks up host names there. tokio starts such threads when they are needed, ends them after ten
//! seconds without work, and panics if there is none and the system refuses another one. A runtime of our own therefore
//! keeps one, so that a lack of threads cannot end a lock.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::Handle;

/// Time for which a runtime keeps a thread without work, for `Builder::thread_keep_alive`: longer than any process runs.
pub const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(u32::MAX as u64);

/// Starts a thread for blocking calls of the runtime, which must have been built with [`THREAD_KEEP_ALIVE`].
///
/// # Errors
/// The error of the system if it refuses another thread.
pub fn reserve_thread(runtime: &Handle) -> io::Result<()> {
    // This thread shows whether the system refuses another one, because tokio only panics then.
    let _no_panic = std::thread::Builder::new().spawn(|| {})?.join();
    // The last free thread may have been taken meanwhile.
    let reserved = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| {}))));
    reserved.map_err(|_| io::Error::new(ErrorKind::WouldBlock, "the system refuses another thread"))
}
