//! Name of the caller, from the AWS Security Token Service (STS).

use std::time::Duration;

use aws_sdk_sts::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sts::error::BoxError;
use dynamo_lock::store::examination::{Examination, is_aws};

/// Time limit of the request to STS. Without an answer, only the source of the credentials is printed.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns the ARN of the caller, or `None` if STS does not return it in time.
pub async fn caller_arn(examination: &Examination, endpoint: &str) -> Option<String> {
    let config = aws_sdk_sts::config::Builder::from(examination.config())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
        .credentials_provider(examination.credentials()?)
        .interceptor(SameCloud { is_aws: is_aws(endpoint) })
        .build();
    aws_sdk_sts::Client::from_conf(config).get_caller_identity().send().await.ok()?.arn
}

/// Interceptor that sends credentials to AWS only if the table is there, because those of another server mean nothing
/// to AWS.
#[derive(Debug)]
struct SameCloud {
    is_aws: bool,
}

impl Intercept for SameCloud {
    fn name(&self) -> &'static str {
        "dynamo-lock same cloud"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match is_aws(context.request().uri()) && !self.is_aws {
            true => Err("the credentials are not for AWS".into()),
            false => Ok(()),
        }
    }
}
