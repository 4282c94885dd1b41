//! Messages to the user while `run` waits for a lock.

use std::{convert::Infallible, future::pending, io::IsTerminal, ops::RangeInclusive, time::Duration};

use dynamo_lock::{Holder, InspectError, Inspection, Lock, Role, SharedHolder, StoreErrorKind};
use dynamo_lock_protocol::ClockReading;

use crate::ui::output::{self, PendingWrite};
use crate::{clock, store::OpenStore, ui::escape::escape, ui::format};

/// Time before the first message. Most waits are shorter.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);
/// Time after which an inspection counts as not answered.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two messages if standard error is not a terminal.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two inspections for the status line on a terminal. Each inspection is a read request.
const INSPECT_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two updates of the status line.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time to wait for a terminal to erase the status line. It is a small part of the shortest lease, because the
/// lock may have been acquired in the meantime.
const ERASE_TIMEOUT: Duration = Duration::from_millis(250);

const NO_RESPONSE: &str = "the store has not responded yet; giving up after about one lease without a response";
const NO_CREDENTIALS: &str = "waiting for AWS credentials, because their provider has not returned any yet";

/// Reports the current holder until the future is dropped: on a terminal in one line that is updated and finally
/// erased, elsewhere with one line per minute. Reports nothing if `quiet` is set. `awaited` returns the lock that is
/// awaited at the time of the call.
pub async fn report(store: &OpenStore, awaited: &impl Fn() -> Lock, quiet: bool) -> Infallible {
    if quiet {
        return pending().await;
    }
    clock::sleep(FIRST_MESSAGE).await;
    if std::io::stderr().is_terminal() && output::can_redraw() {
        return update_status_line(store, awaited).await;
    }
    let mut last: Option<PendingWrite> = None;
    let print = |text: &str| {
        if is_finished(&last) {
            last = Some(output::start_message(text));
        }
    };
    print_messages(store, awaited, print).await
}

async fn print_messages(store: &OpenStore, awaited: &impl Fn() -> Lock, mut print: impl FnMut(&str)) -> Infallible {
    loop {
        let lock = awaited();
        if let Some(text) = inspect(store, &lock).await.text(&lock) {
            print(&text);
        }
        clock::sleep(MESSAGE_INTERVAL).await;
    }
}

async fn update_status_line(store: &OpenStore, awaited: &impl Fn() -> Lock) -> Infallible {
    let mut line = StatusLine { last: None };
    loop {
        let lock = awaited();
        let status = inspect(store, &lock).await;
        let updates = INSPECT_INTERVAL.as_secs() / UPDATE_INTERVAL.as_secs();
        for _ in 0..updates {
            match status.text(&lock) {
                Some(text) => line.show(&text),
                None => line.erase(),
            }
            clock::sleep(UPDATE_INTERVAL).await;
        }
    }
}

/// Result of one inspection.
enum Status {
    /// The lock was held when `inspected_at` was read. Its lease ended `latest` later, unless it was renewed.
    Held { holder: Holder, latest: Duration, inspected_at: ClockReading },
    /// The lock is free or expired, or its state cannot be read.
    NotHeld,
    /// The store has not responded within [`INSPECT_TIMEOUT`].
    NoResponse,
    /// No request was sent within [`INSPECT_TIMEOUT`], because there are no credentials yet.
    NoCredentials,
}

