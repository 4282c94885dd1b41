//! The state of this process before the runtime of Rust changed it.
//!
//! The runtime opens `/dev/null` before `main` in place of closed standard descriptors. Writes then succeed and their
//! output is lost, so `hold` would lose its token. It also ignores SIGPIPE. Code in `main` cannot distinguish this from
//! `> /dev/null`, or from a SIGPIPE that the parent ignored. We therefore read both in a constructor, which the dynamic
//! loader calls earlier.
#![allow(unsafe_code)]

use nix::{libc, sys::signal::Signal};
use std::sync::atomic::{AtomicBool, Ordering};

static STARTED_WITHOUT_STDOUT: AtomicBool = AtomicBool::new(false);
static STARTED_WITHOUT_SIGPIPE: AtomicBool = AtomicBool::new(false);

/// Returns whether this process was started with a closed standard output. Always `false` on systems other than Linux.
pub fn started_without_stdout() -> bool {
    STARTED_WITHOUT_STDOUT.load(Ordering::Relaxed)
}

/// Returns whether SIGPIPE was ignored when this process was started. Always `false` on systems other than Linux.
pub fn started_without_sigpipe() -> bool {
    STARTED_WITHOUT_SIGPIPE.load(Ordering::Relaxed)
}

/// Returns whether the signal was ignored when this process was started. Needs no descriptor. Call it before a handler
/// for the signal is installed.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call changes no action, because it gets a null pointer, and writes to `action` only.
    let result = unsafe { libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has succeeded, so it has written the action.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[used]
// SAFETY: the loader calls the entries of this section as functions of this type. This one makes system calls only.
#[unsafe(link_section = ".init_array")]
static READ_STATE: extern "C" fn() = {
    extern "C" fn read_state() {
        // SAFETY: the call changes nothing, even if there is no such descriptor.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        STARTED_WITHOUT_STDOUT.store(flags == -1, Ordering::Relaxed);
        STARTED_WITHOUT_SIGPIPE.store(is_ignored(Signal::SIGPIPE), Ordering::Relaxed);
    }
    read_state
};
