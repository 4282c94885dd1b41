use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
};
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::{DateTime, date_time::Format};

use crate::store::ServiceDate;

/// Interceptor that records parts of the response to one request which the SDK does not return.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseReader(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    date: OnceLock<ServiceDate>,
    has_body: OnceLock<()>,
}

impl ResponseReader {
    /// Returns the service's `Date`, which errors have too.
    pub(super) fn date(&self) -> Option<ServiceDate> {
        self.0.date.get().copied()
    }

    /// Returns whether the response has a body. The SDK accepts a success without one, but DynamoDB always sends JSON,
    /// so that such a response comes from a proxy or a cache.
    pub(super) fn has_body(&self) -> bool {
        self.0.has_body.get().is_some()
    }
}

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
        if let Some(date) = service_date(context.response().headers()) {
            let _ = self.0.date.set(date);
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().body().bytes().is_some_and(|body| !body.is_empty()) {
            let _ = self.0.has_body.set(());
        }
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
