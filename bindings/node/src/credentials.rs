//! AWS credentials from the user's `awsConfig`: fixed keys, or a provider in JavaScript.

use std::sync::Weak;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use serde_json::Value as Json;

use crate::port::{MessageKind, Port};

/// Credentials provider that asks the user's provider in JavaScript.
///
/// The port is weak for the same reason as in [`Db`](crate::db::Db).
#[derive(Debug)]
pub(crate) struct Provider(pub(crate) Weak<Port>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let error = |cause: &str| CredentialsError::not_loaded(format!("awsConfig.credentials: {cause}"));
            let closed = || error("the client was collected or its worker has ended");
            let port = self.0.upgrade().ok_or_else(closed)?;
            let response = port.request(MessageKind::Credentials, String::new()).await.ok_or_else(closed)?;
            let response: Json = serde_json::from_str(&response).unwrap_or_default();
            let cause = || error(response["error"].as_str().unwrap_or("accessKeyId or secretAccessKey is missing"));
            from_json(&response).ok_or_else(cause)
        })
    }
}

/// Returns the credentials in `json`, or `None` if the access key ID or the secret is missing or empty.
///
/// `sessionToken` and `expiresAtMs`, in milliseconds since 1970, are optional.
pub(crate) fn from_json(json: &Json) -> Option<Credentials> {
    let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let expires_at = json["expiresAtMs"].as_u64().map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    Some(Credentials::new(
        text("accessKeyId")?,
        text("secretAccessKey")?,
        text("sessionToken"),
        expires_at,
        "awsConfig",
    ))
}
