//! Kafka, and brokers that speak its protocol.
//!
//! A batch is handed to an idempotent producer at once (`acks=all`), and each event waits for its
//! own confirmation. The topic is the delivery's, the key its partition key: the aggregate, unless
//! the destination names another. An event without one goes to any partition.
//!
//! ```no_run
//! use bento_brokers::kafka::{KafkaPublisher, KafkaSettings};
//!
//! # fn publisher() -> Result<KafkaPublisher, bento_brokers::ConnectError> {
//! let servers = vec!["kafka.local:9092".to_owned()];
//! let publisher = KafkaPublisher::new(KafkaSettings { servers, ..KafkaSettings::default() })?;
//! # Ok(publisher) }
//! ```
//!
//! [`KafkaSource`] receives from a topic.
//!
//! The client is librdkafka, which is compiled in; TLS and SCRAM need OpenSSL's library and
//! headers.
//!
//! # What Kafka guarantees
//!
//! * **Order**: a partition keeps the order in which it took the messages, and messages of one key
//!   go to one partition while the number of partitions stays. The relay hands over the next event
//!   of an aggregate when the one before it is confirmed.
//! * **Deduplication**: the producer numbers its messages, so a repetition of its own after a lost
//!   answer is stored once. It forgets this when its process ends or a message was given up: a
//!   relay that takes over, or tries again, writes a duplicate.
//! * **Durability**: `acks=all` waits for all replicas that are in step. How many these are, the
//!   topic's `min.insync.replicas` says: with 1 it may be the leader alone. Kafka does not wait for
//!   the disk.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun. Fencing would
//!   need a transactional id for each shard, which the seam of a publisher does not know.
//!
//! The publisher does not [chain](bento_relay::publish::Publisher::chains): when a message is given
//! up, the idempotent producer goes on with the later ones of its partition.
//! (`enable.gapless.guarantee` would stop them all, of other aggregates too.) An aggregate
//! therefore has one event on its way at a time; throughput comes from many aggregates.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no confirmation in time, no leader, too few replicas in step | unavailable |
//! | the credentials are refused, no right to write to the topic | unavailable |
//! | the topic is unknown for longer than `unknown_topic_patience`, and the cluster makes none by itself | unavailable |
//! | larger than `max_message_bytes` or than the topic allows, an invalid record | permanent |
//! | Kafka does not allow the name of the topic | permanent |
//! | the producer's queue is full, a quota is exceeded | throttled, 1 s |
//!
//! A producer whose numbering the cluster no longer accepts, which happens after messages were
//! given up, is replaced by the next call. So is one that may not write idempotently
//! (`CLUSTER_AUTHORIZATION_FAILED`), until it may.
//!
//! If a right to a topic is given back, events go there again within five seconds, the interval in
//! which the client asks for the topics it was refused, unless the property
//! `topic.metadata.refresh.interval.ms` sets another. A password that is refused while connected
//! shows only as events that are not confirmed, and in the log of this crate.
//!
//! # Latency
//!
//! A message waits [`linger`](KafkaSettings::linger), 1 ms, for others to share its request.
//! Nagle's algorithm is off.
//!
//! # What it is tested on
//!
//! The conformance suite runs on [tansu](https://crates.io/crates/tansu), a broker that speaks
//! Kafka's protocol, on the one that `BENTO_TEST_KAFKA_URL` names, or on librdkafka's mock cluster.
//! The classes of the cluster's refusals are tested on the mock cluster, which answers as it is
//! told: missing rights, quotas, records that are not taken, leaders that move.
//!
//! tansu itself leaves TLS aside and takes any password with PLAIN. The tests of TLS, of client
//! certificates and of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 put a gate in front of it that asks
//! for them as Kafka's protocol says; no broker of Apache Kafka was asked. Where a test stops the
//! broker, tansu is killed once it has written what it was asked to, and starts again on what it
//! kept. What Apache Kafka keeps when its machine loses power depends on the replicas and is not
//! tested.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bento_relay::publish::{Delivery, PublishError, Publisher};
use futures_util::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureRecord, Producer as _};

mod client;
mod failure;
mod settings;
mod source;

use self::client::{Client, Watcher};
pub use self::settings::{KafkaSasl, KafkaSettings, SaslMechanism};
pub use self::source::{KafkaSource, KafkaSourceSettings, KafkaStart, KafkaSubscription};
use crate::ConnectError;
use crate::connect::unavailable;
use crate::message::{Binding, Message};
use crate::patience::patience;

/// The client answers by itself within the delivery timeout; should it not, it is not waited for
/// much longer.
const GRACE: Duration = Duration::from_secs(2);

/// Publishes to Kafka. See the [module](self).
pub struct KafkaPublisher {
    settings: KafkaSettings,
    producer: RwLock<Arc<Producer>>,
}

