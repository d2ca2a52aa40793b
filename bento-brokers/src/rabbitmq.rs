//! RabbitMQ.
//!
//! A batch is sent at once on a channel with publisher confirms, and each event waits for its own
//! confirm. Messages are persistent and mandatory: one that no queue takes is an error. What topic
//! and routing key mean, [`Addressing`] says; exchanges, queues and bindings are made by those who
//! own them, not by the publisher.
//!
//! ```no_run
//! use bento_brokers::rabbitmq::{Addressing, RabbitMqPublisher, RabbitMqSettings};
//!
//! # fn publisher() -> Result<RabbitMqPublisher, bento_brokers::ConnectError> {
//! let addressing = Addressing::Exchange("events".to_owned());
//! let publisher = RabbitMqPublisher::new(RabbitMqSettings {
//!     addressing,
//!     ..RabbitMqSettings::default()
//! })?;
//! # Ok(publisher) }
//! ```
//!
//! # What RabbitMQ guarantees
//!
//! * **Order**: a queue keeps the order in which messages came from one channel. The relay hands
//!   over the next event of an aggregate when the one before it is confirmed, so an aggregate is in
//!   order in each queue. Several consumers of one queue, or one that rejects a message, see
//!   another order: use a single active consumer, or a consistent-hash exchange on the header with
//!   the partition key. The publisher does not [chain](bento_relay::publish::Publisher::chains): a
//!   queue takes what was sent behind a message that was returned or refused.
//! * **Deduplication**: none for queues. The message id is the event id, by which a consumer knows
//!   a duplicate again.
//! * **Durability**: a confirm of a persistent message says that each durable queue that it went to
//!   has it on disk, or that most replicas of a quorum queue have it. A queue that is not durable
//!   is gone when the broker restarts, confirmed or not.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun. Nothing fences
//!   it.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no confirm in time, a confirm that says no (a full queue that rejects, for instance) | unavailable |
//! | the credentials are refused, the user may not write to the exchange (`ACCESS_REFUSED`) | unavailable |
//! | no queue takes the message (`NO_ROUTE`), the exchange is not there | unavailable |
//! | larger than `max_message_bytes` or than the broker allows, headers that do not fit into a frame | permanent |
//! | an alarm of memory or disk (`connection.blocked`) | throttled, 1 s |
//!
//! The broker answers some mistakes by closing the channel, with everything that is under way on
//! it. Whether an exchange is there is therefore asked before it is first used; after any other
//! such mistake what has no confirm yet is sent again, one by one, so that only the mistaken
//! message fails. A neighbour can arrive twice then, and so can a message that had no confirm in
//! time, or that waited in a blocked connection.
//!
//! The first event connects, and the next one after the connection was lost. While no server
//! answers, attempts have a pause between them that grows from 0.1 s to 5 s. A message that comes
//! back is also written to the log by the client (target `lapin`, level `WARN`) with its headers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bento_relay::publish::{Delivery, PublishError, Publisher};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};

mod failure;
mod link;
mod outgoing;
mod settings;
pub mod source;

use self::link::Link;
use self::outgoing::Outgoing;
pub use self::settings::{Addressing, RabbitMqCredentials, RabbitMqSettings};
pub use self::source::{
    RabbitMqArgument, RabbitMqBinding, RabbitMqQueueType, RabbitMqSource, RabbitMqSourceSettings,
    RabbitMqSubscription,
};
use crate::ConnectError;
use crate::connect::{Lazy, unavailable};
use crate::patience::patience;

/// The pause before the next attempt while the broker accepts nothing.
const BLOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Publishes to RabbitMQ. See the [module](self).
pub struct RabbitMqPublisher {
    connection: Lazy<Link>,
}

type Answer = Result<(), PublishError>;

impl RabbitMqPublisher {
    /// Checks the settings. No server is asked before the first event, which connects; so does each
    /// one after it until that succeeds.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: RabbitMqSettings) -> Result<Self, ConnectError> {
        link::check(&settings)?;
        Ok(Self {
            connection: Lazy::new(settings),
        })
    }

    /// Connects now, for a program that is to end at once if that fails.
    ///
    /// # Errors
    /// The server does not answer, or it refuses the credentials or the virtual host. A later call
    /// may succeed.
    ///
    /// # Cancel safety
    /// The attempt is given up, and what was connected is closed in the background.
    pub async fn check(&self) -> Result<(), ConnectError> {
        self.connection.check().await.map(drop)
    }
}

