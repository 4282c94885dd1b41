//! Text of a counterexample, with one line for each step.

use dynamo_lock_protocol::{Op, OpKind, Outcome, Role, Row, SharedEntry, SharedOp, SharedRow, attr};

use super::{
    Body, Context, EPOCH_MS, RequestBody, Shared, StepResult, Task, TaskState, Violation, World, actions::Action,
    actions::Delivery, actions::successor, entries, entries::KINDS, letter, quiescence::Continuation,
};

/// Returns the text of a path from the initial state: each step, and the row after it.
pub fn print(actions: &[Action], violation: &Violation, context: &Context<'_>) -> String {
    let mut world = World::initial(context.config);
    let mut text = String::new();
    for (n, action) in actions.iter().enumerate() {
        let what = describe(&world, *action, context);
        world = match successor(&world, *action, context) {
            Ok(Some(next)) => next,
            Err(end) => end.0,
            Ok(None) => world,
        };
        let at = world.real_ms(context.config) as f64 / 1000.0;
        text += &format!(
            "{:>3}. {at:>6.2} s  {what:<76} {}{}\n",
            n + 1,
            show_row(world.row.as_deref()),
            valid_guards(&world, context)
        );
    }
    text + &format!("     => {violation}\n")
}

fn describe(world: &World, action: Action, context: &Context<'_>) -> String {
    let task = |i: u8| &world.tasks[usize::from(i)];
    let late = |late| if late { ", its write may still be applied" } else { "" };
    match action {
        Action::Tick => "time passes".into(),
        Action::Begin(h) => format!("{} requests the lock", letter(h)),
        Action::Step(i) => format!("{} takes a step", task_name(task(i))),
        Action::Send(i, delivery) => describe_request(world, context, i, delivery),
        Action::Deliver(i) => format!("{} receives: {}", task_name(task(i)), answer_text(task(i))),
        Action::Apply(i) => format!("a late request is applied: {}", show_op(&world.late_requests[usize::from(i)])),
        Action::Hint(i) => format!("{} receives a hint", task_name(task(i))),
        Action::Drop(i) => format!("{} is dropped", task_name(task(i))),
        Action::Release(i, l) => format!("{} is released{}", task_name(task(i)), late(l)),
        Action::Finish(i, l) => format!("the work of {} succeeds{}", task_name(task(i)), late(l)),
        Action::HandOver(i, l) => format!("{} is released for another user{}", task_name(task(i)), late(l)),
        Action::Crash(h, l) => format!("{} crashes{}", letter(h), late(l)),
        Action::Revoke => "an operator revokes the lock".into(),
        Action::Operate(entry, force) => {
            let what = if force { "forces out" } else { "revokes" };
            format!("an operator {what} entry {entry}; its write is in flight")
        }
        Action::Convert(kind) => {
            format!("an operator converts to {}; its write is in flight", KINDS[usize::from(kind)])
        }
        Action::Reset => "an operator resets the success".into(),
        Action::LegacyRead => "the legacy client finds the row expired".into(),
        Action::LegacyPut => "the legacy client puts its row".into(),
        Action::Freeze(h) => format!("{} is frozen, none of its clocks counts", letter(h)),
        Action::Sleep(h) => format!("{} sleeps", letter(h)),
        Action::Force => "an operator revokes the lock by force".into(),
        Action::Inspect(h) => format!("{} inspects the lock", letter(h)),
        Action::Purge => "the service deletes the row, whose ttl has passed".into(),
        Action::DeleteTable => "the table is deleted".into(),
        Action::CreateTable => "the table is created again".into(),
        Action::Quiescence(continuation) => match continuation {
            Continuation::Newcomer(n) => {
                format!("all processes end, {} requests the lock, no more faults", letter(context.newcomer() + n))
            }
            Continuation::Stream(h) => {
                format!("all processes except those of {} end, readers come without end", letter(h))
            }
            Continuation::Waiter(h) => format!("all processes except those of {} end, no more faults", letter(h)),
            Continuation::Rest => "no more faults, users release their guards".into(),
        },
        Action::Pass(ms) => format!("{ms} ms pass"),
    }
}

