//! A topic of its own for each rule.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use bento_brokers::kafka::{KafkaPublisher, KafkaSettings};
use bento_brokers::message::{Format, MessageSettings};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits, Wire};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::gate::{Gate, Guard};
use super::storage::Storage;
use super::support::{PrivateServer, unique, url};

pub(crate) const URL: &str = "BENTO_TEST_KAFKA_URL";
pub(crate) const PROGRAM: &str = "BENTO_TEST_KAFKA_SERVER";
/// The value in place of a URL for librdkafka's mock cluster, one for each rule.
const MOCK: &str = "mock";
/// The id of its only broker.
const MOCK_BROKER: i32 = 1;
const PATIENCE: Duration = Duration::from_secs(20);
const PARTITIONS: i32 = 3;
/// An event of more is too large for the publisher of the tests.
const LIMIT: usize = 64 * 1024;

pub(crate) struct Topic {
    servers: String,
    pub(crate) name: String,
    broker: Broker,
}

enum Broker {
    /// Used by other tests as well.
    Shared,
    /// In this process. While it is stopped it refuses connections; it keeps what it stored.
    Mock(MockCluster<'static, DefaultProducerContext>),
    Tansu(Tansu),
}

/// A broker whose data outlasts it.
struct Tansu {
    gate: Gate,
    server: PrivateServer,
    storage: Storage,
}

impl Topic {
    pub(crate) async fn of_the_environment() -> Option<Self> {
        match url(URL)? {
            url if url == MOCK => Some(Self::on_mock_cluster()),
            url => Some(Self::on(url, Broker::Shared).await),
        }
    }

    fn on_mock_cluster() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let topic = Self {
            servers: cluster.bootstrap_servers(),
            name: unique("bento-test"),
            broker: Broker::Shared,
        };
        cluster.create_topic(&topic.name, PARTITIONS, 1).unwrap();
        // It makes any other topic that it is asked for.
        let missing = topic.missing_topic().unwrap();
        cluster
            .topic_error(
                &missing,
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
            )
            .unwrap();
        Self {
            broker: Broker::Mock(cluster),
            ..topic
        }
    }

    /// On a broker of the test's own, by a way that asks nothing.
    pub(crate) async fn at(port: u16) -> Self {
        Self::on(format!("127.0.0.1:{port}"), Broker::Shared).await
    }

    async fn on(servers: String, broker: Broker) -> Self {
        let topic = Self {
            servers,
            name: unique("bento-test"),
            broker,
        };
        let admin: AdminClient<DefaultClientContext> = topic.client().create().unwrap();
        let new = NewTopic::new(&topic.name, PARTITIONS, TopicReplication::Fixed(1));
        let made = admin
            .create_topics([&new], &AdminOptions::new())
            .await
            .unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
        topic
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    pub(crate) fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            servers: vec![self.servers.clone()],
            max_message_bytes: LIMIT,
            ..KafkaSettings::default()
        }
    }

    fn read(&self, at_least: usize) -> Vec<Received> {
        let mut config = self.client();
        config
            .set("group.id", &self.name)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions
                .add_partition_offset(&self.name, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let mut received = Vec::new();
        let mut at_end = std::collections::BTreeSet::new();
        let begun = Instant::now();
        while received.len() < at_least || at_end.len() < usize::try_from(PARTITIONS).unwrap() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {at_least} messages arrived",
                received.len()
            );
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    at_end.remove(&message.partition());
                    received.push(converted(&message));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(at_end.insert(partition)),
                Some(Err(_)) | None => {}
            }
        }
        received
    }
}

fn converted(message: &rdkafka::message::BorrowedMessage<'_>) -> Received {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    let headers: BTreeMap<_, _> = headers
        .map(|header| {
            (
                header.key.to_owned(),
                text(header.value.unwrap_or_default()),
            )
        })
        .collect();
    Received {
        topic: message.topic().to_owned(),
        key: message.key().map(text),
        headers,
        body: message.payload().unwrap_or_default().to_vec().into(),
    }
}

impl PublisherHarness for Topic {
    type Publisher = KafkaPublisher;

    fn traits(&self) -> Traits {
        let wire = Some(Wire {
            prefix: "ce_",
            is_encoded: false,
        });
        Traits {
            wire,
            has_keys: true,
            too_large: Some(LIMIT),
            ..Traits::default()
        }
    }

    async fn publisher(&self, mode: Mode) -> KafkaPublisher {
        let format = match mode {
            Mode::Binary => Format::Binary,
            Mode::Structured => Format::Structured,
            Mode::Plain => Format::Plain,
        };
        let message = MessageSettings {
            format,
            ..MessageSettings::default()
        };
        KafkaPublisher::new(KafkaSettings {
            message,
            ..self.settings()
        })
        .unwrap()
    }

    fn topic(&self) -> &str {
        &self.name
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        tokio::task::block_in_place(|| self.read(at_least))
    }

    fn missing_topic(&self) -> Option<String> {
        Some(format!("{}-missing", self.name))
    }

    fn impossible_topic(&self) -> Option<String> {
        Some("no topic/at all".to_owned())
    }

    async fn refused(&self, address: &str) -> Option<Box<dyn Error>> {
        let settings = KafkaSettings {
            servers: vec![address.to_owned()],
            connect_timeout: Duration::from_secs(1),
            ..self.settings()
        };
        Some(
            KafkaPublisher::new(settings)
                .unwrap()
                .check()
                .await
                .expect_err("nothing listens")
                .into(),
        )
    }

    async fn private(&self) -> Option<Self> {
        let (gate, storage) = (Gate::new(Guard::default()), Storage::start());
        let Some(server) = tansu(gate.port, "s3://tansu/", Some(storage.endpoint())) else {
            return Some(Self::on_mock_cluster());
        };
        gate.open(server.port).await;
        let servers = format!("127.0.0.1:{}", gate.port);
        Some(
            Self::on(
                servers,
                Broker::Tansu(Tansu {
                    gate,
                    server,
                    storage,
                }),
            )
            .await,
        )
    }

    /// tansu's own steps of one write are not one: it may finish them, but nothing reports how, and
    /// then it is killed.
    async fn stop(&self) {
        match &self.broker {
            Broker::Shared => unreachable!("it is private"),
            Broker::Mock(cluster) => cluster.broker_down(MOCK_BROKER).unwrap(),
            Broker::Tansu(tansu) => {
                tansu.gate.close().await;
                tansu.storage.rest().await;
                tansu.server.kill();
            }
        }
    }

    async fn start(&self) {
        match &self.broker {
            Broker::Shared => unreachable!("it is private"),
            Broker::Mock(cluster) => cluster.broker_up(MOCK_BROKER).unwrap(),
            Broker::Tansu(tansu) => {
                assert!(tansu.server.start());
                tansu.gate.open(tansu.server.port).await;
            }
        }
    }
}

/// A broker that tells its clients to come to `port` of this machine. `None` if its program is not
/// there.
pub(crate) fn tansu(
    port: u16,
    engine: &'static str,
    storage: Option<String>,
) -> Option<PrivateServer> {
    let program = std::env::var_os(PROGRAM)?;
    PrivateServer::start_new(move |target, directory| {
        let mut command = Command::new(&program);
        command
            .current_dir(directory)
            .args(["broker", "--storage-engine", engine]);
        command
            .arg("--listener-url")
            .arg(format!("tcp://127.0.0.1:{target}"));
        command
            .arg("--advertised-listener-url")
            .arg(format!("tcp://127.0.0.1:{port}"));
        if let Some(endpoint) = &storage {
            Storage::tell(endpoint, &mut command);
        }
        command
    })
}
