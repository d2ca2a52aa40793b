//! A source in memory.

use std::fmt;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Cursor, Message, Most, Received, Resume, Source, SourceError, Subscription};
use crate::publish::{Delivery, PublishError, Publisher};

/// A broker in memory that keeps a stream of messages: for tests and examples. Clones are the same
/// broker.
///
/// It is a publisher as well: the relay of one service publishes to it, and the consumer of another
/// one reads it.
///
/// ```
/// use bento_core::Envelope;
/// use bento_relay::source::MemorySource;
///
/// let source = MemorySource::default();
/// source.send(Envelope::new("order.confirmed", 1, chrono::Utc::now(), "{}"));
/// assert_eq!((source.sent(), source.acknowledged()), (1, 0));
/// ```
#[derive(Clone)]
pub struct MemorySource {
    broker: Arc<watch::Sender<Broker>>,
}

struct Broker {
    incarnation: String,
    stream: Vec<Message>,
    acknowledged: usize,
    /// Counts the restarts: a subscription of an earlier life has ended.
    life: u64,
    away: Option<Away>,
}

#[derive(Clone, Copy)]
enum Away {
    Unreachable,
    Refusing,
}

impl Broker {
    fn new() -> Self {
        Self {
            incarnation: Uuid::now_v7().to_string(),
            stream: Vec::new(),
            acknowledged: 0,
            life: 0,
            away: None,
        }
    }
}

/// A subscription to a [`MemorySource`].
#[derive(Debug)]
pub struct MemorySubscription {
    broker: MemorySource,
    changes: watch::Receiver<Broker>,
    life: u64,
    next: usize,
}

impl Default for MemorySource {
    fn default() -> Self {
        Self {
            broker: Arc::new(watch::Sender::new(Broker::new())),
        }
    }
}

impl MemorySource {
    /// Sends a message with this event.
    pub fn send(&self, envelope: Envelope) {
        self.send_message(Message::event(envelope));
    }

    /// Sends a message of any kind.
    pub fn send_message(&self, message: Message) {
        self.broker
            .send_modify(|broker| broker.stream.push(message));
    }

    /// The number of messages in the stream.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.broker.borrow().stream.len()
    }

    /// The number of messages that are acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.broker.borrow().acknowledged
    }

    /// Ends every subscription, as the restart of a broker does. The stream stays.
    pub fn restart(&self) {
        self.broker.send_modify(|broker| broker.life += 1);
    }

    /// Ends every subscription, and lets each new one fail until [`recover`](Self::recover): as
    /// unavailable, or as refused.
    pub fn fail(&self, refused: bool) {
        let away = if refused {
            Away::Refusing
        } else {
            Away::Unreachable
        };
        self.broker.send_modify(|broker| {
            broker.life += 1;
            broker.away = Some(away);
        });
    }

    /// Ends a failure.
    pub fn recover(&self) {
        self.broker.send_modify(|broker| broker.away = None);
    }

    /// Makes the stream anew: empty, with another incarnation. Every subscription ends.
    pub fn make_anew(&self) {
        self.broker.send_modify(|broker| {
            *broker = Broker {
                life: broker.life + 1,
                ..Broker::new()
            };
        });
    }

    /// Waits until this many messages are acknowledged.
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn wait_for_acknowledged(&self, count: usize) {
        let mut changes = self.broker.subscribe();
        // The sender is in `self`.
        let _ = changes
            .wait_for(|broker| broker.acknowledged >= count)
            .await;
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("sent", &self.sent())
            .field("acknowledged", &self.acknowledged())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Source for MemorySource {
    type Subscription = MemorySubscription;

    async fn subscribe(&self, resume: Resume) -> Result<MemorySubscription, SourceError> {
        let broker = self.broker.borrow();
        match broker.away {
            Some(Away::Unreachable) => {
                return Err(SourceError::unavailable("the broker is away"));
            }
            Some(Away::Refusing) => {
                return Err(SourceError::refused("the stream does not exist; make it"));
            }
            None => {}
        }
        let own = resume
            .cursor
            .filter(|cursor| cursor.incarnation == broker.incarnation);
        let next = own.and_then(|cursor| cursor.place.parse().ok());
        Ok(MemorySubscription {
            broker: self.clone(),
            changes: self.broker.subscribe(),
            life: broker.life,
            next: next.unwrap_or(0).min(broker.stream.len()),
        })
    }
}

impl Subscription for MemorySubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        let (life, next) = (self.life, self.next);
        let is_there = |broker: &Broker| broker.life != life || broker.stream.len() > next;
        // Without a message in time the answer is empty.
        let _ = timeout(most.wait, self.changes.wait_for(is_there)).await;
        let broker = self.changes.borrow();
        if broker.life != life {
            return Err(SourceError::unavailable("the broker has restarted"));
        }
        let waiting = &broker.stream[next..];
        let messages: Vec<_> = within(most, waiting).cloned().collect();
        self.next += messages.len();
        let cursor = (!messages.is_empty()).then(|| Cursor {
            incarnation: broker.incarnation.clone(),
            place: self.next.to_string(),
        });
        Ok(Received { messages, cursor })
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        let (life, next) = (self.life, self.next);
        let mut is_of_life = false;
        self.broker.broker.send_if_modified(|broker| {
            is_of_life = broker.life == life;
            let advances = is_of_life && broker.acknowledged < next;
            if advances {
                broker.acknowledged = next;
            }
            advances
        });
        match is_of_life {
            true => Ok(()),
            false => Err(SourceError::unavailable("the broker has restarted")),
        }
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        let waiting = self.changes.borrow().stream.len().saturating_sub(self.next);
        Ok(u64::try_from(waiting).ok())
    }

    async fn close(self) {}
}

