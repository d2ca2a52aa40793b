//! Transport security, the same for every broker.

use std::path::PathBuf;

use serde::Deserialize;

#[cfg(feature = "_server")]
mod files;

#[cfg(feature = "_link")]
pub(crate) use self::files::check;
#[cfg(feature = "_pem")]
pub(crate) use self::files::read;
#[cfg(feature = "http")]
pub(crate) use self::files::{authorities, builder, unusable, with_identity};

/// The TLS of a connection. Files hold PEM.
///
/// Without a file for the authorities those of the operating system are trusted. Making a publisher
/// refuses a file that cannot be read, holds no PEM of its kind or a certificate that cannot be
/// parsed, a certificate without its key, a key without its certificate, and a key of another
/// certificate.
///
/// ```
/// use bento_brokers::TlsSettings;
///
/// let tls = TlsSettings {
///     required: true,
///     ca_file: Some("/etc/tls/ca.pem".into()),
///     ..TlsSettings::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// True if a connection without TLS is refused; `false` by default. A URL whose scheme asks for
    /// TLS is never connected without TLS.
    pub required: bool,
    /// The certificates of the authorities that are trusted, in the place of those of the operating
    /// system.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate.
    pub certificate_file: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key_file: Option<PathBuf>,
}
