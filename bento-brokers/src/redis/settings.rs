//! The settings of Redis.

use std::time::Duration;

use serde::Deserialize;

use crate::message::MessageSettings;
use crate::{Secret, ServerUrl, TlsSettings};

/// The settings of a connection to Redis, and of publishing there.
///
/// ```
/// use bento_brokers::redis::RedisSettings;
///
/// let settings = RedisSettings {
///     url: "rediss://cache.local:6379/0".into(),
///     user: Some("relay".to_owned()),
///     password: Some("s3cret".into()),
///     max_len: Some(1_000_000),
///     ..RedisSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// The server and the number of its database, `redis://localhost:6379` by default; `rediss://`
    /// asks for TLS. It is one server, or what stands for one; the slots of a cluster are not
    /// followed.
    pub url: ServerUrl,
    /// The name of the ACL; the one in the URL, or Redis' `default`, by default.
    pub user: Option<String>,
    /// The password; the one in the URL, or none, by default.
    pub password: Option<Secret>,
    /// Transport security.
    pub tls: TlsSettings,
    /// The beginning of the key of every stream, `shop:` for `shop:order.created`; empty by
    /// default.
    pub prefix: String,
    /// About how many entries a stream keeps: older ones are trimmed, whether they were read or
    /// not. All by default.
    pub max_len: Option<u64>,
    /// The largest message in bytes, 64 MiB by default. A larger one is refused for good before it
    /// is sent: Redis answers to a value above its own `proto-max-bulk-len` by closing the
    /// connection, which would fail its whole batch.
    pub max_message_bytes: usize,
    /// The time for which a call waits for the answers to its batch; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The form of the messages.
    pub message: MessageSettings,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://localhost:6379".into(),
            user: None,
            password: None,
            tls: TlsSettings::default(),
            prefix: String::new(),
            max_len: None,
            max_message_bytes: 64 << 20,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            message: MessageSettings::default(),
        }
    }
}
