//! The checks of the embedded store.

use std::path::Path;

use dynamo_lock::store::file_examination::{Finding, NAMES, examine};

use super::check::Checks;

/// Examines the database at this path. The first lock creates the directory of the default database.
pub fn check(path: &Path, is_default: bool, checks: &mut Checks) {
    for (name, finding) in NAMES.into_iter().zip(examine(path, is_default)) {
        match finding {
            Finding::Ok(facts) => checks.ok(name, facts),
            Finding::Warning(error) => checks.warning(name, error),
            Finding::Fault(error) => checks.error(name, error),
            Finding::Untested(reason) => checks.untested(name, reason),
        }
    }
}
