//! What a waiter makes of what a store tells about the holder's life.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Entropy, Held, Liveness, LockName, Now, Outcome, Release, Renewal, Request,
    Response, Row, SentAt, Step, Timing, Verdict, WaitMode, Watch, apply, attr,
};

const LEASE_MS: u64 = 10_000;
const DAY_MS: u64 = 86_400_000;

fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: 1_800_000_000_000 + ms }
}

/// Luck that always gives the longest pause.
fn now(ms: u64, host: u128) -> Now<'static> {
    let luck = u128::from(ms) << 8 | host;
    Now {
        at: at(ms),
        service: None,
        entropy: Entropy { version: luck << 8, lease_id: luck << 64, jitter: u64::MAX - 1 },
    }
}

/// `host`'s request; its rows bear that it lives.
fn request(host: u128, wait_mode: WaitMode) -> Request {
    Request {
        name: LockName::new("a").expect("a name"),
        owner: format!("host {host}"),
        timing: Timing::new(Duration::from_millis(LEASE_MS)).expect("a lease"),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: Some(host.to_string()),
        wait_mode,
    }
}

/// A table of one row, and what can be told of the life of whoever is in it.
struct World<F: Fn(u64) -> Liveness> {
    row: Option<Row>,
    life: F,
    readable: bool,
    requests: u32,
}

/// How an attempt ended.
#[derive(Debug)]
enum End {
    Held(Box<Held>),
    Contended,
    /// Not by the time at which it was left, with what it remembers.
    Waiting(Option<Watch>),
}

impl<F: Fn(u64) -> Liveness> World<F> {
    /// Lets a machine act from one time until another; answers take 1 ms. Says when it ended.
    fn drive(&mut self, machine: &mut Acquire, host: u128, from: u64, until: u64) -> (u64, End) {
        let mut ms = from;
        while ms < until {
            match machine.next(&now(ms, host)) {
                Step::Read { .. } => {
                    (ms, self.requests) = (ms + 1, self.requests + 1);
                    match self.readable {
                        true => {
                            let life = (self.life)(ms);
                            machine.handle(&now(ms, host), Response::row(self.row.as_ref()).with_liveness(life));
                        }
                        false => machine.handle(&now(ms, host), Response::unread()),
                    }
                }
                Step::Write(op) => {
                    let sent_at = SentAt(at(ms));
                    (ms, self.requests) = (ms + 1, self.requests + 1);
                    let outcome = match apply(self.row.as_ref(), &op) {
                        Verdict::Applied(row) => {
                            self.row = Some(row.clone());
                            Outcome::Applied(row)
                        }
                        Verdict::Conflict(row) => Outcome::Conflict(row),
                    };
                    machine.handle(&now(ms, host), Response::outcome(sent_at, &outcome).with_liveness((self.life)(ms)));
                }
                Step::Pause(length) => {
                    assert!(!length.is_zero(), "a pause of nothing at {ms} ms");
                    ms += u64::try_from(length.as_millis()).expect("a short one").max(1);
                }
                Step::Done(AcquireEnd::Acquired(held)) => return (ms, End::Held(held)),
                Step::Done(AcquireEnd::Contended(_)) => return (ms, End::Contended),
                other => panic!("{other:?}"),
            }
        }
        (ms, End::Waiting(machine.watch().cloned()))
    }
}

/// A lock that host 1 took at 0 ms, of whose life this can be told.
fn held_by_one<F: Fn(u64) -> Liveness>(life: F) -> (World<F>, Held) {
    let mut world = World { row: None, life, readable: true, requests: 0 };
    let (_, end) = world.drive(&mut Acquire::new(request(1, WaitMode::Try), None), 1, 0, 10);
    let End::Held(held) = end else { panic!("{end:?}") };
    world.requests = 0;
    (world, *held)
}

fn waiter(wait_mode: WaitMode, watch: Option<Watch>) -> Acquire {
    Acquire::new(request(2, wait_mode), watch)
}

#[test]
fn an_acquisition_writes_by_what_its_client_is_known_and_a_release_removes_it() {
    let (world, held) = held_by_one(|_| Liveness::ProcessAlive);
    assert_eq!(world.row.as_ref().and_then(|row| row.text(attr::LIVENESS_KEY)), Some("1"));
    let mut release = Release::of(&held, &now(20, 1));
    let Step::Write(op) = release.next(&now(20, 1)) else { panic!("a write is due") };
    let Verdict::Applied(row) = apply(world.row.as_ref(), &op) else { panic!("it is held") };
    assert_eq!(row.get(attr::LIVENESS_KEY), None);
}

#[test]
fn a_takeover_by_one_who_is_not_known_by_anything_leaves_nothing_of_its_predecessor() {
    let (mut world, _) = held_by_one(|_| Liveness::Dead);
    let unknown = Request { liveness_key: None, ..request(2, WaitMode::Try) };
    let (_, end) = world.drive(&mut Acquire::new(unknown, None), 2, 20, 100);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert_eq!(world.row.as_ref().and_then(|row| row.get(attr::LIVENESS_KEY)), None);
}

#[test]
fn a_lock_whose_holder_is_gone_is_taken_by_the_second_request() {
    for wait_mode in [WaitMode::Try, WaitMode::Wait] {
        let (mut world, _) = held_by_one(|_| Liveness::Dead);
        let (ms, end) = world.drive(&mut waiter(wait_mode, None), 2, 100, 200);
        assert!(matches!(end, End::Held(_)), "{end:?}");
        assert_eq!((world.requests, ms), (2, 102), "two answers of 1 ms, no pause");
    }
}

