//! The publishers that a configuration can name.

use bento_brokers::ConnectError;
use bento_core::names::{Listed, nearest};
use bento_relay::publish::{BoxPublisher, ConsolePublisher, MemoryPublisher};
use bento_relay::route::KeyPath;
use serde::Deserialize;

use super::fault::{Fault, FaultKind, owned};
use super::origin::Origin;
use super::read::Part;
use super::tree::{Entry, Node};

/// The kinds that need nothing to be said about them: there is one of each, by its own name, unless
/// another one has that.
pub(super) const WITHOUT_SECTION: [&str; 2] = ["console", "memory"];

/// The kinds that need a cargo feature, which has the same name.
pub(super) const WITH_FEATURE: [(&str, bool); 5] = [
    ("http", cfg!(feature = "http")),
    ("kafka", cfg!(feature = "kafka")),
    ("nats", cfg!(feature = "nats")),
    ("rabbitmq", cfg!(feature = "rabbitmq")),
    ("redis", cfg!(feature = "redis")),
];

/// One publisher: its kind and what that needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "there are a few in a process; which features are on decides"
)]
pub enum PublisherSettings {
    /// Lines on standard output.
    Console(ConsoleSettings),
    /// Kept in memory, for tests.
    Memory(MemorySettings),
    /// Webhooks.
    #[cfg(feature = "http")]
    Http(bento_brokers::http::HttpSettings),
    /// Kafka.
    #[cfg(feature = "kafka")]
    Kafka(bento_brokers::kafka::KafkaSettings),
    /// NATS JetStream.
    #[cfg(feature = "nats")]
    Nats(bento_brokers::nats::NatsSettings),
    /// RabbitMQ.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(bento_brokers::rabbitmq::RabbitMqSettings),
    /// Redis Streams.
    #[cfg(feature = "redis")]
    Redis(bento_brokers::redis::RedisSettings),
}

/// The settings of the console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsoleSettings {
    /// The format of a line; `text` by default.
    pub format: ConsoleFormat,
}

/// The format of a line on the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object with everything that the envelope holds.
    Json,
}

/// Nothing can be said about the publisher in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemorySettings {}

impl PublisherSettings {
    /// The kind, as a configuration names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Console(_) => "console",
            Self::Memory(_) => "memory",
            #[cfg(feature = "http")]
            Self::Http(_) => "http",
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "kafka",
            #[cfg(feature = "nats")]
            Self::Nats(_) => "nats",
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(_) => "rabbitmq",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "redis",
        }
    }

    /// The settings of a publisher without a section, if its kind needs none.
    pub(super) fn without_section(name: &str) -> Option<Self> {
        match name {
            "console" => Some(Self::Console(ConsoleSettings::default())),
            "memory" => Some(Self::Memory(MemorySettings::default())),
            _ => None,
        }
    }

    pub(super) fn read(name: &str, mut entry: Entry, faults: &mut Vec<Fault>) -> Option<Self> {
        let kind = kind(name, &mut entry, faults)?;
        let part = Part::new(["publishers", name], entry, faults);
        match kind {
            "console" => part.read().map(Self::Console),
            "memory" => part.read().map(Self::Memory),
            #[cfg(feature = "http")]
            "http" => part.read().map(Self::Http),
            #[cfg(feature = "kafka")]
            "kafka" => part.read().map(Self::Kafka),
            #[cfg(feature = "nats")]
            "nats" => part.read().map(Self::Nats),
            #[cfg(feature = "rabbitmq")]
            "rabbitmq" => part.read().map(Self::RabbitMq),
            #[cfg(feature = "redis")]
            "redis" => part.read().map(Self::Redis),
            _ => None,
        }
    }

    /// The `source` of the events in its messages, if it is not the default.
    #[cfg(feature = "handlers")]
    pub(super) fn origin(&self) -> Option<String> {
        let message: Option<&bento_brokers::message::MessageSettings> = match self {
            Self::Console(_) | Self::Memory(_) => None,
            #[cfg(feature = "http")]
            Self::Http(settings) => Some(&settings.message),
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => Some(&settings.message),
            #[cfg(feature = "nats")]
            Self::Nats(settings) => Some(&settings.message),
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(settings) => Some(&settings.message),
            #[cfg(feature = "redis")]
            Self::Redis(settings) => Some(&settings.message),
        };
        let source = &message?.source;
        (*source != Default::default()).then(|| source.as_str().to_owned())
    }

    pub(super) fn publisher(self) -> Result<BoxPublisher, ConnectError> {
        Ok(match self {
            Self::Console(ConsoleSettings {
                format: ConsoleFormat::Text,
            }) => BoxPublisher::new(ConsolePublisher::text()),
            Self::Console(ConsoleSettings {
                format: ConsoleFormat::Json,
            }) => BoxPublisher::new(ConsolePublisher::json()),
            Self::Memory(MemorySettings {}) => BoxPublisher::new(MemoryPublisher::new()),
            #[cfg(feature = "http")]
            Self::Http(settings) => {
                BoxPublisher::new(bento_brokers::http::HttpPublisher::new(settings)?)
            }
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => {
                BoxPublisher::new(bento_brokers::kafka::KafkaPublisher::new(settings)?)
            }
            #[cfg(feature = "nats")]
            Self::Nats(settings) => {
                BoxPublisher::new(bento_brokers::nats::NatsPublisher::new(settings)?)
            }
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(settings) => {
                BoxPublisher::new(bento_brokers::rabbitmq::RabbitMqPublisher::new(settings)?)
            }
            #[cfg(feature = "redis")]
            Self::Redis(settings) => {
                BoxPublisher::new(bento_brokers::redis::RedisPublisher::new(settings)?)
            }
        })
    }
}

