//! The user's own `db` and credentials provider, both in JavaScript, as the SDK sees them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value as Json, json};

use crate::port::{Kind, Port};

/// In place of HTTP: each request's operation and JSON body go to `db`, whose parameters they are.
#[derive(Clone)]
pub(crate) struct Db(pub(crate) Weak<Port>);

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

impl HttpClient for Db {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Db {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let question = question(&request);
        let port = self.0.upgrade();
        HttpConnectorFuture::new(async move {
            let nobody = || ConnectorError::io("the client's JavaScript is gone".into());
            let port = port.ok_or_else(nobody)?;
            let answer = port.ask(Kind::Db, question?).await.ok_or_else(nobody)?;
            response(&answer)
        })
    }
}

fn question(request: &HttpRequest) -> Result<String, ConnectorError> {
    let unreadable = || ConnectorError::user("a request without an operation".into());
    let target = request.headers().get("x-amz-target").ok_or_else(unreadable)?;
    let operation = target.split_once('.').map_or(target, |(_, operation)| operation);
    let body = request.body().bytes().and_then(|bytes| serde_json::from_slice::<Json>(bytes).ok());
    Ok(json!({ "operation": operation, "params": body.ok_or_else(unreadable)? }).to_string())
}

/// What JavaScript made of the outcome: a status as DynamoDB has it, and a body in its notation.
fn response(answer: &str) -> Result<HttpResponse, ConnectorError> {
    let answer: Json = serde_json::from_str(answer).map_err(|error| ConnectorError::other(error.into(), None))?;
    let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer["body"].to_string()));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}

/// The user's credentials provider.
pub(crate) struct Provider(pub(crate) Arc<Port>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let none = |why: &str| CredentialsError::not_loaded(format!("awsConfig.credentials: {why}"));
            let answer = self.0.ask(Kind::Credentials, String::new()).await.ok_or_else(|| none("gone"))?;
            let answer: Json = serde_json::from_str(&answer).unwrap_or_default();
            credentials(&answer).ok_or_else(|| none(answer["why"].as_str().unwrap_or("not a key and a secret")))
        })
    }
}

/// From JSON: key, secret, session token, and when they expire, epoch ms.
pub(crate) fn credentials(json: &Json) -> Option<Credentials> {
    let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let expires = json["expiresMs"].as_u64().map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    Some(Credentials::new(text("accessKeyId")?, text("secretAccessKey")?, text("sessionToken"), expires, "awsConfig"))
}
