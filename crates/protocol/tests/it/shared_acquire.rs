//! `SharedAcquire`, and `Held` and `Release` with an entry of a shared row.

use dynamo_lock_protocol::{
    Access, AcquireEnd, EntryKey, Held, HeldStep, Kind, LossReason, Machine, Op, OpKind, Outcome, Path, Refusal,
    Release, ReleaseEnd, Response, Role, Row, SharedAcquire, SharedHolder, SharedOp, SharedWrite, Step, Value, Verdict,
    WaitMode, apply,
};

use crate::support::{TestHost, held_row, name, pause_ms, request, row, write};

/// Lease of all clients, in milliseconds.
const LEASE_MS: u64 = 10_000;

/// One acquisition, with the names of its requests.
struct Run {
    host: TestHost,
    machine: SharedAcquire,
    requests: Vec<&'static str>,
    clean_ups: Vec<Release>,
}

impl Run {
    fn new(number: u128, access: Access, wait_mode: WaitMode) -> Self {
        let machine = SharedAcquire::new(request(LEASE_MS / 1000, wait_mode), access);
        Self { host: TestHost::without_dates(number), machine, requests: Vec::new(), clean_ups: Vec::new() }
    }

    fn waiting(number: u128, access: Access) -> Self {
        Self::new(number, access, WaitMode::Wait)
    }

    /// Runs until the machine has ended, or `until_ms`. All requests are answered at once.
    fn run(&mut self, row: &mut Option<Row>, ms: &mut u64, until_ms: u64) -> Option<AcquireEnd> {
        for _ in 0..10_000 {
            if *ms >= until_ms {
                return None;
            }
            match self.host.next(*ms, &mut self.machine) {
                Step::Pause(length) => *ms = until_ms.min(*ms + pause_ms(length)),
                Step::Read { .. } => {
                    self.requests.push("read");
                    self.host.handle(*ms, &mut self.machine, Response::row(row.as_ref()));
                }
                Step::Write(op) => {
                    self.requests.push(write_name(&op));
                    let outcome = write(row, &op);
                    self.host.respond(*ms, &mut self.machine, *ms, &outcome, None);
                }
                Step::CleanUp(release) => self.clean_ups.push(release),
                Step::Done(end) => return Some(end),
            }
        }
        panic!("neither waits nor ends: {:?}", &self.requests[..20]);
    }

    fn acquires(&mut self, row: &mut Option<Row>, ms: &mut u64, until_ms: u64) -> Held {
        match self.run(row, ms, until_ms) {
            Some(AcquireEnd::Acquired(held)) => *held,
            other => panic!("{other:?} after {:?}", self.requests),
        }
    }

    /// Sends the next write. Its response is lost.
    fn unanswered(&mut self, row: &mut Option<Row>, ms: &mut u64, is_applied: bool) {
        let op = self.next_write(ms);
        if is_applied {
            assert!(matches!(write(row, &op), Outcome::Applied(_)), "{op:?}");
        }
        self.host.respond(*ms, &mut self.machine, *ms, &Outcome::Unknown, None);
    }

    fn next_write(&mut self, ms: &mut u64) -> Op {
        loop {
            match self.host.next(*ms, &mut self.machine) {
                Step::Pause(length) => *ms += pause_ms(length),
                Step::Write(op) => {
                    self.requests.push(write_name(&op));
                    return op;
                }
                step => panic!("no write: {step:?}"),
            }
        }
    }

    fn cancel(&mut self, row: &mut Option<Row>, ms: u64) -> Vec<&'static str> {
        match self.machine.cancel(&self.host.now(ms)) {
            Some(mut release) => leaves(&mut self.host, row, &mut release, ms).1,
            None => Vec::new(),
        }
    }
}

fn write_name(op: &Op) -> &'static str {
    if let OpKind::Shared(write) = &op.kind { write.name() } else { panic!("{op:?}") }
}

/// Runs a release, whose requests are answered at once. Returns its result and the names of its writes.
fn leaves(
    host: &mut TestHost,
    row: &mut Option<Row>,
    release: &mut Release,
    ms: u64,
) -> (ReleaseEnd, Vec<&'static str>) {
    let (mut ms, mut writes) = (ms, Vec::new());
    for _ in 0..100 {
        match host.next(ms, release) {
            Step::Pause(length) => ms += pause_ms(length),
            Step::Write(op) => {
                writes.push(write_name(&op));
                let outcome = write(row, &op);
                host.respond(ms, release, ms, &outcome, None);
            }
            Step::Done(end) => return (end, writes),
            step => panic!("{step:?}"),
        }
    }
    panic!("the release does not end: {writes:?}");
}

