//! `Poller`: when a waiter looks next.

use std::time::Duration;

use dynamo_lock_protocol::{
    Due, HoldHistory, HoldRecord, OwnHold, Poller, ReceivedAt, RoundTrip, RowFacts, SentAt, Source, Value, attr,
};
use proptest::prelude::*;

use crate::support::{EPOCH_MS, at, row};

const LEASE: Duration = Duration::from_secs(20);
/// Random bits that choose the middle of every range.
const MIDDLE: u64 = 0x8000_0000_8000_0000;

fn trip(sent_ms: u64, round_trip_ms: u64) -> RoundTrip {
    RoundTrip { sent: SentAt(at(sent_ms)), received: ReceivedAt(at(sent_ms + round_trip_ms)) }
}

fn holds(ms: u64, waiters: u32) -> HoldHistory {
    HoldHistory::new([Duration::from_millis(ms); 16], waiters)
}

/// A waiter of a held lock, whose looks take 10 ms.
struct Waiter {
    poller: Poller,
    ms: u64,
    looks: Vec<u64>,
    random: Box<dyn FnMut() -> u64>,
}

impl Waiter {
    fn new(random: impl FnMut() -> u64 + 'static) -> Self {
        Self { poller: Poller::default(), ms: 0, looks: Vec::new(), random: Box::new(random) }
    }

    /// Looks at `row`, and waits for the time of the next look.
    fn look(&mut self, row: &RowFacts, lease: Duration) {
        self.looks.push(self.ms);
        let times = trip(self.ms, 10);
        if self.poller.observe(row, false, Source::Look, times) {
            self.poller.schedule(row, times, lease, Due { random: (self.random)(), ..Due::default() });
        }
        self.ms += 10;
        while let Some(left) = self.poller.wait(at(self.ms)) {
            self.ms += (left.as_millis() as u64).max(1);
        }
    }

    fn look_until(&mut self, ms: u64, row: &RowFacts, lease: Duration) {
        while self.ms < ms {
            self.look(row, lease);
        }
    }
}

/// Returns rows with any content, in any order.
fn hostile_rows() -> impl Strategy<Value = Vec<RowFacts>> {
    let text = prop_oneof![Just("1 1 1".to_owned()), Just("9999999 ".repeat(16).trim().to_owned()), "[0-9 ]{0,40}"];
    let clock = prop_oneof![Just(0), Just(u64::MAX), EPOCH_MS - 100_000..EPOCH_MS + 100_000];
    let token = prop_oneof![0_u64..20, Just(1 << 50)];
    let one = (text, 0_u64..200_000, clock, prop::option::of(token), 0_u64..30, 0_u8..4);
    let one = one.prop_map(|(holds, waiters, acquired_on, token, handovers, version)| {
        let mut row = row(&[
            (attr::GUID, ["a", "b", "c", "d"][usize::from(version)].into()),
            (attr::RECENT_HOLDS_MS, Value::S(holds)),
            (attr::WAITER_ESTIMATE, waiters.into()),
            (attr::ACQUIRED_ON, acquired_on.into()),
            (attr::HANDOVERS, handovers.into()),
        ]);
        token.into_iter().for_each(|token| row.set(attr::TOKEN, token.into()));
        RowFacts::of(&row)
    });
    prop::collection::vec(one, 1..8)
}

proptest! {
    /// Whatever the row contains: at most 4 looks and 11 per second waited, two looks at least 25 ms apart, and pauses
    /// of at most 2 s, or the cap if there are few waiters. Without the bound on the number of looks, which a begin
    /// long ago takes away, a hostile row causes more.
    #[test]
    fn hostile_rows_keep_looks_within_bounds(rows in hostile_rows(), seed in any::<u64>(), lease_s in 1_u64..120) {
        let mut state = seed;
        let mut waiter = Waiter::new(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        });
        for row in rows.iter().cycle().take(150) {
            waiter.look(row, Duration::from_secs(lease_s));
        }
        let longest = 250.max((lease_s * 100).min(2_000)).max((lease_s * 50).min(1_000));
        for (k, pair) in waiter.looks.windows(2).enumerate() {
            let gap = pair[1] - pair[0];
            prop_assert!((25..=longest + 1).contains(&gap), "look {k}: {gap} ms, at most {longest}");
        }
        for (k, ms) in waiter.looks.iter().enumerate() {
            prop_assert!((k + 1) as f64 <= 4.0 + 11.0 * (*ms as f64) / 1000.0 + 0.02, "look {k} at {ms} ms");
        }
    }
}

