//! The checks of the permissions that each use of the table needs.

use dynamo_lock::store::examination::Probe;
use dynamo_lock::store::iam::{Resource, Use};
use dynamo_lock::{StoreError, StoreErrorKind};

use super::check::Checks;
use super::dynamodb::{Table, check_of};

/// Names of these checks: the uses as `policy` names them.
pub const NAMES: [&str; 5] = ["run", "list", "operate", "transaction", "admin"];

/// Checks the permissions by the replies to the probes. Only those of `run` are required.
pub fn check(table: &Table, checks: &mut Checks) {
    let uses = [Use::Run, Use::List, Use::Operate, Use::Transaction, Use::Admin];
    for (name, permitted) in NAMES.into_iter().zip(uses) {
        let actions: Vec<_> = [Resource::Item, Resource::Table, Resource::GlobalTable]
            .into_iter()
            .flat_map(|resource| permitted.actions(resource))
            .collect();
        if permitted == Use::Admin {
            checks.untested(name, format!("{}: they would change the table, or describe it", actions.join(", ")));
            continue;
        }
        let results = || Probe::ALL.into_iter().filter(|probe| actions.contains(&probe.action()));
        let errors = || results().filter_map(|probe| Some((probe, table.result(probe).err()?)));
        let is_denied = |error: &StoreError| error.kind() == StoreErrorKind::AccessDenied;
        let denied: Vec<_> = errors().filter(|(_, error)| is_denied(error)).collect();
        match (denied.first(), errors().next()) {
            (Some((_, error)), _) => {
                let missing: Vec<_> = denied.iter().map(|(probe, _)| format!("dynamodb:{}", probe.action())).collect();
                let fix = format!("allow what `dynamo-lock policy {name}` prints");
                let error = StoreError::new(
                    StoreErrorKind::AccessDenied,
                    format!("missing permission: {} ({})", missing.join(", "), error.problem()),
                );
                match permitted {
                    Use::Run => checks.error(name, error.with_fix(fix)),
                    _ => checks.warning(name, error.with_fix(format!("if this use is wanted, {fix}"))),
                }
            }
            (None, Some((_, error))) => match check_of(error) {
                Some(other) => {
                    checks.untested(name, format!("not possible before the fault of {other:?} is corrected"))
                }
                None if permitted == Use::Run => checks.error(name, error.clone()),
                None => checks.untested(name, error),
            },
            (None, None) => checks.ok(name, format!("{} permitted", actions.join(", "))),
        }
    }
}