fn release(run: &mut Run, row: &mut Option<Row>, held: &Held, ms: u64) -> (ReleaseEnd, Vec<&'static str>) {
    let mut release = run.host.release(ms, held);
    leaves(&mut run.host, row, &mut release, ms)
}

fn entries(row: &Option<Row>, kind: Kind) -> Vec<(Role, String)> {
    let row = row.as_ref().expect("a row").shared(kind).expect("a readable row");
    row.entries.iter().map(|entry| (entry.holder.role, entry.owner.clone().unwrap_or_default())).collect()
}

fn roles(row: &Option<Row>) -> Vec<Role> {
    entries(row, Kind::RwLock).into_iter().map(|(role, _)| role).collect()
}

/// Applies an operation of an operator to the entry of this holder.
fn operate(row: &mut Option<Row>, kind: Kind, op: impl FnOnce(SharedHolder) -> SharedOp, held: &Held, role: Role) {
    let holder = SharedHolder { lease_id: held.lease_id().clone(), role };
    let write = SharedWrite { ttl: None, op: op(holder) };
    let op = Op { name: name(), row_kind: kind, version: "operator".into(), kind: OpKind::Shared(write) };
    match apply(row.as_ref(), &op) {
        Verdict::Applied(next) => *row = Some(next),
        Verdict::Conflict(_) => panic!("{op:?} conflicts with {row:?}"),
    }
}

fn revoke(row: &mut Option<Row>, kind: Kind, held: &Held, role: Role) {
    operate(row, kind, |holder| SharedOp::Revoke { holder }, held, role);
}

fn force_out(row: &mut Option<Row>, kind: Kind, held: &Held, role: Role) {
    operate(row, kind, |holder| SharedOp::ForceOut { holder }, held, role);
}

/// Evicts the entry of a shared holder that has not been renewed.
fn evict(row: &mut Option<Row>, kind: Kind, held: &Held) {
    operate(row, kind, |holder| SharedOp::Evict { holder, seen_seq: 0 }, held, Role::Shared);
}

#[test]
fn cycle_without_contention_is_two_writes() {
    for (access, create, enter, leave) in [
        (Access::permit(2), "create shared", "join", "leave shared"),
        (Access::read(), "create shared", "join", "leave shared"),
        (Access::write(), "create exclusive", "take exclusive", "leave exclusive"),
    ] {
        let (mut row, mut ms) = (None, 0);
        let mut run = Run::waiting(1, access);
        let held = run.acquires(&mut row, &mut ms, 1);
        assert_eq!(run.requests, [enter, create]);
        assert_eq!(release(&mut run, &mut row, &held, ms), (ReleaseEnd::Released, vec![leave]));
        assert!(entries(&row, access.kind()).is_empty());
        let mut run = Run::waiting(2, access);
        let held = run.acquires(&mut row, &mut ms, 1);
        assert_eq!(run.requests, [enter]);
        assert_eq!(release(&mut run, &mut row, &held, ms), (ReleaseEnd::Released, vec![leave]));
    }
}

#[test]
fn full_semaphore_is_acquired_after_a_leave() {
    let (mut row, mut ms) = (None, 0);
    let mut runs = [1, 2].map(|n| Run::waiting(n, Access::permit(2)));
    let helds = runs.each_mut().map(|run| run.acquires(&mut row, &mut ms, 1));
    let mut third = Run::waiting(3, Access::permit(2));
    assert_eq!(third.run(&mut row, &mut ms, 1_000), None);
    assert_eq!(release(&mut runs[0], &mut row, &helds[0], ms).0, ReleaseEnd::Released);
    third.acquires(&mut row, &mut ms, 2_000);
    assert_eq!(entries(&row, Kind::Semaphore).len(), 2);
    assert_eq!(third.requests.iter().filter(|name| **name == "join").count(), 2, "{:?}", third.requests);
}