#[test]
fn a_waiter_takes_the_lock_at_the_poll_that_shows_that_the_holder_is_gone() {
    let (mut world, _) = held_by_one(|ms| if ms < 3_000 { Liveness::ProcessAlive } else { Liveness::Dead });
    let (ms, end) = world.drive(&mut waiter(WaitMode::Wait, None), 2, 100, DAY_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert!((3_000..3_600).contains(&ms), "polls are a twentieth of the lease apart at most: {ms}");
}

#[test]
fn what_the_holder_started_keeps_the_lock_long_after_its_lease() {
    let (mut world, held) = held_by_one(|ms| if ms < DAY_MS { Liveness::ChildAlive } else { Liveness::Dead });
    let mut waiting = waiter(WaitMode::Wait, None);
    let (ms, end) = world.drive(&mut waiting, 2, 100, DAY_MS - 1_000);
    assert!(matches!(end, End::Waiting(_)), "{end:?} at {ms}");
    assert!(!held.clone().is_valid(at(ms)), "though the wrapper was killed long ago");
    let (_, end) = world.drive(&mut waiter(WaitMode::Try, None), 2, ms, ms + 100);
    assert!(matches!(end, End::Contended), "nor by one who tries: {end:?}");
    let (ms, end) = world.drive(&mut waiting, 2, ms, 2 * DAY_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert!((DAY_MS..DAY_MS + 600).contains(&ms), "{ms}");
}

#[test]
fn a_lease_decides_where_only_the_client_lives_and_where_nothing_is_told() {
    for life in [Liveness::ProcessAlive, Liveness::Unknown] {
        let (mut world, _) = held_by_one(|_| life);
        let (ms, end) = world.drive(&mut waiter(WaitMode::Wait, None), 2, 100, DAY_MS);
        assert!(matches!(end, End::Held(_)), "{life:?}: {end:?}");
        let first_seen = 101;
        let range = first_seen + LEASE_MS..first_seen + LEASE_MS + 600;
        assert!(range.contains(&ms), "{life:?}: a full quiet lease and at most one poll, not {ms}");
    }
}

#[test]
fn a_remembered_lock_that_is_over_is_looked_at_before_it_is_taken() {
    // The child was started after the last look.
    let (mut world, _) = held_by_one(|ms| if ms < 1_000 { Liveness::ProcessAlive } else { Liveness::ChildAlive });
    let (_, end) = world.drive(&mut waiter(WaitMode::Wait, None), 2, 100, 900);
    let End::Waiting(watch) = end else { panic!("{end:?}") };
    assert!(watch.is_some());
    world.requests = 0;
    let (_, end) = world.drive(&mut waiter(WaitMode::Try, watch), 2, DAY_MS, DAY_MS + 100);
    assert!(matches!(end, End::Contended), "{end:?}");
    assert_eq!(world.requests, 1, "one read");
}

#[test]
fn a_lock_that_is_over_but_cannot_be_looked_at_is_not_asked_for_without_pause() {
    let (mut world, _) = held_by_one(|_| Liveness::ProcessAlive);
    let mut waiting = waiter(WaitMode::Wait, None);
    world.drive(&mut waiting, 2, 100, LEASE_MS);
    (world.readable, world.requests) = (false, 0);
    // Less than a lease, after which it would say that nobody answers.
    world.drive(&mut waiting, 2, LEASE_MS, 2 * LEASE_MS - 1_000);
    assert!(world.requests < 60, "{} reads in 9 s, half a second apart", world.requests);
    world.readable = true;
    let (_, end) = world.drive(&mut waiting, 2, 2 * LEASE_MS, 3 * LEASE_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
}

#[test]
fn what_an_abandoned_request_of_our_own_left_does_not_wait_for_our_own_child() {
    let mut world = World { row: None, life: |_| Liveness::ChildAlive, readable: true, requests: 0 };
    let mut machine = waiter(WaitMode::Wait, None);
    let Step::Write(op) = machine.next(&now(0, 2)) else { panic!("a write is due") };
    let Verdict::Applied(row) = apply(None, &op) else { panic!("free") };
    machine.handle(&now(LEASE_MS, 2), Response::outcome(SentAt(at(0)), &Outcome::Applied(row.clone())));
    world.row = Some(row);
    let Step::CleanUp(_) = machine.next(&now(LEASE_MS, 2)) else { panic!("too late: released, not reported") };
    let (ms, end) = world.drive(&mut machine, 2, LEASE_MS, LEASE_MS + 100);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert_eq!(ms, LEASE_MS + 2, "without a pause");
}

/// How many believe, after a second one has tried while the first one's lease runs.
fn believers(told: Liveness) -> usize {
    let (mut world, first) = held_by_one(|_| told);
    let (ms, end) = world.drive(&mut waiter(WaitMode::Try, None), 2, 100, 200);
    let second = match end {
        End::Held(held) => Some(*held),
        _ => None,
    };
    [Some(first), second].into_iter().flatten().filter_map(|mut held| held.is_valid(at(ms)).then_some(())).count()
}

#[test]
fn control_a_store_that_says_gone_of_the_living_lets_two_believe() {
    assert_eq!(believers(Liveness::Dead), 2, "the promise of `Gone` is needed");
    for told in [Liveness::Unknown, Liveness::ProcessAlive, Liveness::ChildAlive] {
        assert_eq!(believers(told), 1, "{told:?}");
    }
}
