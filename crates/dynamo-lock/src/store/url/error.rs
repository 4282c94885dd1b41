/// Error of [`StoreUrl::parse`](super::StoreUrl::parse). No message repeats more than a scheme, a key or a Region,
/// because the rest may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is unknown.
    #[error("a store URL begins with `sqlite:///`, `dynamodb://` or `memory:`, not with {found:?}")]
    UnknownScheme {
        /// Scheme of the URL, at most 32 characters and a colon, or `no scheme`.
        found: String,
    },
    /// The URL of a file has no absolute path.
    #[error("a file's store URL has three slashes and an absolute path: sqlite:///path/locks.db")]
    NoPath,
    /// The URL has text after `memory:`.
    #[error("the store URL of this process's memory is just `memory:`")]
    NotJustMemory,
    /// The URL names no table.
    #[error("a DynamoDB store URL names its table: dynamodb://TABLE, or a table's ARN in place of TABLE")]
    NoTable,
    /// The name of the table is invalid.
    #[error(
        "a table's name has 3 to 255 of a-z, A-Z, 0-9, `_`, `-` and `.`; or use arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"
    )]
    BadTable,
    /// The ARN and the query name two Regions.
    #[error("the table's ARN is of Region {arn}, but `region` is {query}; remove `region`")]
    TwoRegions {
        /// Region in the ARN.
        arn: String,
        /// Region in the query.
        query: String,
    },
    /// The query has a key that this store does not have. SQLite and memory have none.
    #[error("the store URL's query has the unknown key {key:?}; allowed are {allowed}")]
    UnknownKey {
        /// The key, at most 24 characters of it.
        key: String,
        /// Known keys.
        allowed: &'static str,
    },
    /// The query has a key twice.
    #[error("the store URL's query has `{key}` twice; keep one")]
    DuplicateKey {
        /// Name of the key.
        key: &'static str,
    },
    /// The value of a key is invalid.
    #[error("the store URL's `{key}` must be {expected}")]
    BadValue {
        /// Name of the key.
        key: &'static str,
        /// Description of valid values.
        expected: &'static str,
    },
    /// The URL contains a user name or a password.
    #[error("a store URL must not contain credentials; remove them, and use AWS's environment variables or a profile")]
    Credentials,
    /// The URL has a fragment.
    #[error("a store URL has no fragment; write `#` as %23")]
    Fragment,
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8, or the path of a file
    /// contains a NUL byte.
    #[error("a `%` in a store URL must be followed by two hexadecimal digits that form UTF-8; write `%` itself as %25")]
    BadEscape,
}
