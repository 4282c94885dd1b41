//! Environment variables that this program reads, and those that `run` sets for its command. `owner.rs` has those of
//! the default owner label, and `help/environment.rs` describes all of them.

use dynamo_lock::{FencingToken, LeaseId, LockName};

/// Variable with the name of the lock that the command runs under.
pub const NAME: &str = "DYNAMO_LOCK_NAME";
/// Variable with the fencing token of that lock.
pub const TOKEN: &str = "DYNAMO_LOCK_TOKEN";
/// Variable with the fencing tokens of several locks, as a JSON object, in place of [`TOKEN`].
pub const TOKENS: &str = "DYNAMO_LOCK_TOKENS";
/// Variable with the owner label of that lock, without the host name and the process ID. A nested run, and one without
/// an enclosing one, read their label from it.
pub const OWNER: &str = "DYNAMO_LOCK_OWNER";
/// Variable with the URL of that lock's store. If no flag names a store, the store is read from it.
pub const STORE: &str = "DYNAMO_LOCK_STORE";
/// Variable with the name of a table, which is used if [`STORE`] is not set.
pub const TABLE: &str = "DYNAMO_LOCK_TABLE";
/// Variable with the lease of `run` and `once`.
pub const LEASE: &str = "DYNAMO_LOCK_LEASE";
/// Variable with the directives of the log, which is used without `-v`.
pub const LOG: &str = "RUST_LOG";
/// Variable with the shell of `--command`.
pub const SHELL: &str = "SHELL";
/// Variable with the type of the terminal.
pub const TERMINAL: &str = "TERM";
/// Variable with all enclosing runs, as JSON. A nested `run` reads it, so that it does not wait for its own ancestor.
pub const RUNS: &str = "DYNAMO_LOCK_RUNS";

/// Returns the value of an environment variable.
///
/// A value that is not valid UTF-8 becomes U+FFFD. Its validation then fails, whereas a missing value would select a
/// default.
pub fn variable(key: &str) -> Option<String> {
    std::env::var_os(key).map(|value| value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned()))
}

/// Returns the value of a variable that is set and not empty. CI systems set variables that they have no value for.
pub fn set(env: impl Fn(&str) -> Option<String>, key: &str) -> Option<String> {
    env(key).filter(|value| !value.is_empty())
}

/// A `run` that, according to the environment, encloses this process.
#[derive(Debug, PartialEq, Eq)]
pub struct EnclosingRun {
    pub name: String,
    /// Lease ID of the acquisition, because the holders of a shared row have one token.
    pub lease_id: String,
    pub store: String,
}

/// Returns the enclosing runs listed in the value of [`RUNS`]. A malformed value lists none.
pub fn parse_runs(value: Option<String>) -> Vec<EnclosingRun> {
    let runs = value.and_then(|runs| serde_json::from_str::<Vec<(String, String, String)>>(&runs).ok());
    runs.unwrap_or_default().into_iter().map(|(name, lease_id, store)| EnclosingRun { name, lease_id, store }).collect()
}

/// Returns the value of [`RUNS`] for a child process: the enclosing runs and the locks of this one in this store.
pub fn format_runs(enclosing: &[EnclosingRun], locks: &[(LockName, LeaseId)], store: &str) -> String {
    let enclosing = enclosing.iter().map(|run| (run.name.as_str(), run.lease_id.as_str(), run.store.as_str()));
    let locks = locks.iter().map(|(name, lease_id)| (name.as_str(), lease_id.as_str(), store));
    serde_json::json!(enclosing.chain(locks).collect::<Vec<_>>()).to_string()
}

/// Returns the value of [`TOKENS`].
pub fn format_tokens(locks: &[(LockName, Option<FencingToken>)]) -> String {
    let number = |token: Option<FencingToken>| token.map(FencingToken::get).into();
    let tokens = locks.iter().map(|(name, token)| (name.as_str().to_owned(), number(*token)));
    serde_json::Value::Object(tokens.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enclosing_runs_survive_a_round_trip() {
        let run = |name: &str, lease_id: &str| EnclosingRun {
            name: name.to_owned(),
            lease_id: lease_id.to_owned(),
            store: "s".to_owned(),
        };
        let lock = |name: &str, lease_id: &str| (LockName::new(name).expect("a name"), LeaseId::from(lease_id));
        let value = format_runs(&[run("a", "1")], &[lock("b\"", "2"), lock("c", "3")], "s");
        assert_eq!(parse_runs(Some(value)), [run("a", "1"), run("b\"", "2"), run("c", "3")]);
        for malformed in ["", "1", "[[]]", r#"[["a",1,"s"]]"#] {
            assert_eq!(parse_runs(Some(malformed.to_owned())), [], "{malformed}");
        }
    }

    #[test]
    fn tokens_are_one_json_object() {
        let lock = |name: &str, token| (LockName::new(name).expect("a name"), Some(FencingToken::new(token)));
        assert_eq!(format_tokens(&[lock("b\"", 2), lock("c", 3)]), r#"{"b\"":2,"c":3}"#);
    }
}
