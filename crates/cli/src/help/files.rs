//! The table of files, for `--help`, the manual page and `docs/cli.md`.

use super::Scope;

/// A file that this program uses without being given its name.
#[derive(Clone, Copy, Debug)]
pub struct UsedFile {
    pub path: &'static str,
    /// Meaning, in Markdown.
    pub meaning: &'static str,
    pub scope: Scope,
}

/// Files that this program uses, in the order of the documents.
pub const FILES: &[UsedFile] = &[
    UsedFile {
        path: "$XDG_STATE_HOME/dynamo-lock/locks.db",
        meaning: "default store; in `~/.local/state` if `XDG_STATE_HOME` is not set",
        scope: Scope::Store,
    },
    UsedFile {
        path: "locks.db-journal, locks.db-live",
        meaning: "belong to `locks.db`, beside it; do not remove one of them alone",
        scope: Scope::Store,
    },
    UsedFile {
        path: "~/.aws/config, ~/.aws/credentials",
        meaning: "profiles of AWS; `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` name other files",
        scope: Scope::Store,
    },
    UsedFile {
        path: "FILE.XXXXXXXX.part",
        meaning: "a report that is not complete yet; left behind only by a run that was killed",
        scope: Scope::Runs,
    },
];
