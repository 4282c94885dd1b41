//! An HTTP client for the AWS SDK that sends its requests to the user's `db` object.

use std::sync::Weak;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynamo_lock::store::SenderError;
use serde_json::{Value as Json, json};

use crate::port::{MessageKind, Port};

/// HTTP client that sends no HTTP: it passes the operation and the JSON parameters of each request to JavaScript.
///
/// The port is weak because the connection owns both the port and the SDK client that contains this value.
#[derive(Clone, Debug)]
pub(crate) struct Db(pub(crate) Weak<Port>);

impl HttpClient for Db {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Db {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request_body(&request);
        let port = self.0.upgrade();
        HttpConnectorFuture::new(async move {
            let closed = || ConnectorError::io("the client was collected or its worker has ended".into());
            let port = port.ok_or_else(closed)?;
            let response = port.request(MessageKind::Db, body?).await.ok_or_else(closed)?;
            http_response(&response)
        })
    }
}

/// Returns the operation and parameters of an SDK request as JSON.
fn request_body(request: &HttpRequest) -> Result<String, ConnectorError> {
    let invalid = || ConnectorError::user("the request has no operation or no JSON body".into());
    let target = request.headers().get("x-amz-target").ok_or_else(invalid)?;
    let operation = target.split_once('.').map_or(target, |(_, operation)| operation);
    let body = request.body().bytes().and_then(|bytes| serde_json::from_slice::<Json>(bytes).ok());
    Ok(json!({ "operation": operation, "params": body.ok_or_else(invalid)? }).to_string())
}

/// Returns the HTTP response for `{ status, body }` of `lib/db.js`. The body is JSON in DynamoDB's wire format. Returns
/// an error for `{ error }`.
fn http_response(response: &str) -> Result<HttpResponse, ConnectorError> {
    let response: Json = serde_json::from_str(response).map_err(|error| ConnectorError::other(error.into(), None))?;
    if let Some(error) = response["error"].as_str() {
        return Err(ConnectorError::other(SenderError(error.to_owned()).into(), None));
    }
    let status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut http = HttpResponse::new(status, SdkBody::from(response["body"].to_string()));
    http.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(http)
}
