//! Messages of a RabbitMQ queue.
//!
//! [`RabbitMqSource`] consumes one durable queue with manual acknowledgement. The queue has a
//! single active consumer, so that one reader at a time gets its messages, in order.
//!
//! ```no_run
//! use bento_brokers::rabbitmq::{RabbitMqBinding, RabbitMqSource, RabbitMqSourceSettings};
//!
//! # fn source() -> Result<RabbitMqSource, bento_brokers::ConnectError> {
//! let source = RabbitMqSource::new(RabbitMqSourceSettings {
//!     queue: Some("stock.orders".to_owned()),
//!     create: true,
//!     bind: vec![RabbitMqBinding::new("events", "order.#")],
//!     ..RabbitMqSourceSettings::default()
//! })?;
//! # Ok(source) }
//! ```
//!
//! # The queue
//!
//! With [`create`](RabbitMqSourceSettings::create) the source declares the queue: durable, with
//! `x-single-active-consumer`, and, if it is a quorum queue, with a delivery limit that is never
//! reached; and it makes the bindings. Without it the queue has to be there. It is then declared
//! once more with the same arguments, which changes nothing: RabbitMQ answers whether they are
//! equal, and names the first one that differs. A passive declaration says only whether there is a
//! queue of that name. The declaration needs the permission `configure` for the queue; who does not
//! want to give it vouches for the queue with
//! [`assume_single_active`](RabbitMqSourceSettings::assume_single_active).
//!
//! A queue cannot get a single active consumer later, by a policy or otherwise. Make another queue,
//! bind it in the same way, let the old one run empty behind the unbound exchange, and then use the
//! new one.
//!
//! # What RabbitMQ guarantees
//!
//! * **Order**: a queue delivers its messages in the order in which it took them. Do not give
//!   messages a priority: one with a higher priority overtakes.
//! * **Redelivery**: what is not acknowledged goes back to the queue when the connection ends. A
//!   classic queue puts each message to its place. A quorum queue delivers what came back before
//!   everything else, in order, but behind what came back earlier and is not delivered again yet.
//!   There is no such rest as long as [`prefetch`](RabbitMqSourceSettings::prefetch) is not made
//!   smaller: a new subscription takes all that came back at once. Make it smaller only while the
//!   queue is empty. The source warns when it sees that messages were overtaken.
//! * **Acknowledgement**: one command acknowledges everything up to the last message. RabbitMQ does
//!   not answer it; [`acknowledge`](bento_relay::source::Subscription::acknowledge) returns when it
//!   is written. If it is lost, the connection is too: the messages come again, and the inbox knows
//!   them by their ids. So it is not asked whether the command has arrived.
//! * **Delivery limit**: a quorum queue counts how often a message came back, and beyond the limit
//!   drops it, or dead-letters it if the queue has a dead-letter exchange. RabbitMQ 4 has a limit
//!   of 20 where the queue says none, so that a process which crashes 20 times could lose messages.
//!   A queue that the source makes has a limit that is never reached (`x-delivery-limit` of a
//!   billion). It is not `-1`, which is without limit in RabbitMQ 4, but drops every message that
//!   comes back in RabbitMQ 3. An existing queue keeps its arguments: make a new one, or, on
//!   RabbitMQ 4, set a policy with a large `delivery-limit` if the queue has no such argument.
//! * **Retention**: the queue keeps messages until they are acknowledged, if it has no
//!   `x-message-ttl`, `x-max-length` or `x-expires`, by argument or policy.
//! * **Time**: RabbitMQ tells no time of arrival. The property `timestamp` is the sender's, so
//!   `sent_at` of a message is `None`.
//! * **Ids**: an event is known by its own id, any other message by its property `message-id`. A
//!   message with neither becomes a dead letter, unless the mapping takes an id from its body.
//! * **Consumer timeout**: RabbitMQ closes the channel of a consumer that holds a message for
//!   longer than `consumer_timeout`, 30 minutes by default, as one does whose inbox is full for so
//!   long. The messages come again.
//!
//! # A message
//!
//! [`Arrived`](crate::message::Arrived) has the routing key as its subject, the headers, and the
//! properties that a message of Bento does not use as headers: `amqp-exchange`, `amqp-type`,
//! `amqp-correlation-id`, `amqp-reply-to`, `amqp-app-id`, `amqp-user-id`, `amqp-timestamp` (seconds
//! since 1970), `amqp-expiration`, `amqp-priority` and `amqp-content-encoding`. A number is shown
//! in decimal, a list or a table as JSON of 32 levels. A header cannot be there twice: AMQP has a
//! table.
//!
//! **Who may publish is trusted not to nest**: the client reads a list in a list, or a table in a
//! table, by recursion without a limit. A header of a thousand levels overflows the stack of the
//! process that reads it, and again of the next one. Remove such a message from the queue.
//!
//! # Memory
//!
//! RabbitMQ sends messages ahead, at most [`prefetch`](RabbitMqSourceSettings::prefetch) that are
//! not acknowledged. It does not implement the limit in bytes. `receive` returns what fits into its
//! bounds and keeps the rest, so the client holds up to `prefetch` messages: with large ones make
//! it small.
//!
//! # Failures
//!
//! | what happens | answer |
//! |---|---|
//! | no connection, it was lost, the channel was closed | unavailable |
//! | the queue was deleted, or its node stopped, while it was read | unavailable; then refused if it is not there |
//! | the queue is not there, is not durable, is exclusive, has other arguments, or no single active consumer | refused |
//! | the credentials, the virtual host, a missing permission (`ACCESS_REFUSED`) | refused |
//! | the exchange of a binding is not there | refused |
//! | a name of a header, or a property, that is not UTF-8: the client cannot read it | refused |