fn describe_request(world: &World, context: &Context<'_>, i: u8, delivery: Delivery) -> String {
    let mut task = world.tasks[usize::from(i)].clone_inner();
    if task.flight.is_none()
        && let Ok(StepResult::Progress(Some(sent))) = context.step(&mut world.clone(), task.clone())
    {
        task = sent;
    }
    let what = match delivery {
        Delivery::Immediate(_) | Delivery::ExactDate => "and is answered",
        Delivery::RequestDelayed => "and waits",
        Delivery::ResponseDelayed(_) => "applied, the answer is slow",
        Delivery::Lost => "lost, no answer",
        Delivery::ResponseLost => "applied, the answer is lost",
        Delivery::Abandoned => "no answer, it may still be applied",
        Delivery::Duplicated => "and is answered, a copy is in flight",
        Delivery::Stale => "and an old version answers",
        Delivery::WildDate => "and is answered with a wild date",
        Delivery::Refused => "and is refused",
    };
    format!("{} sends {}: {what}", task_name(&task), request_text(&task))
}

fn task_name(task: &Task) -> String {
    let what = match &task.state {
        TaskState::Acquire(_) => "acquire",
        TaskState::Dropped(_) => "dropped acquire",
        TaskState::Hold(_) => "hold",
        TaskState::DroppedHold(_) => "dropped hold",
        TaskState::Inspect | TaskState::Inspected => "inspection",
        TaskState::Handover(task) if !task.has_waiter => "handover without a waiter",
        TaskState::Handover(_) => "handover",
        TaskState::Held(_) => "guard",
        TaskState::Release(release_task) if release_task.token.is_none() => "clean-up",
        TaskState::Release(_) => "release",
        TaskState::Finish(_) => "record of a success",
        TaskState::Revoke(_) => "revocation or reset",
        TaskState::Renewing(_) => "renewer",
    };
    format!("{}'s {what}", letter(task.host))
}

fn request_text(task: &Task) -> String {
    match task.flight.as_ref().map(|flight| &flight.request) {
        None => "nothing".into(),
        Some(RequestBody::Read { strong }) => if *strong { "strong read" } else { "read" }.into(),
        Some(RequestBody::Write(op)) => show_op(op),
    }
}

fn answer_text(task: &Task) -> String {
    match task.flight.as_ref().and_then(|flight| flight.answer.as_ref()).map(|answer| &answer.body) {
        None => "nothing".into(),
        Some(Body::Refused(refusal)) => format!("refused {refusal:?}"),
        Some(Body::Row(row)) => format!("row {}", show_row(row.as_deref())),
        Some(Body::Outcome(outcome)) => match &**outcome {
            Outcome::Applied(row) => format!("applied {}", row.as_ref().map_or(String::new(), short)),
            Outcome::Conflict(row) => format!("conflict {}", row.as_ref().map_or("no row".into(), short)),
            other => format!("{other:?}"),
        },
    }
}

fn show_op(op: &Op) -> String {
    let version = nonce(op.version.as_str());
    match &op.kind {
        OpKind::Acquire(lease) => format!("acquire {version} lease ID {}", nonce(lease.lease_id.as_str())),
        OpKind::TakeOver { lease, seen, .. } => {
            format!("take over {} {version} lease ID {}", nonce(seen.as_str()), nonce(lease.lease_id.as_str()))
        }
        OpKind::StartAnew { lease, seen, .. } => {
            format!("start anew {} {version} lease ID {}", nonce(seen.as_str()), nonce(lease.lease_id.as_str()))
        }
        OpKind::Finish { lease_id, .. } => format!("finish {version} of lease ID {}", nonce(lease_id.as_str())),
        OpKind::Reset { .. } => format!("reset {version}"),
        OpKind::Renew { renewal_seq, .. } => format!("renew {renewal_seq} {version}"),
        OpKind::HandOver { lease_id, next, .. } => {
            format!("hand over {version} from {} to {}", nonce(lease_id.as_str()), nonce(next.lease_id.as_str()))
        }
        OpKind::Release { lease_id, .. } => format!("release of lease ID {}", nonce(lease_id.as_str())),
        OpKind::Revoke { .. } => format!("revoke {version}"),
        OpKind::ForceRevoke { .. } => format!("force revoke {version}"),
        OpKind::Shared(write) => show_shared(&write.op, write.name(), &version),
        OpKind::Convert(_) => format!("convert {version} to {}", op.row_kind),
        OpKind::LegacyGet { .. } => format!("legacy get {version}"),
    }
}

