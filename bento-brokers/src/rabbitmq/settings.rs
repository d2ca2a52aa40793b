//! The settings of RabbitMQ.

use std::time::Duration;

use serde::Deserialize;

use crate::message::MessageSettings;
use crate::{Secret, ServerUrl, TlsSettings};

/// The settings of a connection to RabbitMQ, and of publishing there.
///
/// ```
/// use bento_brokers::rabbitmq::{Addressing, RabbitMqCredentials, RabbitMqSettings};
///
/// let settings = RabbitMqSettings {
///     url: "amqps://rabbit.local".into(),
///     credentials: Some(RabbitMqCredentials {
///         user: "relay".to_owned(),
///         password: "s3cret".into(),
///     }),
///     vhost: Some("shop".to_owned()),
///     addressing: Addressing::Exchange("events".to_owned()),
///     ..RabbitMqSettings::default()
/// };
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMqSettings {
    /// The server, `amqp://localhost:5672` by default; `amqps://` asks for TLS.
    pub url: ServerUrl,
    /// The name and password, in place of those in the URL; `guest` by default.
    pub credentials: Option<RabbitMqCredentials>,
    /// The virtual host, in the place of that in the URL; `/` by default.
    pub vhost: Option<String>,
    /// Transport security. The authorities in `ca_file` are trusted besides those of the operating
    /// system: the client cannot do without these.
    pub tls: TlsSettings,
    /// The meaning of topic and routing key.
    pub addressing: Addressing,
    /// The time for which a call waits for the confirms of its batch; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub confirm_timeout: Duration,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The interval of heartbeats in both directions, in whole seconds; 10 s by default. After two
    /// missing heartbeats the connection counts as lost.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub heartbeat: Duration,
    /// The largest body that is sent, in bytes; 16 MiB by default, which is RabbitMQ 4's own
    /// `max_message_size`.
    pub max_message_bytes: usize,
    /// The form of the messages.
    pub message: MessageSettings,
}

impl Default for RabbitMqSettings {
    fn default() -> Self {
        Self {
            url: "amqp://localhost:5672".into(),
            credentials: None,
            vhost: None,
            tls: TlsSettings::default(),
            addressing: Addressing::default(),
            confirm_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(10),
            max_message_bytes: 16 * 1024 * 1024,
            message: MessageSettings::default(),
        }
    }
}

/// The credentials for RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqCredentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// The meaning of a delivery's topic and routing key to RabbitMQ.
///
/// | | exchange | routing key |
/// |---|---|---|
/// | `Exchange(name)` | `name` | the routing key that the destination or the event names, else the topic |
/// | `TopicIsExchange` | the topic | the routing key that the destination or the event names, else the event type |
///
/// The exchange `""` is RabbitMQ's default exchange, whose routing keys are names of queues.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// Everything goes to this exchange; `amq.topic` by default, which every virtual host has.
    Exchange(String),
    /// Each topic is an exchange.
    TopicIsExchange,
}

impl Default for Addressing {
    fn default() -> Self {
        Self::Exchange("amq.topic".to_owned())
    }
}
