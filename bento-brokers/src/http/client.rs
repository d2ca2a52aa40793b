//! The HTTP client, and its transport security.

use std::sync::Arc;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::HttpSettings;
use crate::tls::{authorities, builder, unusable, with_identity};
use crate::{ConnectError, TlsSettings};

/// A client that follows no redirect and uses no proxy of the environment: the signed body and the
/// credentials are for the receiver alone.
pub(super) fn client(settings: &HttpSettings, is_encrypted: bool) -> Result<Client, ConnectError> {
    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout)
        .user_agent(concat!("bento/", env!("CARGO_PKG_VERSION")));
    // Without `https` no certificate is ever looked at, and a machine may have none.
    let client = match is_encrypted {
        true => client.tls_backend_preconfigured(tls(&settings.tls)?),
        false => client.tls_backend_preconfigured(without_authorities(&settings.tls)?),
    };
    client
        .build()
        .map_err(|error| unusable("the HTTP client cannot be made", error))
}

fn tls(settings: &TlsSettings) -> Result<ClientConfig, ConnectError> {
    let builder = match &settings.ca_file {
        Some(file) => builder()?.with_root_certificates(authorities(file)?),
        None => {
            let verifier = Verifier::new(Arc::new(ring::default_provider())).map_err(|error| {
                unusable("the operating system's certificates cannot be used", error)
            })?;
            builder()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    with_identity(builder, settings)
}

/// The files are read all the same, for a URL that is changed to `https` one day.
fn without_authorities(settings: &TlsSettings) -> Result<ClientConfig, ConnectError> {
    let authorities = settings
        .ca_file
        .as_deref()
        .map_or_else(|| Ok(RootCertStore::empty()), authorities)?;
    with_identity(builder()?.with_root_certificates(authorities), settings)
}