/// Returns a short form of a random value: `A3` is the fourth of host A, and primes denote the call that it was for.
fn nonce(text: &str) -> String {
    match u128::from_str_radix(text, 16) {
        Ok(bits) if bits >> 96 > 0 => {
            let host = letter((bits >> 96) as u8 - 1);
            format!("{host}{}{}", bits as u64, "'".repeat((bits >> 64) as u8 as usize))
        }
        _ => text.into(),
    }
}

fn short(row: &Row) -> String {
    let text = |name| row.text(name).map(nonce).unwrap_or_else(|| "-".into());
    format!("{} of lease ID {}", text(attr::GUID), text(attr::LEASE_ID))
}

fn show_shared(op: &SharedOp, name: &str, version: &str) -> String {
    let (lease_id, number) = match op {
        SharedOp::Create { entry, .. } | SharedOp::Join { entry, .. } => (&entry.lease_id, 0),
        SharedOp::TakeExclusive { entry } | SharedOp::Announce { entry } => (&entry.lease_id, 0),
        SharedOp::Promote { lease_id, lease, .. } => (lease_id, lease.renewal_seq),
        SharedOp::Renew { holder, lease, .. } => (&holder.lease_id, lease.renewal_seq),
        SharedOp::Evict { holder, seen_seq } => (&holder.lease_id, *seen_seq),
        SharedOp::Leave { holder } | SharedOp::Revoke { holder } | SharedOp::ForceOut { holder } => {
            (&holder.lease_id, 0)
        }
    };
    format!("{name} {number} of {} {version}", nonce(lease_id.as_str()))
}

fn show_entries(row: &SharedRow) -> String {
    let entry = |entry: &SharedEntry| {
        let role = match entry.holder.role {
            Role::Shared => "",
            Role::Exclusive => "x ",
            Role::Waiting => "x? ",
        };
        let end = entry
            .expires_on
            .map_or(String::new(), |at| format!(" until {:.2} s", (at as f64 - EPOCH_MS as f64) / 1000.0));
        let revoked = if entry.revoked { " revoked" } else { "" };
        let number = entry.renewal_seq;
        format!("{role}{} renewal {number}{end}{revoked}", nonce(entry.holder.lease_id.as_str()))
    };
    let entries: Vec<_> = row.entries.iter().map(entry).collect();
    let second = (row.token.get() >> 20).saturating_sub(EPOCH_MS / 1000);
    format!("| {} token {second}+{} {{{}}}", row.kind, row.token.get() & 0xf_ffff, entries.join(", "))
}

fn show_row(row: Option<&Row>) -> String {
    let Some(row) = row else { return "| no row".into() };
    if let Some(row) = entries::parse(Some(row)) {
        return show_entries(&row);
    }
    let token = row.whole(attr::TOKEN).map_or("-".into(), |token| {
        let second = (token >> 20).saturating_sub(EPOCH_MS / 1000) as i64;
        format!("{second}+{}", token & 0xf_ffff)
    });
    let held = match row.whole(attr::EXPIRES_ON) {
        Some(0) => "free".into(),
        Some(at) => {
            let service_timestamp = if row.text(attr::EXPIRY_CLOCK).is_some() { " with service timestamp" } else { "" };
            let renewal_seq =
                row.whole(attr::RENEWAL_SEQ).map_or(String::new(), |renewal_seq| format!(" renewal {renewal_seq}"));
            format!("held{renewal_seq} until {:.2} s{service_timestamp}", (at as f64 - EPOCH_MS as f64) / 1000.0)
        }
        None => "?".into(),
    };
    format!("| {} token {token} {held}", short(row))
}

fn valid_guards(world: &World, context: &Context<'_>) -> String {
    let is_valid = |task: &&Shared<Task>| match &task.state {
        TaskState::Held(held) => held.clone().is_valid(context.task_clock(world, task)),
        _ => false,
    };
    let names: Vec<_> = world.tasks.iter().filter(is_valid).map(|task| letter(task.host)).collect();
    if names.is_empty() { String::new() } else { format!(" | valid: {}", names.join(" and ")) }
}
