//! Transport security, the same for every broker.

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
use crate::ConnectError;

/// How a connection is secured. Files hold PEM.
///
/// Without a file for the authorities those of the operating system are trusted. A certificate without its key, or a key without its
/// certificate, is refused when connecting.
///
/// ```
/// use bento_publishers::TlsSettings;
///
/// let tls = TlsSettings { required: true, ca_file: Some("/etc/tls/ca.pem".into()), ..TlsSettings::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Whether a connection without TLS is refused; `false` by default. A URL whose scheme asks for TLS is never connected without.
    pub required: bool,
    /// The certificates of the authorities that are trusted, in the place of those of the operating system.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate.
    pub certificate_file: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key_file: Option<PathBuf>,
}

/// The content of a file of the settings.
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(file).map_err(|error| ConnectError::Settings {
        what: format!("{} cannot be read", file.display()),
        source: Some(error.into()),
    })
}