/// The history changes so that the release always seems to be near. Negative control: without the bound on the number of
/// looks, because the attempt began an hour ago, the waiter looks more often.
#[test]
fn release_that_seems_near_for_ever_keeps_bound() {
    let looks_in_ten_seconds = |began_ms: u64| {
        let mut waiter = Waiter::new(|| MIDDLE);
        waiter.ms = 3_600_000;
        waiter.poller.begin(at(began_ms));
        while waiter.ms < 3_610_000 {
            let age_ms = waiter.ms - 3_600_000 + 1_000;
            waiter.look(&RowFacts::new(7, Some(EPOCH_MS + 3_599_000), holds(age_ms, 0)), LEASE);
        }
        waiter.looks.len()
    };
    assert!(looks_in_ten_seconds(3_600_000) <= 4 + 110, "{}", looks_in_ten_seconds(3_600_000));
    assert!(looks_in_ten_seconds(0) > 2 * (4 + 110), "{}", looks_in_ten_seconds(0));
}

/// Without a history the pauses grow to 200 ms.
#[test]
fn pauses_grow_to_200_ms_without_history() {
    let mut waiter = Waiter::new(|| MIDDLE);
    waiter.look_until(60_000, &RowFacts::new(7, Some(EPOCH_MS), HoldHistory::default()), LEASE);
    let gaps: Vec<u64> = waiter.looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((38..=42).contains(&gaps[0]), "{gaps:?}");
    assert!(gaps[6..].iter().all(|gap| (200..=202).contains(gap)), "{gaps:?}");
}

/// After constant holds the waiter looks rarely until shortly before the expected release, also if it has come late.
#[test]
fn history_of_constant_holds_concentrates_looks() {
    for late_ms in [0, 1_000] {
        let mut waiter = Waiter::new(|| MIDDLE);
        let hints = RowFacts::new(7, Some(EPOCH_MS - late_ms), holds(2_000, 0));
        waiter.look_until(2_100, &hints, LEASE);
        let between =
            |from: u64, to: u64| waiter.looks.iter().filter(|ms| (from..to).contains(&(**ms + late_ms))).count();
        assert!(between(late_ms, 1_900) <= 4, "{:?}", waiter.looks);
        assert!(between(1_960, 2_050) >= 2, "{:?}", waiter.looks);
    }
}

/// Clocks of hosts differ. A hold that was observed from its begin is not older than the observation.
#[test]
fn begin_of_hold_lies_between_two_looks() {
    for acquired_on in [0, EPOCH_MS, EPOCH_MS + 500, EPOCH_MS + 3_600_000] {
        let mut waiter = Waiter::new(|| MIDDLE);
        waiter.look(&RowFacts::new(7, Some(EPOCH_MS), holds(2_000, 0)), LEASE);
        let began = waiter.ms;
        waiter.look_until(began + 2_100, &RowFacts::new(8, Some(acquired_on), holds(2_000, 0)), LEASE);
        let seems = (acquired_on as i64 - EPOCH_MS as i64).clamp(-10, began as i64 + 10);
        let near = waiter.looks.iter().filter(|ms| (seems + 1_950..seems + 2_050).contains(&(**ms as i64))).count();
        assert!(near >= 2, "acquired on {acquired_on}: {:?} from {seems}", waiter.looks);
    }
}

/// A handover within a process frees nothing for others, so it is no handoff and the hold goes on.
#[test]
fn handover_is_no_handoff() {
    let hints = |token: u64, handovers: u64| {
        RowFacts::of(&row(&[
            (attr::TOKEN, token.into()),
            (attr::HANDOVERS, handovers.into()),
            (attr::ACQUIRED_ON, EPOCH_MS.into()),
        ]))
    };
    let handoffs = |rows: &[(u64, u64)]| {
        let mut waiter = Waiter::new(|| MIDDLE);
        rows.iter().for_each(|(token, handovers)| waiter.look(&hints(*token, *handovers), LEASE));
        waiter.poller.handoffs()
    };
    assert_eq!(handoffs(&[(7, 2), (8, 3), (9, 4)]), 0);
    assert_eq!(handoffs(&[(7, 2), (8, 2), (10, 3)]), 2);
    assert_eq!(handoffs(&[(7, 7), (8, 9), (9, 9)]), 2, "invalid: no handovers");
}

/// The new token of a row that has lost its token lies a day ahead.
#[test]
fn change_of_row_without_token_is_one_handoff() {
    let legacy = |version: &str| RowFacts::of(&row(&[(attr::GUID, version.into())]));
    let mut waiter = Waiter::new(|| MIDDLE);
    let native = |token| RowFacts::new(token, None, HoldHistory::default());
    for (row, handoffs) in [(native(7), 0), (legacy("a"), 1), (legacy("a"), 1), (legacy("b"), 2), (native(1 << 40), 3)]
    {
        waiter.look(&row, LEASE);
        assert_eq!(waiter.poller.handoffs(), handoffs, "{row:?}");
    }
}

