//! `revoke`: ends an acquisition of another client, for example one that is stuck.

use std::time::{Duration, UNIX_EPOCH};

use dynamo_lock::{Client, FencingToken, InspectError, Inspection, LeaseId, Lock, RevokeError, Role};
use serde_json::json;

use crate::failure::{Failure, FailureKind};
use crate::ui::{format, output, prompt, view::View};
use crate::{args::RevokeArgs, clock, exit::Exit, store::OpenStore};

/// Revokes the acquisition with the given token, or without one the acquisition that the user confirms.
pub async fn revoke(store: &OpenStore, args: &RevokeArgs) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let lock = client.lock(args.name.as_str()).map_err(Failure::usage)?;
    let name = &args.name;
    if let Some(holder) = &args.holder {
        return revoke_holder(&client, args, holder).await;
    }
    let token = match args.token {
        Some(token) if args.yes => token,
        _ => confirm(&lock, args).await?,
    };
    let revoked = if args.force { lock.force_revoke(token).await } else { lock.revoke(token).await };
    revoked.map_err(|error| failure(name, error))?;
    if args.json {
        return print_json(args, Some(token), lock.inspect().await);
    }
    if args.force {
        output::message(&format!(
            "lock {name:?} is free now, which is unsafe if its holder is still running: the holder continues until its \
             next renewal fails and its grace has passed, so make sure that it has ended"
        ));
    } else {
        let next = next_acquisition(&lock, token).await;
        output::message(&format!("lock {name:?} is revoked from the holder of token {token}: {next}"));
    }
    Ok(Exit::Success)
}

/// Revokes one of several holders.
async fn revoke_holder(client: &Client, args: &RevokeArgs, id: &str) -> Result<Exit, Failure> {
    let (name, holder) = (&args.name, LeaseId::from(id));
    let lock = client.rw_lock(name.as_str()).map_err(Failure::usage)?;
    let Inspection::Shared(shared) = lock.inspect().await? else { return Err(holder_ended(name, id)) };
    let found = shared.holders.iter().find(|entry| entry.holder.lease_id.as_ref() == Some(&holder));
    let Some(entry) = found else { return Err(holder_ended(name, id)) };
    let description = format!("holder {} of lock {name:?}", format::holder(&entry.holder));
    if !args.yes {
        prompt::require_terminal(&format!("cannot ask whether to revoke {description}"))?;
        let question = if args.force { "It may still be working. Remove it?" } else { "Revoke it?" };
        prompt::confirm(&format!("{description}. {question}"), &format!("{description} was not revoked"))?;
    }
    let revoked = if args.force { lock.force_revoke(&holder).await } else { lock.revoke(&holder).await };
    revoked.map_err(|error| failure(name, error))?;
    if args.json {
        return print_json(args, None, lock.inspect().await);
    }
    output::message(&match args.force {
        false if entry.role == Role::Waiting => format!("{description} is revoked: it begins its wait again"),
        true => format!(
            "{description} is removed, which is unsafe if it is still running: it continues until its next renewal \
             fails and its grace has passed, so make sure that it has ended"
        ),
        false => format!("{description} is revoked: others can take its place when its lease has expired"),
    });
    Ok(Exit::Success)
}

/// Prints the revocation as one JSON object, with the lock as it is now.
fn print_json(
    args: &RevokeArgs,
    token: Option<FencingToken>,
    now: Result<Inspection, InspectError>,
) -> Result<Exit, Failure> {
    let object = json!({
        "name": args.name,
        "token": token.map(FencingToken::get),
        "holder": args.holder,
        "force": args.force,
        "lock": View::object_after_change(&args.name, now),
    });
    output::print(&output::json_line(&object)).map(|()| Exit::Success)
}

