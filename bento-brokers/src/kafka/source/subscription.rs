//! An open subscription to a topic.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::{Cursor, Most, Received, SourceError, Subscription};
use futures_util::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::arrival::{self, Arrival};
use super::consumer::{Client, end};
use super::failure::{failure, passes};
use super::places::{Places, Ranges, Step};
use super::{KafkaSourceSettings, topic};
use crate::message::Reading;

/// The time for the client to end and to send what it has to commit.
const GOODBYE: Duration = Duration::from_secs(2);

/// An open subscription to a topic. See [`KafkaSource`](super::KafkaSource).
pub struct KafkaSubscription {
    /// `None` once it ends.
    client: Option<Arc<Client>>,
    settings: Arc<KafkaSourceSettings>,
    reading: Reading,
    source: Arc<str>,
    incarnation: String,
    places: Places,
    /// A message that was too large for the batch before, and an error that ended it.
    waiting: VecDeque<Result<Arrival, SourceError>>,
    /// True if the cursor is to be stored before any message comes.
    is_unstored: bool,
    looked: Instant,
}

impl KafkaSubscription {
    /// Begins to fetch from these places.
    pub(super) fn new(
        client: Arc<Client>,
        settings: Arc<KafkaSourceSettings>,
        reading: Reading,
        source: Arc<str>,
        incarnation: String,
        (places, is_unstored): (Places, bool),
    ) -> Result<Self, SourceError> {
        let subscription = Self {
            client: Some(client),
            settings,
            reading,
            source,
            incarnation,
            places,
            waiting: VecDeque::new(),
            is_unstored,
            looked: Instant::now(),
        };
        subscription.fetch()?;
        Ok(subscription)
    }

    fn client(&self) -> &Arc<Client> {
        self.client.as_ref().expect("it is open")
    }

    fn failure(&self, error: KafkaError) -> SourceError {
        failure(error, &self.settings, &self.client().context().watcher)
    }

    /// Fetches from the places; what was fetched from others is dropped.
    fn fetch(&self) -> Result<(), SourceError> {
        let list = self.places.to_fetch(&self.settings.topic);
        list.and_then(|list| self.client().assign(&list))
            .map_err(|error| self.failure(error))
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            incarnation: self.incarnation.clone(),
            place: self.places.stored(),
        }
    }

    /// The offsets of partitions.
    async fn ranges(&self, partitions: Vec<i32>) -> Result<Ranges, SourceError> {
        let (client, settings) = (Arc::clone(self.client()), Arc::clone(&self.settings));
        let asked = move || topic::ranges(&client, &settings, &partitions);
        topic::blocking(asked)
            .await?
            .map_err(|error| self.failure(error))
    }

    /// Takes partitions in that are new, from time to time.
    async fn look_for_partitions(&mut self) -> Result<(), SourceError> {
        if self.looked.elapsed() < self.settings.look_for_partitions {
            return Ok(());
        }
        self.looked = Instant::now();
        let (client, settings) = (Arc::clone(self.client()), Arc::clone(&self.settings));
        let known = self.places.partitions();
        let asked = move || {
            let mut partitions = topic::partitions(&client, &settings)?;
            partitions.retain(|partition| !known.contains(partition));
            topic::ranges(&client, &settings, &partitions)
        };
        match topic::blocking(asked).await? {
            Ok(ranges) => {
                let new = self.places.grow(&ranges);
                if !new.is_empty() {
                    let topic = &*self.settings.topic;
                    tracing::info!(topic, partitions = ?new, "the topic has new partitions");
                    self.fetch()?;
                }
                Ok(())
            }
            Err(error) => match self.failure(error) {
                error if error.is_refused() => Err(error),
                error => {
                    let error = error.chain();
                    tracing::debug!(error, "whether there are new partitions is not known");
                    Ok(())
                }
            },
        }
    }

    /// The next message, unless there is none until the time; without a time, now.
    async fn next(&mut self, until: Option<Instant>) -> Option<Result<Arrival, SourceError>> {
        loop {
            if let Some(waiting) = self.waiting.pop_front() {
                return Some(waiting);
            }
            let client = Arc::clone(self.client());
            let fetched = match until {
                Some(until) => timeout_at(until, client.recv()).await.ok(),
                None => client.recv().now_or_never(),
            };
            match fetched? {
                Ok(message) => match self.taken(&message).await {
                    Ok(None) => {}
                    Ok(Some(arrival)) => return Some(Ok(arrival)),
                    Err(error) => return Some(Err(error)),
                },
                Err(error) if passes(&error) => {}
                Err(error) => return Some(Err(self.failure(error))),
            }
        }
    }

    /// A message that was fetched, if it comes next.
    async fn taken(
        &mut self,
        message: &BorrowedMessage<'_>,
    ) -> Result<Option<Arrival>, SourceError> {
        self.client().context().watcher.forget();
        let (partition, offset) = (message.partition(), message.offset());
        match self.places.step(partition, offset, arrival::time(message)) {
            Step::Next => {
                let (source, incarnation) = (&*self.source, &*self.incarnation);
                let arrival = Arrival::new(message, source, incarnation, &self.reading);
                Ok(Some(arrival))
            }
            Step::Known => Ok(None),
            Step::MadeAnew => {
                let topic = &*self.settings.topic;
                tracing::warn!(
                    topic,
                    partition,
                    offset,
                    "another message stands where the last one stood: the topic was made anew, \
                     and the partition is read from its beginning"
                );
                let ranges = self.ranges(vec![partition]).await?;
                let (first, _) = ranges[&partition];
                self.places.begin(partition, first);
                self.fetch()?;
                Ok(None)
            }
        }
    }
}

impl Subscription for KafkaSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        self.look_for_partitions().await?;
        let until = Instant::now() + most.wait;
        let mut received = Received::default();
        if std::mem::take(&mut self.is_unstored) {
            received.cursor = Some(self.cursor());
            return Ok(received);
        }
        let mut bytes = 0;
        while received.messages.len() < most.messages {
            let wait = received.messages.is_empty().then_some(until);
            match self.next(wait).await {
                None => break,
                Some(Ok(arrival)) if wait.is_some() || bytes + arrival.size <= most.bytes => {
                    let Arrival {
                        partition,
                        offset,
                        time,
                        size,
                        message,
                    } = arrival;
                    self.places.advance(partition, offset, time);
                    bytes += size;
                    received.messages.push(message);
                }
                Some(Err(error)) if wait.is_some() => return Err(error),
                // For the next call.
                Some(waiting) => {
                    self.waiting.push_back(waiting);
                    break;
                }
            }
        }
        if !received.messages.is_empty() {
            received.cursor = Some(self.cursor());
        }
        Ok(received)
    }

    /// Commits the places to the consumer group, without waiting for the answer: the cursor in the
    /// database decides where a subscription goes on.
    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        let list = self.places.to_commit(&self.settings.topic);
        let committed = list.and_then(|list| self.client().commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!(%error, "places are not committed");
        }
        Ok(())
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        let ranges = self.ranges(self.places.partitions()).await?;
        Ok(Some(self.places.behind(&ranges)))
    }

    async fn close(mut self) {
        if let Some(client) = self.client.take() {
            // It ends by itself, sooner or later.
            let _ = timeout(GOODBYE, end(client)).await;
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        drop(self.client.take().map(end));
    }
}

impl fmt::Debug for KafkaSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSubscription")
            .field("topic", &self.settings.topic)
            .field("incarnation", &self.incarnation)
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}
