//! The checks of the way to DynamoDB: Region, credentials, endpoint, TLS and clock.

use std::time::Duration;

use aws_sdk_sts::config::Credentials;
use dynamo_lock::store::examination::{Examination, Reply};
use dynamo_lock::store::{ServiceDate, StoreErrorCause};
use dynamo_lock::{StoreError, StoreErrorKind};

use super::check::Checks;
use super::identity::caller_arn;
use crate::ui::format;

/// Names of these checks.
pub const NAMES: [&str; 5] = ["region", "credentials", "endpoint", "tls", "clock"];

/// Difference of the wall clock from the service's above which an expired lease cannot be proven (promise D).
const CLOCK_WARNING: Duration = Duration::from_secs(5);
/// Difference above which AWS rejects signatures.
const CLOCK_FAULT: Duration = Duration::from_secs(5 * 60);
/// Characters of the access key ID that are printed.
const KEY_END: usize = 4;

/// Checks the way of a request. Returns the name of the check that failed, if no further request makes sense.
pub async fn check(examination: &Examination, reply: &Reply, checks: &mut Checks) -> Option<&'static str> {
    let fault = reply.result.as_ref().err().and_then(|error| Some((check_of(error)?, error)));
    let name = fault.map(|(name, _)| name);
    let error_of = |wanted: &str| fault.filter(|(name, _)| *name == wanted).map(|(_, error)| error.clone());
    let no_response = || format!("no response, because of the fault of {:?}", name.unwrap_or("endpoint"));
    let region = examination.config().region().map_or("none", AsRef::as_ref);
    checks.ok("region", region);
    match (error_of("credentials"), examination.credentials()) {
        (Some(error), _) => checks.error("credentials", error),
        (None, None) => checks.untested("credentials", no_response()),
        (None, Some(credentials)) => {
            let arn = match (&reply.endpoint, reply.is_answered) {
                (Some(endpoint), true) => caller_arn(examination, endpoint).await,
                _ => None,
            };
            checks.ok("credentials", describe(&credentials, arn, name));
        }
    }
    let endpoint = reply.endpoint.as_deref().unwrap_or_default();
    match (error_of("endpoint"), reply.is_answered) {
        (Some(error), _) => checks.error("endpoint", error),
        (None, true) => checks.ok("endpoint", endpoint),
        (None, false) => checks.untested("endpoint", no_response()),
    }
    match (error_of("tls"), reply.is_answered) {
        (Some(error), _) => checks.error("tls", error),
        (None, false) => checks.untested("tls", no_response()),
        (None, true) if endpoint.starts_with("https://") => checks.ok("tls", "the certificate is valid"),
        (None, true) if is_loopback(endpoint) => checks.ok("tls", "none, and the endpoint is on this machine"),
        (None, true) => checks.warning("tls", format!("{endpoint} is not encrypted; begin the endpoint with https://")),
    }
    check_clock(reply, error_of("clock"), no_response(), checks);
    name
}

/// Returns the check to which the error belongs, if it is one of these.
fn check_of(error: &StoreError) -> Option<&'static str> {
    use StoreErrorCause::{ExpiredCredentials, MissingCredentials, RejectedCredentials, TlsFailure, WrongClock};
    match (error.cause(), error.kind()) {
        (Some(MissingCredentials | ExpiredCredentials | RejectedCredentials), _) => Some("credentials"),
        (Some(TlsFailure), _) => Some("tls"),
        (Some(WrongClock), _) => Some("clock"),
        (None, StoreErrorKind::Unanswered | StoreErrorKind::Misconfigured) => Some("endpoint"),
        _ => None,
    }
}