/// The crashed holder of a full semaphore keeps its slot for its lease, which the waiter has observed.
#[test]
fn full_semaphore_evicts_expired_holder() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::permit(1)).acquires(&mut row, &mut ms, 1);
    let mut second = Run::waiting(2, Access::permit(1));
    assert_eq!(second.run(&mut row, &mut ms, LEASE_MS), None);
    second.acquires(&mut row, &mut ms, LEASE_MS + 500);
    assert_eq!(second.requests[second.requests.len() - 2..], ["evict shared", "join"]);
}

#[test]
fn writer_announces_bars_readers_and_is_promoted() {
    let (mut row, mut ms) = (None, 0);
    let mut reader = Run::waiting(1, Access::read());
    let reads = reader.acquires(&mut row, &mut ms, 1);
    let (mut writer, mut second) = (Run::waiting(2, Access::write()), Run::waiting(3, Access::read()));
    assert_eq!(writer.run(&mut row, &mut ms, 100), None);
    assert_eq!(writer.requests[..2], ["take exclusive", "announce"]);
    assert_eq!(second.run(&mut row, &mut ms, 1_000), None);
    assert_eq!(roles(&row), [Role::Shared, Role::Waiting]);
    assert_eq!(release(&mut reader, &mut row, &reads, ms).0, ReleaseEnd::Released);
    let writes = writer.acquires(&mut row, &mut ms, 2_000);
    assert_eq!(writer.requests.last(), Some(&"promote"));
    assert!(writes.token() > reads.token());
    assert_eq!(roles(&row), [Role::Exclusive]);
    assert_eq!(release(&mut writer, &mut row, &writes, ms), (ReleaseEnd::Released, vec!["leave exclusive"]));
    assert!(second.acquires(&mut row, &mut ms, 4_000).token() > writes.token());
}

#[test]
fn waiting_writer_evicts_expired_readers() {
    let (mut row, mut ms) = (None, 0);
    for n in [1, 2] {
        Run::waiting(n, Access::read()).acquires(&mut row, &mut ms, 1);
    }
    let mut writer = Run::waiting(3, Access::write());
    writer.acquires(&mut row, &mut ms, LEASE_MS + 500);
    assert!(ms >= LEASE_MS, "{ms}");
    let end = writer.requests.len() - 3;
    assert_eq!(writer.requests[end..], ["evict shared", "evict shared", "promote"]);
    assert!(writer.requests.contains(&"renew announcement"));
}

#[test]
fn reader_evicts_expired_announcement() {
    let (mut row, mut ms) = (None, 0);
    let mut reader = Run::waiting(1, Access::read());
    let held = reader.acquires(&mut row, &mut ms, 1);
    assert_eq!(Run::waiting(2, Access::write()).run(&mut row, &mut ms, 10), None);
    assert_eq!(release(&mut reader, &mut row, &held, ms).0, ReleaseEnd::Released);
    let mut second = Run::waiting(3, Access::read());
    second.acquires(&mut row, &mut ms, LEASE_MS + 500);
    assert_eq!(second.requests[second.requests.len() - 2..], ["evict announcement", "join"]);
}

#[test]
fn cancelled_writer_withdraws() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::read()).acquires(&mut row, &mut ms, 1);
    let mut writer = Run::waiting(2, Access::write());
    assert_eq!(writer.run(&mut row, &mut ms, 1_000), None);
    assert_eq!(writer.cancel(&mut row, ms), ["withdraw"]);
    assert_eq!(roles(&row), [Role::Shared]);
}

/// Whether the promotion was applied is unknown, so the clean-up finds out.
#[test]
fn cancelled_promotion_is_cleaned_up_in_each_role() {
    for is_applied in [false, true] {
        let (mut row, mut ms) = (None, 0);
        let mut reader = Run::waiting(1, Access::read());
        let held = reader.acquires(&mut row, &mut ms, 1);
        let mut writer = Run::waiting(2, Access::write());
        assert_eq!(writer.run(&mut row, &mut ms, 10), None);
        release(&mut reader, &mut row, &held, ms);
        while let Step::Pause(length) = writer.host.next(ms, &mut writer.machine) {
            ms += pause_ms(length);
        }
        writer.host.handle(ms, &mut writer.machine, Response::row(row.as_ref()));
        writer.unanswered(&mut row, &mut ms, is_applied);
        assert_eq!(writer.requests.last(), Some(&"promote"));
        assert_eq!(roles(&row), [if is_applied { Role::Exclusive } else { Role::Waiting }]);
        let writes = writer.cancel(&mut row, ms);
        assert_eq!(writes.last(), Some(&if is_applied { "leave exclusive" } else { "withdraw" }), "{writes:?}");
        assert_eq!(roles(&row), []);
    }
}

