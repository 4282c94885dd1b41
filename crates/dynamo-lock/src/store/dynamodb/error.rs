//! Conversion of SDK errors into [`StoreError`]s.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::credentials_error::LoadError;
use super::error_chain::{chain, texts};
use super::iam::denied_action;
use crate::store::{StoreError, StoreErrorCause, StoreErrorKind, StoreOperation, error::one_line};

use StoreErrorCause::{
    ExpiredCredentials, KeySchema, MissingCredentials, MissingRegion, MissingTable, RejectedCredentials, TlsFailure,
    WrongClock,
};
use StoreErrorKind::{AccessDenied, Misconfigured, Refused, Throttled, Unanswered};

/// Words in the texts of errors of a TLS connection.
const TLS_WORDS: &[&str] = &["certificate", "unknownissuer", "tls", "handshake"];

/// Errors of a connection: words in the texts of the SDK, the cause and the fix. The first entry with a matching word
/// applies.
const CONNECTION_ERRORS: [(&[&str], &str, &str); 4] = [
    (
        TLS_WORDS,
        "the TLS connection failed",
        "check the endpoint's certificate, this host's CA certificates and HTTPS proxies",
    ),
    (
        &["dns", "failed to lookup", "name or service not known"],
        "its host name is unknown",
        "check region, endpoint and DNS",
    ),
    (&["refused"], "the connection was refused", "check that a server listens at the endpoint"),
    (&["reset", "closed", "broken pipe", "eof", "incomplete"], "the connection broke", "check the network"),
];

/// Environment variables with proxies that the SDK's HTTP client uses.
const PROXY_VARIABLES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Error of a client that sends the requests in place of the SDK's HTTP client. The request may have been applied.
#[derive(Clone, Debug, thiserror::Error)]
#[doc(hidden)] // for the Node package
#[error("{0}")]
pub struct SenderError(pub String);

/// DynamoDB operation: its name, as in the table of `iam.rs`, and the operation of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action(&'static str, StoreOperation);

impl Action {
    pub(super) const GET_ITEM: Self = Self("GetItem", StoreOperation::Read);
    pub(super) const UPDATE_ITEM: Self = Self("UpdateItem", StoreOperation::Write);
    pub(super) const PUT_ITEM: Self = Self("PutItem", StoreOperation::Write);
    pub(super) const SCAN: Self = Self("Scan", StoreOperation::List);
    #[cfg(feature = "config")]
    pub(super) const TRANSACT: Self = Self("TransactWriteItems", StoreOperation::Write);
    pub(super) const CREATE_TABLE: Self = Self("CreateTable", StoreOperation::CreateTable);
    pub(super) const DELETE_TABLE: Self = Self("DeleteTable", StoreOperation::DeleteTable);
    pub(super) const DESCRIBE_TABLE: Self = Self("DescribeTable", StoreOperation::DescribeTable);
    pub(super) const DESCRIBE_GLOBAL_TABLE: Self = Self("DescribeGlobalTable", StoreOperation::DescribeTable);
    pub(super) const DESCRIBE_TTL: Self = Self("DescribeTimeToLive", StoreOperation::DescribeTimeToLive);
    pub(super) const UPDATE_TTL: Self = Self("UpdateTimeToLive", StoreOperation::UpdateTimeToLive);
}

/// Description of one request, for the messages of its errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) action: Action,
    pub(super) table: &'a str,
    /// Name of the partition key that the store expects.
    pub(super) key: &'a str,
    pub(super) region: Option<&'a str>,
    /// AWS profile from which the credentials come, if the user named one.
    pub(super) profile: Option<&'a str>,
}

/// Returns an error that DynamoDB itself has sent. Returns `None` for a 5xx response, because it does not show whether
/// the request took effect, whatever its code is.
pub(super) fn definite<E>(error: &SdkError<E, HttpResponse>) -> Option<&E> {
    let is_definite = error.raw_response().is_some_and(|raw| !raw.status().is_server_error());
    error.as_service_error().filter(|_| is_definite)
}

