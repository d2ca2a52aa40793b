//! A topic of its own for each rule.

use std::time::Duration;

use bento_brokers::kafka::{KafkaSource, KafkaSourceSettings};
use bento_relay::source::{
    Cursor, Message, Most, Received, Resume, Source as _, SourceError, Subscription as _,
};
use bento_testkit::source::{Sent, SourceBench, Traits};
use futures_util::future::join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::support::{unique, url};

const URL: &str = "BENTO_TEST_KAFKA_URL";
/// The value in place of a URL for librdkafka's mock cluster, one for each rule.
const MOCK: &str = "mock";
/// The id of its only broker.
const MOCK_BROKER: i32 = 1;
/// The mock cluster keeps 5 MiB of a partition: the messages of a rule have room in it.
const PARTITIONS: i32 = 12;
/// tansu tells the end of a partition as if a batch were one message.
const ONE_BY_ONE: &str = "1";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Subscription = bento_brokers::kafka::KafkaSubscription;

pub(crate) struct Bench {
    pub(crate) settings: KafkaSourceSettings,
    producer: FutureProducer,
    /// In this process. While it is away it refuses connections; it keeps what it stored.
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Bench {
    pub(crate) async fn of_the_environment() -> Option<Self> {
        match url(URL)? {
            url if url == MOCK => Some(Self::on_mock_cluster(PARTITIONS)),
            url => {
                let bench = Self::at(url, ONE_BY_ONE);
                bench.make_topic().await;
                Some(bench)
            }
        }
    }

    pub(crate) fn on_mock_cluster(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let bench = Self::at(cluster.bootstrap_servers(), "1000");
        let topic = &bench.settings.topic;
        cluster.create_topic(topic, partitions, 1).unwrap();
        Self {
            mock: Some(cluster),
            ..bench
        }
    }

    fn at(servers: String, messages_of_a_batch: &str) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &servers)
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "10000000")
            .set("batch.num.messages", messages_of_a_batch)
            .set("reconnect.backoff.max.ms", "500");
        let settings = KafkaSourceSettings {
            topic: unique("bento-test"),
            servers: vec![servers],
            ..KafkaSourceSettings::default()
        };
        Self {
            settings,
            producer: config.create().unwrap(),
            mock: None,
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.settings.servers[0]);
        config.create().unwrap()
    }

    async fn make_topic(&self) {
        let topic = &self.settings.topic;
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new();
        let made = self.admin().create_topics([&new], &options).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    pub(crate) fn is_mock(&self) -> bool {
        self.mock.is_some()
    }

    pub(crate) fn mock(&self) -> &MockCluster<'static, DefaultProducerContext> {
        self.mock.as_ref().expect("it is on a mock cluster")
    }

    /// Lets the next requests of a kind fail.
    pub(crate) fn refuse(&self, request: RDKafkaApiKey, codes: &[RDKafkaRespErr]) {
        self.mock().request_errors(request, codes);
    }

    pub(crate) async fn subscribe(
        &self,
        cursor: Option<Cursor>,
    ) -> Result<Subscription, SourceError> {
        subscribe(self.settings.clone(), cursor).await
    }
}

pub(crate) async fn subscribe(
    settings: KafkaSourceSettings,
    cursor: Option<Cursor>,
) -> Result<Subscription, SourceError> {
    let source = KafkaSource::new(settings).unwrap();
    source
        .subscribe(Resume::new("outside").behind(cursor))
        .await
}

pub(crate) fn most(messages: usize, wait: Duration) -> Most {
    Most {
        messages,
        bytes: 16 << 20,
        wait,
    }
}

/// Receives exactly this number of messages.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Received {
    let begun = tokio::time::Instant::now();
    let mut all = Received::default();
    while all.messages.len() < count {
        let missing = count - all.messages.len();
        assert!(
            begun.elapsed() < PATIENCE,
            "{missing} of {count} messages did not come"
        );
        let wait = Duration::from_millis(500);
        let received = subscription.receive(most(missing, wait)).await.unwrap();
        all.messages.extend(received.messages);
        all.cursor = received.cursor.or(all.cursor);
    }
    all
}

/// The bodies of messages that are no events.
pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    let body = |message: &Message| match message {
        Message::Unreadable(message) => String::from_utf8(message.raw.body.to_vec()).unwrap(),
        message => panic!("{message:?} is an event"),
    };
    messages.iter().map(body).collect()
}

/// Messages that are no events, with these bodies and one key.
pub(crate) fn texts(bodies: impl IntoIterator<Item = impl ToString>) -> Vec<Sent> {
    let sent = |body: String| Sent::raw("k", body);
    bodies
        .into_iter()
        .map(|body| sent(body.to_string()))
        .collect()
}

impl SourceBench for Bench {
    type Source = KafkaSource;

    fn traits(&self) -> Traits {
        let large = match self.mock {
            Some(_) => 1 << 20,
            None => Traits::default().large,
        };
        Traits {
            has_places: true,
            rewinds: true,
            large,
            ..Traits::default()
        }
    }

    fn source(&self) -> KafkaSource {
        KafkaSource::new(self.settings.clone()).unwrap()
    }

    async fn send(&self, messages: &[Sent]) {
        let sent = messages.iter().map(|message| {
            let content_type = message.content_type.iter();
            let content_type = content_type.map(|value| ("content-type", value.as_bytes()));
            let own = message.headers.iter();
            let own = own.map(|(name, value)| (name.as_str(), value.as_slice()));
            let headers = own
                .chain(content_type)
                .fold(OwnedHeaders::new(), |list, header| {
                    let (key, value) = header;
                    list.insert(Header {
                        key,
                        value: Some(value),
                    })
                });
            let record = FutureRecord::to(&self.settings.topic).key(&message.key);
            self.producer
                .send(record.payload(&*message.body).headers(headers), PATIENCE)
        });
        for sent in join_all(sent).await {
            sent.map_err(|(error, _)| error).unwrap();
        }
    }

    async fn sever(&self) -> bool {
        let Some(cluster) = &self.mock else {
            return false;
        };
        cluster.broker_down(MOCK_BROKER).unwrap();
        cluster.broker_up(MOCK_BROKER).unwrap();
        true
    }

    async fn make_anew(&self) -> bool {
        if self.mock.is_some() {
            return false;
        }
        let options = AdminOptions::new();
        let topics = [&*self.settings.topic];
        let deleted = self.admin().delete_topics(&topics, &options).await.unwrap();
        deleted
            .into_iter()
            .for_each(|deleted| drop(deleted.unwrap()));
        self.make_topic().await;
        true
    }

    fn missing(&self) -> Option<KafkaSource> {
        let topic = format!("{}-missing", self.settings.topic);
        let settings = KafkaSourceSettings {
            topic,
            ..self.settings.clone()
        };
        Some(KafkaSource::new(settings).unwrap())
    }

    fn unreachable(&self, address: &str) -> Option<KafkaSource> {
        let settings = KafkaSourceSettings {
            servers: vec![address.to_owned()],
            ..self.settings.clone()
        };
        Some(KafkaSource::new(settings).unwrap())
    }
}

/// Takes the broker of a mock cluster away until this is dropped.
pub(crate) struct Away<'b>(&'b Bench);

impl<'b> Away<'b> {
    pub(crate) fn new(bench: &'b Bench) -> Self {
        bench.mock().broker_down(MOCK_BROKER).unwrap();
        Self(bench)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.0.mock().broker_up(MOCK_BROKER).unwrap();
    }
}