/// An attempt that finds the lock free does not count as one that waited.
#[test]
fn attempt_that_found_lock_free_reports_no_handoffs() {
    let mut poller = Poller::default();
    let hints = |token| RowFacts::new(token, None, HoldHistory::default());
    poller.observe(&hints(7), true, Source::Look, trip(0, 10));
    poller.observe(&hints(9), false, Source::Write, trip(10, 10));
    assert_eq!(poller.handoffs(), 0);
}

/// Three stale rows are ignored. Then the row of a strongly consistent read is believed, because the table may have
/// been restored.
#[test]
fn stale_rows_are_ignored_until_consistent_read() {
    let mut poller = Poller::default();
    let hints = |token| RowFacts::new(token, None, HoldHistory::default());
    assert!(poller.observe(&hints(8), false, Source::Look, trip(0, 10)));
    for k in 1..=3 {
        assert!(!poller.must_read_consistently());
        assert!(!poller.observe(&hints(7), true, Source::Look, trip(k * 100, 10)), "look {k}");
        assert_eq!(poller.wait(at(k * 100 + 10)), Some(Duration::from_millis(15)));
    }
    assert!(poller.must_read_consistently());
    assert!(poller.observe(&hints(7), true, Source::StrongLook, trip(400, 10)));
    assert!(!poller.must_read_consistently());
}

/// Pauses after errors double up to the cap.
#[test]
fn pauses_double_after_unanswered_looks() {
    let mut poller = Poller::default();
    let mut ms = 0;
    let pauses = [100, 200, 400, 800, 1_000, 1_000].map(|pause_ms: u64| {
        poller.count_look();
        poller.back_off(at(ms), LEASE, MIDDLE);
        let wait = poller.wait(at(ms)).expect("a pause");
        ms += 2_000;
        (wait.as_millis() as u64).abs_diff(pause_ms)
    });
    assert!(pauses.iter().all(|off| *off <= 1), "{pauses:?}");
}

/// At the end of an observed lease a look is due.
#[test]
fn look_is_due_when_observed_lease_expires() {
    let mut poller = Poller::default();
    let hints = RowFacts::new(7, Some(EPOCH_MS), holds(60_000, 0));
    let due = Due { expires_in: Some(Duration::from_millis(100)), random: MIDDLE, ..Due::default() };
    poller.observe(&hints, false, Source::Look, trip(0, 10));
    poller.schedule(&hints, trip(0, 10), LEASE, due);
    assert_eq!(poller.wait(at(10)), Some(Duration::from_millis(100)));
}

/// Waiters of a crowd look at different times after a change of token, with the same jitter of all other pauses.
#[test]
fn crowd_is_spread_after_change_of_token() {
    let next = |phase: u64| {
        let mut poller = Poller::default();
        for (ms, token) in [(0, 7), (100, 8)] {
            let hints = RowFacts::new(token, Some(EPOCH_MS + ms), holds(2_000, 2_000));
            poller.observe(&hints, false, Source::Look, trip(ms, 10));
            poller.schedule(&hints, trip(ms, 10), LEASE, Due { random: phase << 32 | 0x8000_0000, ..Due::default() });
        }
        poller.wait(at(110)).expect("a pause").as_millis()
    };
    let waits: Vec<_> = (0..8).map(|n| next(n << 29)).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!(waits[7] > waits[0] + 200, "{waits:?}");
}

fn hold(from_ms: u64, to_ms: u64, handoffs: u32, previous: Option<OwnHold>) -> OwnHold {
    HoldRecord::new(holds(2_000, 0), handoffs, SentAt(at(from_ms)), previous).end(at(to_ms))
}

/// After a release with waiters the client lets the others look first.
#[test]
fn client_sits_out_after_release_with_waiters() {
    let rest = |length_ms, handoffs| hold(0, length_ms, handoffs, None).rest(at(length_ms), LEASE, 25);
    assert_eq!(rest(5, 0), None);
    assert_eq!(rest(5, 3), None, "an eighth of three waiters is below a half");
    assert_eq!(rest(5, 4), Some(Duration::from_millis(25)));
    assert_eq!(rest(100, 4), Some(Duration::from_millis(100)));
    let longest = rest(60_000, 4).expect("waiters");
    assert!((181..183).contains(&longest.as_millis()), "{longest:?}");
}

/// A waiter that never acquires the lock cannot report itself.
#[test]
fn client_sits_out_after_long_run_of_holds() {
    let (mut last, mut ms) = (None, 0);
    let mut rests = Vec::new();
    for _ in 0..6 {
        last = Some(hold(ms, ms + 900, 0, last));
        ms += 905;
        rests.push(last.and_then(|hold| hold.rest(at(ms), LEASE, 0)).is_some());
    }
    assert_eq!(rests, [false, false, true, true, true, true]);
    // A pause of the client ends the run.
    let paused = hold(ms + 200, ms + 300, 0, last);
    assert_eq!(paused.rest(at(ms + 301), LEASE, 0), None);
}
