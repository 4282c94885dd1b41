//! `revoke`: ends an acquisition of another client, for example one that is stuck.

use std::time::{Duration, UNIX_EPOCH};

use dynamo_lock::{FencingToken, Inspection, Lock, RevokeError};

use crate::clock;
use crate::exit::Exit;
use crate::failure::{Failure, FailureKind};
use crate::plan::RevokeTask;
use crate::store::OpenStore;
use crate::ui::prompt::{self, Answer};
use crate::ui::{format, output};

/// Revokes the acquisition with the given token, or without one the acquisition that the user confirms.
pub async fn revoke(store: &OpenStore, task: &RevokeTask) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let lock = client.lock(task.name.as_str()).map_err(Failure::usage)?;
    let name = &task.name;
    let token = match task.token {
        Some(token) if task.yes => FencingToken::new(token),
        token => confirm(&lock, task, token.map(FencingToken::new)).await?,
    };
    if task.force {
        lock.force_revoke(token).await.map_err(|error| failure(name, error))?;
        output::message(&format!(
            "lock {name:?} is free now, which is unsafe if its holder is still running: the holder continues until its \
             next renewal fails and its grace has passed, so make sure that it has ended"
        ));
    } else {
        lock.revoke(token).await.map_err(|error| failure(name, error))?;
        let next = next_acquisition(&lock, token).await;
        output::message(&format!("lock {name:?} is revoked from the holder of token {token}: {next}"));
    }
    Ok(Exit::Success)
}

/// Shows the current holder, asks whether to revoke its acquisition, and returns the token of that acquisition. With
/// `--yes` the question is skipped.
async fn confirm(lock: &Lock, task: &RevokeTask, expected: Option<FencingToken>) -> Result<FencingToken, Failure> {
    let name = &task.name;
    if expected.is_none() && !prompt::is_interactive() {
        return Err(Failure::usage(format!(
            "cannot revoke lock {name:?}: no token was given; run `dynamo-lock show {name}` to find it, and add \
             --token N"
        )));
    }
    if !task.yes {
        prompt::require_terminal(&format!("cannot ask whether to revoke lock {name:?}"))?;
    }
    let (is_held, holder) = match lock.inspect().await? {
        Inspection::Held { holder, .. } => ("is held", holder),
        Inspection::Expired { holder } => ("was last held", holder),
        _ => return Err(expected.map_or_else(|| not_held(name), |token| ended(name, token))),
    };
    let (token, holder) = (holder.token, format::holder(&holder));
    let token = match (token, expected) {
        (Some(token), None) => token,
        (Some(token), Some(expected)) if token == expected => token,
        (_, Some(expected)) => return Err(ended(name, expected)),
        (None, None) => {
            return Err(Failure::usage(format!(
                "cannot revoke lock {name:?}: its holder {holder} has no token; wait until its lease has expired"
            )));
        }
    };
    if task.yes {
        output::message(&format!("lock {name:?} {is_held} by {holder} with token {token}"));
        return Ok(token);
    }
    let question = if task.force {
        format!("Lock {name:?} {is_held} by {holder} with token {token}, and the holder may still be working. Free it?")
    } else {
        format!("Lock {name:?} {is_held} by {holder} with token {token}. Revoke it?")
    };
    match prompt::ask(&question) {
        Answer::Yes => Ok(token),
        Answer::No => Err(Failure::usage(format!("lock {name:?} was not revoked"))),
    }
}

/// Describes when other clients can acquire the lock after token `revoked` was revoked.
async fn next_acquisition(lock: &Lock, revoked: FencingToken) -> String {
    let (may_end, token) = match lock.inspect().await {
        Ok(Inspection::Held { may_end, holder }) => (may_end, holder.token),
        Ok(_) => return "its lease has expired, so others can acquire the lock now".to_owned(),
        Err(_) => return "others can acquire the lock when its lease has expired".to_owned(),
    };
    let latest = *may_end.end();
    let at = format::time(UNIX_EPOCH + Duration::from_millis(clock::now().wall_ms) + latest);
    let wait = format!(
        "others can acquire the lock when its lease has expired, in at most {:.1} s ({at})",
        latest.as_secs_f64()
    );
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

fn not_held(name: &str) -> Failure {
    Failure::usage(format!("cannot revoke lock {name:?}: it is not held"))
}

fn ended(name: &str, token: FencingToken) -> Failure {
    Failure::usage(format!(
        "cannot revoke token {token} of lock {name:?}: this acquisition has ended; run `dynamo-lock show {name}` to \
         see the current holder"
    ))
}

fn failure(name: &str, error: RevokeError) -> Failure {
    match error {
        RevokeError::Store(error) => error.into(),
        RevokeError::Ended { token, .. } => ended(name, token),
        RevokeError::Row { .. } => Failure::new(FailureKind::Configuration, error.to_string()),
        _ => Failure::new(
            FailureKind::Unavailable,
            format!(
                "cannot tell whether lock {name:?} was revoked: the store did not respond; run `dynamo-lock show \
                 {name}`"
            ),
        ),
    }
}
