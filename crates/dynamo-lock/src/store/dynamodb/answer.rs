//! What an answer says: its outcome, its `Date`, or one line for people.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, BuildError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use dynamo_lock_protocol::ServiceDate;

use crate::store::{StoreError, StoreErrorKind};

/// Sees the headers of one call's answer.
#[derive(Clone, Debug, Default)]
pub(super) struct DateReader(Arc<OnceLock<ServiceDate>>);

impl DateReader {
    pub(super) fn date(&self) -> Option<ServiceDate> {
        self.0.get().copied()
    }
}

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "dynamo-lock date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = date(context.response().headers()) {
            let _ = self.0.set(date);
        }
        Ok(())
    }
}

/// The service's own `Date`: proxies answer without a request id, caches add an `Age`, and either may bring a second
/// date.
fn date(headers: &Headers) -> Option<ServiceDate> {
    if !headers.contains_key("x-amzn-requestid") || headers.contains_key("age") {
        return None;
    }
    let mut dates = headers.get_all("date");
    let (Some(text), None) = (dates.next(), dates.next()) else { return None };
    let seconds = DateTime::from_str(text, Format::HttpDate).ok()?.secs();
    u64::try_from(seconds).ok().map(ServiceDate)
}

/// What was asked of whom, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The operation as IAM spells it, without `dynamodb:`.
    pub(super) action: &'static str,
    pub(super) table: &'a str,
    pub(super) key: &'a str,
    pub(super) region: Option<&'a str>,
    /// The profile that gives credentials, if one was named.
    pub(super) profile: Option<&'a str>,
}

/// The code of an error that DynamoDB itself sent. A 5xx tells nothing about what happened, whatever its code.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    let said = error.raw_response().is_some_and(|raw| !raw.status().is_server_error());
    error.as_service_error().filter(|_| said).and_then(ProvideErrorMetadata::code)
}

