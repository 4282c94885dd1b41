//! Everything that is printed. Names, owners and data are other people's words: what could steer a terminal or reorder
//! a line is escaped.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::SystemClock;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::{Failure, Kind};
use crate::supervisor;

/// Who reads nothing for so long is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// One line on standard error, in this program's name.
pub fn line(text: &str) {
    aside(text).wait(PATIENCE);
}

/// The same, by the way: while there are signals to hear and a lock to keep, nobody waits for it.
pub fn aside(text: &str) -> Said {
    say(&format!("dynamo-lock: {}\n", escape(text)))
}

/// What is being said. There is nothing to receive: it is over when the sender is gone.
pub struct Said(Receiver<Infallible>);

impl Said {
    pub fn is_over(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits for that, for so long at most.
    pub fn wait(&self, at_most: Duration) {
        let _over_or_late = self.0.recv_timeout(at_most);
    }
}

/// Writes it to standard error, all at once and by a thread of its own: a pipe that nobody empties, or a terminal that was
/// halted, takes nothing more, and no poll tells how much it does take.
pub fn say(text: &str) -> Said {
    let (over, said) = mpsc::channel();
    let ours = text.to_owned();
    let thread = std::thread::Builder::new().spawn(move || {
        write(&ours);
        drop(over);
    });
    if thread.is_err() && has_room() {
        write(text);
    }
    Said(said)
}

fn write(text: &str) {
    // Nobody may be there to read it; that is no reason to end.
    let _closed = io::stderr().write_all(text.as_bytes());
}

/// Whether something could be written at once, if not all.
fn has_room() -> bool {
    let stderr = io::stderr();
    poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

/// One line on standard output. A reader that has gone away had enough: there is nothing more to do.
pub fn answer(text: &str) -> Result<(), Failure> {
    match write_out(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(not_written),
    }
}

/// The same, of what nobody tells again: that it was not read is an error too.
pub fn only_answer(text: &str) -> Result<(), Failure> {
    write_out(text).map_err(not_written)
}

fn write_out(text: &str) -> io::Result<()> {
    if supervisor::had_no_stdout() {
        return Err(Errno::EBADF.into());
    }
    writeln!(io::stdout(), "{text}")
}

fn not_written(error: io::Error) -> Failure {
    Failure::new(Kind::Output, format!("cannot write to standard output: {error}; look where it leads"))
}

/// Text with each control, bidirectional and invisible character as `\u{…}`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            let _never = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// The same in a JSON document, where such characters occur within strings only.
pub fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            let _never = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls; marks, overrides and isolates of writing direction; line breaks of Unicode; characters without width.
/// All are below U+10000.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Who holds the lock and since when, for a line about it.
pub fn holder(owner: Option<&str>, acquired_at: Option<SystemTime>) -> String {
    let owner = self::owner(owner);
    match acquired_at {
        Some(since) => format!("{owner}, since {} ({} ago)", time(epoch_ms(since)), age(since)),
        None => owner,
    }
}

/// Who holds the lock.
pub fn owner(owner: Option<&str>) -> String {
    owner.map_or_else(|| "somebody who left no name".to_owned(), escape)
}

/// How long ago that was.
pub fn age(acquired_at: SystemTime) -> String {
    span(Duration::from_millis(SystemClock.now().wall_ms.saturating_sub(epoch_ms(acquired_at))))
}

/// Returns a time in milliseconds since 1970.
pub fn epoch_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Whole seconds, in the two largest units.
pub fn span(length: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(length.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// In UTC.
pub fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    // The library behind it refuses years with five digits.
    at.filter(|_| ms < 253_402_300_800_000)
        .map_or_else(|| format!("{ms} ms after 1970"), |at| humantime::format_rfc3339_seconds(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_the_rest_is_not() {
        assert_eq!(escape("a\u{1b}[2Jb\u{7}\r\n"), "a\\u{1b}[2Jb\\u{7}\\u{d}\\u{a}");
        assert_eq!(escape("\u{202e}evil\u{2066}\u{9b}\u{7f}"), "\\u{202e}evil\\u{2066}\\u{9b}\\u{7f}");
        assert_eq!(escape("\u{2028}\u{feff}\u{200b}"), "\\u{2028}\\u{feff}\\u{200b}");
        let plain = "Grüße, 世界 🔒 \"a\" \\ b";
        assert_eq!(escape(plain), plain);
    }

    #[test]
    fn absurd_times_are_printed_and_do_not_panic() {
        assert!(holder(Some("x"), Some(UNIX_EPOCH + Duration::from_millis(u64::MAX))).contains("after 1970"));
        assert!(holder(Some("x"), Some(UNIX_EPOCH)).contains("1970-01-01T00:00:00Z"));
    }
}