async fn inspect(store: &OpenStore, lock: &Lock) -> Status {
    let answer = async {
        match lock.inspect().await {
            Err(InspectError::Store(error)) if error.kind() == StoreErrorKind::Unanswered => pending().await,
            Ok(Inspection::Held { holder, may_end, .. }) => {
                Status::Held { holder, latest: *may_end.end(), inspected_at: clock::now() }
            }
            Ok(Inspection::Shared(shared)) => {
                // The entry of a writer that waits may be that of this process.
                let is_holder = |entry: &SharedHolder| entry.role != Role::Waiting;
                let entry = shared.holders.into_iter().filter(is_holder);
                let entry = entry.filter_map(|entry| Some((entry.holder, entry.may_end?))).next();
                let held = |(holder, may_end): (_, RangeInclusive<Duration>)| Status::Held {
                    holder,
                    latest: *may_end.end(),
                    inspected_at: clock::now(),
                };
                entry.map_or(Status::NotHeld, held)
            }
            _ => Status::NotHeld,
        }
    };
    tokio::select! {
        biased;
        status = answer => status,
        () = clock::sleep(INSPECT_TIMEOUT) => match store.is_waiting_for_credentials() {
            true => Status::NoCredentials,
            false => Status::NoResponse,
        },
    }
}

impl Status {
    /// Returns the message to print now, or `None` if the lock is not held.
    fn text(&self, lock: &Lock) -> Option<String> {
        let (holder, latest, inspected_at) = match self {
            Self::Held { holder, latest, inspected_at } => (holder, latest, *inspected_at),
            Self::NoResponse => return Some(NO_RESPONSE.to_owned()),
            Self::NoCredentials => return Some(NO_CREDENTIALS.to_owned()),
            Self::NotHeld => return None,
        };
        let owner = format::owner(holder);
        let age = holder.acquired_at.map(|since| format!(" for {}", format::age(since))).unwrap_or_default();
        let left = latest.saturating_sub(clock::now().waiter_elapsed_since(inspected_at)).as_secs();
        let name = lock.name().as_str();
        Some(format!("waiting for lock {name:?}, held by {owner}{age}; its lease ends within {left} s unless renewed"))
    }
}

fn is_finished(last: &Option<PendingWrite>) -> bool {
    last.as_ref().is_none_or(PendingWrite::is_finished)
}

/// The status line on the terminal. It is erased when this value is dropped.
struct StatusLine {
    /// The last update. `None` if the line is erased.
    last: Option<PendingWrite>,
}

impl StatusLine {
    fn show(&mut self, text: &str) {
        if is_finished(&self.last) {
            // Line wrapping is disabled, because `erase` can only erase the last row of a wrapped line.
            let text = format!("\r\x1b[K\x1b[?7ldynamo-lock: {}\x1b[?7h", escape(text));
            self.last = Some(output::start_write(&text));
        }
    }

    /// Erases the line and waits until that is done, so that later output follows it.
    fn erase(&mut self) {
        self.last.iter().for_each(|last| last.wait(ERASE_TIMEOUT));
        if self.last.take_if(|last| last.is_finished()).is_some() {
            output::start_write("\r\x1b[K").wait(ERASE_TIMEOUT);
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.erase();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tokio's time is paused here
mod tests {
    use super::*;
    use dynamo_lock::store::StoreUrl;

    #[tokio::test(start_paused = true)]
    async fn held_lock_is_reported_each_minute_without_a_terminal() {
        let store = crate::store::open(Some(StoreUrl::Memory)).await.expect("in memory");
        let client = store.client().owner("them").build().expect("valid");
        let lock = client.lock("a").expect("a name");
        let guard = lock.acquire().await.expect("free");
        let mut printed = Vec::new();
        let minutes = MESSAGE_INTERVAL * 2 + UPDATE_INTERVAL;
        let print = |text: &str| printed.push(text.to_owned());
        let _elapsed = tokio::time::timeout(minutes, print_messages(&store, &|| lock.clone(), print)).await;
        assert_eq!(printed.len(), 3, "{printed:?}");
        assert!(printed.iter().all(|text| text.contains("held by them")), "{printed:?}");
        guard.release().await.expect("it is held");
        let print = |text: &str| printed.push(text.to_owned());
        let _elapsed = tokio::time::timeout(minutes, print_messages(&store, &|| lock.clone(), print)).await;
        assert_eq!(printed.len(), 3, "a free lock is not reported: {printed:?}");
    }
}
