//! The signals that this process passes on, or that end its wait.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::{Failure, Kind};

/// What was asked to be listened to and was not ignored when this process began, as under `nohup`: to listen would undo
/// that, for the child too.
pub struct Signals {
    ignored: u64,
    streams: Vec<(Signal, Stream)>,
}

impl Signals {
    /// Listens to TERM, INT, HUP and QUIT.
    pub fn listen() -> Result<Self, Failure> {
        let mut signals = Self { ignored: ignored(), streams: Vec::new() };
        for one in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            signals
                .add(one)
                .map_err(|error| Failure::new(Kind::Internal, format!("cannot listen to {one}: {error}; try again")))?;
        }
        Ok(signals)
    }

    /// Listens to one more.
    pub fn add(&mut self, one: Signal) -> io::Result<()> {
        if self.ignored & (1 << (one as u32 - 1)) == 0 {
            self.streams.push((one, signal(SignalKind::from_raw(one as i32))?));
        }
        Ok(())
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

/// The set of ignored signals, as Linux tells it; elsewhere none is known.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