impl Publisher for RabbitMqPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        if batch.is_empty() {
            return Vec::new();
        }
        let settings = self.connection.settings();
        let link = match self.connection.link().await {
            Ok(link) => link,
            Err(error) => return unavailable(batch, &error),
        };
        let mut call = Call::new(&link, batch, settings);
        let mut blocked = link.blocked();
        let reason = async {
            let reason = blocked.wait_for(Option::is_some).await.ok()?;
            reason.clone()
        };
        tokio::select! {
            // First, so that nothing is handed to a connection that would send it long after the
            // answer.
            biased;
            reason = reason => {
                if let Some(reason) = reason {
                    let refusal = format!("RabbitMQ accepts no messages at the moment: {reason}");
                    call.answer_the_rest(|| {
                        PublishError::throttled(refusal.clone(), BLOCKED_PAUSE)
                    });
                }
            }
            () = call.run() => {}
            () = tokio::time::sleep(patience(batch, settings.confirm_timeout)) => {}
        }
        call.into_answers(settings)
    }
}

impl fmt::Debug for RabbitMqPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqPublisher")
            .field("settings", self.connection.settings())
            .finish_non_exhaustive()
    }
}

/// One batch on its way. It can be left at any moment: what has no answer then is unclear.
struct Call<'a> {
    link: &'a Arc<Link>,
    outgoing: Vec<Option<Outgoing>>,
    answers: Vec<Option<Answer>>,
}

impl<'a> Call<'a> {
    fn new(link: &'a Arc<Link>, batch: &[Delivery], settings: &RabbitMqSettings) -> Self {
        let mut call = Self {
            link,
            outgoing: Vec::with_capacity(batch.len()),
            answers: Vec::with_capacity(batch.len()),
        };
        for delivery in batch {
            let (outgoing, answer) = match Outgoing::new(delivery, settings, link.frame_max()) {
                Ok(outgoing) => (Some(outgoing), None),
                Err(error) => (None, Some(Err(error))),
            };
            call.outgoing.push(outgoing);
            call.answers.push(answer);
        }
        call
    }

    async fn run(&mut self) {
        if let Err(error) = self.refuse_missing_exchanges().await {
            let why = failure::publishing(error).chain();
            return self.answer_the_rest(|| PublishError::unavailable(why.clone()));
        }
        if !self.send_all().await {
            self.link.forget_exchanges();
            self.send_one_by_one().await;
        }
    }

    async fn refuse_missing_exchanges(&mut self) -> lapin::Result<()> {
        let exchanges: HashSet<&ShortString> = self
            .outgoing
            .iter()
            .flatten()
            .map(|outgoing| &outgoing.exchange)
            .collect();
        for exchange in exchanges {
            if self.link.has_exchange(exchange).await? {
                continue;
            }
            for (outgoing, answer) in self.outgoing.iter().zip(&mut self.answers) {
                if outgoing
                    .as_ref()
                    .is_some_and(|outgoing| outgoing.exchange == *exchange)
                {
                    let message = format!("RabbitMQ has no exchange `{exchange}`: declare it");
                    *answer = Some(Err(PublishError::unavailable(message)));
                }
            }
        }
        Ok(())
    }

