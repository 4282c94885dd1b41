//! `release`: takes a lock away from a holder that is stuck.

use dynamo_lock::{Clock, FencingToken, Inspection, RevokeError, SystemClock};

use crate::ask::{self, Answer};
use crate::exit::{End, Failure};
use crate::print;
use crate::store::Open;

/// Which reign to end, and how.
#[derive(Debug)]
pub struct ReleaseTask {
    pub name: String,
    pub token: u64,
    /// At once, whether its holder lives or not.
    pub now: bool,
    pub yes: bool,
}

/// Ends exactly the reign with that token.
pub async fn release(store: &Open, task: &ReleaseTask) -> Result<End, Failure> {
    let client = store.client().build()?;
    let lock = client.lock(task.name.as_str()).map_err(Failure::usage)?;
    let (name, token) = (&task.name, FencingToken::new(task.token));
    if !task.yes {
        ask::is_possible("this takes the lock from its holder")?;
        let holder = match lock.inspect().await? {
            Inspection::Held { by, token: Some(is), .. } | Inspection::Expired { by, token: Some(is) }
                if is == token =>
            {
                print::holder(by.owner.as_deref(), by.acquired_at)
            }
            _ => return Err(RevokeError::Ended { token, holder: None }.into()),
        };
        let how = if task.now { "Free at once, though its holder may be at work," } else { "Take" };
        if ask::ask(&format!("{how} lock {name:?} of {holder}?")) == Answer::No {
            return Err(Failure::usage("nothing was released"));
        }
    }
    if task.now {
        lock.force_revoke(token).await?;
        print::line(&format!(
            "lock {name:?} is free at once, which is unsafe if its holder lives: it works on until its next renewal \
             fails, and ends in its grace, so make sure that it has ended"
        ));
    } else {
        lock.revoke(token).await?;
        let follow = match lock.inspect().await {
            Ok(Inspection::Held { may_end, token: now, .. }) => {
                let latest = *may_end.end();
                let at = SystemClock.now().wall_ms.saturating_add(latest.as_millis() as u64);
                // Another holder's is larger.
                let spent = now.filter(|now| now.get() == task.token + 1);
                let at_once = spent.map(|spent| {
                    format!(
                        "; its token is {spent} now, and `release --token {spent} --now` frees it at once, unsafe if its \
                         holder lives"
                    )
                });
                format!(
                    "others follow when its lease is over, in at most {:.1} s ({}){}",
                    latest.as_secs_f64(),
                    print::time(at),
                    at_once.unwrap_or_default()
                )
            }
            Ok(_) => "its lease is over, so others may follow at once".to_owned(),
            Err(_) => "others follow when its lease is over".to_owned(),
        };
        print::line(&format!("lock {name:?} is taken from the holder of token {token}: {follow}"));
    }
    Ok(End::Done)
}