impl Publisher for MemorySource {
    /// Sends each event, from the source that its metadata name. A broker that
    /// [fails](Self::fail) takes none.
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        if self.broker.borrow().away.is_some() {
            let away = |_| Err(PublishError::unavailable("the broker is away"));
            return batch.iter().map(away).collect();
        }
        for Delivery { envelope, .. } in batch {
            let source = envelope.headers().ok().and_then(|headers| headers.source);
            let message = Message::event((**envelope).clone());
            self.send_message(message.from_origin(source.unwrap_or_default()));
        }
        batch.iter().map(|_| Ok(())).collect()
    }
}

/// The first messages, as many as the bounds allow, and at least one.
fn within(most: Most, waiting: &[Message]) -> impl Iterator<Item = &Message> {
    let mut bytes = 0_usize;
    let messages = waiting.iter().take(most.messages).enumerate();
    let fitting = messages.take_while(move |(at, message)| {
        bytes = bytes.saturating_add(size(message));
        *at == 0 || bytes <= most.bytes
    });
    fitting.map(|(_, message)| message)
}

fn size(message: &Message) -> usize {
    match message {
        Message::Event { envelope, .. } => envelope.payload.len(),
        Message::Unreadable(unreadable) => unreadable.raw.body.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::publish::Destination;

    fn most(messages: usize) -> Most {
        Most {
            messages,
            bytes: usize::MAX,
            wait: Duration::from_millis(1),
        }
    }

    fn event() -> Envelope {
        Envelope::new("order.paid", 1, chrono::Utc::now(), "{}")
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_acknowledged_comes_again_behind_the_cursor() {
        let source = MemorySource::default();
        for _ in 0..3 {
            source.send(event());
        }
        let mut first = source.subscribe(Resume::new("orders")).await.unwrap();
        let received = first.receive(most(2)).await.unwrap();
        assert_eq!(received.messages.len(), 2);
        first.acknowledge().await.unwrap();
        source.restart();
        assert!(first.receive(most(1)).await.is_err());
        assert!(first.acknowledge().await.is_err());
        let resume = Resume::new("orders").behind(received.cursor.clone());
        let mut second = source.subscribe(resume.clone()).await.unwrap();
        assert_eq!(second.receive(most(9)).await.unwrap().messages.len(), 1);
        assert!(second.receive(most(9)).await.unwrap().messages.is_empty());
        source.make_anew();
        source.send(event());
        let mut anew = source.subscribe(resume).await.unwrap();
        assert_eq!(anew.receive(most(9)).await.unwrap().messages.len(), 1);
    }

    #[tokio::test]
    async fn what_is_published_is_sent_with_its_origin() {
        let source = MemorySource::default();
        let mut paid = event();
        paid.headers = r#"{"source":"/shop"}"#.into();
        let delivery = Delivery::new(Arc::new(paid), Destination::default());
        let batch = [delivery];
        source.fail(false);
        assert!(source.publish(&batch).await[0].is_err());
        source.recover();
        assert!(source.publish(&batch).await[0].is_ok());
        let mut reader = source.subscribe(Resume::new("orders")).await.unwrap();
        let received = reader.receive(most(9)).await.unwrap();
        let [Message::Event { origin, .. }] = &received.messages[..] else {
            panic!("{received:?}");
        };
        assert_eq!(origin.as_deref(), Some("/shop"));
    }
}
