//! The log on standard error, which `-v` and `RUST_LOG` enable.
//!
//! Lines go through a queue to a thread of their own, because a blocked standard error must not delay renewals. If the
//! queue is full, lines are dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::env;
use crate::ui::{escape::escape, output};

/// Number of lines that wait for standard error before further ones are dropped.
const QUEUE_LENGTH: usize = 1024;

/// Beginning of the targets of this project. Others belong to the AWS SDK and its libraries.
const OWN_TARGET: &str = "dynamo_lock";

static LOG: OnceLock<Log> = OnceLock::new();

/// Handle of the thread that writes the log.
struct Log {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicUsize>,
}

enum Entry {
    Line(String),
    /// All lines before this entry are written when its sender is dropped.
    Flush {
        _written: Sender<()>,
    },
}

/// Starts the log if `-v` or `RUST_LOG` asks for one. A log that cannot be started is reported, and is no failure.
pub fn start(verbosity: u8) {
    let directives = match verbosity {
        0 => env::set(env::variable, env::LOG),
        1 => Some(format!("{OWN_TARGET}=debug")),
        _ => Some("debug".to_owned()),
    };
    let Some(directives) = directives else { return };
    let filter = match EnvFilter::builder().parse(&directives) {
        Ok(filter) => filter,
        Err(error) => {
            let variable = env::LOG;
            return output::message(&format!(
                "cannot use the environment variable {variable}: {error}; expected directives such as \
                 dynamo_lock=debug, so nothing is logged"
            ));
        }
    };
    let Some(log) = Log::start() else {
        return output::message("cannot start a thread for the log; try again with less load");
    };
    let writer = Queue { queue: log.queue.clone(), dropped: log.dropped.clone() };
    if LOG.set(log).is_ok() {
        // At the level `trace`, the SDK logs whole requests and responses, which can contain the data of locks.
        let without_secrets =
            filter_fn(|event| *event.level() <= LevelFilter::DEBUG || event.target().starts_with(OWN_TARGET));
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
        tracing_subscriber::registry().with(layer.with_filter(filter.and(without_secrets))).init();
    }
}

/// Waits until the log is written, for at most [`output::STDERR_TIMEOUT`].
pub fn finish() {
    let Some(log) = LOG.get() else { return };
    let (written, is_written) = mpsc::channel();
    let dropped = log.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let _full = log.queue.try_send(Entry::Line(format!("dynamo-lock: {dropped} lines of the log were dropped\n")));
    }
    if log.queue.try_send(Entry::Flush { _written: written }).is_ok() {
        let _written_or_late = is_written.recv_timeout(output::STDERR_TIMEOUT);
    }
}

impl Log {
    fn start() -> Option<Self> {
        let (queue, lines) = sync_channel(QUEUE_LENGTH);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&lines)).ok()?;
        Some(Self { queue, dropped: Arc::default() })
    }
}

fn write(lines: &Receiver<Entry>) {
    for entry in lines {
        if let Entry::Line(line) = entry {
            output::write_stderr(&line);
        }
    }
}

/// Writer of the subscriber: puts each event into the queue.
struct Queue {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicUsize>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { text: Vec::new(), queue: self }
    }
}

/// One event, which is queued when this value is dropped.
struct Line<'a> {
    text: Vec<u8>,
    queue: &'a Queue,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        // Names, owners and errors in an event come from other clients.
        let line = format!("{}\n", escape(text.trim_end_matches('\n')));
        if self.queue.queue.try_send(Entry::Line(line)).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_escaped_and_a_full_queue_drops_lines() {
        let (queue, lines) = sync_channel(1);
        let queue = Queue { queue, dropped: Arc::default() };
        for text in ["a\u{1b}[2Jb\nc\n", "second\n"] {
            queue.make_writer().write_all(text.as_bytes()).expect("it is buffered");
        }
        let Ok(Entry::Line(line)) = lines.try_recv() else { panic!("a line is queued") };
        assert_eq!(line, "a\\u{1b}[2Jb\\u{a}c\n");
        assert!(lines.try_recv().is_err());
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1);
    }
}
