//! What is said while somebody else has the lock, or the store does not answer.

use std::convert::Infallible;
use std::future::pending;
use std::io::IsTerminal;
use std::time::Duration;

use crate::clock::{ClockReading, SystemClock};
use dynamo_lock::{Holder, InspectError, Inspection, Lock, StoreErrorKind};

use crate::print::{self, Said};

/// Before the first word: most waits are shorter.
const FIRST: Duration = Duration::from_secs(1);
/// So long a look may take before it is said that there is no answer.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two lines where there is no terminal.
const ELSEWHERE: Duration = Duration::from_secs(60);
/// Between two looks of the line on a terminal; each look is a read.
const ON_TERMINAL: Duration = Duration::from_secs(10);
/// Between two states of that line.
const TICK: Duration = Duration::from_secs(1);
/// So long it may take to erase that line, and no larger part of a lease: the lock may be ours by then.
const ERASED: Duration = Duration::from_millis(250);

/// Says who is waited for, until it is dropped: on a terminal in one line that changes, elsewhere a line a minute.
pub async fn tell(lock: &Lock, quiet: bool) -> Infallible {
    if quiet {
        return pending().await;
    }
    SystemClock.sleep(FIRST).await;
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if std::io::stderr().is_terminal() && !dumb {
        return on_terminal(lock).await;
    }
    let mut last: Option<Said> = None;
    let say = |text: &str| {
        if is_over(&last) {
            last = Some(print::aside(text));
        }
    };
    elsewhere(lock, say).await
}

async fn elsewhere(lock: &Lock, mut say: impl FnMut(&str)) -> Infallible {
    loop {
        if let Some(text) = look(lock).await.text(lock) {
            say(&text);
        }
        SystemClock.sleep(ELSEWHERE).await;
    }
}

async fn on_terminal(lock: &Lock) -> Infallible {
    let mut line = Line { last: None };
    loop {
        let seen = look(lock).await;
        let again = ON_TERMINAL.as_secs() / TICK.as_secs();
        for _ in 0..again {
            match seen.text(lock) {
                Some(text) => line.show(&text),
                None => line.erase(),
            }
            SystemClock.sleep(TICK).await;
        }
    }
}

/// What one look showed.
enum Seen {
    Held { by: Holder, latest: Duration, at: ClockReading },
    NotHeld,
    NoAnswer,
}

async fn look(lock: &Lock) -> Seen {
    let answer = async {
        match lock.inspect().await {
            Err(InspectError::Store(error)) if error.kind() == StoreErrorKind::Unanswered => pending().await,
            Ok(Inspection::Held { holder: by, may_end }) => {
                Seen::Held { by, latest: *may_end.end(), at: SystemClock.now() }
            }
            _ => Seen::NotHeld,
        }
    };
    tokio::select! {
        biased;
        seen = answer => seen,
        () = SystemClock.sleep(SILENCE) => Seen::NoAnswer,
    }
}

impl Seen {
    /// The line about it now, if there is anything to wait for.
    fn text(&self, lock: &Lock) -> Option<String> {
        let (by, latest, at) = match self {
            Self::Held { by, latest, at } => (by, latest, *at),
            Self::NoAnswer => return Some(NO_ANSWER.to_owned()),
            Self::NotHeld => return None,
        };
        let owner = print::owner(by.owner.as_deref());
        let age = by.acquired_at.map(|since| format!(" for {}", print::age(since))).unwrap_or_default();
        let left = latest.saturating_sub(SystemClock.now().waiter_elapsed_since(at)).as_secs();
        let name = lock.name().as_str();
        Some(format!("waiting for lock {name:?}, held by {owner}{age}; unless renewed its lease ends within {left} s"))
    }
}

const NO_ANSWER: &str = "no answer from the store yet; without one this ends after about one lease";

fn is_over(last: &Option<Said>) -> bool {
    last.as_ref().is_none_or(Said::is_over)
}

/// The line on the terminal; it goes away with this.
struct Line {
    /// What was shown last, until it is erased.
    last: Option<Said>,
}

impl Line {
    fn show(&mut self, text: &str) {
        if is_over(&self.last) {
            // Without wrapping: of a line that had become two, only one could be taken back.
            let text = format!("\r\x1b[K\x1b[?7ldynamo-lock: {}\x1b[?7h", print::escape(text));
            self.last = Some(print::say(&text));
        }
    }

    /// What is said next comes after it.
    fn erase(&mut self) {
        self.last.iter().for_each(|last| last.wait(ERASED));
        if self.last.take_if(|last| last.is_over()).is_some() {
            print::say("\r\x1b[K").wait(ERASED);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.erase();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tokio's time is paused here
mod tests {
    use super::*;
    use dynamo_lock::{Client, Memory};

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_a_line_is_said_each_minute_while_somebody_holds_the_lock() {
        let client = Client::builder(Memory::new()).owner("them").build().expect("valid");
        let lock = client.lock("a").expect("a name");
        let guard = lock.acquire().await.expect("free");
        let mut said = Vec::new();
        let minutes = ELSEWHERE * 2 + TICK;
        let _time_is_over = tokio::time::timeout(minutes, elsewhere(&lock, |text| said.push(text.to_owned()))).await;
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|text| text.contains("held by them")), "{said:?}");
        guard.release().await.expect("ours");
        let _time_is_over = tokio::time::timeout(minutes, elsewhere(&lock, |text| said.push(text.to_owned()))).await;
        assert_eq!(said.len(), 3, "nobody is waited for: {said:?}");
    }
}
