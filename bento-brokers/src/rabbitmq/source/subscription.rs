//! An open subscription.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::source::{Most, Received, SourceError, Subscription};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};

use super::{arrived, ended, queue};
use crate::message::Reading;

/// The wait for the answer to a close. Without it the server ends the connection by its heartbeats.
const CLOSING: Duration = Duration::from_secs(5);

/// An open subscription to a queue. See the [module](super).
///
/// Dropping it closes the connection in the background.
pub struct RabbitMqSubscription {
    connection: Connection,
    channel: Channel,
    /// The channel for questions, whose refusal closes it.
    questions: Option<Channel>,
    consumer: Consumer,
    queue: ShortString,
    prefetch: u16,
    source: Arc<str>,
    reading: Reading,
    /// Sent ahead by the server and not yet returned.
    waiting: VecDeque<Delivery>,
    /// The last message that was returned and is not acknowledged.
    returned: Option<u64>,
    order: Order,
}

impl RabbitMqSubscription {
    pub(super) fn new(
        connection: Connection,
        channel: Channel,
        consumer: Consumer,
        queue: ShortString,
        prefetch: u16,
        source: Arc<str>,
        reading: Reading,
    ) -> Self {
        Self {
            connection,
            channel,
            questions: None,
            consumer,
            queue,
            prefetch,
            source,
            reading,
            waiting: VecDeque::new(),
            returned: None,
            order: Order::default(),
        }
    }

    fn take_in(&mut self, next: Option<lapin::Result<Delivery>>) -> Result<(), SourceError> {
        match next {
            Some(Ok(delivery)) => {
                if self.order.is_overtaken_by(&delivery) {
                    tracing::warn!(
                        source = &*self.source,
                        queue = self.queue.as_str(),
                        "messages of the queue came back behind later ones: `prefetch` was made \
                         smaller, or another consumer has rejected them"
                    );
                }
                self.waiting.push_back(delivery);
                Ok(())
            }
            Some(Err(error)) => Err(ended(&self.queue, error)),
            None => Err(SourceError::unavailable(format!(
                "RabbitMQ cancelled the consumer of the queue `{}`: it was deleted, or its node \
                 has stopped",
                self.queue
            ))),
        }
    }

    /// Takes in what has arrived already.
    fn take_in_all(&mut self) -> Result<(), SourceError> {
        while let Some(next) = self.consumer.next().now_or_never() {
            self.take_in(next)?;
        }
        Ok(())
    }

    /// The messages that the server has not sent. Those that it has are there when this returns.
    async fn ready(&mut self) -> lapin::Result<u32> {
        let channel = match self.questions.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.connection.create_channel().await?,
        };
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel
            .queue_declare(self.queue.clone(), options, FieldTable::default())
            .await?;
        self.questions = Some(channel);
        // The limit stays as it is. The answer comes behind the messages of the channel.
        let qos = BasicQosOptions::default();
        self.channel.basic_qos(self.prefetch, qos).await?;
        Ok(declared.message_count())
    }
}

impl Subscription for RabbitMqSubscription {
    async fn receive(&mut self, most: Most) -> Result<Received, SourceError> {
        self.take_in_all()?;
        if self.waiting.is_empty() {
            match tokio::time::timeout(most.wait, self.consumer.next()).await {
                Ok(next) => self.take_in(next)?,
                Err(_) => return Ok(Received::default()),
            }
            self.take_in_all()?;
        }
        let mut received = Received::default();
        let mut bytes = 0_usize;
        while let Some(delivery) = self.waiting.front() {
            bytes = bytes.saturating_add(delivery.data.len());
            let is_first = received.messages.is_empty();
            let fits = received.messages.len() < most.messages && bytes <= most.bytes;
            if !fits && !is_first {
                break;
            }
            let delivery = self.waiting.pop_front().expect("it is the first one");
            self.returned = Some(delivery.delivery_tag);
            let message = arrived::message(&self.reading, &self.source, &self.queue, delivery);
            received.messages.push(message);
        }
        Ok(received)
    }

    async fn acknowledge(&mut self) -> Result<(), SourceError> {
        let Some(tag) = self.returned else {
            return Ok(());
        };
        let written = self
            .channel
            .basic_ack(tag, BasicAckOptions { multiple: true });
        written.await.map_err(|error| ended(&self.queue, error))?;
        self.returned = None;
        Ok(())
    }

    async fn lag(&mut self) -> Result<Option<u64>, SourceError> {
        let ready = self.ready().await;
        let ready = ready.map_err(|error| queue::refusal(&self.queue, error))?;
        self.take_in_all()?;
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        Ok(Some(waiting.saturating_add(ready.into())))
    }

    async fn close(self) {
        // The server answers when the messages are back in the queue.
        let closing = self.connection.close(200, "the consumer has ended".into());
        if let Ok(Err(error)) = tokio::time::timeout(CLOSING, closing).await {
            tracing::debug!(error = %error, "the connection to RabbitMQ had ended before");
        }
    }
}

impl Drop for RabbitMqSubscription {
    fn drop(&mut self) {
        // The client would cancel the consumer first, and only then close its channel: another
        // consumer would begin before the messages are back. The first poll hands the close over.
        let _ = self.connection.close(200, "dropped".into()).now_or_never();
    }
}

impl fmt::Debug for RabbitMqSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqSubscription")
            .field("queue", &self.queue.as_str())
            .finish_non_exhaustive()
    }
}

/// Knows messages that were overtaken: in a quorum queue an earlier message was delivered at least
/// as often as a later one.
#[derive(Debug, Default)]
struct Order {
    last: Option<i64>,
    is_told: bool,
}

impl Order {
    /// True for the first delivery that should have come before the one in front of it.
    fn is_overtaken_by(&mut self, delivery: &Delivery) -> bool {
        let count = returns(delivery.properties.headers().as_ref());
        let overtaken = self.last.replace(count).is_some_and(|last| last < count);
        overtaken && !std::mem::replace(&mut self.is_told, true)
    }
}

/// The number of times that a quorum queue got the message back.
fn returns(headers: Option<&FieldTable>) -> i64 {
    let header = |name: &str| headers.and_then(|table| table.inner().get(name));
    let count = header("x-acquired-count").or_else(|| header("x-delivery-count"));
    match count {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => (*count).into(),
        Some(AMQPValue::LongUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortInt(count)) => (*count).into(),
        Some(AMQPValue::ShortUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortUInt(count)) => (*count).into(),
        _ => 0,
    }
}
