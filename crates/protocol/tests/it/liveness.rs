//! Acquisitions on a store that reports the liveness of holders.

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, Held, Liveness, Machine, Request, Response, Row, SentAt, Step, WaitMode, Watch, attr,
};

use crate::support::{TestHost, at, pause_ms, request, write};

const LEASE_MS: u64 = 10_000;
const DAY_MS: u64 = 86_400_000;

/// Returns the request of a host. The liveness key is the number of the host.
fn request_of(host: usize, wait_mode: WaitMode) -> Request {
    Request { liveness_key: Some(host.to_string()), ..request(LEASE_MS / 1000, wait_mode) }
}

fn waiter_of(host: usize, wait_mode: WaitMode, watch: Option<Watch>) -> Acquire {
    Acquire::new(request_of(host, wait_mode), watch)
}

/// A table of one row, its hosts, and the liveness of the row's holder at each time.
struct World<F: Fn(u64) -> Liveness> {
    row: Option<Row>,
    hosts: [TestHost; 3],
    liveness: F,
    readable: bool,
    requests: u32,
}

/// End of an attempt.
#[derive(Debug)]
enum End {
    Held(Box<Held>),
    Contended,
    /// Not ended in time. Contains the observation that the client keeps.
    Waiting(Option<Watch>),
}

impl<F: Fn(u64) -> Liveness> World<F> {
    fn new(liveness: F) -> Self {
        let hosts = [0, 1, 2].map(TestHost::without_dates);
        Self { row: None, hosts, liveness, readable: true, requests: 0 }
    }

    /// Creates a world in which host 1 acquired the lock at 0 ms.
    fn held_by_1(liveness: F) -> (Self, Held) {
        let mut world = Self::new(liveness);
        let (_, end) = world.drive(&mut waiter_of(1, WaitMode::Try, None), 1, 0, 10);
        let End::Held(held) = end else { panic!("{end:?}") };
        world.requests = 0;
        (world, *held)
    }

    /// Drives a machine from one time to another. Responses take 1 ms. Returns the time of the end.
    fn drive(&mut self, machine: &mut Acquire, host: usize, from: u64, until: u64) -> (u64, End) {
        let (host, mut ms) = (&mut self.hosts[host], from);
        while ms < until {
            match host.next(ms, machine) {
                Step::Read { .. } => {
                    (ms, self.requests) = (ms + 1, self.requests + 1);
                    let response = match self.readable {
                        true => Response::row(self.row.as_ref()).with_liveness((self.liveness)(ms)),
                        false => Response::unread(),
                    };
                    host.handle(ms, machine, response);
                }
                Step::Write(op) => {
                    let sent_at = SentAt(at(ms));
                    (ms, self.requests) = (ms + 1, self.requests + 1);
                    let outcome = write(&mut self.row, &op);
                    let response = Response::outcome(sent_at, &outcome).with_liveness((self.liveness)(ms));
                    host.handle(ms, machine, response);
                }
                Step::Pause(length) => {
                    assert!(!length.is_zero(), "a pause of nothing at {ms} ms");
                    ms += pause_ms(length);
                }
                Step::Done(AcquireEnd::Acquired(held)) => return (ms, End::Held(held)),
                Step::Done(AcquireEnd::Contended(_)) => return (ms, End::Contended),
                other => panic!("{other:?}"),
            }
        }
        (ms, End::Waiting(machine.watch().cloned()))
    }

    /// Drives a new attempt of host 2.
    fn attempt(&mut self, wait_mode: WaitMode, from: u64, until: u64) -> (u64, End) {
        self.drive(&mut waiter_of(2, wait_mode, None), 2, from, until)
    }
}

#[test]
fn acquire_writes_liveness_key_and_release_removes_it() {
    let (mut world, held) = World::held_by_1(|_| Liveness::ProcessAlive);
    assert_eq!(world.row.as_ref().and_then(|row| row.text(attr::LIVENESS_KEY)), Some("1"));
    let mut release = world.hosts[1].release(20, &held);
    let op = world.hosts[1].op(20, &mut release);
    write(&mut world.row, &op);
    let row = world.row.expect("a free row");
    assert_eq!((row.whole(attr::EXPIRES_ON), row.get(attr::LIVENESS_KEY)), (Some(0), None));
}

#[test]
fn takeover_without_liveness_key_removes_the_old_one() {
    let (mut world, _) = World::held_by_1(|_| Liveness::Dead);
    let without_key = Request { liveness_key: None, ..request_of(2, WaitMode::Try) };
    let (_, end) = world.drive(&mut Acquire::new(without_key, None), 2, 20, 100);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert_eq!(world.row.as_ref().and_then(|row| row.get(attr::LIVENESS_KEY)), None);
}

#[test]
fn lock_of_dead_holder_is_acquired_with_two_requests() {
    for wait_mode in [WaitMode::Try, WaitMode::Wait] {
        let (mut world, _) = World::held_by_1(|_| Liveness::Dead);
        let (ms, end) = world.attempt(wait_mode, 100, 200);
        assert!(matches!(end, End::Held(_)), "{end:?}");
        assert_eq!((world.requests, ms), (2, 102), "two responses of 1 ms, and no pause");
    }
}

