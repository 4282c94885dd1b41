//! Errors of loading AWS credentials, and the decision whether they pass by themselves.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::BoxError;

use super::error_chain::{chain, texts};
use crate::store::error::one_line;

/// Error of a load. All requests that wait for it share it.
#[derive(Clone, Debug)]
pub(super) struct LoadError {
    source: Arc<BoxError>,
    is_passing: bool,
}

impl LoadError {
    /// `had_identity` states whether an earlier load has succeeded.
    pub(super) fn new(source: BoxError, had_identity: bool) -> Self {
        let is_passing = match credentials_error(&*source) {
            Some(CredentialsError::InvalidConfiguration(_)) => false,
            // A source that returned credentials before is configured, but cannot be reached now.
            Some(CredentialsError::CredentialsNotLoaded(_)) => had_identity,
            _ => true,
        };
        Self { source: Arc::new(source), is_passing }
    }

    pub(super) fn interrupted() -> Self {
        Self::new(CredentialsError::unhandled("the load was interrupted").into(), true)
    }

    /// Returns whether the same load may succeed later, because the configuration is not at fault.
    pub(super) fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// Returns the reason that the source of the credentials gave, in one line.
    pub(super) fn reason(&self) -> String {
        let error: &(dyn Error + 'static) = &**self.source;
        let inner = chain(error).filter_map(|error| error.downcast_ref::<CredentialsError>());
        // The texts of the outer errors are generic: "an error occurred while loading credentials".
        let reason = inner.last().map_or_else(|| texts(error), |error| texts(error.source().unwrap_or(error)));
        one_line(&reason.replace("the credential provider was not enabled: ", ""))
    }

    /// Returns the kind of session that the credentials come from and the fix, if a person has to log in again. The SDK
    /// does not export the types of these errors, so only the text remains to decide by.
    pub(super) fn missing_session(&self) -> Option<(&'static str, &'static str)> {
        let reason = self.reason().to_lowercase();
        let is_sso = reason.split(|c: char| !c.is_alphanumeric()).any(|word| word == "sso");
        if is_sso && ["expired", "refresh", "token"].iter().any(|word| reason.contains(word)) {
            Some(("AWS SSO", "run `aws sso login`"))
        } else if is_about_login(&reason) {
            Some(("`aws login`", "run `aws login`"))
        } else {
            None
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot load the AWS credentials")
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.source)
    }
}

fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Returns whether the reason is a missing, invalid or expired token of `aws login`. A refresh that fails for another
/// reason, for example the network, may succeed later.
fn is_about_login(reason: &str) -> bool {
    if reason.contains("failed to refresh cached login token") {
        return reason.contains("reauthenticate");
    }
    // The name of the file is a SHA-256, that of an SSO token a SHA-1.
    let file = reason.strip_prefix("failed to read `").and_then(|rest| rest.split_once(".json`")).map(|(path, _)| path);
    let name = file.and_then(|path| path.rsplit(['/', '\\']).next());
    let is_token = name.is_some_and(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_token || reason.contains("cached login token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_session_names_the_login_that_starts_one() {
        let token = format!("failed to read `/cache/{}.json`: no such file", "0af9".repeat(16));
        let cases = [
            (&*token, Some("`aws login`")),
            ("cached Login token is expired", Some("`aws login`")),
            ("missing field `clientId` in cached Login token file", Some("`aws login`")),
            (
                "failed to refresh cached Login token: Your session has expired. Please reauthenticate.",
                Some("`aws login`"),
            ),
            ("failed to refresh cached Login token: dispatch failure: timeout", None),
            ("failed to read `/home/.aws/sso/cache/0af9.json`: no token", Some("AWS SSO")),
            ("failed to read `/var/run/secrets/token`: no such file", None),
            ("the login of the directory service failed", None),
        ];
        for (reason, session) in cases {
            let error = LoadError::new(CredentialsError::unhandled(reason).into(), false);
            assert_eq!(error.missing_session().map(|(session, _)| session), session, "{reason}");
        }
    }
}
