//! The default of the service clock: whether the `Date` of responses is certainly that of AWS.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{ConfigBag, HttpClient, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_types::endpoint_config::EndpointUrl;

/// Name of the HTTP client for a CA bundle, by which it is distinguished from a user's own.
pub(super) const CA_BUNDLE_CLIENT: &str = "dynamo-lock-ca-bundle";

/// Returns whether responses come from AWS unchanged, and `false` if in doubt.
///
/// Only the interceptors of a request see the endpoint of a client and its resolver. So this function starts a request
/// and stops it before it is serialized.
pub(super) fn responses_come_from_aws(client: &Client) -> bool {
    #[derive(Clone, Debug, Default)]
    struct Probe(Arc<OnceLock<bool>>);

    impl Intercept for Probe {
        fn name(&self) -> &'static str {
            "dynamo-lock endpoint"
        }

        fn read_before_serialization(
            &self,
            _: &BeforeSerializationInterceptorContextRef<'_>,
            components: &RuntimeComponents,
            cfg: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let has_aws_endpoint = cfg.load::<EndpointUrl>().is_none_or(|url| is_aws(&url.0));
            let _ = self.0.set(has_aws_endpoint && has_default_resolver(components));
            Err("the endpoint is known".into())
        }
    }

    // An HTTP client of the user's own may be a cache, a mock or a proxy. `aws_config` sets none.
    let http_client = client.config().http_client();
    let is_known = |client: &dyn HttpClient| client.connector_metadata().is_some_and(|m| m.name() == CA_BUNDLE_CLIENT);
    if http_client.is_some_and(|client| !is_known(&client)) {
        return false;
    }
    let probe = Probe::default();
    let request = client.list_tables().customize().interceptor(probe.clone()).send();
    let _ = pin!(request).poll(&mut Context::from_waker(Waker::noop()));
    probe.0.get().copied().unwrap_or(false)
}

/// Returns whether the SDK's own rules determine the endpoint. The SDK offers only the resolver's debug text.
fn has_default_resolver(components: &RuntimeComponents) -> bool {
    format!("{:?}", components.endpoint_resolver())
        .starts_with("SharedEndpointResolver(DowncastParams(DefaultResolver ")
}

/// Returns whether a custom endpoint belongs to AWS, for example a VPC endpoint. A proxy may rewrite the `Date` of
/// responses unless they are encrypted.
pub(super) fn is_aws(url: &str) -> bool {
    let Some(host) = url.strip_prefix("https://") else { return false };
    let host = host.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| host.ends_with(end))
}