    /// Sends what waits and takes the confirms. Says no if the server closed the channel because of
    /// one of the messages: then some have no answer, and it is not known which was to blame.
    async fn send_all(&mut self) -> bool {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return true;
        }
        let channel = match self.link.channel().await {
            Ok(channel) => channel,
            Err(error) => {
                let why = failure::publishing(error).chain();
                self.answer_the_rest(|| PublishError::unavailable(why.clone()));
                return true;
            }
        };
        let mut confirms: FuturesUnordered<_> = waiting
            .into_iter()
            .map(|(index, outgoing)| confirmed(&channel, index, outgoing))
            .collect();
        // RabbitMQ returns a message before it confirms it, but the client gives it to whichever
        // confirm comes next: which message has come back is known only by its own name, and only
        // when all confirms are there.
        let mut returned = Returned::default();
        let mut confirmed = Vec::new();
        let mut refused = false;
        while let Some((index, confirmation)) = confirms.next().await {
            match confirmation {
                Ok(Confirmation::Ack(message)) => {
                    confirmed.push(index);
                    returned.extend(message);
                }
                Ok(Confirmation::Nack(message)) => {
                    self.answers[index] = Some(Err(PublishError::unavailable(
                        "RabbitMQ did not take the event (nack)",
                    )));
                    returned.extend(message);
                }
                Ok(Confirmation::NotRequested) => {
                    let message =
                        "RabbitMQ did not confirm the event: the channel is without confirms";
                    self.answers[index] = Some(Err(PublishError::unavailable(message)));
                }
                Err(error) if failure::is_refusal(&error) => refused = true,
                Err(error) => self.answers[index] = Some(Err(failure::publishing(error))),
            }
        }
        drop(confirms);
        for index in confirmed {
            let outgoing = self.outgoing[index].as_ref().expect("it was sent");
            self.answers[index] = Some(returned.answer(outgoing));
        }
        self.link.give_back(channel);
        !refused
    }

    /// Sends what has no answer, each when the one before it is confirmed, so that a channel is
    /// closed by one message alone.
    async fn send_one_by_one(&mut self) {
        for (index, outgoing) in self.waiting() {
            let confirmation = match self.link.channel().await {
                Ok(channel) => {
                    let (_, confirmation) = confirmed(&channel, index, outgoing.clone()).await;
                    self.link.give_back(channel);
                    confirmation
                }
                Err(error) => Err(error),
            };
            self.answers[index] = Some(match confirmation {
                Ok(Confirmation::Ack(message)) => {
                    let mut returned = Returned::default();
                    returned.extend(message);
                    returned.answer(&outgoing)
                }
                Ok(_) => Err(PublishError::unavailable(
                    "RabbitMQ did not take the event (nack)",
                )),
                Err(error) => Err(failure::publishing(error)),
            });
        }
    }

    /// The messages that are to be sent and have no answer yet.
    fn waiting(&self) -> Vec<(usize, Outgoing)> {
        let all = self.outgoing.iter().zip(&self.answers).enumerate();
        all.filter(|(_, (_, answer))| answer.is_none())
            .filter_map(|(index, (outgoing, _))| Some((index, outgoing.clone()?)))
            .collect()
    }

    fn answer_the_rest(&mut self, error: impl Fn() -> PublishError) {
        self.answers
            .iter_mut()
            .filter(|answer| answer.is_none())
            .for_each(|answer| *answer = Some(Err(error())));
    }

    fn into_answers(mut self, settings: &RabbitMqSettings) -> Vec<Answer> {
        let patience = settings.confirm_timeout;
        self.answer_the_rest(|| {
            let address = settings.url.address();
            PublishError::unavailable(format!(
                "RabbitMQ at {address} did not confirm the event within {patience:?}"
            ))
        });
        self.answers.into_iter().flatten().collect()
    }
}

/// Publishes, and waits for the confirm. The message is handed to the channel when this is first
/// polled.
async fn confirmed(
    channel: &Channel,
    index: usize,
    outgoing: Outgoing,
) -> (usize, lapin::Result<Confirmation>) {
    let Outgoing {
        exchange,
        routing_key,
        properties,
        body,
    } = outgoing;
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirmation = async {
        channel
            .basic_publish(exchange, routing_key, options, &body, properties)
            .await?
            .await
    };
    (index, confirmation.await)
}

/// Messages that came back, with the reason, by exchange, routing key and message id.
#[derive(Default)]
struct Returned(HashMap<(String, String, String), String>);

impl Returned {
    fn extend(&mut self, message: Option<BasicReturnMessage>) {
        self.0.extend(message.map(
            |BasicReturnMessage {
                 delivery,
                 reply_code,
                 reply_text,
                 ..
             }| {
                let id = delivery
                    .properties
                    .message_id()
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let key = (
                    delivery.exchange.to_string(),
                    delivery.routing_key.to_string(),
                    id,
                );
                (key, format!("{reply_code} {reply_text}"))
            },
        ));
    }

    fn answer(&self, outgoing: &Outgoing) -> Answer {
        let (exchange, routing_key, id) = outgoing.id();
        let Some(reason) =
            self.0
                .get(&(exchange.to_owned(), routing_key.to_owned(), id.to_owned()))
        else {
            return Ok(());
        };
        let message = format!(
            "no queue takes what is sent to the exchange `{exchange}` with the routing key \
             `{routing_key}` ({reason}): bind one"
        );
        Err(PublishError::unavailable(message))
    }
}
