//! The settings of Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::message::MessageSettings;
use crate::{Secret, TlsSettings};

/// The settings of a connection to Kafka, and of publishing there.
///
/// ```
/// use bento_brokers::kafka::{KafkaSasl, KafkaSettings, SaslMechanism};
///
/// let settings = KafkaSettings {
///     servers: vec!["a.local:9092".to_owned(), "b.local:9092".to_owned()],
///     sasl: Some(KafkaSasl {
///         mechanism: SaslMechanism::ScramSha256,
///         user: "relay".to_owned(),
///         password: "s3cret".into(),
///     }),
///     ..KafkaSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Servers to begin with, as host and port; `localhost:9092` by default. Others of the cluster
    /// are found by themselves.
    pub servers: Vec<String>,
    /// The user and password; none by default.
    pub sasl: Option<KafkaSasl>,
    /// Transport security, which is used if it is `required` or if a file is named: Kafka has no
    /// URL to ask for it.
    pub tls: TlsSettings,
    /// The time limit until the broker has confirmed a message, repetitions included; 10 s by
    /// default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub delivery_timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The time for which a message waits for others to share its request, in whole milliseconds; 1
    /// ms by default. A call hands over its whole batch at once, so a longer time costs latency and
    /// gains little.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub linger: Duration,
    /// The time in which a topic that the cluster does not know may still appear, because it was
    /// just made; 2 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub unknown_topic_patience: Duration,
    /// The largest message that is sent, in bytes; 1,000,000 by default.
    pub max_message_bytes: usize,
    /// Further properties of
    /// [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md),
    /// `compression.type` for instance. Those that these settings or the publisher's guarantees
    /// decide are refused.
    pub properties: BTreeMap<String, Secret>,
    /// The form of the messages.
    pub message: MessageSettings,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            servers: vec!["localhost:9092".to_owned()],
            sasl: None,
            tls: TlsSettings::default(),
            delivery_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(1),
            unknown_topic_patience: Duration::from_secs(2),
            max_message_bytes: 1_000_000,
            properties: BTreeMap::new(),
            message: MessageSettings::default(),
        }
    }
}

/// The user who connects to Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    /// The mechanism that proves the password.
    pub mechanism: SaslMechanism,
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// The mechanisms that prove a password to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// It is sent as it is: with TLS only.
    #[serde(rename = "plain")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}