/// An idempotent producer, until the cluster no longer accepts its numbering.
struct Producer {
    client: Client,
    watcher: Watcher,
    is_worn: AtomicBool,
}

impl Producer {
    fn new((client, watcher): (Client, Watcher)) -> Arc<Self> {
        Arc::new(Self {
            client,
            watcher,
            is_worn: AtomicBool::new(false),
        })
    }

    fn is_worn(&self) -> bool {
        self.is_worn.load(Ordering::Relaxed) || self.client.client().fatal_error().is_some()
    }

    /// The answer to a message that was not confirmed. What ended the producer, or why no broker is
    /// connected, goes before what that did to its messages.
    fn failure(&self, error: KafkaError, topic: &str) -> PublishError {
        use RDKafkaErrorCode::{Fatal, MessageTimedOut, PurgeInflight, PurgeQueue};
        match (
            error.rdkafka_error_code(),
            self.client.client().fatal_error(),
        ) {
            (Some(Fatal | PurgeInflight | PurgeQueue), Some((code, _))) => {
                failure::failure(KafkaError::MessageProduction(code), topic)
            }
            (Some(MessageTimedOut), None) => match self.watcher.refusal() {
                Some(refusal) => failure::failure(error, topic).because(refusal),
                None => failure::failure(error, topic),
            },
            _ => failure::failure(error, topic),
        }
    }
}

type Answer = Result<(), PublishError>;

impl KafkaPublisher {
    /// Checks the settings, and makes the producer, which connects in the background, again and
    /// again until it succeeds. The caller does not wait.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: KafkaSettings) -> Result<Self, ConnectError> {
        let producer = Producer::new(client::create(&settings)?);
        Ok(Self {
            settings,
            producer: RwLock::new(producer),
        })
    }

    /// Asks for the cluster's metadata now, for a program that is to end at once if that fails.
    ///
    /// # Errors
    /// No server answers, or the credentials are refused. A later call may succeed.
    ///
    /// # Cancel safety
    /// The answer is not waited for any longer.
    pub async fn check(&self) -> Result<(), ConnectError> {
        let producer = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        client::ask(&producer.client, &producer.watcher, &self.settings).await
    }

    /// The producer, a new one if the last is worn. What is on its way with that one stays so.
    fn producer(&self) -> Result<Arc<Producer>, PublishError> {
        let current = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        if !current.is_worn() {
            return Ok(current);
        }
        let mut slot = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if slot.is_worn() {
            tracing::warn!(
                "Kafka does not accept the numbering of the idempotent producer: it is replaced"
            );
            let created = client::create(&self.settings);
            let created = created
                .map_err(|error| PublishError::unavailable("Kafka has no producer").because(error));
            *slot = Producer::new(created?);
        }
        Ok(Arc::clone(&slot))
    }

    async fn send(&self, producer: &Producer, delivery: &Delivery) -> Answer {
        let topic = delivery.topic();
        failure::check_topic(&topic)?;
        let Message {
            headers,
            content_type,
            body,
        } = self.settings.message.message(delivery, &Binding::KAFKA)?;
        let mut list = OwnedHeaders::new_with_capacity(headers.len() + 1);
        for (name, value) in &headers {
            list = list.insert(Header {
                key: name,
                value: Some(&**value),
            });
        }
        if let Some(content_type) = content_type {
            list = list.insert(Header {
                key: "content-type",
                value: Some(content_type),
            });
        }
        let mut record = FutureRecord::to(&topic).payload(&*body).headers(list);
        let key = delivery.partition_key();
        if !key.is_empty() {
            record = record.key(key);
        }
        let sent = producer
            .client
            .send_result(record)
            .map_err(|(error, _)| producer.failure(error, &topic))?;
        let limit = patience(
            std::slice::from_ref(delivery),
            self.settings.delivery_timeout + GRACE,
        );
        match tokio::time::timeout(limit, sent).await {
            Ok(Ok(Ok(_))) => {
                producer.watcher.forget();
                Ok(())
            }
            Ok(Ok(Err((error, _)))) => {
                if failure::wears(&error) {
                    producer.is_worn.store(true, Ordering::Relaxed);
                }
                Err(producer.failure(error, &topic))
            }
            // The producer was replaced while this was on its way.
            Ok(Err(gone)) => {
                Err(PublishError::unavailable("Kafka's producer has ended").because(gone))
            }
            Err(elapsed) => {
                Err(PublishError::unavailable("Kafka's client did not answer").because(elapsed))
            }
        }
    }
}

impl Publisher for KafkaPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        match self.producer() {
            // Each is handed over when it is first polled, before any answer is waited for.
            Ok(producer) => {
                join_all(batch.iter().map(|delivery| self.send(&producer, delivery))).await
            }
            Err(error) => unavailable(batch, &error),
        }
    }
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaPublisher")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
