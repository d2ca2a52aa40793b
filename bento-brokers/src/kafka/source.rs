//! A source of messages on Kafka.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::{Resume, Source, SourceError};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use tokio::time::{Instant, sleep};

use super::client::refused;
use crate::ConnectError;
use crate::message::Reading;

mod arrival;
mod consumer;
mod failure;
mod places;
mod settings;
mod subscription;
mod topic;

use self::consumer::{Client, Context, end, hear};
use self::failure::failure;
use self::places::{Left, Places, Ranges};
pub use self::settings::{KafkaSourceSettings, KafkaStart};
pub use self::subscription::KafkaSubscription;

/// The pause between two looks at a topic that was just made.
const PAUSE: Duration = Duration::from_millis(100);

/// Receives from a topic of Kafka.
///
/// ```
/// use bento_brokers::kafka::{KafkaSource, KafkaSourceSettings};
///
/// # fn main() -> Result<(), bento_brokers::ConnectError> {
/// let source = KafkaSource::new(KafkaSourceSettings {
///     topic: "orders".to_owned(),
///     servers: vec!["kafka.local:9092".to_owned()],
///     ..KafkaSourceSettings::default()
/// })?;
/// # let _ = source; Ok(()) }
/// ```
///
/// It reads every partition of the topic, without a consumer group: the lease in the database says
/// which process reads, and the cursor in the database from where. After each commit it commits its
/// places to a [group](KafkaSourceSettings::group) as well, for tools that show how far a reader is
/// behind. That these are lost does no harm.
///
/// A message of Bento's, or a CloudEvent, is read as it is. For others, set a
/// [mapping](Reading::mapping), which finds the key of the message as the header `kafka-key`. A
/// tombstone has an empty body. The [subject](crate::message::Arrived::subject) is the topic.
///
/// # What Kafka guarantees
///
/// * **Order**: within a partition. Messages of one key keep their order as long as the number of
///   partitions stays: when partitions are added, a key may move to another one, whose messages
///   come at the same time as the rest of the old one. New partitions are found every
///   [`look_for_partitions`](KafkaSourceSettings::look_for_partitions), and read from their
///   beginning.
/// * **Redelivery**: a subscription begins behind the cursor, so what was not stored comes again,
///   in order. Nothing is skipped or delayed for one message.
/// * **Transactions**: messages of transactions that were aborted do not come (`read_committed`).
/// * **Retention**: what the topic deletes before it was read is lost. The source goes on with the
///   first message that is left, and a warning counts the offsets that were skipped. It never goes
///   to the end by itself.
/// * **A topic made anew**: the client does not tell the id of a topic. The incarnation of a cursor
///   is the id of the cluster and the name of the topic, and each place has the timestamp of the
///   last message. If the topic is shorter than the place, or another message stands in the place
///   of the last one, the partition is read from its beginning, with a warning. This is looked at
///   when a subscription begins: delete a topic only while the source is stopped.
/// * **Ids**: a message without an id of its own gets one of source, cluster, topic, partition,
///   offset and timestamp.
///
/// `sent_at` is the time of the broker, for topics with `message.timestamp.type=LogAppendTime`; the
/// time of a producer is not taken for it. The lag counts offsets, those of transaction markers
/// among them.
///
/// # Failures
///
/// | what happens | class |
/// |---|---|
/// | no server answers, every server is away | unavailable |
/// | the credentials or certificates are not accepted | refused |
/// | the topic is not there, or lacks a partition that was there | refused |
/// | no right to describe or to read the topic, or to make it | refused |
/// | the next message was deleted while it was waited for | unavailable: a new subscription goes on with the first one |
/// | places cannot be committed to the group | a warning in the log |
///
/// A server that is away for a while, or a leader that moves, is the client's own matter:
/// [`receive`](bento_relay::source::Subscription::receive) returns nothing meanwhile.
///
/// # What it is tested on
///
/// The conformance suite runs on librdkafka's mock cluster and on
/// [tansu](https://crates.io/crates/tansu). The mock cluster makes no topics, and knows no rights
/// by itself: it refuses what it is told to refuse. Topics that are made, and made anew, are tested
/// on tansu. Partitions that are added, transactions that are aborted, and the login of a consumer,
/// whose settings are those of the publisher, are not tested on a broker.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    settings: Arc<KafkaSourceSettings>,
    reading: Reading,
}

