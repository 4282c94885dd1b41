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
