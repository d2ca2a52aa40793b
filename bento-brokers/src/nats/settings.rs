//! The settings of NATS.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::message::MessageSettings;
use crate::{Secret, ServerUrl, TlsSettings};

/// The settings of a connection to NATS, and of publishing there.
///
/// ```
/// use bento_brokers::nats::{NatsCredentials, NatsSettings};
///
/// let settings = NatsSettings {
///     urls: vec!["nats://a.local:4222".into(), "nats://b.local:4222".into()],
///     credentials: Some(NatsCredentials::Token("s3cret".into())),
///     prefix: "shop".to_owned(),
///     ..NatsSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// The servers of one cluster, `nats://localhost:4222` by default; `tls://` asks for TLS.
    /// Others of the cluster are found by themselves.
    pub urls: Vec<ServerUrl>,
    /// The credentials of the client; none by default. They replace a name and password, or a token
    /// alone, in the first URL that has them.
    pub credentials: Option<NatsCredentials>,
    /// Transport security.
    pub tls: TlsSettings,
    /// The first tokens of every subject, `shop` for `shop.order.created`; none by default.
    pub prefix: String,
    /// The stream that must take every event. Connecting fails if it is not there, and an event
    /// that another stream takes is unavailable. Any stream by default.
    pub expected_stream: Option<String>,
    /// The time for which a call waits for the acknowledgements of its batch; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub ack_timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The number of messages that may wait for their acknowledgement at once, over all calls;
    /// 1,000 by default.
    pub max_in_flight: usize,
    /// The form of the messages.
    pub message: MessageSettings,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            urls: vec!["nats://localhost:4222".into()],
            credentials: None,
            tls: TlsSettings::default(),
            prefix: String::new(),
            expected_stream: None,
            ack_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            max_in_flight: 1_000,
            message: MessageSettings::default(),
        }
    }
}

/// The credentials for NATS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NatsCredentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// The seed of a user's nkey, `SU…`.
    NkeySeed(Secret),
    /// A file with a JWT and its seed, as `nsc` writes it.
    File(PathBuf),
}