impl PublisherSettings {
    /// Connects to the broker, and closes the connection again. Nothing is asked for the kinds
    /// without one.
    pub(super) async fn check(self) -> Result<(), ConnectError> {
        match self {
            Self::Console(_) | Self::Memory(_) => Ok(()),
            // A request would be an event.
            #[cfg(feature = "http")]
            Self::Http(settings) => bento_brokers::http::HttpPublisher::new(settings).map(drop),
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => {
                bento_brokers::kafka::KafkaPublisher::new(settings)?
                    .check()
                    .await
            }
            #[cfg(feature = "nats")]
            Self::Nats(settings) => {
                bento_brokers::nats::NatsPublisher::new(settings)?
                    .check()
                    .await
            }
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(settings) => {
                bento_brokers::rabbitmq::RabbitMqPublisher::new(settings)?
                    .check()
                    .await
            }
            #[cfg(feature = "redis")]
            Self::Redis(settings) => {
                bento_brokers::redis::RedisPublisher::new(settings)?
                    .check()
                    .await
            }
        }
    }
}

/// The kind that a section is of: what it says, else its name.
fn kind(name: &str, entry: &mut Entry, faults: &mut Vec<Fault>) -> Option<&'static str> {
    let known: Vec<&'static str> = kinds().collect();
    kind_of(["publishers", name], "publisher", &known, entry, faults)
}

/// The kind that a section is of, among the known ones: what it says, else its name.
pub(super) fn kind_of(
    [group, name]: [&str; 2],
    what: &str,
    known: &[&'static str],
    entry: &mut Entry,
    faults: &mut Vec<Fault>,
) -> Option<&'static str> {
    let section = KeyPath::from([group, name]);
    let Node::Table(table) = &mut entry.node else {
        let reason = format!("expected a table, found {}", entry.node.what());
        faults.push(Fault::invalid(section, entry.origin.clone(), reason));
        return None;
    };
    let Some(said) = table.remove("kind") else {
        let found = known.iter().copied().find(|known| *known == name);
        if found.is_none() {
            let reason = format!(
                "its name is not a kind of {what}; set `kind` to one of {}",
                Listed(known)
            );
            faults.push(Fault::invalid(
                section.clone(),
                entry.origin.clone(),
                reason,
            ));
        }
        return found.filter(|kind| has_feature(kind, &section, &entry.origin, faults));
    };
    let (path, origin) = (section.join(["kind".into()]), said.origin.clone());
    let said = Part::new(path.clone(), said, faults).read::<String>()?;
    let Some(kind) = known.iter().copied().find(|known| *known == said) else {
        let kind = FaultKind::UnknownValue {
            meant: nearest(&said, known.iter().copied()).map(str::to_owned),
            known: owned(known),
        };
        faults.push(Fault { path, origin, kind });
        return None;
    };
    has_feature(kind, &path, &origin, faults).then_some(kind)
}

fn has_feature(kind: &str, path: &KeyPath, origin: &Origin, faults: &mut Vec<Fault>) -> bool {
    let is_off = WITH_FEATURE
        .iter()
        .any(|(feature, is_on)| *feature == kind && !is_on);
    if is_off {
        let kind = FaultKind::FeatureOff {
            feature: kind.to_owned(),
        };
        faults.push(Fault {
            path: path.clone(),
            origin: origin.clone(),
            kind,
        });
    }
    !is_off
}

fn kinds() -> impl Iterator<Item = &'static str> {
    WITHOUT_SECTION
        .into_iter()
        .chain(WITH_FEATURE.iter().map(|(feature, _)| *feature))
}
