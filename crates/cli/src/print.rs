//! Everything that is printed. Names, owners and data are other people's words: what could steer a terminal or reorder
//! a line is escaped.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use dynamo_lock::{Clock, SystemClock};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::{Failure, Kind};

/// One line on standard error, in this program's name.
pub fn line(text: &str) {
    // Nobody may be there to read it; that is no reason to end.
    let _closed = writeln!(std::io::stderr(), "dynamo-lock: {}", escape(text));
}

/// Whether one could be written at once. For a pipe that nobody empties, or a terminal that was halted, nobody waits who
/// has signals to hear and a lock to get.
pub fn is_heard() -> bool {
    let stderr = std::io::stderr();
    poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

/// One line on standard output. A reader that has gone away had enough: there is nothing more to do.
pub fn answer(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let what = format!("cannot write to standard output: {error}; look where it leads");
            Err(Failure::new(Kind::Unavailable, what))
        }
        Ok(()) => Ok(()),
    }
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
pub fn holder(owner: Option<&str>, since_ms: Option<u64>) -> String {
    let owner = self::owner(owner);
    match since_ms {
        Some(since) => format!("{owner}, since {} ({} ago)", time(since), age(since)),
        None => owner,
    }
}

/// Who holds the lock.
pub fn owner(owner: Option<&str>) -> String {
    owner.map_or_else(|| "somebody who left no name".to_owned(), escape)
}

/// How long ago that was, in its two largest units.
pub fn age(since_ms: u64) -> String {
    let seconds = SystemClock.now().wall_ms.saturating_sub(since_ms) / 1000;
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
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
        assert!(holder(Some("x"), Some(u64::MAX)).contains("after 1970"));
        assert!(holder(Some("x"), Some(0)).contains("1970-01-01T00:00:00Z"));
    }
}