impl Request<'_> {
    /// Classifies an SDK error.
    pub(super) fn error<E>(self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let converted = match &error {
            SdkError::TimeoutError(_) => self.timed_out(),
            SdkError::ServiceError(service) => {
                match (definite(&error).and_then(E::code), service.raw().status().as_u16()) {
                    (Some(code), _) => self.coded(code, service.err().message().unwrap_or_default()),
                    (None, 429) => self.throttled(),
                    (None, status @ 500..) => {
                        let cause = format!("it returned HTTP {status}");
                        self.unanswered(&cause, "this should pass; if it does not, see the AWS Health Dashboard")
                    }
                    (None, status) => {
                        let cause = format!("HTTP {status} came from a server that does not speak DynamoDB");
                        self.unanswered(&cause, "check the endpoint and HTTP proxies")
                    }
                }
            }
            SdkError::ResponseError(_) => self.unreadable(),
            other => {
                if let Some(error) = chain(other).find_map(|error| error.downcast_ref::<LoadError>()) {
                    self.not_loaded(error)
                } else if let Some(SenderError(text)) = chain(other).find_map(|error| error.downcast_ref()) {
                    // The text does not count, because it comes from a program of the user.
                    self.unanswered(&one_line(text), "check the network and the client that sends the requests")
                } else {
                    self.not_sent(&causes(other))
                }
            }
        };
        converted.with_operation(self.action.1).with_source(error)
    }

    /// Returns the error for a response that lacks a required part.
    pub(super) fn unreadable(self) -> StoreError {
        self.unanswered("its response is not readable", "check the endpoint and HTTP proxies")
    }

    fn unanswered(self, cause: &str, fix: &str) -> StoreError {
        let Action(action, operation) = self.action;
        let problem = format!("no answer from DynamoDB to {action} on {}: {cause}", self.place());
        StoreError::new(Unanswered, problem).with_operation(operation).with_fix(fix)
    }

    fn timed_out(self) -> StoreError {
        self.unanswered("it did not answer in time", "check the network and the endpoint")
    }

    fn throttled(self) -> StoreError {
        StoreError::new(Throttled, format!("DynamoDB throttles {}", self.place()))
            .with_fix("raise its capacity, make it on demand, or send fewer requests")
    }

    fn place(self) -> String {
        let region = self.region.map(|region| format!(" in {region}"));
        format!("table {}{}", self.table, region.unwrap_or_default())
    }

    /// Converts an error that DynamoDB has sent.
    pub(super) fn coded(self, code: &str, message: &str) -> StoreError {
        let (Action(action, _), place, detail) = (self.action, self.place(), one_line(message));
        let is_clock = detail.contains("expired") || detail.contains("not yet current");
        match code {
            "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "TooManyRequestsException" => {
                self.throttled()
            }
            "LimitExceededException" => {
                let problem = format!("{action} on {place} exceeds a limit of this AWS account ({detail})");
                StoreError::new(Throttled, problem).with_fix("wait for other changes of tables, or raise the quota")
            }
            _ if code.starts_with("Throttling") => self.throttled(),
            "TransactionConflictException" | "TransactionInProgressException" | "ReplicatedWriteConflictException" => {
                let problem = format!("{action} on {place} conflicts with another write to the same row");
                StoreError::new(Throttled, problem).with_fix("try again")
            }
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => {
                let missing = denied_action(action, &detail);
                StoreError::new(AccessDenied, format!("access denied: dynamodb:{missing} on {place} ({detail})"))
                    .with_fix("allow it in the IAM policy of these credentials")
            }
            "ResourceNotFoundException" | "TableNotFoundException" => {
                let fix = "create it with `DynamoDb::create_table`, or check name, Region and endpoint";
                misconfigured(MissingTable, format!("there is no {place}"), fix)
            }
            "ValidationException" if is_about_the_key(&detail) => {
                let schema = format!("locks need the partition key `{}` of type S and no sort key", self.key);
                let fix = "set `partition_key` to the name of the table's key, or create another table";
                misconfigured(KeySchema, format!("{place} has another key schema: {schema} ({detail})"), fix)
            }
            "ExpiredTokenException" | "ExpiredToken" => {
                let fix = "renew them, for SSO with `aws sso login`";
                misconfigured(ExpiredCredentials, "the AWS credentials have expired", fix)
            }
            "RequestTimeTooSkewed" | "RequestExpired" => wrong_clock(&detail),
            "InvalidSignatureException" | "SignatureDoesNotMatch" if is_clock => wrong_clock(&detail),
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "OptInRequired" => {
                let problem = format!("DynamoDB does not accept these AWS credentials ({detail})");
                misconfigured(RejectedCredentials, problem, "check the access key, its secret and the Region")
            }
            _ => StoreError::new(Refused, format!("DynamoDB refuses {action} on {place}: {code}: {detail}")),
        }
    }

    /// Converts an error of the source of the credentials.
    fn not_loaded(self, error: &LoadError) -> StoreError {
        let (Action(action, _), reason) = (self.action, error.reason());
        if let Some((session, login)) = error.missing_session() {
            misconfigured(ExpiredCredentials, format!("there is no valid {session} session"), login)
        } else if error.is_passing() {
            let problem = format!("cannot load the AWS credentials for {action} on {}: {reason}", self.place());
            StoreError::new(Unanswered, problem)
                .with_cause(MissingCredentials)
                .with_fix("check the source of the credentials, for example the profile, role or metadata service")
        } else {
            self.missing_credentials(&reason)
        }
    }

    /// Converts an error that occurred before a response arrived: of the configuration, credentials or connection.
    ///
    /// The SDK wraps these errors several times and does not export all their types, so that only their texts remain
    /// to classify them by.
    fn not_sent(self, texts: &str) -> StoreError {
        let lower = texts.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        // The text that follows the endpoint contains the request, with arbitrary words.
        if let Some((_, rest)) = texts.split_once("failed to apply endpoint `") {
            let problem = format!("the endpoint {:?} is not a URL", rest.split('`').next().unwrap_or_default());
            StoreError::new(Misconfigured, problem).with_fix("begin it with http:// or https://")
        } else if has(&["missing region", "missing signing region", "region must be set", "region was not set"]) {
            missing_region("set AWS_REGION, or `region` in the profile, or give the client one")
        } else if has(&["invalid configuration", "endpoint params could not be built"]) {
            // For example from the endpoint rules: FIPS together with a custom endpoint.
            StoreError::new(Misconfigured, format!("invalid AWS configuration: {}", one_line(texts)))
        } else if has(&["expired"]) && has(&["credential", "token"]) {
            misconfigured(ExpiredCredentials, "the AWS credentials have expired", "renew them")
        } else if has(&["credential", "identity", "no auth options", "auth scheme"]) {
            self.missing_credentials(texts)
        } else if let Some((words, cause, fix)) = CONNECTION_ERRORS.iter().find(|(words, ..)| has(words)) {
            let error = self.unanswered(cause, &format!("{fix}{}", proxies()));
            if *words == TLS_WORDS { error.with_cause(TlsFailure) } else { error }
        } else if has(&["timeout", "timed out"]) {
            self.timed_out()
        } else {
            self.unanswered(&one_line(texts), "check the network, the endpoint and the AWS configuration")
        }
    }

    fn missing_credentials(self, reason: &str) -> StoreError {
        let reason = one_line(reason);
        let Some(profile) = self.profile else {
            let fix = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this host a role";
            return misconfigured(MissingCredentials, format!("no usable AWS credentials ({reason})"), fix);
        };
        let problem = format!("the profile `{profile}` has no usable AWS credentials ({reason})");
        misconfigured(MissingCredentials, problem, "configure keys, a role or SSO for it, or do not name a profile")
    }
}

