//! A counterexample for people: one line a step.

use dynamo_lock_protocol::{Op, OpKind, Outcome, Row, attr};

use super::actions::{Action, How, successor};
use super::calm::Fate;
use super::clocks::EPOCH_MS;
use super::driver::{Context, Did, letter};
use super::service::Violation;
use super::world::{Agent, Asked, Body, Machine, World};

/// Replays a way from the beginning: each step, and the row after it.
pub fn print(actions: &[Action], violation: &Violation, context: &Context<'_>) -> String {
    let mut world = World::initial(context.config);
    let mut text = String::new();
    for (n, action) in actions.iter().enumerate() {
        let what = tell(&world, *action, context);
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
            believers(&world, context)
        );
    }
    text + &format!("     => {violation}\n")
}

fn tell(world: &World, action: Action, context: &Context<'_>) -> String {
    let agent = |i: u8| &world.agents[usize::from(i)];
    let late = |late| if late { ", and may still land" } else { "" };
    match action {
        Action::Tick => "time passes".into(),
        Action::Begin(h) => format!("{} asks for the lock", letter(h)),
        Action::Step(i) => format!("{} takes a step", who(agent(i))),
        Action::Ask(i, how) => tell_request(world, context, i, how),
        Action::Deliver(i) => format!("{} hears: {}", who(agent(i)), heard(agent(i))),
        Action::Land(i) => format!("a late request lands: {}", show_op(&world.wire[usize::from(i)])),
        Action::Drop(i) => format!("{} is dropped", who(agent(i))),
        Action::LetGo(i, l) => format!("{} is let go of{}", who(agent(i)), late(l)),
        Action::Crash(h, l) => format!("{} crashes{}", letter(h), late(l)),
        Action::Revoke => "an operator revokes what is held".into(),
        Action::LegacyRead => "the original client sees the row to be over".into(),
        Action::LegacyPut => "the original client puts its row".into(),
        Action::Freeze(h) => format!("{} stands still, no clock of it counts", letter(h)),
        Action::Sleep(h) => format!("{} sleeps", letter(h)),
        Action::Force => "an operator frees by force what is held".into(),
        Action::Inspect(h) => format!("{} inspects the lock", letter(h)),
        Action::Purge => "the service deletes the row, whose purgeOn has passed".into(),
        Action::Calm(fate) => match fate {
            Fate::Newcomer => format!("all processes end; {} asks, nothing disturbs", letter(context.newcomer())),
            Fate::Waiter(h) => format!("all processes but {}'s end, nothing disturbs", letter(h)),
            Fate::Rest => "nothing disturbs any more, users let go".into(),
        },
        Action::Pass(ms) => format!("{ms} ms pass"),
    }
}

fn tell_request(world: &World, context: &Context<'_>, i: u8, how: How) -> String {
    let mut agent = world.agents[usize::from(i)].clone_inner();
    if agent.flight.is_none()
        && let Ok(Did::Became(Some(sent))) = context.step(&mut world.clone(), agent.clone())
    {
        agent = sent;
    }
    let what = match how {
        How::Quick(_) | How::Exact => "and is answered",
        How::SlowRequest => "and waits",
        How::SlowAnswer(_) => "applied, the answer is slow",
        How::Lost => "lost, no answer",
        How::Unheard => "applied, the answer is lost",
        How::Late => "no answer, it may still land",
        How::Copied => "and is answered, a copy goes on",
        How::Stale => "and an old version answers",
    };
    format!("{} sends {}: {what}", who(&agent), asked(&agent))
}

fn who(agent: &Agent) -> String {
    let what = match &agent.machine {
        Machine::Acquire(_) => "acquire",
        Machine::Dropped(_) => "dropped acquire",
        Machine::Hold(_) => "hold",
        Machine::DroppedHold(_) => "dropped hold",
        Machine::Inspect | Machine::Inspected => "inspection",
        Machine::Held(_) => "guard",
        Machine::Release(closing) if closing.token.is_none() => "clean-up",
        Machine::Release(_) => "release",
        Machine::Revoke(_) => "revocation",
        Machine::Renewing(_) => "renewer",
    };
    format!("{}'s {what}", letter(agent.host))
}

fn asked(agent: &Agent) -> String {
    match agent.flight.as_ref().map(|flight| &flight.request) {
        None => "nothing".into(),
        Some(Asked::Read { strong }) => if *strong { "strong read" } else { "read" }.into(),
        Some(Asked::Write(op)) => show_op(op),
    }
}

fn heard(agent: &Agent) -> String {
    match agent.flight.as_ref().and_then(|flight| flight.answer.as_ref()).map(|answer| &answer.body) {
        None => "nothing".into(),
        Some(Body::Row(row)) => format!("row {}", show_row(row.as_deref())),
        Some(Body::Outcome(outcome)) => match &**outcome {
            Outcome::Applied(row) => format!("applied {}", short(row)),
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
        OpKind::Renew { renewal_seq, .. } => format!("renew {renewal_seq} {version}"),
        OpKind::Release { lease_id, .. } => format!("release of lease ID {}", nonce(lease_id.as_str())),
        OpKind::Revoke { .. } => format!("revoke {version}"),
        OpKind::ForceRevoke { .. } => format!("force free {version}"),
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

fn show_row(row: Option<&Row>) -> String {
    let Some(row) = row else { return "| no row".into() };
    let token = row.whole(attr::TOKEN).map_or("-".into(), |token| {
        let second = (token >> 20).saturating_sub(EPOCH_MS / 1000) as i64;
        format!("{second}+{}", token & 0xf_ffff)
    });
    let held = match row.whole(attr::EXPIRES_ON) {
        Some(0) => "free".into(),
        Some(at) => {
            let service_timestamp = if row.text(attr::EXPIRY_CLOCK).is_some() { " stamped" } else { "" };
            let renewal_seq =
                row.whole(attr::RENEWAL_SEQ).map_or(String::new(), |renewal_seq| format!(" beat {renewal_seq}"));
            format!("held{renewal_seq} until {:.2} s{service_timestamp}", (at as f64 - EPOCH_MS as f64) / 1000.0)
        }
        None => "?".into(),
    };
    format!("| {} token {token} {held}", short(row))
}

fn believers(world: &World, context: &Context<'_>) -> String {
    let live = |agent: &&super::world::Shared<Agent>| match &agent.machine {
        Machine::Held(held) => held.clone().is_valid(context.agent_clock(world, agent)),
        _ => false,
    };
    let names: Vec<_> = world.agents.iter().filter(live).map(|agent| letter(agent.host)).collect();
    if names.is_empty() { String::new() } else { format!(" | believes: {}", names.join(" and ")) }
}
