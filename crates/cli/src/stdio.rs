//! Detection of a standard output that was closed when this process was started.
//!
//! The runtime of Rust opens `/dev/null` before `main` in place of closed standard descriptors. Writes then
//! succeed and their output is lost, so `hold` would lose its token. Code in `main` cannot distinguish this from
//! `> /dev/null`. We therefore check the descriptor in a constructor, which the dynamic loader calls earlier.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static STARTED_WITHOUT_STDOUT: AtomicBool = AtomicBool::new(false);

/// Returns whether this process was started with a closed standard output. Always `false` on systems other than Linux.
pub fn started_without_stdout() -> bool {
    STARTED_WITHOUT_STDOUT.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[used]
// SAFETY: the loader calls the entries of this section as functions of this type. This one makes a single system call.
#[unsafe(link_section = ".init_array")]
static CHECK_STDOUT: extern "C" fn() = {
    use nix::libc;

    extern "C" fn check() {
        // SAFETY: the call changes nothing, even if there is no such descriptor.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        STARTED_WITHOUT_STDOUT.store(flags == -1, Ordering::Relaxed);
    }
    check
};
