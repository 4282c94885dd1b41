//! The table of environment variables, for `--help`, the manual page and `docs/cli.md`.

use super::Scope::{self, Everywhere, Owner, Runs, Store};

/// Environment variables with one meaning.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub names: &'static [&'static str],
    /// Meaning, in Markdown.
    pub meaning: &'static str,
    /// Long name of the option that takes precedence over the variable.
    pub flag: Option<&'static str>,
    pub scope: Scope,
}

const fn variable(names: &'static [&'static str], meaning: &'static str, scope: Scope) -> Variable {
    Variable { names, meaning, flag: None, scope }
}

const fn with_flag(flag: &'static str, variable: Variable) -> Variable {
    Variable { flag: Some(flag), ..variable }
}

/// Variables that this program or one of its libraries reads. An empty one counts as unset.
pub const READ: &[Variable] = &[
    with_flag("store", variable(&["DYNAMO_LOCK_STORE"], "store URL", Store)),
    with_flag(
        "table",
        variable(&["DYNAMO_LOCK_TABLE"], "name of the DynamoDB table, if `DYNAMO_LOCK_STORE` is not set", Store),
    ),
    with_flag("lease", variable(&["DYNAMO_LOCK_LEASE"], "lease of `run` and `once`, 1s to 1h", Runs)),
    with_flag("owner", variable(&["DYNAMO_LOCK_OWNER"], "owner label", Owner)),
    variable(&["DYNAMO_LOCK_RUNS"], "locks of enclosing runs, which `run` and `once` do not wait for", Runs),
    with_flag("region", variable(&["AWS_REGION"], "AWS Region of the table, else `AWS_DEFAULT_REGION`", Store)),
    with_flag("profile", variable(&["AWS_PROFILE"], "profile of the AWS configuration files", Store)),
    with_flag(
        "endpoint-url",
        variable(&["AWS_ENDPOINT_URL_DYNAMODB"], "DynamoDB endpoint, else `AWS_ENDPOINT_URL`", Store),
    ),
    variable(
        &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        "credentials; this and other `AWS_…` variables work as for the AWS command line",
        Store,
    ),
    variable(&["XDG_STATE_HOME"], "directory of the default store, else `.local/state` in `HOME`", Store),
    variable(&["SHELL"], "shell of `--command`, else `/bin/sh`", Runs),
    variable(&["GITHUB_ACTOR", "GITHUB_RUN_ID", "GITHUB_REPOSITORY"], "default owner label in GitHub Actions", Owner),
    variable(&["GITLAB_USER_LOGIN", "CI_JOB_ID", "CI_PROJECT_PATH"], "default owner label in GitLab CI", Owner),
    variable(
        &["BUILDKITE_BUILD_CREATOR", "BUILDKITE_BUILD_NUMBER", "BUILDKITE_PIPELINE_SLUG"],
        "default owner label in Buildkite",
        Owner,
    ),
    variable(
        &["CIRCLE_USERNAME", "CIRCLE_BUILD_NUM", "CIRCLE_PROJECT_REPONAME"],
        "default owner label in CircleCI",
        Owner,
    ),
    variable(&["BUILD_TAG"], "default owner label in Jenkins", Owner),
    variable(&["POD_NAMESPACE", "POD_NAME"], "default owner label in Kubernetes, from the downward API", Owner),
    variable(&["ECS_CONTAINER_METADATA_URI_V4"], "default owner label in Amazon ECS: the container's ID", Owner),
    variable(&["USER", "LOGNAME"], "default owner label elsewhere; `dynamo-lock` without them", Owner),
    variable(&["RUST_LOG"], "log on standard error, for example `dynamo_lock=debug`, unless `-v` is given", Everywhere),
    variable(&["TERM"], "terminal; an empty value or `dumb` disables what `run` and `ls --watch` redraw", Store),
    variable(&["NO_COLOR"], "not empty: no colors in help and error messages", Everywhere),
];

/// Variables that `run` and `once` set for their command.
pub const SET: &[Variable] = &[
    variable(&["DYNAMO_LOCK_NAME"], "name of the lock; with `--also`, NAME", Runs),
    variable(&["DYNAMO_LOCK_TOKEN"], "fencing token; not set with `--also` and `--slots`", Runs),
    variable(
        &["DYNAMO_LOCK_TOKENS"],
        "only with `--also`: JSON object with the fencing token of each lock, by name",
        Runs,
    ),
    variable(
        &["DYNAMO_LOCK_OWNER"],
        "owner label, without the host name and the process ID that are appended to it in the store; a nested run \
         uses the same label",
        Runs,
    ),
    variable(&["DYNAMO_LOCK_STORE"], "store URL, so that a nested `dynamo-lock` uses the same store", Runs),
    variable(
        &["DYNAMO_LOCK_RUNS"],
        "JSON list of the locks of enclosing runs, each with name, lease ID and store, so that a nested `run` of one \
         of them fails instead of waiting for itself",
        Runs,
    ),
];