#[test]
fn unanswered_entry_is_adopted() {
    for access in [Access::permit(1), Access::read(), Access::write()] {
        for has_row in [false, true] {
            let (mut row, mut ms) = (None, 0);
            if has_row {
                let mut run = Run::waiting(1, access);
                let held = run.acquires(&mut row, &mut ms, 1);
                release(&mut run, &mut row, &held, ms);
            }
            let mut run = Run::waiting(2, access);
            if !has_row {
                let op = run.next_write(&mut ms);
                assert_eq!(apply(None, &op), Verdict::Conflict(None));
                run.host.respond(ms, &mut run.machine, ms, &Outcome::Conflict(None), None);
            }
            run.unanswered(&mut row, &mut ms, true);
            run.acquires(&mut row, &mut ms, 1_000);
            assert_eq!(entries(&row, access.kind()).len(), 1);
        }
    }
}

#[test]
fn unanswered_announcement_and_promotion_are_adopted() {
    let (mut row, mut ms) = (None, 0);
    let mut reader = Run::waiting(1, Access::read());
    let held = reader.acquires(&mut row, &mut ms, 1);
    let mut writer = Run::waiting(2, Access::write());
    let op = writer.next_write(&mut ms);
    let conflict = write(&mut row, &op);
    writer.host.respond(ms, &mut writer.machine, ms, &conflict, None);
    writer.unanswered(&mut row, &mut ms, true);
    assert_eq!(writer.requests.last(), Some(&"announce"));
    assert_eq!(writer.run(&mut row, &mut ms, 1_000), None);
    assert_eq!(roles(&row), [Role::Shared, Role::Waiting]);
    release(&mut reader, &mut row, &held, ms);
    while let Step::Pause(length) = writer.host.next(ms, &mut writer.machine) {
        ms += pause_ms(length);
    }
    writer.host.handle(ms, &mut writer.machine, Response::row(row.as_ref()));
    writer.unanswered(&mut row, &mut ms, true);
    assert_eq!(writer.requests.last(), Some(&"promote"));
    writer.acquires(&mut row, &mut ms, 3_000);
    assert_eq!(roles(&row), [Role::Exclusive]);
}

/// The operation of a revoked entry is spent, so another one with a fresh lease ID follows.
#[test]
fn revoked_own_entry_leads_to_a_fresh_operation() {
    let (mut row, mut ms) = (None, 0);
    let mut first = Run::waiting(1, Access::permit(2));
    let held = first.acquires(&mut row, &mut ms, 1);
    release(&mut first, &mut row, &held, ms);
    let mut run = Run::waiting(2, Access::permit(2));
    let op = run.next_write(&mut ms);
    write(&mut row, &op);
    run.host.respond(ms, &mut run.machine, ms, &Outcome::Unknown, None);
    let OpKind::Shared(SharedWrite { op: SharedOp::Join { entry, .. }, .. }) = &op.kind else { panic!("{op:?}") };
    let holder = SharedHolder { lease_id: entry.lease_id.clone(), role: Role::Shared };
    let revoke = SharedWrite { ttl: None, op: SharedOp::Revoke { holder } };
    let kind = OpKind::Shared(revoke);
    let revoke = Op { name: name(), row_kind: Kind::Semaphore, version: "operator".into(), kind };
    assert!(matches!(write(&mut row, &revoke), Outcome::Applied(_)));
    let held = run.acquires(&mut row, &mut ms, 1_000);
    assert_ne!(*held.lease_id(), entry.lease_id);
    let [clean_up] = &mut run.clean_ups[..] else { panic!("{:?}", run.clean_ups) };
    leaves(&mut run.host, &mut row, clean_up, ms);
    assert_eq!(entries(&row, Kind::Semaphore).len(), 1);
}

