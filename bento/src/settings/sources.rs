//! The consumer and the sources that a configuration can name.
#![cfg_attr(
    not(any(
        feature = "kafka",
        feature = "nats",
        feature = "rabbitmq",
        feature = "redis"
    )),
    allow(
        unused_variables,
        unreachable_code,
        reason = "without a broker there is no source"
    )
)]

use bento_brokers::ConnectError;
use bento_brokers::message::Reading;
use bento_handlers::consumer::ConsumerBuilder;
use bento_handlers::source::BoxSource;
use bento_handlers::{ConsumerSettings, SourceSettings};

use super::UnusableSource;
use super::fault::Fault;
use super::publishers::kind_of;
use super::read::{Part, origin};
use super::tree::{Entry, Node, Table};

/// The kinds of sources, each with its cargo feature of the same name.
const KINDS: [&str; 4] = ["kafka", "nats", "rabbitmq", "redis"];

/// The keys of a section that say nothing about the broker.
const OF_EVERY_KIND: [&str; 3] = ["trusted", "allow_old", "accept_own"];

/// One source: how its messages count, and the broker they come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConfiguredSource {
    /// The rules by which its messages count.
    pub settings: SourceSettings,
    /// The broker, and how to read there.
    pub broker: BrokerSource,
}

/// The broker of a source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "there are a few in a process; which features are on decides"
)]
pub enum BrokerSource {
    /// Kafka.
    #[cfg(feature = "kafka")]
    Kafka(bento_brokers::kafka::KafkaSourceSettings),
    /// NATS JetStream.
    #[cfg(feature = "nats")]
    Nats(bento_brokers::nats::NatsSourceSettings),
    /// RabbitMQ.
    #[cfg(feature = "rabbitmq")]
    RabbitMq(bento_brokers::rabbitmq::RabbitMqSourceSettings),
    /// Redis Streams.
    #[cfg(feature = "redis")]
    Redis(bento_brokers::redis::RedisSourceSettings),
}

impl BrokerSource {
    /// The kind, as a configuration names it.
    pub fn kind(&self) -> &'static str {
        match *self {
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

    /// Makes the source. No broker is asked.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that can never be used.
    pub fn source(self, reading: Reading) -> Result<BoxSource, ConnectError> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(settings) => {
                let source = bento_brokers::kafka::KafkaSource::new(settings)?;
                Ok(BoxSource::new(source.reading(reading)))
            }
            #[cfg(feature = "nats")]
            Self::Nats(settings) => {
                let source = bento_brokers::nats::NatsSource::new(settings)?;
                Ok(BoxSource::new(source.reading(reading)))
            }
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(settings) => {
                let source = bento_brokers::rabbitmq::RabbitMqSource::new(settings)?;
                Ok(BoxSource::new(source.reading(reading)))
            }
            #[cfg(feature = "redis")]
            Self::Redis(settings) => {
                let source = bento_brokers::redis::RedisSource::new(settings)?;
                Ok(BoxSource::new(source.reading(reading)))
            }
        }
    }
}

impl ConfiguredSource {
    /// Adds the source to a consumer.
    pub(super) fn add_to(
        &self,
        consumer: ConsumerBuilder,
        name: &str,
        reading: Reading,
    ) -> Result<ConsumerBuilder, UnusableSource> {
        let kind = self.broker.kind();
        let source = self.broker.clone().source(reading);
        let source = source.map_err(|source| UnusableSource {
            name: name.to_owned(),
            kind,
            source,
        })?;
        Ok(consumer.source_with(name, source, self.settings.clone()))
    }
}

/// Reads the section `[consumer]`.
pub(super) fn consumer(entry: Entry, faults: &mut Vec<Fault>) -> ConsumerSettings {
    let said = entry.clone();
    let read = Part::new(["consumer"], entry, faults).read::<ConsumerSettings>();
    if let Some(Err(error)) = read.as_ref().map(ConsumerSettings::check) {
        let origin = origin(&said, &[error.setting.into()]);
        let reason = format!("{} {}", error.value, error.rule);
        faults.push(Fault::invalid(["consumer", error.setting], origin, reason));
    }
    read.unwrap_or_default()
}

/// Reads the section of one source.
pub(super) fn read(
    name: &str,
    mut entry: Entry,
    faults: &mut Vec<Fault>,
) -> Option<ConfiguredSource> {
    let path = ["sources", name];
    let kind = kind_of(path, "source", &KINDS, &mut entry, faults)?;
    let Node::Table(table) = &mut entry.node else {
        return None;
    };
    let of_every_kind = OF_EVERY_KIND.into_iter();
    let taken = of_every_kind.filter_map(|key| Some((key.to_owned(), table.remove(key)?)));
    let own = Entry {
        node: Node::Table(taken.collect::<Table>()),
        origin: entry.origin.clone(),
    };
    let settings = Part::new(path, own, faults).read::<SourceSettings>();
    let part = Part::new(path, entry, faults);
    let broker = match kind {
        #[cfg(feature = "kafka")]
        "kafka" => part.read().map(BrokerSource::Kafka),
        #[cfg(feature = "nats")]
        "nats" => part.read().map(BrokerSource::Nats),
        #[cfg(feature = "rabbitmq")]
        "rabbitmq" => part.read().map(BrokerSource::RabbitMq),
        #[cfg(feature = "redis")]
        "redis" => part.read().map(BrokerSource::Redis),
        _ => {
            drop(part);
            None
        }
    };
    let (settings, broker) = (settings?, broker?);
    Some(ConfiguredSource { settings, broker })
}
