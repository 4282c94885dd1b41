//! The signals that this process passes on, or that end its wait.

use std::future::poll_fn;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::{Failure, Kind};
use crate::ignored::is_ignored;
use crate::supervisor;

/// What was asked to be listened to and was not ignored when this process began, as under `nohup`: to listen would undo
/// that, for the child too.
pub struct Signals {
    streams: Vec<(Signal, Stream)>,
}

impl Signals {
    /// Listens to TERM, INT, HUP and QUIT.
    pub fn listen() -> Result<Self, Failure> {
        let mut signals = Self { streams: Vec::new() };
        for one in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
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

    /// The next one that is to end something: Ctrl-Z only stops this process for a while.
    pub async fn next_to_end(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::SIGTSTP => supervisor::stop(),
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