#[test]
fn attempt_without_waiting_never_announces() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::read()).acquires(&mut row, &mut ms, 1);
    let mut writer = Run::new(2, Access::write(), WaitMode::Try);
    let Some(AcquireEnd::Contended(holder)) = writer.run(&mut row, &mut ms, 100) else { panic!("not contended") };
    assert_eq!(holder.owner.as_deref(), Some("test"));
    assert_eq!((writer.requests, ms), (vec!["take exclusive"], 0));
    assert_eq!(roles(&row), [Role::Shared]);
}

#[test]
fn attempt_at_a_full_semaphore_is_contended() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::permit(1)).acquires(&mut row, &mut ms, 1);
    let mut second = Run::new(2, Access::permit(1), WaitMode::Try);
    assert!(matches!(second.run(&mut row, &mut ms, 100), Some(AcquireEnd::Contended(_))));
    assert_eq!(second.requests, ["join"]);
}

#[test]
fn row_of_another_kind_is_refused() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::permit(1)).acquires(&mut row, &mut ms, 1);
    let end = Run::waiting(2, Access::read()).run(&mut row, &mut ms, 100);
    assert!(matches!(end, Some(AcquireEnd::RowError(_))), "{end:?}");
}

#[test]
fn refused_write_ends_the_acquisition() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::read()).acquires(&mut row, &mut ms, 1);
    let mut writer = Run::waiting(2, Access::write());
    assert_eq!(writer.run(&mut row, &mut ms, 10), None);
    let op = writer.next_write(&mut 5_000);
    assert_eq!(write_name(&op), "renew announcement");
    writer.host.handle(5_000, &mut writer.machine, Response::refused(Refusal::Other));
    assert_eq!(writer.run(&mut row, &mut 5_000, 5_001), Some(AcquireEnd::Refused));
    let [clean_up] = &mut writer.clean_ups[..] else { panic!("{:?}", writer.clean_ups) };
    leaves(&mut writer.host, &mut row, clean_up, 5_000);
    assert_eq!(roles(&row), [Role::Shared]);
}

/// Returns the loss after the next renewal of a guard.
fn loss_after_renewal(run: &mut Run, row: &mut Option<Row>, held: &mut Held, ms: &mut u64) -> Option<LossReason> {
    let op = run.host.renewal(ms, held);
    let outcome = write(row, &op);
    run.host.renewed(*ms, held, *ms, &outcome, None);
    held.check(run.host.at(*ms))
}

#[test]
fn renewal_finds_out_how_an_entry_was_lost() {
    for (access, role) in
        [(Access::permit(2), Role::Shared), (Access::read(), Role::Shared), (Access::write(), Role::Exclusive)]
    {
        let kind = access.kind();
        let lost = |change: &dyn Fn(&mut Option<Row>, &Held)| {
            let (mut row, mut ms) = (None, 0);
            let mut run = Run::waiting(1, access);
            let mut held = run.acquires(&mut row, &mut ms, 1);
            change(&mut row, &held);
            loss_after_renewal(&mut run, &mut row, &mut held, &mut ms)
        };
        assert_eq!(lost(&|_, _| {}), None);
        assert_eq!(lost(&|row, held| revoke(row, kind, held, role)), Some(LossReason::Revoked));
        assert_eq!(lost(&|row, held| force_out(row, kind, held, role)), Some(LossReason::Revoked));
        assert_eq!(lost(&|row, _| *row = None), Some(LossReason::RowGone));
        if role == Role::Shared {
            assert_eq!(lost(&|row, held| evict(row, kind, held)), Some(LossReason::TakenOver));
        }
    }
}

/// Other holders replace the record version, so the number of the entry shows that the renewal was applied.
#[test]
fn unanswered_renewal_is_recognised_by_its_number() {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, Access::read());
    let mut held = run.acquires(&mut row, &mut ms, 1);
    let op = run.host.renewal(&mut ms, &mut held);
    write(&mut row, &op);
    run.host.renewed(ms, &mut held, ms, &Outcome::Unknown, None);
    Run::waiting(2, Access::read()).acquires(&mut row, &mut ms.clone(), ms + 1);
    let again = run.host.renewal(&mut ms, &mut held);
    assert_eq!(op, again);
    let conflict = write(&mut row, &again);
    assert!(matches!(conflict, Outcome::Conflict(Some(_))));
    run.host.renewed(ms, &mut held, ms, &conflict, None);
    assert_eq!((held.check(run.host.at(ms)), held.renewals()), (None, 1));
}

