//! The HTTP client, and its transport security.

use std::path::Path;
use std::sync::Arc;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::HttpSettings;
use crate::{ConnectError, TlsSettings};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A client that follows no redirect and uses no proxy of the environment: the signed body and the credentials are for nobody else.
pub(super) fn client(settings: &HttpSettings, is_encrypted: bool) -> Result<Client, ConnectError> {
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.connect_timeout)
        .user_agent(concat!("bento/", env!("CARGO_PKG_VERSION")));
    // Without `https` no certificate is ever looked at, and a machine may have none.
    let builder = match is_encrypted {
        true => builder.tls_backend_preconfigured(tls(&settings.tls)?),
        false => builder.tls_backend_preconfigured(without_authorities()?),
    };
    builder.build().map_err(|error| unusable("the HTTP client cannot be made", error))
}

/// Says itself which cryptography it uses, so that the application need not install a default for the process.
fn tls(settings: &TlsSettings) -> Result<ClientConfig, ConnectError> {
    let TlsSettings { ca_file, certificate_file, key_file, .. } = settings;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| unusable("no TLS", error))?;
    let builder = match ca_file {
        Some(file) => builder.with_root_certificates(authorities(file)?),
        None => {
            let verifier = Verifier::new(provider)
                .map_err(|error| unusable("the operating system's certificates cannot be used", error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    match (certificate_file, key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let file = key;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(file, error))?;
            let configured = builder.with_client_auth_cert(certificates(certificate)?, key);
            configured.map_err(|error| unusable("the client certificate cannot be used", error))
        }
        _ => Err(ConnectError::settings("a client certificate needs both `certificate_file` and `key_file`")),
    }
}

fn without_authorities() -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable("no TLS", error))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn authorities(file: &Path) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|error| unreadable(file, error))?;
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(file, error))?;
    if certificates.is_empty() {
        return Err(ConnectError::settings(format!("{} holds no certificate", file.display())));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, source: impl Into<Source>) -> ConnectError {
    unusable(&format!("{} cannot be read as PEM", file.display()), source)
}

fn unusable(what: &str, source: impl Into<Source>) -> ConnectError {
    ConnectError::Settings { what: what.to_owned(), source: Some(source.into()) }
}
