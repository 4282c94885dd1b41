//! The supervisor's own signals. None of them ends or stops it: it has to outlast the command. They tell what the
//! terminal has sent to the whole process group, the command included.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

use crate::ignored;

pub const HEARD: [Signal; 11] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    // Clocks are looked at again.
    Signal::SIGCONT,
    Signal::SIGCHLD,
];

/// What a terminal stops with, a bit each.
const STOPS: u64 = 1 << Signal::SIGTSTP as i32 | 1 << Signal::SIGTTIN as i32 | 1 << Signal::SIGTTOU as i32;

/// Whether it is one of these.
pub fn stops(signal: i32) -> bool {
    STOPS & 1 << signal != 0
}

pub struct Ears {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    /// What the terminal has sent and nobody has asked for yet, a bit each.
    terminal: u64,
}

impl Ears {
    /// What was ignored when this process began stays so, for the command too, as under `nohup`.
    pub fn open() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let heard = HEARD.iter().filter(|signal| **signal == Signal::SIGCHLD || !ignored::is_ignored(**signal));
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), heard.map(|one| *one as i32))?;
        Ok(Self { delivery, terminal: 0 })
    }

    /// What has come so far came before there was anybody to hear it but us.
    pub fn forget(&mut self) {
        self.listen();
        self.terminal = 0;
    }

    /// Takes in what has come.
    pub fn listen(&mut self) {
        for origin in self.delivery.pending() {
            if origin.signal == Signal::SIGCONT as i32 {
                self.terminal &= !STOPS;
            }
            // A person or a program sends to whom it means; the kernel, for the terminal, to all who share it.
            if !matches!(origin.cause, Cause::Sent(_)) {
                self.terminal |= 1 << origin.signal;
            }
        }
    }

    /// Whether the terminal has sent this one, which is forgotten by that; of those that stop, all are.
    pub fn take_from_terminal(&mut self, signal: Signal) -> bool {
        self.listen();
        let bit = 1 << signal as i32;
        let sent = self.terminal & bit != 0;
        self.terminal &= !(if stops(signal as i32) { STOPS } else { bit });
        sent
    }

    /// Whether the terminal has stopped us all.
    pub fn stopped_by_terminal(&mut self) -> bool {
        self.listen();
        self.terminal & STOPS != 0
    }
}

impl AsFd for Ears {
    /// Readable once something has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