fn misconfigured(cause: StoreErrorCause, problem: impl Into<String>, fix: &str) -> StoreError {
    StoreError::new(Misconfigured, problem).with_cause(cause).with_fix(fix)
}

pub(super) fn missing_region(fix: &str) -> StoreError {
    misconfigured(MissingRegion, "no AWS Region is configured", fix)
}

/// Returns the part of a fix that names the proxy variables that are set. Their values may contain passwords.
fn proxies() -> String {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let set = PROXY_VARIABLES.into_iter().filter(|name| is_set(name));
    set.map(|name| format!(", and the proxy in {name}")).collect()
}

fn wrong_clock(detail: &str) -> StoreError {
    let problem = format!("this host's clock is wrong by minutes, so AWS rejects its signatures ({detail})");
    misconfigured(WrongClock, problem, "set the clock, and keep it right with NTP")
}

/// Returns whether a validation error is about the table's key. DynamoDB has one code for all validation errors, so
/// only the text remains to decide by.
fn is_about_the_key(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    let texts = [
        "key element",
        "type mismatch for key",
        "missing the key",
        "part of the key",
        "key schema",
        "number of conditions on the keys",
    ];
    texts.iter().any(|text| detail.contains(text))
}

/// Returns the texts of all causes. The SDK's own outermost text is a generic "dispatch failure".
fn causes(error: &(dyn Error + 'static)) -> String {
    texts(error.source().unwrap_or(error))
}
