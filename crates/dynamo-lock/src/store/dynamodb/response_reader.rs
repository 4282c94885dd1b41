use std::cell::Cell;

use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
};
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::{DateTime, date_time::Format};
use tokio::task::futures::TaskLocalFuture;

use crate::store::ServiceDate;

tokio::task_local! {
    /// Parts of the response to the request that is being made.
    static RESPONSE: Response;
}

/// Parts of a response that the SDK does not return.
#[derive(Debug, Default)]
pub(super) struct Response {
    date: Cell<Option<ServiceDate>>,
    has_body: Cell<bool>,
}

impl Response {
    /// Makes a request with a response that can be read with [`date`](Self::date) and [`has_body`](Self::has_body).
    pub(super) fn scope<F: Future>(request: F) -> TaskLocalFuture<Self, F> {
        RESPONSE.scope(Self::default(), request)
    }

    /// Returns the service's `Date`, which errors have too.
    pub(super) fn date() -> Option<ServiceDate> {
        RESPONSE.try_with(|response| response.date.get()).ok().flatten()
    }

    /// Returns whether the response has a body. The SDK accepts a success without one, but DynamoDB always sends JSON,
    /// so that such a response comes from a proxy or a cache.
    pub(super) fn has_body() -> bool {
        RESPONSE.try_with(|response| response.has_body.get()).unwrap_or(false)
    }
}

/// Interceptor that records the [`Response`]. It belongs to the client, because one for each request would cost another
/// layer of configuration. The SDK calls it within the future of the request.
#[derive(Debug)]
pub(super) struct ResponseReader;

impl Intercept for ResponseReader {
    fn name(&self) -> &'static str {
        "dynamo-lock response"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Operations on the table have no scope.
        let _ = RESPONSE.try_with(|response| response.date.set(service_date(context.response().headers())));
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let has_body = context.response().body().bytes().is_some_and(|body| !body.is_empty());
        let _ = RESPONSE.try_with(|response| response.has_body.set(has_body));
        Ok(())
    }
}

/// Returns the `Date` that DynamoDB itself has set, or `None` if in doubt: a proxy may respond without a request ID, a
/// cache adds an `Age`, and either may add a second date.
fn service_date(headers: &Headers) -> Option<ServiceDate> {
    if !headers.contains_key("x-amzn-requestid") || headers.contains_key("age") {
        return None;
    }
    let mut dates = headers.get_all("date");
    let (Some(text), None) = (dates.next(), dates.next()) else { return None };
    let seconds = DateTime::from_str(text, Format::HttpDate).ok()?.secs();
    u64::try_from(seconds).ok().map(ServiceDate)
}
