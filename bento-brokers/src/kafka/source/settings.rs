//! The settings of a source on Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use serde::Deserialize;

use super::super::KafkaSasl;
use super::super::client::{Connection, refused};
use super::super::failure::topic_rule;
use crate::{ConnectError, Secret, TlsSettings};

/// Properties that the settings or the guarantees of the source decide.
const DECIDED: [&str; 15] = [
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "enable.partition.eof",
    "isolation.level",
    "allow.auto.create.topics",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "offset.store.method",
    "offset.store.path",
    "consume.callback.max.messages",
];

/// The settings of a [source on Kafka](super::KafkaSource): a topic, and a connection to it.
///
/// ```
/// use bento_brokers::kafka::{KafkaSourceSettings, KafkaStart};
///
/// let settings = KafkaSourceSettings {
///     topic: "orders".to_owned(),
///     servers: vec!["a.local:9092".to_owned()],
///     start: KafkaStart::New,
///     ..KafkaSourceSettings::default()
/// };
/// assert!(settings.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSourceSettings {
    /// The topic. It has no default.
    pub topic: String,
    /// True if a topic that is not there is made, with the partitions and replicas that the cluster
    /// has as its defaults; `false` by default.
    pub create: bool,
    /// The place at which the source begins when the database has none; `all` by default.
    pub start: KafkaStart,
    /// The consumer group to which places are committed, for tools that show how far it is behind;
    /// the name of the source by default. Nothing is read from it.
    pub group: Option<String>,
    /// The bytes of messages that the client fetches ahead; 16 MiB by default.
    pub prefetch_bytes: usize,
    /// The time after which the source looks for new partitions of the topic; 1 min by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub look_for_partitions: Duration,
    /// Servers to begin with, as host and port; `localhost:9092` by default. Others of the cluster
    /// are found by themselves.
    pub servers: Vec<String>,
    /// The user and password; none by default.
    pub sasl: Option<KafkaSasl>,
    /// Transport security, which is used if it is `required` or if a file is named.
    pub tls: TlsSettings,
    /// The time limit of connecting, and of each question to the cluster; 5 s by default.
    #[serde(deserialize_with = "bento_core::duration::deserialize")]
    pub connect_timeout: Duration,
    /// Further properties of
    /// [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md),
    /// `fetch.wait.max.ms` for instance. Those that these settings or the source's guarantees
    /// decide are refused.
    pub properties: BTreeMap<String, Secret>,
}

/// The place at which a source begins when the database has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaStart {
    /// The first message that the topic still has.
    #[default]
    All,
    /// The end of the topic: messages that are sent from now on.
    New,
}

impl Default for KafkaSourceSettings {
    fn default() -> Self {
        Self {
            topic: String::new(),
            create: false,
            start: KafkaStart::default(),
            group: None,
            prefetch_bytes: 16 * 1024 * 1024,
            look_for_partitions: Duration::from_secs(60),
            servers: vec!["localhost:9092".to_owned()],
            sasl: None,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(5),
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaSourceSettings {
    /// Refuses settings that can never work.
    ///
    /// # Errors
    /// [`ConnectError::Settings`]
    pub fn check(&self) -> Result<(), ConnectError> {
        topic_rule(&self.topic).map_err(|why| {
            let topic = self.topic.escape_debug();
            ConnectError::settings(format!("invalid `topic` `{topic}`: {why}"))
        })?;
        if self
            .group
            .as_ref()
            .is_some_and(|group| group.trim().is_empty())
        {
            return Err(ConnectError::settings(
                "`group` is empty: leave it out for the name of the source",
            ));
        }
        if self.prefetch_bytes < 1024 {
            return Err(ConnectError::settings(
                "`prefetch_bytes` must be 1024 or more",
            ));
        }
        if self.look_for_partitions < Duration::from_secs(1) {
            return Err(ConnectError::settings(
                "`look_for_partitions` must be 1 s or more",
            ));
        }
        let config = self.consumer("checked")?.create_native_config();
        config.map(drop).map_err(refused)
    }

    /// The properties of a client that only connects.
    pub(super) fn client(&self) -> Result<ClientConfig, ConnectError> {
        self.config(&[])
    }

    /// The properties of the consumer of a source.
    pub(super) fn consumer(&self, source: &str) -> Result<ClientConfig, ConnectError> {
        // The default is to fetch on only a second after the client's queue has room.
        let mut config = self.config(&[("fetch.queue.backoff.ms", "50")])?;
        config
            .set("group.id", self.group.as_deref().unwrap_or(source))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // An error: the source itself says where it goes on, and how much it skips.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        let kilobytes = (self.prefetch_bytes / 1024).min(2_097_151);
        config.set("queued.max.messages.kbytes", kilobytes.to_string());
        Ok(config)
    }

    fn config(&self, usual: &[(&str, &str)]) -> Result<ClientConfig, ConnectError> {
        let connection = Connection {
            servers: &self.servers,
            sasl: self.sasl.as_ref(),
            tls: &self.tls,
            connect_timeout: self.connect_timeout,
            properties: &self.properties,
        };
        connection.config(usual, &DECIDED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> KafkaSourceSettings {
        KafkaSourceSettings {
            topic: "orders".to_owned(),
            ..KafkaSourceSettings::default()
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let refused = |settings: KafkaSourceSettings| settings.check().unwrap_err().to_string();
        orders().check().unwrap();
        assert!(refused(KafkaSourceSettings::default()).contains("invalid `topic` ``"));
        let topic = "no topic".to_owned();
        assert!(refused(KafkaSourceSettings { topic, ..orders() }).contains("ASCII letters"));
        let group = Some(" ".to_owned());
        assert!(refused(KafkaSourceSettings { group, ..orders() }).contains("`group`"));
        let prefetch_bytes = 1023;
        let small = KafkaSourceSettings {
            prefetch_bytes,
            ..orders()
        };
        assert!(refused(small).contains("`prefetch_bytes`"));
        let servers = Vec::new();
        assert!(
            refused(KafkaSourceSettings {
                servers,
                ..orders()
            })
            .contains("`servers`")
        );
        let with = |property: &str, value: &str| KafkaSourceSettings {
            properties: [(property.to_owned(), value.into())].into(),
            ..orders()
        };
        with("fetch.wait.max.ms", "100").check().unwrap();
        let decided = refused(with("auto.offset.reset", "latest"));
        assert!(
            decided.contains("`auto.offset.reset` is decided"),
            "{decided}"
        );
        let unknown = refused(with("fetch.wait.max.ms", "hunter2"));
        assert!(unknown.contains("fetch.wait.max.ms") && !unknown.contains("hunter2"));
    }

    #[test]
    fn settings_are_read_by_their_names() {
        let text = r#"{
            "topic": "orders", "start": "new", "create": true, "group": "shop",
            "look_for_partitions": "5m", "properties": {"fetch.wait.max.ms": "100"}
        }"#;
        let read: KafkaSourceSettings = serde_json::from_str(text).unwrap();
        let expected = KafkaSourceSettings {
            start: KafkaStart::New,
            create: true,
            group: Some("shop".to_owned()),
            look_for_partitions: Duration::from_secs(300),
            properties: [("fetch.wait.max.ms".to_owned(), "100".into())].into(),
            ..orders()
        };
        assert_eq!(read, expected);
        serde_json::from_str::<KafkaSourceSettings>(r#"{"topics": []}"#).unwrap_err();
    }
}