/// A client that is ended on a thread of its own if it is dropped.
struct Opening(Option<Arc<Client>>);

impl Drop for Opening {
    fn drop(&mut self) {
        drop(self.0.take().map(end));
    }
}

impl KafkaSource {
    /// Checks the settings. No server is asked before the first subscription.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: KafkaSourceSettings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self {
            settings: Arc::new(settings),
            reading: Reading::default(),
        })
    }

    /// Sets how messages are read: with a mapping, those that carry no event by themselves as well.
    #[must_use]
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// The partitions of the topic, which is made if it is not there and the settings say so.
    async fn partitions(&self, client: &Arc<Client>) -> Result<Vec<i32>, SourceError> {
        let mut until = None;
        loop {
            let (asked, settings) = (Arc::clone(client), Arc::clone(&self.settings));
            let error = match topic::blocking(move || topic::partitions(&asked, &settings)).await? {
                Ok(partitions) => return Ok(partitions),
                Err(error) => self.failure(client, error),
            };
            let may_come = error.is_refused() && self.settings.create;
            match until {
                None if may_come => {
                    topic::make(&self.settings).await?;
                    until = Some(Instant::now() + self.settings.connect_timeout);
                }
                Some(until) if may_come && Instant::now() < until => sleep(PAUSE).await,
                _ => return Err(error),
            }
        }
    }

    fn failure(&self, client: &Client, error: KafkaError) -> SourceError {
        hear(client);
        failure(error, &self.settings, &client.context().watcher)
    }

    /// The places at which a subscription begins, and whether they are to be stored at once.
    fn places(&self, resume: &Resume, incarnation: &str, ranges: &Ranges) -> (Places, bool) {
        let topic = &*self.settings.topic;
        let Some(cursor) = &resume.cursor else {
            let start = self.settings.start;
            return (Places::at(start, ranges), start == KafkaStart::New);
        };
        let own = (cursor.incarnation == incarnation).then(|| Places::of(cursor, ranges));
        let Some((places, left)) = own.flatten() else {
            tracing::warn!(
                topic,
                cursor = cursor.incarnation,
                incarnation,
                "the place in the database is of another topic or cluster: the topic is read from \
                 its beginning"
            );
            return (Places::at(KafkaStart::All, ranges), false);
        };
        for left in left {
            let Left {
                partition,
                next,
                first,
            } = left;
            match left.skipped() {
                Some(skipped) => tracing::warn!(
                    topic,
                    partition,
                    next,
                    first,
                    skipped,
                    "the topic has deleted messages before they were read: give it a longer \
                     retention"
                ),
                None => tracing::warn!(
                    topic,
                    partition,
                    next,
                    first,
                    "the partition is shorter than it was: it was made anew, or has lost messages; \
                     it is read from its beginning"
                ),
            }
        }
        (places, false)
    }
}

impl Source for KafkaSource {
    type Subscription = KafkaSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<KafkaSubscription, SourceError> {
        let config = self
            .settings
            .consumer(&resume.source)
            .map_err(topic::unusable)?;
        let client = Client::from_config_and_context(&config, Context::default());
        let client = client.map_err(|error| topic::unusable(refused(error)))?;
        let mut opening = Opening(Some(Arc::new(client)));
        let client = opening.0.as_ref().expect("it is there");
        let partitions = self.partitions(client).await?;
        let (asked, settings) = (Arc::clone(client), Arc::clone(&self.settings));
        let answer = topic::blocking(move || {
            let ranges = topic::ranges(&asked, &settings, &partitions)?;
            Ok((ranges, topic::incarnation(&asked, &settings)))
        });
        let (ranges, incarnation) = answer.await?.map_err(|error| self.failure(client, error))?;
        // That a server was away before this is past.
        hear(client);
        client.context().watcher.forget();
        let places = self.places(&resume, &incarnation, &ranges);
        KafkaSubscription::new(
            opening.0.take().expect("it is there"),
            Arc::clone(&self.settings),
            self.reading.clone(),
            resume.source,
            incarnation,
            places,
        )
    }
}