/// Sends a leave that is not answered, changes the row, and returns the result of the second attempt.
fn unanswered_leave(
    access: Access,
    is_applied: bool,
    late: bool,
    change: &dyn Fn(&mut Option<Row>, &Held),
) -> ReleaseEnd {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, access);
    let held = run.acquires(&mut row, &mut ms, 1);
    let mut release = run.host.release(ms, &held);
    let op = run.host.op(ms, &mut release);
    if is_applied {
        write(&mut row, &op);
    }
    run.host.respond(ms, &mut release, ms, &Outcome::Unknown, None);
    change(&mut row, &held);
    let ms = if late { LEASE_MS } else { 2_000 };
    leaves(&mut run.host, &mut row, &mut release, ms).0
}

#[test]
fn unanswered_leave_finds_out_its_result() {
    for (access, role) in
        [(Access::permit(2), Role::Shared), (Access::read(), Role::Shared), (Access::write(), Role::Exclusive)]
    {
        let kind = access.kind();
        let none = |_: &mut Option<Row>, _: &Held| {};
        assert_eq!(unanswered_leave(access, true, false, &none), ReleaseEnd::Released);
        assert_eq!(unanswered_leave(access, false, false, &none), ReleaseEnd::Released);
        assert_eq!(unanswered_leave(access, true, true, &none), ReleaseEnd::Unknown);
        let forced = |row: &mut Option<Row>, held: &Held| force_out(row, kind, held, role);
        assert_eq!(unanswered_leave(access, false, false, &forced), ReleaseEnd::Unknown);
        let other_forced = |row: &mut Option<Row>, _: &Held| {
            if let Some(row) = row {
                row.set("forcedLeaseId", Value::from("another"));
            }
        };
        assert_eq!(unanswered_leave(access, true, false, &other_forced), ReleaseEnd::Unknown);
        assert_eq!(unanswered_leave(access, true, false, &|row, _| *row = None), ReleaseEnd::Unknown);
    }
}

/// The leave was applied. A late copy of the join adds the entry again, and an operator forces that one out.
#[test]
fn leave_before_a_copy_is_forced_out_is_no_loss() {
    let (mut row, mut ms) = (None, 0);
    let mut first = Run::waiting(1, Access::read());
    let held = first.acquires(&mut row, &mut ms, 1);
    release(&mut first, &mut row, &held, ms);
    let mut run = Run::waiting(2, Access::read());
    let join = run.next_write(&mut ms);
    let joined = write(&mut row, &join);
    run.host.respond(ms, &mut run.machine, ms, &joined, None);
    let held = run.acquires(&mut row, &mut ms, 1);
    let mut release = run.host.release(ms, &held);
    let leave = run.host.op(ms, &mut release);
    assert!(matches!(write(&mut row, &leave), Outcome::Applied(_)));
    run.host.respond(ms, &mut release, ms, &Outcome::Unknown, None);
    assert!(matches!(write(&mut row, &join), Outcome::Applied(_)));
    force_out(&mut row, Kind::RwLock, &held, Role::Shared);
    assert_eq!(leaves(&mut run.host, &mut row, &mut release, 2_000).0, ReleaseEnd::Unknown);
}

#[test]
fn leave_of_a_forced_out_holder_is_a_loss() {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, Access::read());
    let held = run.acquires(&mut row, &mut ms, 1);
    force_out(&mut row, Kind::RwLock, &held, Role::Shared);
    assert_eq!(release(&mut run, &mut row, &held, ms).0, ReleaseEnd::Lost(LossReason::Revoked));
}

#[test]
fn leave_without_its_entry_is_a_loss() {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, Access::read());
    let held = run.acquires(&mut row, &mut ms, 1);
    evict(&mut row, Kind::RwLock, &held);
    assert_eq!(release(&mut run, &mut row, &held, ms).0, ReleaseEnd::Lost(LossReason::TakenOver));
}