use std::fmt;

use bento_relay::source::{Resume, Source, SourceError};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};

mod arrived;
mod names;
mod queue;
mod settings;
mod subscription;

pub use self::settings::{
    RabbitMqArgument, RabbitMqBinding, RabbitMqQueueType, RabbitMqSourceSettings,
};
pub use self::subscription::RabbitMqSubscription;
use super::{failure, link};
use crate::ConnectError;
use crate::message::Reading;

/// A queue of RabbitMQ. See the [module](self).
pub struct RabbitMqSource {
    settings: RabbitMqSourceSettings,
    reading: Reading,
}

impl RabbitMqSource {
    /// Checks the settings. No server is asked before the first subscription.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: RabbitMqSourceSettings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self {
            settings,
            reading: Reading::default(),
        })
    }

    /// Sets how messages are read that carry no event of Bento's and no CloudEvent.
    #[must_use]
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }
}

impl Source for RabbitMqSource {
    type Subscription = RabbitMqSubscription;

    async fn subscribe(&self, resume: Resume) -> Result<RabbitMqSubscription, SourceError> {
        let settings = &self.settings;
        let name = settings.queue.as_deref().unwrap_or(&resume.source);
        let queue = names::queue(name).map_err(SourceError::refused)?;
        let address = settings.url.address();
        let connecting = link::connect(&settings.connection()).await;
        let connection = connecting.map_err(connect_error)?;
        let preparing = async {
            queue::prepare(&connection, &queue, settings).await?;
            let consuming = consume(&connection, &queue, settings.prefetch).await;
            consuming.map_err(|error| queue::refusal(&queue, error))
        };
        let limit = settings.connect_timeout;
        let prepared = tokio::time::timeout(limit, preparing).await;
        let (channel, consumer) = prepared.unwrap_or_else(|_| {
            Err(SourceError::unavailable(format!(
                "RabbitMQ at {address} did not answer within {limit:?}"
            )))
        })?;
        Ok(RabbitMqSubscription::new(
            connection,
            channel,
            consumer,
            queue,
            settings.prefetch,
            resume.source,
            self.reading.clone(),
        ))
    }
}

async fn consume(
    connection: &Connection,
    queue: &ShortString,
    prefetch: u16,
) -> lapin::Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    // For each consumer, not for the channel: a quorum queue knows no other.
    let qos = BasicQosOptions::default();
    channel.basic_qos(prefetch, qos).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(
            queue.clone(),
            "bento".into(),
            options,
            FieldTable::default(),
        )
        .await?;
    Ok((channel, consumer))
}

/// The error of a connection: refused if an operator has to repair the settings or the server,
/// unavailable if the server is away.
fn connect_error(error: ConnectError) -> SourceError {
    let text = bento_core::report::with_causes(&error);
    match error {
        ConnectError::Unreachable { .. } => SourceError::unavailable(text),
        _ => SourceError::refused(text),
    }
}

/// The end of a subscription.
fn ended(queue: &ShortString, error: lapin::Error) -> SourceError {
    match failure::mistake(&error) {
        _ if matches!(error.kind(), lapin::ErrorKind::ParsingError(_)) => {
            SourceError::refused(format!(
                "a message in the queue `{queue}` has a property, or the name of a header, that is \
                 not UTF-8, and the client cannot read it: take it out of the queue, and let its \
                 sender encode texts as UTF-8"
            ))
        }
        Some(_) => SourceError::unavailable(format!(
            "RabbitMQ ended the subscription to the queue `{queue}`"
        )),
        None => SourceError::unavailable("the connection to RabbitMQ was lost"),
    }
    .because(error)
}

impl fmt::Debug for RabbitMqSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqSource")
            .field("settings", &self.settings)
            .field("reading", &self.reading)
            .finish()
    }
}
