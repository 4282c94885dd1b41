use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_types::{DateTime, date_time::Format};

use crate::store::ServiceDate;

/// Interceptor that records the service's `Date` from the response to one request, also if that is an error.
#[derive(Clone, Debug, Default)]
pub(super) struct DateReader(pub(super) Arc<OnceLock<ServiceDate>>);

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
        if let Some(date) = service_date(context.response().headers()) {
            let _ = self.0.set(date);
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
