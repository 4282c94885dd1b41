use std::{error::Error, fmt, sync::Arc};

/// Error of a request to a store. It prints as one line: the problem, then how to fix it.
///
/// Programs decide by [`kind`](Self::kind), [`operation`](Self::operation) and [`cause`](Self::cause), never by the
/// text, which changes between versions.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: Option<StoreOperation>,
    cause: Option<StoreErrorCause>,
    problem: String,
    fix: Option<String>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Kind of a [`StoreError`]: what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No response, or none that shows the outcome: a write may have taken effect. The protocol retries it.
    Unanswered,
    /// Too many requests at once. A write has not taken effect. The protocol retries it.
    Throttled,
    /// A permission is missing.
    AccessDenied,
    /// The configuration is wrong: for example a missing table, another key schema, no Region, no credentials, or a
    /// file that is not a lock database.
    Misconfigured,
    /// The store rejected the request for another reason, and would reject it again.
    Refused,
}

/// Operation that failed with a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// Opening the store: no request to a table was sent.
    Open,
    /// [`Store::read`](super::Store::read); `GetItem` on DynamoDB.
    Read,
    /// [`Store::write`](super::Store::write); `UpdateItem` or `PutItem` on DynamoDB.
    Write,
    /// [`Store::list`](super::Store::list); `Scan` on DynamoDB.
    List,
    /// `CreateTable` on DynamoDB.
    CreateTable,
    /// `DeleteTable` on DynamoDB.
    DeleteTable,
    /// `DescribeTable` on DynamoDB, also when it is sent to wait until a table was created or deleted.
    DescribeTable,
    /// `DescribeTimeToLive` on DynamoDB.
    DescribeTimeToLive,
    /// `UpdateTimeToLive` on DynamoDB.
    UpdateTimeToLive,
}

/// Cause of a [`StoreError`], where a program can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorCause {
    /// No AWS Region is configured.
    MissingRegion,
    /// No source of AWS credentials has returned any.
    MissingCredentials,
    /// The AWS credentials or the SSO session have expired.
    ExpiredCredentials,
    /// DynamoDB does not accept the AWS credentials.
    RejectedCredentials,
    /// The clock of this host differs so much from the service's that AWS rejects signatures.
    WrongClock,
    /// No TLS connection to the service can be made, for example because its certificate is not accepted.
    TlsFailure,
    /// The table does not exist.
    MissingTable,
    /// The table has another partition key, or a sort key.
    KeySchema,
    /// The server, or the SDK in front of it, does not return the row of a failed condition.
    NoConflictRow,
    /// The file is a database of another program, or not a database.
    NotALockDatabase,
    /// The database has a format that this version cannot use.
    UnsupportedFormat,
    /// The database file was removed or replaced while it was open.
    DatabaseReplaced,
}

impl StoreError {
    /// Creates an error. `problem` is one line that states what failed and why, without a full stop.
    pub fn new(kind: StoreErrorKind, problem: impl Into<String>) -> Self {
        Self { kind, operation: None, cause: None, problem: problem.into(), fix: None, source: None }
    }

    /// Sets how to fix the problem, as an imperative clause: "set AWS_REGION".
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Sets the operation that failed.
    #[must_use]
    pub fn with_operation(mut self, operation: StoreOperation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: StoreErrorCause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Sets the underlying error, which [`Error::source`] returns.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Returns the kind of the error: what the caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns the operation that failed, if the store has recorded it.
    pub fn operation(&self) -> Option<StoreOperation> {
        self.operation
    }

    /// Returns the cause, if it is one that a program can act on.
    pub fn cause(&self) -> Option<StoreErrorCause> {
        self.cause
    }

    /// Returns what failed and why, without the fix. A program that prints its own fix for a
    /// [`cause`](Self::cause), because its users have other commands or settings, prints it after this text.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Returns how to fix the problem, in terms of this crate's API, or `None` if the store knows no fix.
    pub fn fix(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// Returns whether the same request may succeed later: `true` for [`Unanswered`](StoreErrorKind::Unanswered) and
    /// [`Throttled`](StoreErrorKind::Throttled).
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unanswered | StoreErrorKind::Throttled)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Puts the text of another program on one line of at most 300 characters, without control characters.
#[cfg(any(feature = "dynamodb", feature = "sqlite"))]
pub(super) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_prints_problem_and_fix_on_one_line() {
        let error = StoreError::new(StoreErrorKind::Misconfigured, "no AWS Region is configured");
        assert_eq!(error.to_string(), "no AWS Region is configured");
        let error = error.with_fix("set AWS_REGION").with_cause(StoreErrorCause::MissingRegion);
        assert_eq!(error.to_string(), "no AWS Region is configured; set AWS_REGION");
        assert_eq!((error.problem(), error.fix()), ("no AWS Region is configured", Some("set AWS_REGION")));
    }
}
