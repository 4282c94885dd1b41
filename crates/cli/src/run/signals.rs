//! The signals that this process passes on, or that end its wait.

use std::future::poll_fn;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::{Failure, Kind};
use crate::ignored::is_ignored;
use crate::supervisor;

/// What becomes of signals, for `--help` and the manual page.
pub const TOLD: &str = "INT, TERM, HUP and QUIT are passed on to the command and to all that it has started, USR1 and USR2 \
    to the command alone. While the lock is waited for, each of them ends the wait. Ctrl-Z stops the command too; if the \
    lease ends meanwhile, it does not go on. What was ignored before, as under nohup, stays so.";

/// What was asked to be listened to and was not ignored when this process began, as under `nohup`: to listen would undo
/// that, for the child too.
pub struct Signals {
    streams: Vec<(Signal, Stream)>,
}

impl Signals {
    /// Listens to TERM, INT, HUP and QUIT, and to USR1 and USR2, which are the command's.
    pub fn listen() -> Result<Self, Failure> {
        let mut signals = Self { streams: Vec::new() };
        let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
        for one in [Signal::SIGUSR1, Signal::SIGUSR2].into_iter().chain(ends) {
            signals.add(one)?;
        }
        Ok(signals)
    }

    /// Listens to one more.
    pub fn add(&mut self, one: Signal) -> Result<(), Failure> {
        if !is_ignored(one) {
            let heard = signal(SignalKind::from_raw(one as i32));
            let heard = heard
                .map_err(|error| Failure::new(Kind::Internal, format!("cannot listen to {one}: {error}; try again")))?;
            self.streams.push((one, heard));
        }
        Ok(())
    }

    /// The next one that is to end something: Ctrl-Z only stops this process for a while, and others are the command's.
    pub async fn next_to_end(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::SIGTSTP => supervisor::stop(),
                Signal::SIGUSR1 | Signal::SIGUSR2 => {}
                signal => return signal,
            }
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (one, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(cx) {
                    return Poll::Ready(*one);
                }
            }
            Poll::Pending
        })
        .await
    }
}