/// Shows the current holder, asks whether to revoke its acquisition, and returns the token of that acquisition. With
/// `--yes` the question is skipped.
async fn confirm(lock: &Lock, args: &RevokeArgs) -> Result<FencingToken, Failure> {
    let RevokeArgs { name, token: expected, .. } = args;
    if expected.is_none() && !prompt::is_interactive() {
        return Err(Failure::usage(format!(
            "cannot revoke lock {name:?}: no token was given; run `dynamo-lock show {name}` to find it, and add \
             --token N --yes"
        )));
    }
    if !args.yes {
        prompt::require_terminal(&format!("cannot ask whether to revoke lock {name:?}"))?;
    }
    let (is_held, holder) = match lock.inspect().await? {
        Inspection::Held { holder, .. } => ("is held", holder),
        Inspection::Expired { holder, .. } => ("was last held", holder),
        Inspection::Shared(_) => {
            return Err(Failure::usage(format!(
                "cannot revoke lock {name:?}: it can have several holders; run `dynamo-lock show {name}` to find them, \
                 and name one with --holder ID"
            )));
        }
        _ => {
            let not_held = || Failure::usage(format!("cannot revoke lock {name:?}: it is not held"));
            return Err(expected.map_or_else(not_held, |token| ended(name, token)));
        }
    };
    let (token, holder) = (holder.token, format::holder(&holder));
    let token = match (token, *expected) {
        (Some(token), expected) if expected.is_none_or(|expected| expected == token) => token,
        (_, Some(expected)) => return Err(ended(name, expected)),
        (_, None) => {
            return Err(Failure::usage(format!(
                "cannot revoke lock {name:?}: its holder {holder} has no token; wait until its lease has expired"
            )));
        }
    };
    let description = format!("{name:?} {is_held} by {holder} with token {token}");
    let question = if args.force { ", and the holder may still be working. Free it?" } else { ". Revoke it?" };
    if args.yes {
        output::message(&format!("lock {description}"));
    } else {
        prompt::confirm(&format!("Lock {description}{question}"), &format!("lock {name:?} was not revoked"))?;
    }
    Ok(token)
}

/// Describes when other clients can acquire the lock after token `revoked` was revoked.
async fn next_acquisition(lock: &Lock, revoked: FencingToken) -> String {
    let (may_end, token) = match lock.inspect().await {
        Ok(Inspection::Held { may_end, holder, .. }) => (may_end, holder.token),
        Ok(_) => return "its lease has expired, so others can acquire the lock now".to_owned(),
        Err(_) => return "others can acquire the lock when its lease has expired".to_owned(),
    };
    let latest = *may_end.end();
    let at = format::time(UNIX_EPOCH + Duration::from_millis(clock::now().wall_ms) + latest);
    let latest = format::span_up(latest);
    let mut wait = format!("others can acquire the lock when its lease has expired, in at most {latest} ({at})");
    if may_end.start().is_zero() {
        // Nothing proves how old the lease is, so each client watches the row for the whole lease.
        wait += &format!("; a client that begins to wait later needs up to {latest} from then, so use -w and not -n");
    }
    // A revocation increments the token by one. A greater token belongs to a new holder.
    match token.filter(|token| token.get() == revoked.get() + 1) {
        Some(token) => format!(
            "{wait}; its token is now {token}, and `dynamo-lock revoke {} --token {token} --force` frees the lock at \
             once, which is unsafe if its holder is still running",
            lock.name().as_str()
        ),
        None => wait,
    }
}

fn holder_ended(name: &str, id: &str) -> Failure {
    Failure::usage(format!(
        "cannot revoke holder {id:?} of lock {name:?}: it does not hold the lock; run `dynamo-lock show {name}` to see \
         the holders"
    ))
}

fn ended(name: &str, token: FencingToken) -> Failure {
    Failure::usage(format!(
        "cannot revoke token {token} of lock {name:?}: this acquisition has ended; run `dynamo-lock show {name}` to \
         see the current holder"
    ))
}

/// Returns the failure of a revocation of this lock.
pub fn failure(name: &str, error: RevokeError) -> Failure {
    match error {
        RevokeError::Store(error) => error.into(),
        RevokeError::Ended { token, .. } => ended(name, token),
        RevokeError::HolderEnded { holder } => holder_ended(name, holder.as_str()),
        RevokeError::Row { .. } => Failure::configuration(error),
        _ => Failure::new(
            FailureKind::Unavailable,
            format!(
                "cannot tell whether lock {name:?} was revoked: the store did not respond; run `dynamo-lock show \
                 {name}`"
            ),
        ),
    }
}
