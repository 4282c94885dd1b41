//! HTTPS client for the certificate authorities of `AWS_CA_BUNDLE`.

use std::error::Error;

use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, ConnectorBuilder, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::date_source::CA_BUNDLE_CLIENT;

/// Returns the SDK's HTTPS client with the certificates of the file at `path` in place of those of the operating system.
///
/// # Errors
/// The reason if the file is not readable or is not a list of certificates in PEM format.
pub(super) fn https_client(path: &str) -> Result<SharedHttpClient, Box<dyn Error>> {
    let tls = read(path)?;
    // The other settings are those of the SDK's default client.
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone())
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    });
    Ok(SharedHttpClient::new(CaBundleClient(client)))
}

/// The SDK's HTTPS client with other certificates, under a name of its own.
#[derive(Debug)]
struct CaBundleClient(SharedHttpClient);

impl HttpClient for CaBundleClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new(CA_BUNDLE_CLIENT, None))
    }
}

fn read(path: &str) -> Result<TlsContext, Box<dyn Error>> {
    let pem = std::fs::read(path)?;
    // Checked here because the HTTPS client panics if it cannot parse a certificate.
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("it contains no certificate".into());
    }
    Ok(TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(pem)).build()?)
}
