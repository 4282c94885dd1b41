//! `once --reset`, which forgets the success of a command, and `reset`, which makes a name that of a plain lock.

use dynamo_lock::{ConvertError, Inspection, ResetError};
use serde_json::json;

use super::run::conversion_failure;
use crate::failure::{Failure, FailureKind};
use crate::ui::{format, output, prompt, view::View};
use crate::{args::OnceArgs, exit::Exit, store::OpenStore};

/// Forgets the present success, after the user has confirmed it unless `yes` is set. Work that has not succeeded is left
/// as it is.
pub async fn reset(store: &OpenStore, args: &OnceArgs) -> Result<Exit, Failure> {
    let (name, json) = (args.name.as_str(), args.json);
    if !args.yes {
        prompt::require_terminal(&format!("cannot ask whether to reset the work {name:?}"))?;
    }
    let lock = store.client().build()?.lock(name).map_err(Failure::usage)?;
    let Inspection::Done { success, .. } = lock.inspect().await? else {
        let object = || json!({ "name": name, "reset": false, "owner": null, "doneAtMs": null });
        let text = format!("the work {name:?} has no recorded success, so there is nothing to reset");
        return output::result(json, object, &text).map(|()| Exit::Success);
    };
    let description = format!("the work {name:?} {}", format::success(&success));
    if !args.yes {
        let question = format!("{description}. Forget it, so that the command runs again?");
        prompt::confirm(&question, &format!("the work {name:?} was not reset"))?;
    }
    lock.reset_success(success.token).await.map_err(|error| failure(name, error))?;
    let done_at = success.finished_at.map(format::epoch_ms);
    let object = || json!({ "name": name, "reset": true, "owner": success.by, "doneAtMs": done_at });
    let text = format!("{description}; this success is forgotten, so the command may run again");
    output::result(json, object, &text).map(|()| Exit::Success)
}

/// Makes the free row of this name, of whatever kind it is, one of a plain lock.
pub async fn make_plain(store: &OpenStore, name: String, json: bool) -> Result<Exit, Failure> {
    let lock = store.client().build()?.lock(name.as_str()).map_err(Failure::usage)?;
    match lock.reset().await {
        Ok(()) => {
            let text = format!("lock {name:?} is a plain lock now");
            let lock = if json { View::object_after_change(&name, lock.inspect().await) } else { json!(null) };
            output::result(json, || json!({ "name": name, "lock": lock }), &text).map(|()| Exit::Success)
        }
        Err(ConvertError::Held) => Err(Failure::usage(format!(
            "cannot reset lock {name:?}: it is held, or a holder has crashed; wait until it is released, or remove the \
             holders that `dynamo-lock show {name}` lists with `dynamo-lock revoke {name} --holder ID --force`"
        ))),
        Err(error) => Err(conversion_failure(error)),
    }
}

fn failure(name: &str, error: ResetError) -> Failure {
    match error {
        ResetError::Store(error) => error.into(),
        ResetError::NotDone { .. } => Failure::usage(format!(
            "cannot reset the work {name:?}: its success was reset by another process; run `dynamo-lock show {name}`"
        )),
        ResetError::Row { .. } => Failure::configuration(error),
        _ => Failure::new(
            FailureKind::Unavailable,
            format!(
                "cannot tell whether the work {name:?} was reset: the store did not respond; run `dynamo-lock show \
                 {name}`"
            ),
        ),
    }
}
