//! The one place with `unsafe`: what a child does between fork and exec, and how we hear of its end.
#![allow(unsafe_code)]

use tokio::process::Command;

/// Has the kernel kill the child when this thread ends, however it ends: kill -9 of the wrapper must not leave a child
/// behind that runs on without the lock.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn kill_with_parent(command: &mut Command) {
    use nix::sys::{prctl::set_pdeathsig, signal::Signal};
    let parent = nix::unistd::getpid();
    let between = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before the line above.
        if nix::unistd::getppid() != parent { Err(nix::errno::Errno::ESRCH.into()) } else { Ok(()) }
    };
    // SAFETY: the closure makes two system calls (prctl, getppid), both safe to make after fork, and allocates nothing:
    // errors are made of numbers.
    unsafe { command.pre_exec(between) };
}

/// There is nothing of the kind elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn kill_with_parent(_: &mut Command) {}

/// Undoes what a parent may have left us: with SIGCHLD ignored the kernel forgets how a child ended.
pub fn hear_of_children() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler of ours is installed, so none is run in a signal's context.
    let _cannot_fail = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}
