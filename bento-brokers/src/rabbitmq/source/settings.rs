//! The settings of a queue that is read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lapin::types::AMQPValue;
use serde::Deserialize;

use super::super::{RabbitMqCredentials, RabbitMqSettings, link};
use super::names;
use crate::{ConnectError, ServerUrl, TlsSettings};

/// The settings of a queue that is read.
///
/// ```
/// use bento_brokers::rabbitmq::{RabbitMqQueueType, RabbitMqSourceSettings};
///
/// let settings = RabbitMqSourceSettings {
///     queue: Some("stock.orders".to_owned()),
///     queue_type: RabbitMqQueueType::Classic,
///     ..RabbitMqSourceSettings::default()
/// };
/// settings.check()?;
/// # Ok::<_, bento_brokers::ConnectError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMqSourceSettings {
    /// The server, `amqp://localhost:5672` by default; `amqps://` asks for TLS.
    pub url: ServerUrl,
    /// The name and password, in place of those in the URL; `guest` by default.
    pub credentials: Option<RabbitMqCredentials>,
    /// The virtual host, in the place of that in the URL; `/` by default.
    pub vhost: Option<String>,
    /// Transport security. The authorities in `ca_file` are trusted besides those of the operating
    /// system.
    pub tls: TlsSettings,
    /// The time limit of connecting; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The interval of heartbeats in both directions, in whole seconds; 10 s by default. After two
    /// missing heartbeats the connection counts as lost.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub heartbeat: Duration,
    /// The name of the queue; that of the source by default.
    pub queue: Option<String>,
    /// The type of the queue; `quorum` by default.
    pub queue_type: RabbitMqQueueType,
    /// True to make the queue and its bindings if they are not there; false by default.
    pub create: bool,
    /// The bindings that are made with the queue; none by default. Bindings that are not listed
    /// stay.
    pub bind: Vec<RabbitMqBinding>,
    /// Further arguments of the queue, such as `x-dead-letter-exchange` or `x-max-length`. An
    /// existing queue has to have the same.
    pub arguments: BTreeMap<String, RabbitMqArgument>,
    /// True to trust that the queue is durable and has a single active consumer, for a user who
    /// may not `configure` it; false by default.
    pub assume_single_active: bool,
    /// The messages that RabbitMQ sends ahead, from 1 to 65,535; 500 by default. Read the
    /// [module](super) before making it smaller.
    pub prefetch: u16,
}

impl Default for RabbitMqSourceSettings {
    fn default() -> Self {
        let connection = RabbitMqSettings::default();
        Self {
            url: connection.url,
            credentials: connection.credentials,
            vhost: connection.vhost,
            tls: connection.tls,
            connect_timeout: connection.connect_timeout,
            heartbeat: connection.heartbeat,
            queue: None,
            queue_type: RabbitMqQueueType::default(),
            create: false,
            bind: Vec::new(),
            arguments: BTreeMap::new(),
            assume_single_active: false,
            prefetch: 500,
        }
    }
}

/// The type of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RabbitMqQueueType {
    /// Replicated.
    #[default]
    Quorum,
    /// On one node.
    Classic,
}

/// A binding of the queue to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqBinding {
    /// The exchange. It has to be there.
    pub exchange: String,
    /// The routing key, or the pattern of a topic exchange.
    #[serde(default)]
    pub routing_key: String,
}

impl RabbitMqBinding {
    /// A binding to this exchange, with this routing key or pattern.
    pub fn new(exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        }
    }
}

/// The value of an argument of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RabbitMqArgument {
    /// True or false.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
}

impl From<&RabbitMqArgument> for AMQPValue {
    fn from(argument: &RabbitMqArgument) -> Self {
        match argument {
            RabbitMqArgument::Bool(value) => Self::Boolean(*value),
            RabbitMqArgument::Integer(value) => Self::LongLongInt(*value),
            RabbitMqArgument::Text(value) => Self::LongString(value.as_str().into()),
        }
    }
}

