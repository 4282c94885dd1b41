//! `doctor`: checks that locks can be used on a store, and names each fault with its fix.

mod check;
mod connection;
mod dynamodb;
mod identity;
mod permissions;
mod secrets;
mod service;
mod sqlite;

use dynamo_lock::{Sqlite, store::StoreUrl};
use serde_json::json;

use self::check::{Checks, State};
use self::secrets::Secrets;
use crate::args::DoctorArgs;
use crate::ui::escape::escape;
use crate::ui::output;
use crate::{exit::Exit, failure::Failure, plan, store};

/// Examines the store and prints the checks.
pub async fn doctor(url: Option<StoreUrl>, args: &DoctorArgs) -> Result<Exit, Failure> {
    let (mut checks, mut secrets) = (Checks::default(), Secrets::default());
    let is_default = url.is_none();
    let url = match url {
        Some(url) => url,
        None => StoreUrl::Sqlite { path: Sqlite::default_path()? },
    };
    match &url {
        StoreUrl::Sqlite { path } if args.prefix.is_none() => sqlite::check(path, is_default, &mut checks),
        _ => {
            let table = plan::choose_table(Some(url.clone()))?;
            store::reserve_thread()?;
            dynamodb::examine(&table, args.prefix.as_deref(), &mut checks, &mut secrets).await?;
        }
    }
    print(&url.to_string(), &checks, &secrets, args.json)?;
    Ok(match checks.state() {
        State::Fault(kind) => Exit::CheckFailed(kind),
        _ => Exit::Success,
    })
}

fn print(store: &str, checks: &Checks, secrets: &Secrets, as_json: bool) -> Result<(), Failure> {
    let store = secrets.hide(store);
    if as_json {
        let check = |check: &check::Check| {
            let message = secrets.hide(&check.message);
            json!({ "name": check.name, "state": check.state.name(), "message": message })
        };
        let all: Vec<_> = checks.0.iter().map(check).collect();
        let report = json!({ "store": store, "state": checks.state().name(), "checks": all });
        return output::print(&output::json_line(&report));
    }
    let line = |state: &str, name: &str, message: &str| {
        output::print(&format!("{state:<8} {name:<19} {}", escape(&secrets.hide(message))))
    };
    line("store", "", &store)?;
    checks.0.iter().try_for_each(|check| line(check.state.name(), check.name, &check.message))
}
