//! The files of the settings: PEM of certificates and keys.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::TlsSettings;
use crate::ConnectError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Checks that a client can be made of the files. It would find a fault when it connects, and again
/// at each attempt.
///
/// # Errors
/// A file that cannot be read or used, or a key that does not belong to its certificate.
#[cfg(feature = "_link")]
pub(crate) fn check(settings: &TlsSettings) -> Result<(), ConnectError> {
    let authorities = settings
        .ca_file
        .as_deref()
        .map_or_else(|| Ok(RootCertStore::empty()), authorities)?;
    with_identity(builder()?.with_root_certificates(authorities), settings).map(drop)
}

/// Reads the content of a file.
#[cfg(feature = "_pem")]
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file)
        .map_err(|error| unusable(&format!("{} cannot be read", file.display()), error))
}

/// Begins the settings of a client. It says itself which cryptography it uses, so that the
/// application need not install a default for the process.
pub(crate) fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, ConnectError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("no TLS", error))
}

/// Reads the certificates of the authorities.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store
            .add(certificate)
            .map_err(|error| unreadable(file, error))?;
    }
    Ok(store)
}

/// Adds the client's own certificate and its key, if there are any.
pub(crate) fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    settings: &TlsSettings,
) -> Result<ClientConfig, ConnectError> {
    match (&settings.certificate_file, &settings.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(file)) => {
            let key =
                PrivateKeyDer::from_pem_file(file).map_err(|error| unreadable(file, error))?;
            let configured = builder.with_client_auth_cert(certificates(certificate)?, key);
            configured.map_err(|error| {
                unusable(
                    &format!(
                        "{} cannot be used with {}",
                        certificate.display(),
                        file.display()
                    ),
                    error,
                )
            })
        }
        _ => Err(ConnectError::settings(
            "a client certificate needs both `certificate_file` and `key_file`",
        )),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let certificates =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unreadable(file, error))?;
    if certificates.is_empty() {
        return Err(ConnectError::settings(format!(
            "{} holds no certificate",
            file.display()
        )));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, source: impl Into<Source>) -> ConnectError {
    unusable(&format!("{} cannot be read as PEM", file.display()), source)
}

/// The error of settings that cannot be used.
pub(crate) fn unusable(what: &str, source: impl Into<Source>) -> ConnectError {
    ConnectError::Settings {
        what: what.to_owned(),
        source: Some(source.into()),
    }
}