#[test]
fn revoked_entry_is_removed_by_its_release() {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, Access::read());
    let mut held = run.acquires(&mut row, &mut ms, 1);
    revoke(&mut row, Kind::RwLock, &held, Role::Shared);
    assert_eq!(loss_after_renewal(&mut run, &mut row, &mut held, &mut ms), Some(LossReason::Revoked));
    let (end, writes) = release(&mut run, &mut row, &held, ms);
    assert_eq!((end, writes), (ReleaseEnd::Lost(LossReason::Revoked), vec!["leave shared"]));
    assert_eq!(roles(&row), []);
}

/// A row that a purge or another program has removed is created again, and an eventually consistent read without a row
/// does not end an announcement.
#[test]
fn read_without_a_row_keeps_the_announcement() {
    let (mut row, mut ms) = (None, 0);
    Run::waiting(1, Access::read()).acquires(&mut row, &mut ms, 1);
    let mut writer = Run::waiting(2, Access::write());
    assert_eq!(writer.run(&mut row, &mut ms, 10), None);
    while let Step::Pause(length) = writer.host.next(ms, &mut writer.machine) {
        ms += pause_ms(length);
    }
    writer.host.handle(ms, &mut writer.machine, Response::row(None));
    assert_eq!(write_name(&writer.next_write(&mut ms)), "renew announcement");
    assert_eq!(roles(&row), [Role::Shared, Role::Waiting]);
}

/// A guard's renewals go on while the row is shared, and its deadline counts from the sending (R1).
#[test]
fn entry_is_lost_at_its_deadline() {
    let (mut row, mut ms) = (None, 0);
    let mut run = Run::waiting(1, Access::permit(1));
    let mut held = run.acquires(&mut row, &mut ms, 1);
    let end = LEASE_MS - LEASE_MS / 100 - 10;
    assert!(held.clone().is_valid(run.host.at(end - 1)));
    assert_eq!(held.check(run.host.at(end)), Some(LossReason::Expired));
    assert!(matches!(held.next(&run.host.now(end)), HeldStep::Lost(LossReason::Expired)));
}

/// A malformed entry of any holder makes the row unreadable, and it stays as it is.
#[test]
fn unreadable_row_is_not_changed() {
    let (mut there, mut ms) = (None, 0);
    Run::waiting(1, Access::read()).acquires(&mut there, &mut ms, 1);
    let mut broken = there.clone().expect("a row");
    broken.set("holders", Value::Map([(EntryKey::Exclusive.as_str().to_owned(), 1.into())].into()));
    assert!(broken.at(&Path::Entry(EntryKey::Exclusive)).is_some());
    let mut there = Some(broken.clone());
    for access in [Access::read(), Access::write()] {
        let end = Run::waiting(2, access).run(&mut there, &mut ms, 100);
        assert!(matches!(end, Some(AcquireEnd::RowError(_))), "{end:?}");
        assert_eq!(there.as_ref(), Some(&broken));
    }
    let mut text = Some(row(&[("v", 1.into()), ("kind", "rwlock".into()), ("guid", "g".into())]));
    let end = Run::waiting(2, Access::write()).run(&mut text, &mut ms, 100);
    assert!(matches!(end, Some(AcquireEnd::RowError(_))), "{end:?}");
}

/// The name may have had a row of another kind until a moment ago, which an eventually consistent read still returns.
#[test]
fn stale_row_of_another_kind_does_not_end_a_shared_wait() {
    let stale = held_row(1_000);
    for is_stale in [true, false] {
        let mut row = None;
        let mut ms = 0;
        Run::waiting(1, Access::permit(1)).acquires(&mut row, &mut ms, 1_000);
        let mut waiter = Run::waiting(2, Access::permit(1));
        assert!(waiter.run(&mut row, &mut ms, 30).is_none(), "the only slot is taken");
        let mut reads = Vec::new();
        let end = loop {
            match waiter.host.next(ms, &mut waiter.machine) {
                Step::Pause(length) => ms += pause_ms(length),
                Step::Read { strong } if reads.len() < 3 => {
                    reads.push(strong);
                    let answer = if strong && is_stale { row.as_ref() } else { Some(&stale) };
                    waiter.host.handle(ms, &mut waiter.machine, Response::row(answer));
                }
                step => break step,
            }
        };
        let expected: &[bool] = if is_stale { &[false, true, false] } else { &[false, true] };
        assert_eq!(reads, expected, "{end:?}");
        assert_eq!(matches!(end, Step::Done(AcquireEnd::RowError(_))), !is_stale, "{end:?}");
    }
}