impl RabbitMqQueueType {
    /// The value of `x-queue-type`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for RabbitMqQueueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The arguments that other settings say.
const OWN: [(&str, &str); 2] = [
    ("x-queue-type", "say it with `queue_type`"),
    (
        "x-single-active-consumer",
        "leave it out: the queue of a source has it",
    ),
];

impl RabbitMqSourceSettings {
    /// The settings of the connection.
    pub(super) fn connection(&self) -> RabbitMqSettings {
        RabbitMqSettings {
            url: self.url.clone(),
            credentials: self.credentials.clone(),
            vhost: self.vhost.clone(),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout,
            heartbeat: self.heartbeat,
            ..RabbitMqSettings::default()
        }
    }

    /// Checks what can be checked without a server.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn check(&self) -> Result<(), ConnectError> {
        link::check(&self.connection())?;
        if let Some(name) = &self.queue {
            names::queue(name).map_err(ConnectError::settings)?;
        }
        if self.prefetch == 0 {
            return Err(ConnectError::settings(
                "`prefetch` must be from 1 to 65,535: without it a whole queue would be sent ahead",
            ));
        }
        if !self.bind.is_empty() && !self.create {
            return Err(ConnectError::settings(
                "`bind` makes bindings, which needs `create = true`",
            ));
        }
        if self.create && self.assume_single_active {
            return Err(ConnectError::settings(
                "`assume_single_active` is for a queue that others make: leave it out, or `create`",
            ));
        }
        for binding in &self.bind {
            names::short("exchange", &binding.exchange).map_err(ConnectError::settings)?;
            names::short("routing key", &binding.routing_key).map_err(ConnectError::settings)?;
            if binding.exchange.is_empty() {
                return Err(ConnectError::settings(
                    "`bind` names the exchange ``: the default exchange binds each queue by itself",
                ));
            }
        }
        for name in self.arguments.keys() {
            names::short("argument", name).map_err(ConnectError::settings)?;
            if let Some((_, rule)) = OWN.iter().find(|(own, _)| own == name) {
                return Err(ConnectError::settings(format!(
                    "`arguments` names `{name}`: {rule}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let settings: RabbitMqSourceSettings = serde_json::from_str(json).unwrap();
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn settings_of_a_file_have_defaults_and_know_their_names() {
        let json = r#"{
            "url": "amqp://h", "vhost": "shop", "queue": "q", "queue_type": "classic",
            "create": true, "bind": [{"exchange": "events", "routing_key": "order.#"}],
            "arguments": {"x-max-length": 7, "x-overflow": "reject-publish", "x-own": true}
        }"#;
        let settings: RabbitMqSourceSettings = serde_json::from_str(json).unwrap();
        settings.check().unwrap();
        let of_length = &settings.arguments["x-max-length"];
        assert_eq!(AMQPValue::from(of_length), AMQPValue::LongLongInt(7));
        assert_eq!((settings.prefetch, settings.bind.len()), (500, 1));
        let unknown = serde_json::from_str::<RabbitMqSourceSettings>(r#"{"que": "q"}"#);
        assert!(unknown.unwrap_err().to_string().contains("`que`"));
    }

    #[test]
    fn settings_that_can_never_work_say_why() {
        let long = format!(r#"{{"queue": "{}"}}"#, "x".repeat(256));
        for (json, expected) in [
            (r#"{"prefetch": 0}"#, "from 1 to 65,535"),
            (r#"{"queue": ""}"#, "must not be empty"),
            (r#"{"queue": "amq.gen-1"}"#, "RabbitMQ's own"),
            (&long, "the queue has 256 bytes, more than the 255"),
            (r#"{"bind": [{"exchange": "e"}]}"#, "`create = true`"),
            (
                r#"{"create": true, "bind": [{"exchange": ""}]}"#,
                "default exchange",
            ),
            (
                r#"{"create": true, "assume_single_active": true}"#,
                "others make",
            ),
            (
                r#"{"arguments": {"x-queue-type": "stream"}}"#,
                "say it with `queue_type`",
            ),
            (
                r#"{"arguments": {"x-single-active-consumer": false}}"#,
                "leave it out",
            ),
            (r#"{"url": "http://h"}"#, "amqp://"),
        ] {
            let text = refused(json);
            assert!(text.contains(expected), "{json}: {text}");
        }
    }
}