/// Polls are at most a twentieth of the lease apart.
#[test]
fn waiter_acquires_at_poll_after_death_of_holder() {
    let (mut world, _) = World::held_by_1(|ms| if ms < 3_000 { Liveness::ProcessAlive } else { Liveness::Dead });
    let (ms, end) = world.attempt(WaitMode::Wait, 100, DAY_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert!((3_000..3_600).contains(&ms), "{ms}");
}

/// The holder's process was killed long ago, but a child process that it had started is alive.
#[test]
fn living_child_keeps_lock_long_after_its_lease() {
    let (mut world, held) = World::held_by_1(|ms| if ms < DAY_MS { Liveness::ChildAlive } else { Liveness::Dead });
    let mut waiting = waiter_of(2, WaitMode::Wait, None);
    let (ms, end) = world.drive(&mut waiting, 2, 100, DAY_MS - 1_000);
    assert!(matches!(end, End::Waiting(_)), "{end:?} at {ms}");
    assert!(!held.clone().is_valid(at(ms)));
    let (_, end) = world.attempt(WaitMode::Try, ms, ms + 100);
    assert!(matches!(end, End::Contended), "{end:?}");
    let (ms, end) = world.drive(&mut waiting, 2, ms, 2 * DAY_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert!((DAY_MS..DAY_MS + 600).contains(&ms), "{ms}");
}

#[test]
fn lease_decides_if_only_process_is_alive_or_unknown() {
    for liveness in [Liveness::ProcessAlive, Liveness::Unknown] {
        let (mut world, _) = World::held_by_1(|_| liveness);
        let (ms, end) = world.attempt(WaitMode::Wait, 100, DAY_MS);
        assert!(matches!(end, End::Held(_)), "{liveness:?}: {end:?}");
        let first_seen = 101;
        let range = first_seen + LEASE_MS..first_seen + LEASE_MS + 600;
        assert!(range.contains(&ms), "{liveness:?}: {ms} is not one lease and at most one poll");
    }
}

/// The child process was started after the last observation.
#[test]
fn remembered_expired_lock_is_read_before_takeover() {
    let (mut world, _) = World::held_by_1(|ms| if ms < 1_000 { Liveness::ProcessAlive } else { Liveness::ChildAlive });
    let (_, end) = world.attempt(WaitMode::Wait, 100, 900);
    let End::Waiting(watch) = end else { panic!("{end:?}") };
    assert!(watch.is_some());
    world.requests = 0;
    let (_, end) = world.drive(&mut waiter_of(2, WaitMode::Try, watch), 2, DAY_MS, DAY_MS + 100);
    assert!(matches!(end, End::Contended), "{end:?}");
    assert_eq!(world.requests, 1, "one read");
}

/// The time is less than a lease, after which the machine would report that the store does not respond.
#[test]
fn unreadable_expired_lock_is_polled_with_pauses() {
    let (mut world, _) = World::held_by_1(|_| Liveness::ProcessAlive);
    let mut waiting = waiter_of(2, WaitMode::Wait, None);
    world.drive(&mut waiting, 2, 100, LEASE_MS);
    (world.readable, world.requests) = (false, 0);
    world.drive(&mut waiting, 2, LEASE_MS, 2 * LEASE_MS - 1_000);
    assert!(world.requests < 60, "{} reads in 9 s, not half a second apart", world.requests);
    world.readable = true;
    let (_, end) = world.drive(&mut waiting, 2, 2 * LEASE_MS, 3 * LEASE_MS);
    assert!(matches!(end, End::Held(_)), "{end:?}");
}

/// The acquire was answered too late, so that it is released and not reported. The row has the client's own liveness
/// key, which reports the client's own child process.
#[test]
fn own_abandoned_lease_does_not_wait_for_own_child() {
    let mut world = World::new(|_| Liveness::ChildAlive);
    let mut machine = waiter_of(2, WaitMode::Wait, None);
    world.hosts[2].write(&mut world.row, &mut machine, 0, LEASE_MS, None);
    let step = world.hosts[2].next(LEASE_MS, &mut machine);
    assert!(matches!(step, Step::CleanUp(_)), "{step:?}");
    let (ms, end) = world.drive(&mut machine, 2, LEASE_MS, LEASE_MS + 100);
    assert!(matches!(end, End::Held(_)), "{end:?}");
    assert_eq!(ms, LEASE_MS + 2, "without a pause");
}

/// Returns the number of valid leases after a second client has tried to acquire a lock during the first lease.
fn valid_leases(liveness: Liveness) -> usize {
    let (mut world, first) = World::held_by_1(|_| liveness);
    let (ms, end) = world.attempt(WaitMode::Try, 100, 200);
    let second = match end {
        End::Held(held) => Some(*held),
        _ => None,
    };
    [Some(first), second].into_iter().flatten().filter_map(|mut held| held.is_valid(at(ms)).then_some(())).count()
}

/// A store must not report a living holder as dead.
#[test]
fn control_false_report_of_death_breaks_exclusion() {
    assert_eq!(valid_leases(Liveness::Dead), 2);
    for liveness in [Liveness::Unknown, Liveness::ProcessAlive, Liveness::ChildAlive] {
        assert_eq!(valid_leases(liveness), 1, "{liveness:?}");
    }
}
