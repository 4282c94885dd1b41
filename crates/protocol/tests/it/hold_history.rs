//! `HoldHistory`: the history of a lock, as its row contains it.

use std::time::Duration;

use dynamo_lock_protocol::{HoldHistory, HoldRecord, SentAt, Value, attr};

use crate::support::{at, row};

fn history(holds: impl Into<Value>, waiters: impl Into<Value>) -> HoldHistory {
    HoldHistory::of(&row(&[(attr::RECENT_HOLDS_MS, holds.into()), (attr::WAITER_ESTIMATE, waiters.into())]))
}

#[test]
fn valid_history_is_read_from_row() {
    let read = history("5 2000 9999999", 150);
    assert_eq!(read.holds_ms(), [5, 2_000, 9_999_999]);
    assert_eq!(read.waiters(), 150);
    let full = history("7 ".repeat(15).as_str().to_owned().as_str().trim(), 0);
    assert_eq!(full.holds_ms(), [7; 15]);
}

#[test]
fn invalid_history_counts_as_absent() {
    let too_many = "1 ".repeat(17);
    for text in ["", " ", "0", "1  2", " 1", "1 ", "-1", "+1", "1.5", "10000000", "1,2", "a", "1\t2", too_many.trim()] {
        let read = history(text, 100);
        assert!(read.holds_ms().is_empty(), "{text:?}: {read:?}");
        assert_eq!(read.waiters(), 100, "{text:?}");
    }
    assert!(history(5, 0).holds_ms().is_empty(), "a number");
    assert_eq!(history("1", 100_001).waiters(), 0);
    assert_eq!(history("1", "100").waiters(), 0, "a string");
}

/// The oldest hold makes room for the new one. A hold is at least 1 ms long and at most 9,999,999 ms.
#[test]
fn record_adds_hold_and_waiters() {
    let seconds = (1..=16).map(Duration::from_secs);
    let record = HoldRecord::new(HoldHistory::new(seconds, 0), 1, SentAt(at(0)), None);
    let after = record.history_after(at(250));
    assert_eq!(after.holds_ms().len(), 16);
    assert_eq!((after.holds_ms()[0], after.holds_ms()[15]), (2_000, 250));
    assert_eq!(after.waiters(), 13, "an eighth of one waiter");
    assert_eq!(record.history_after(at(0)).holds_ms()[15], 1);
    assert_eq!(record.history_after(at(1 << 40)).holds_ms()[15], 9_999_999);
}

/// The estimate follows the handoffs that acquisitions see, of which at most 200 count.
#[test]
fn estimate_follows_handoffs() {
    let mut history = HoldHistory::default();
    let mut repeat = |handoffs| {
        for _ in 0..120 {
            history = HoldRecord::new(history, handoffs, SentAt(at(0)), None).history_after(at(1));
        }
        history.waiters()
    };
    assert!((1_995..=2_000).contains(&repeat(20)));
    assert!((19_995..=20_000).contains(&repeat(1_000)));
    assert!(repeat(0) < 10);
}
