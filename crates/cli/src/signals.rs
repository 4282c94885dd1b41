//! Signals that the wrapper and its supervisor receive.
//!
//! The wrapper ([`Signals`]) passes signals on to the command, or ends its wait. The supervisor ([`SupervisorSignals`])
//! only notes which signals the terminal has sent to the whole process group. Signals are sent to the command and its
//! descendants in `supervisor/forwarding.rs`, and the reactions of the wrapper are in `commands/run/watch.rs`. Signals
//! are blocked during the start of the command by `signal_mask.rs`.
//!
//! A signal that was ignored when this process was started, as by `nohup`, stays ignored. A handler would undo that for
//! the command too.

use std::os::fd::{AsFd, BorrowedFd};
use std::{future::poll_fn, io, os::unix::net::UnixStream, sync::Arc, task::Poll};

use nix::sys::signal::Signal::{
    self, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGXFSZ,
};
use signal_hook::{iterator::backend::SignalDelivery, iterator::exfiltrator::WithOrigin, low_level::siginfo::Cause};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::{failure::Failure, startup, sys};

/// Description of the signal handling of `run`, for `--help` and the manual page.
pub const HELP: &str = "INT, TERM, HUP and QUIT are passed on to the command and to all processes that it started, \
    USR1 and USR2 to the command only, like the signal of --warn-signal. While run waits for the lock, \
    each of these signals ends the wait. Ctrl-Z stops the command too; if the lease ends in the meantime, the command is ended. Signals that were ignored when run was \
    started, as under nohup, stay ignored.";

/// Handles SIGXFSZ, so that a write above the limit of the file size fails with an error instead of ending this process.
/// A handler, unlike an ignored signal, is not inherited by the command.
pub fn survive_file_size_limit() {
    if !startup::is_ignored(SIGXFSZ) {
        let _cannot_fail = signal_hook::flag::register(SIGXFSZ as i32, Arc::default());
    }
}

/// Signals that the wrapper receives.
pub struct Signals {
    streams: Vec<(Signal, Stream)>,
    /// Bit set of the signals that were returned so far.
    received: u64,
}

impl Signals {
    /// Starts to receive TERM, INT, HUP, QUIT, USR1 and USR2.
    pub fn listen() -> Result<Self, Failure> {
        let mut signals = Self { streams: Vec::new(), received: 0 };
        [SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP, SIGQUIT].into_iter().try_for_each(|one| signals.add(one))?;
        Ok(signals)
    }

    /// Starts to receive another signal, unless it is ignored or is received already.
    pub fn add(&mut self, one: Signal) -> Result<(), Failure> {
        if !startup::is_ignored(one) && !self.streams.iter().any(|(other, _)| *other == one) {
            let stream = signal(SignalKind::from_raw(one as i32));
            let failure = |error| Failure::internal(format!("cannot receive {one}: {error}; try again"));
            self.streams.push((one, stream.map_err(failure)?));
        }
        Ok(())
    }

    /// Waits for the next signal that ends a wait after the end of the command. Stops this process on Ctrl-Z, and
    /// discards USR1 and USR2, because they are meant for the command.
    pub async fn next_to_end(&mut self) -> Signal {
        loop {
            match self.next().await {
                SIGTSTP => sys::stop_self(),
                SIGUSR1 | SIGUSR2 => {}
                signal => return signal,
            }
        }
    }

    /// Waits for the next signal. Cancel-safe: a signal is either returned or received later.
    pub async fn next(&mut self) -> Signal {
        let signal = poll_fn(|cx| {
            let mut streams = self.streams.iter_mut();
            let ready = streams.find_map(|(signal, stream)| stream.poll_recv(cx).is_ready().then_some(*signal));
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.received |= 1 << signal as i32;
        signal
    }

    /// Returns whether this signal was returned by [`next`](Self::next) before.
    pub fn has_received(&self, signal: Signal) -> bool {
        self.received & 1 << signal as i32 != 0
    }
}

/// Signals that the supervisor handles. None of them ends or stops it, because it has to outlast the command. SIGCONT
/// wakes it after a stop, so that the clocks are read again.
pub const SUPERVISED: [Signal; 11] =
    [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD];

/// Bit set of the signals by which a terminal stops processes.
const STOPS: u64 = 1 << SIGTSTP as i32 | 1 << SIGTTIN as i32 | 1 << SIGTTOU as i32;

/// Returns whether a terminal stops processes by this signal.
pub fn is_terminal_stop(signal: i32) -> bool {
    STOPS & 1 << signal != 0
}

/// Signals that the supervisor receives.
pub struct SupervisorSignals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    /// Bit set of the signals that the terminal has sent and that were not taken yet.
    from_terminal: u64,
}

impl SupervisorSignals {
    /// Starts to receive the [`SUPERVISED`] signals, through these two ends of a connection.
    ///
    /// The connection exists before the command is started, so that a lack of descriptors cannot occur later.
    pub fn listen((read, write): (UnixStream, UnixStream)) -> io::Result<Self> {
        let signals = SUPERVISED.iter().filter(|signal| **signal == SIGCHLD || !startup::is_ignored(**signal));
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals.map(|one| *one as i32))?;
        Ok(Self { delivery, from_terminal: 0 })
    }

    /// Discards the signals received so far, because the command was not running yet and has not received them.
    pub fn discard(&mut self) {
        self.update();
        self.from_terminal = 0;
    }

    /// Notes the signals that have arrived.
    pub fn update(&mut self) {
        for origin in self.delivery.pending() {
            if origin.signal == SIGCONT as i32 {
                self.from_terminal &= !STOPS;
            }
            // Processes send a signal to individual targets. The kernel sends it to the whole group of the terminal.
            if !matches!(origin.cause, Cause::Sent(_)) {
                self.from_terminal |= 1 << origin.signal;
            }
        }
    }

    /// Returns whether the terminal has sent this signal, and forgets it. All stop signals are forgotten together.
    pub fn take_from_terminal(&mut self, signal: Signal) -> bool {
        self.update();
        let bit = 1 << signal as i32;
        let sent = self.from_terminal & bit != 0;
        self.from_terminal &= !(if is_terminal_stop(signal as i32) { STOPS } else { bit });
        sent
    }

    /// Returns whether the terminal has stopped the process group.
    pub fn stopped_by_terminal(&mut self) -> bool {
        self.update();
        self.from_terminal & STOPS != 0
    }
}

impl AsFd for SupervisorSignals {
    /// Returns a descriptor that is readable when a signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `run --forever` adds a signal before each run of its command. Two streams would return each signal twice.
    #[tokio::test]
    async fn signal_that_was_added_twice_is_received_once() {
        let mut signals = Signals { streams: Vec::new(), received: 0 };
        for signal in [SIGTSTP, SIGTSTP, SIGUSR1] {
            signals.add(signal).expect("it can be received");
        }
        assert_eq!(signals.streams.iter().map(|(signal, _)| *signal).collect::<Vec<_>>(), [SIGTSTP, SIGUSR1]);
        nix::sys::signal::raise(SIGUSR1).expect("it has a handler");
        assert!(!signals.has_received(SIGUSR1));
        assert_eq!(signals.next().await, SIGUSR1);
        assert!(signals.has_received(SIGUSR1) && !signals.has_received(SIGTSTP));
    }
}