/// Describes who the credentials are for and where they come from, without a secret.
fn describe(credentials: &Credentials, arn: Option<String>, fault: Option<&str>) -> String {
    // The SDK has no other access to the name of the provider.
    let debug = format!("{credentials:?}");
    let source = debug.split("provider_name: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
    let source = match source {
        "EnvironmentVariable" => "environment variables".to_owned(),
        "ProfileFile" => "the AWS configuration files".to_owned(),
        other => format!("the provider {other}"),
    };
    let who = match arn {
        Some(arn) => format!("{arn}, from {source}"),
        None => format!("from {source}, {}", key_end(credentials.access_key_id())),
    };
    let until = credentials.expiry().map(|end| format!(", until {}", format::moment(end))).unwrap_or_default();
    let unverified = fault.map(|fault| format!("; not verified, because of the fault of {fault:?}"));
    format!("{who}{until}{}", unverified.unwrap_or_default())
}

/// Returns the last characters of the key ID, if they are a small part of it.
fn key_end(id: &str) -> String {
    let end = id.len().checked_sub(KEY_END).filter(|start| *start >= 3 * KEY_END).and_then(|start| id.get(start..));
    end.map_or("with a short access key ID".to_owned(), |end| format!("access key ID ending in {end}"))
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or_default();
    host.starts_with("127.") || host.starts_with("[::1]") || host.split(':').next() == Some("localhost")
}

fn check_clock(reply: &Reply, error: Option<StoreError>, no_response: String, checks: &mut Checks) {
    let difference = reply.date.map(|date| Difference::new(date, reply.sent.wall_ms, reply.received.wall_ms));
    match (error, difference) {
        (Some(error), Some(difference)) => {
            checks.error("clock", error.with_fix(format!("{difference}; set the clock, and keep it right with NTP")));
        }
        (Some(error), None) => checks.error("clock", error),
        (None, Some(difference)) if difference.at_least >= CLOCK_FAULT => {
            checks.fault("clock", format!("{difference}, so AWS rejects its signatures; set the clock with NTP"));
        }
        (None, Some(difference)) if difference.at_least >= CLOCK_WARNING => checks.warning(
            "clock",
            format!("{difference}, so no expired lease can be acquired early; set the clock with NTP"),
        ),
        (None, Some(difference)) => checks.ok("clock", difference),
        (None, None) if reply.is_answered => checks.untested("clock", "the response has no Date of DynamoDB"),
        (None, None) => checks.untested("clock", no_response),
    }
}

/// Difference between the wall clock of this host and the service's.
struct Difference {
    at_least: Duration,
    is_ahead: bool,
}

impl Difference {
    /// Compares the date with the wall clock before and after the request. A date is a whole second.
    fn new(date: ServiceDate, sent_ms: u64, received_ms: u64) -> Self {
        let (begin, end) = (date.0.saturating_mul(1000), date.0.saturating_add(1).saturating_mul(1000));
        let is_ahead = sent_ms > end;
        let at_least = if is_ahead { sent_ms - end } else { begin.saturating_sub(received_ms) };
        Self { at_least: Duration::from_millis(at_least), is_ahead }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = if self.is_ahead { "ahead of" } else { "behind" };
        match self.at_least.as_secs() {
            0 => f.write_str("the wall clock is within 1s of the service's"),
            _ => write!(f, "the wall clock is {} {side} the service's", format::span(self.at_least)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_difference_allows_for_the_fraction_of_a_second() {
        let text = |date, sent, received| Difference::new(ServiceDate(date), sent, received).to_string();
        let within = "the wall clock is within 1s of the service's";
        assert_eq!([text(100, 100_900, 101_200), text(100, 101_900, 102_000)], [within; 2]);
        assert_eq!(text(100, 171_000, 172_000), "the wall clock is 1m10s ahead of the service's");
        assert_eq!(text(100, 39_000, 40_000), "the wall clock is 1m behind the service's");
    }

    #[test]
    fn key_id_is_never_shown_in_full() {
        assert_eq!(key_end("AKIAIOSFODNN7EXAMPLE"), "access key ID ending in MPLE");
        assert_eq!(key_end("test"), "with a short access key ID");
        assert_eq!(key_end(""), "with a short access key ID");
    }
}