impl Asked<'_> {
    /// Sorts an error, and says in one line what to do.
    pub(super) fn error<E>(self, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let (kind, message) = match &error {
            SdkError::TimeoutError(_) => {
                self.unanswered("it did not answer in time", "check the network and the endpoint")
            }
            SdkError::ServiceError(service) => match (code(&error), service.raw().status().as_u16()) {
                (Some(code), _) => self.coded(code, service.err().message().unwrap_or_default()),
                (None, 429) => self.throttled(),
                (None, status @ 500..) => self.unanswered(
                    &format!("it answered HTTP {status}"),
                    "it should pass; if not, see the AWS Health Dashboard",
                ),
                (None, status) => {
                    let what = format!("HTTP {status} came from something that does not speak DynamoDB");
                    self.unanswered(&what, "check the endpoint and HTTP proxies")
                }
            },
            SdkError::ResponseError(_) => self.unreadable(),
            other => self.undispatched(&chain(other)),
        };
        StoreError::new(kind, message).with_source(error)
    }

    /// An answer that lacks what was asked for.
    pub(super) fn unreadable(self) -> (StoreErrorKind, String) {
        self.unanswered("its answer cannot be read", "check the endpoint and HTTP proxies")
    }

    /// A request that the SDK's builders refuse, for a field that is not set.
    pub(super) fn unbuilt(self, error: BuildError) -> StoreError {
        StoreError::new(StoreErrorKind::Refused, format!("{} cannot be asked: {error}", self.action)).with_source(error)
    }

    fn unanswered(self, what: &str, mend: &str) -> (StoreErrorKind, String) {
        (
            StoreErrorKind::Unanswered,
            format!("no answer from DynamoDB to {} on {}: {what}; {mend}", self.action, self.place()),
        )
    }

    fn throttled(self) -> (StoreErrorKind, String) {
        let place = self.place();
        let message = format!("DynamoDB throttles {place}: raise its capacity, make it on demand, or ask less often");
        (StoreErrorKind::Throttled, message)
    }

    fn place(self) -> String {
        match self.region {
            Some(region) => format!("table {} in {region}", self.table),
            None => format!("table {}", self.table),
        }
    }

    /// An error that DynamoDB sent.
    fn coded(self, code: &str, message: &str) -> (StoreErrorKind, String) {
        use StoreErrorKind::{AccessDenied, Misconfigured, Refused};
        let (action, place, said) = (self.action, self.place(), one_line(message));
        match code {
            "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "LimitExceededException" => {
                self.throttled()
            }
            "TransactionConflictException" | "TransactionInProgressException" | "ReplicatedWriteConflictException" => {
                let what = format!("{action} met another write to the same row of {place}: try again");
                (StoreErrorKind::Throttled, what)
            }
            _ if code.starts_with("Throttling") || code == "TooManyRequestsException" => self.throttled(),
            "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "UnauthorizedOperation" => (
                AccessDenied,
                format!(
                    "access denied: allow dynamodb:{action} on {place} in the IAM policy of these \
                    credentials ({said})"
                ),
            ),
            "ResourceNotFoundException" | "TableNotFoundException" => (
                Misconfigured,
                format!(
                    "there is no {place}: create it with `dynamo-lock table create` or \
                    DynamoDb::create_table, or check name, region and endpoint"
                ),
            ),
            "ValidationException" if is_about_the_key(&said) => (
                Misconfigured,
                format!(
                    "{place} has another key: it needs the partition key `{}` of type S and no sort key; \
                    name yours with `partition_key`, or create a table of its own ({said})",
                    self.key
                ),
            ),
            _ => match about_credentials(code, &said) {
                Some(message) => (Misconfigured, message),
                None => (Refused, format!("DynamoDB refuses {action} on {place}: {code}: {said}")),
            },
        }
    }

    /// An error before there was an answer: of configuration, credentials or the connection.
    fn undispatched(self, why: &str) -> (StoreErrorKind, String) {
        let lower = why.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let misconfigured = |message: &str| (StoreErrorKind::Misconfigured, message.to_owned());
        if has(&["missing region", "missing signing region", "region must be set", "region was not set"]) {
            misconfigured(
                "no AWS Region is configured: set AWS_REGION, or `region` in the profile, or give the client one",
            )
        } else if has(&["invalid configuration"]) {
            // As the rules for endpoints say it, of FIPS beside an address of one's own.
            misconfigured(&format!("the AWS configuration cannot be used: {}", one_line(why)))
        } else if lower.split(|c: char| !c.is_alphanumeric()).any(|word| word == "sso")
            && has(&["expired", "refresh", "cached token", "token"])
        {
            misconfigured("the AWS SSO session has expired or was never begun: run `aws sso login`")
        } else if has(&["expired"]) && has(&["credential", "token"]) {
            misconfigured("the AWS credentials have expired: renew them")
        } else if has(&["credential", "identity", "no auth options", "auth scheme"]) {
            match self.profile {
                Some(profile) => misconfigured(&format!(
                    "the profile `{profile}` gives no usable AWS credentials: give it keys, a role or SSO in the AWS \
                    configuration, or name no profile ({})",
                    one_line(why)
                )),
                None => misconfigured(
                    "no usable AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                    or give this host a role",
                ),
            }
        } else if has(&["certificate", "unknownissuer", "tls", "handshake"]) {
            self.unanswered(
                "the TLS connection failed",
                "check the endpoint's certificate, this host's CA certificates and HTTPS proxies",
            )
        } else if has(&["dns", "failed to lookup", "name or service not known"]) {
            self.unanswered("its host name is unknown", "check region, endpoint and DNS")
        } else if has(&["refused"]) {
            self.unanswered("the connection was refused", "check that something listens at the endpoint")
        } else if has(&["reset", "closed", "broken pipe", "eof", "incomplete"]) {
            self.unanswered("the connection broke", "check the network")
        } else if has(&["timeout", "timed out"]) {
            self.unanswered("it did not answer in time", "check the network and the endpoint")
        } else {
            self.unanswered(&one_line(why), "check the network, the endpoint and the AWS configuration")
        }
    }
}

/// What to do about credentials that DynamoDB does not accept, if this is that.
fn about_credentials(code: &str, said: &str) -> Option<String> {
    let is_clock = said.contains("expired") || said.contains("not yet current");
    Some(match code {
        "ExpiredTokenException" | "ExpiredToken" => {
            "the AWS credentials have expired: renew them, for SSO with `aws sso login`".to_owned()
        }
        "RequestTimeTooSkewed" | "RequestExpired" => wrong_clock(said),
        "InvalidSignatureException" | "SignatureDoesNotMatch" if is_clock => wrong_clock(said),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired" => format!(
            "DynamoDB does not accept these AWS credentials: check the access key, its secret and the region ({said})"
        ),
        _ => return None,
    })
}

fn wrong_clock(said: &str) -> String {
    format!("this host's clock is wrong by minutes, so AWS refuses its signatures: set it, for good with NTP ({said})")
}

/// Whether a validation error is about the table's key.
fn is_about_the_key(said: &str) -> bool {
    let said = said.to_lowercase();
    let about = [
        "key element",
        "type mismatch for key",
        "missing the key",
        "part of the key",
        "key schema",
        "number of conditions on the keys",
    ];
    about.iter().any(|words| said.contains(words))
}

/// The innermost text says most; all of it is looked through.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    let texts = causes.map(|cause| cause.to_string());
    let texts: Vec<_> = texts.take(16).collect();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// Others' text on one bounded line.
fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(CHARS_MAX).collect()
}
