//! System calls that have no safe wrapper, and those that differ between systems.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction, signal};
use nix::{errno::Errno, libc, sys::wait::WaitPidFlag, unistd::Pid};

use crate::startup;

/// Prepares a command to start with exactly these signals blocked, and only if `in_time` returns `true` in the child.
///
/// A pending stop signal takes effect when it is unblocked, and may delay the child for any time. The check therefore
/// comes last. If it fails, spawning the command returns ETIME.
pub fn prepare(command: &mut Command, blocked: SigSet, in_time: impl Fn() -> bool + Send + Sync + 'static) {
    let parent = nix::unistd::getpid();
    let before_exec = move || {
        kill_with_parent(parent)?;
        blocked.thread_set_mask()?;
        if in_time() { Ok(()) } else { Err(Errno::ETIME.into()) }
    };
    // SAFETY: the closure reads clocks and makes system calls (prctl, getppid, sigprocmask), all of which are
    // async-signal-safe, and it does not allocate, because its errors consist of numbers.
    unsafe { command.pre_exec(before_exec) };
}

/// Starts the command with SIGPIPE ignored if it was ignored when this process was started. `Command` sets the default.
pub fn pass_sigpipe(command: &mut Command) {
    if startup::started_without_sigpipe() {
        let before_exec = || Ok(ignore(Signal::SIGPIPE)?);
        // SAFETY: the closure makes one system call, which is async-signal-safe, and it does not allocate.
        unsafe { command.pre_exec(before_exec) };
    }
}

fn ignore(one: Signal) -> nix::Result<()> {
    // SAFETY: no handler is installed, so no code runs in a signal context.
    unsafe { signal(one, SigHandler::SigIgn) }.map(drop)
}

/// Requests that the kernel kills this process when the parent's thread ends. If the supervisor is killed with SIGKILL,
/// at least the command itself does not continue without the lock.
fn kill_with_parent(parent: Pid) -> io::Result<()> {
    // Other systems have no parent-death signal.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the request.
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}

/// Returns the number of lines of the terminal on standard output, if that is one and reports its size.
pub fn terminal_height() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes a `winsize`, and the pointer is valid for that.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_row > 0).then_some(usize::from(size.ws_row))
}

/// Returns a duplicate of a descriptor that this process was started with. Both have one offset. Child processes do not
/// inherit the duplicate.
pub fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call changes no other descriptor, and fails if there is none with this number.
    let duplicate = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: the descriptor is new, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(Errno::result(duplicate)?) })
}

/// Makes this process the new parent of descendants that lose their parent.
pub fn adopt_orphans() -> io::Result<()> {
    // Other systems have no subreapers, so processes that the command leaves behind are not tracked there.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

/// Restores the default action of SIGCHLD. If the parent process left it ignored, the kernel would discard the exit
/// status of children.
pub fn reset_sigchld() {
    // SAFETY: no handler is installed, so no code runs in a signal context.
    let _cannot_fail = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}

/// Stops this process with the default action of Ctrl-Z. The kernel ignores it if no shell could continue the process.
pub fn stop_self() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: only the default action is installed here, and the previous handler below.
    let _cannot_fail = unsafe { sigaction(Signal::SIGTSTP, &default) }.and_then(|previous| {
        raise(Signal::SIGTSTP)?;
        // SAFETY: as above.
        unsafe { sigaction(Signal::SIGTSTP, &previous) }
    });
}

/// Ends this process by the default action of the signal, without a core dump. Returns if the kernel does not deliver
/// the signal, because it is blocked or this is the first process of a container.
pub fn end_by_signal(signal: Signal) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call reads `no_core` only.
    let _cannot_fail = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) };
    // SAFETY: the default action runs no code in a signal context.
    let _cannot_fail = unsafe { self::signal(signal, SigHandler::SigDfl) }.and_then(|_| raise(signal));
}

/// Returns a child with a changed state and its status, or `None` if no child has a changed state.
///
/// We call waitpid directly because the wrapper in `nix` returns an error for real-time signals, after the child has
/// already been reaped.
pub fn wait(options: WaitPidFlag) -> nix::Result<Option<(Pid, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: the call writes to `status` only.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, options.bits()) })?;
    Ok((pid != 0).then(|| (Pid::from_raw(pid), ExitStatus::from_raw(status))))
}

/// Returns whether this process certainly has no child, running or ended. Reaps none.
pub fn has_no_child() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let all = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return nix::sys::wait::waitid(nix::sys::wait::Id::All, all) == Err(Errno::ECHILD);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

/// Reaps all children that have ended. Returns whether there were any, or `None` if no child is left.
pub fn reap_children() -> Option<bool> {
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

/// Takes ownership of a descriptor that this process inherited. Returns an error if it is not open.
///
/// Call it once per descriptor, at the start of the process.
pub fn inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is borrowed for one call, which fails if it is not open.
    fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD)?;
    // SAFETY: the descriptor is open. This process has only just been started, so no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets the name of this process in process listings. Failures are ignored, because its arguments show the name too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn set_process_name(name: &str) {
    let _unnamed = std::ffi::CString::new(name).map(|name| nix::sys::prctl::set_name(&name));
}

/// Does nothing on other systems, where only its arguments show the name.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn set_process_name(_: &str) {}
