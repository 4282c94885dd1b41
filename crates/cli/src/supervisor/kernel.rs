//! The one place with `unsafe`: what goes beyond what a process does to itself by safe calls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction, signal};
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

/// Begins a command with these signals blocked and no others, if it is in time even then: one that waited may stop it
/// first, for as long as the terminal's user likes. What is late fails with ETIME.
pub fn begin(command: &mut Command, blocked: SigSet, in_time: impl Fn() -> bool + Send + Sync + 'static) {
    let parent = nix::unistd::getpid();
    let between = move || {
        kill_with_parent(parent)?;
        blocked.thread_set_mask()?;
        if in_time() { Ok(()) } else { Err(Errno::ETIME.into()) }
    };
    // SAFETY: the closure reads clocks and makes system calls (prctl, getppid, sigprocmask), all of them safe to make
    // after fork, and allocates nothing: errors are made of numbers.
    unsafe { command.pre_exec(between) };
}

/// Has the kernel kill this process when the parent's thread ends, however it ends: if the supervisor too is killed
/// with -9, then at least the command itself does not run on without the lock.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn kill_with_parent(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the line above.
    if nix::unistd::getppid() != parent { Err(Errno::ESRCH.into()) } else { Ok(()) }
}

/// There is nothing of the kind elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn kill_with_parent(_: Pid) -> io::Result<()> {
    Ok(())
}

/// Has the kernel make this process the parent of what its descendants leave behind.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// There is nothing of the kind elsewhere: what a command leaves behind is nobody's.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Undoes what a parent may have left us: with SIGCHLD ignored the kernel forgets how a child ended.
pub fn hear_of_children() {
    // SAFETY: no handler of ours is installed, so none is run in a signal's context.
    let _cannot_fail = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}

/// Stops this process as Ctrl-Z does by default, so that the kernel decides: where no shell is there that could have it
/// go on, nobody is stopped.
pub fn stop() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler but the one that was there is installed.
    let _cannot_fail = unsafe { sigaction(Signal::SIGTSTP, &default) }.and_then(|ours| {
        raise(Signal::SIGTSTP)?;
        // SAFETY: as above.
        unsafe { sigaction(Signal::SIGTSTP, &ours) }
    });
}

/// What became of a child, whichever; `None` if there is nothing new. Not by nix, for which a real-time signal is an error,
/// when the child has been waited for already.
pub fn wait(options: WaitPidFlag) -> nix::Result<Option<(Pid, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: nothing is written but the status.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, options.bits()) })?;
    Ok((pid != 0).then(|| (Pid::from_raw(pid), ExitStatus::from_raw(status))))
}

/// Whether anybody ended whom this process had not yet waited for, and waits for all these; `None` if no child is left.
pub fn wait_for_the_ended() -> Option<bool> {
    let mut any = false;
    loop {
        match wait(WaitPidFlag::WNOHANG) {
            Ok(Some(_)) => any = true,
            Ok(None) => return Some(any),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// A descriptor that this process was started with.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: borrowed for one call, which fails if there is no such descriptor.
    fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD)?;
    // SAFETY: it is open, and nobody else in this process, which has only just begun, owns it: who started it handed
    // it on for this alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this process was started without a standard output.
pub fn had_no_stdout() -> bool {
    NO_STDOUT.load(Ordering::Relaxed)
}

static NO_STDOUT: AtomicBool = AtomicBool::new(false);

/// Before `main` the runtime opens /dev/null in its place, and all that is written is lost: the loader calls this earlier.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[used]
// SAFETY: what the loader calls there are functions such as this, which makes one system call.
#[unsafe(link_section = ".init_array")]
static LOOK_FOR_STDOUT: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: it changes nothing, also if there is no such descriptor.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        NO_STDOUT.store(flags == -1, Ordering::Relaxed);
    }
    look
};

/// What this process is called in lists of processes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn name(name: &str) {
    // It is told by its arguments too.
    let _unnamed = std::ffi::CString::new(name).map(|name| nix::sys::prctl::set_name(&name));
}

/// There it is told by its arguments alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn name(_: &str) {}
