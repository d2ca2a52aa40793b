//! NATS JetStream: [`NatsPublisher`] publishes, and [`NatsSource`] receives.
//!
//! Each topic is a subject, behind [`NatsSettings::prefix`]; a stream must take it. A batch is sent
//! at once, and each event is confirmed by the stream's own acknowledgement.
//!
//! ```no_run
//! use bento_brokers::nats::{NatsPublisher, NatsSettings};
//!
//! # fn publisher() -> Result<NatsPublisher, bento_brokers::ConnectError> {
//! let publisher = NatsPublisher::new(NatsSettings {
//!     prefix: "shop".to_owned(),
//!     ..NatsSettings::default()
//! })?;
//! # Ok(publisher) }
//! ```
//!
//! # What NATS guarantees
//!
//! * **Order**: a stream keeps the order in which it took the messages. The relay hands over the
//!   next event of an aggregate when the one before it is acknowledged, so an aggregate is in order
//!   in its stream. Across streams there is no order. The publisher does not
//!   [chain](bento_relay::publish::Publisher::chains): JetStream stores what was sent behind a
//!   message that it refuses.
//! * **Deduplication**: a message is sent with `Nats-Msg-Id: <event id>:<destination>`. Within the
//!   stream's duplicate window (`duplicate_window`, two minutes by default, in the stream's
//!   settings) a repeated one is acknowledged and not stored again. A repetition after a longer
//!   outage is a duplicate, and so is one that a second stream takes. Within the window a dead
//!   letter that had arrived after all and is replayed is not stored again either.
//! * **Durability**: an acknowledgement says that the stream has the message, not that it is on
//!   disk. By default a server syncs every two minutes (`sync_interval`): a power failure of a
//!   stream with one replica loses acknowledged events. Use three replicas on machines that do not
//!   fail together, or `sync_interval: always`. The end of the server's process alone loses
//!   nothing.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun. The window
//!   takes care of the copies; nothing fences it.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no acknowledgement in time, no leader | unavailable |
//! | no subscriber: no stream takes the subject, or its leader changes | unavailable |
//! | the subject is taken by another stream than the expected one, a sealed stream | unavailable |
//! | larger than the server's `max_payload` or the stream's `max_msg_size` | permanent |
//! | the stream is full and refuses new messages, the account's limits are reached | throttled, 1 s |
//! | the topic is not a valid subject: empty tokens, spaces, wildcards, `$…` | permanent |
//! | any other refusal of a stream | transient |
//!
//! Without a subscriber the publisher asks JetStream which stream takes the subject, so that the
//! error says whether there is none; its user needs the permission to publish to
//! `$JS.API.STREAM.NAMES`. The event waits in either case, and goes on when a stream is there. With
//! an expected stream it asks for that one when it connects, and needs the permission for
//! `$JS.API.STREAM.INFO.<stream>`. A user without the permission to publish to a subject gets no
//! answer at all from NATS: its events fail as not acknowledged.
//!
//! An acknowledgement counts if it has the unguessable token of its message and comes from the
//! expected stream. Whoever may subscribe to a subject of the events sees the tokens of their
//! messages, and can acknowledge these before the stream does: that is a matter of permissions.
//!
//! The first event connects. Until that succeeds each attempt is made by a call of the relay, after
//! a pause that grows from 0.1 s to 5 s. From then on the connection comes back by itself, also
//! when the server refuses the credentials for a while.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_nats::jetstream::context::GetStreamByNameErrorKind;
use async_nats::{HeaderMap, HeaderName, Subject, header};
use bento_relay::publish::{Delivery, PublishError, Publisher};
use bytes::Bytes;
use futures_util::future::join_all;

mod acks;
mod failure;
mod link;
mod settings;
mod source;
mod subject;

use self::acks::Outcome;
use self::link::Link;
pub use self::settings::{NatsCredentials, NatsSettings};
pub use self::source::{NatsSource, NatsSourceSettings, NatsStart, NatsSubscription};
use self::subject::Subjects;
use crate::ConnectError;
use crate::connect::{Lazy, unavailable};
use crate::message::{Binding, Message};
use crate::patience::patience;

/// The time limit for JetStream to say which stream takes a subject.
const LOOKUP: Duration = Duration::from_secs(2);

/// Publishes to NATS JetStream. See the [module](self).
pub struct NatsPublisher {
    /// Host and port of every server.
    address: String,
    connection: Lazy<Link>,
}

type Answer = Result<(), PublishError>;
/// The answers of a batch; `None` until there is one.
type Answers = [Option<Answer>];

/// A message to be sent.
struct Outgoing {
    subject: Subject,
    headers: HeaderMap,
    body: Bytes,
}

impl NatsPublisher {
    /// Checks the settings. No server is asked before the first event, which connects; so does each
    /// one after it until that succeeds.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(settings: NatsSettings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self {
            address: settings.address(),
            connection: Lazy::new(settings),
        })
    }

    /// Connects now, for a program that is to end at once if that fails, and looks for the expected
    /// stream.
    ///
    /// # Errors
    /// No server answers, none accepts the credentials, or the expected stream is missing. A later
    /// call may succeed.
    ///
    /// # Cancel safety
    /// The attempt is given up, and what was connected is closed in the background.
    pub async fn check(&self) -> Result<(), ConnectError> {
        self.connection.check().await.map(drop)
    }

    fn settings(&self) -> &NatsSettings {
        self.connection.settings()
    }

    /// The message of a delivery.
    fn outgoing(
        &self,
        delivery: &Delivery,
        subjects: &mut Subjects,
    ) -> Result<Outgoing, PublishError> {
        let settings = self.settings();
        let subject = subjects.of(&settings.prefix, &delivery.topic())?;
        let Message {
            headers: list,
            content_type,
            body,
        } = settings.message.message(delivery, &Binding::NATS)?;
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            // The client panics at a line break, which no fact and no header of a message has here.
            headers.insert(header_name(name)?, value.into_owned());
        }
        if let Some(content_type) = content_type {
            headers.insert("content-type", content_type);
        }
        // One event may go to several subjects of one stream.
        let destination = Binding::NATS.encode((&*delivery.destination.name).into());
        headers.insert(
            header::NATS_MESSAGE_ID,
            format!("{}:{destination}", delivery.envelope.event_id),
        );
        if let Some(stream) = &settings.expected_stream {
            headers.insert(header::NATS_EXPECTED_STREAM, stream.as_str());
        }
        Ok(Outgoing {
            subject,
            headers,
            body,
        })
    }

    /// Sends everything and waits for the acknowledgements. Answers with the index of the messages
    /// that no subscriber listened to.
    async fn send(&self, link: &Link, batch: &[Delivery], answers: &mut Answers) -> Vec<usize> {
        let mut call = link.acks.call(batch.len());
        let mut subjects = Subjects::default();
        let wait = tokio::time::timeout(patience(batch, self.settings().ack_timeout), async {
            for (index, delivery) in batch.iter().enumerate() {
                let sent = match self.outgoing(delivery, &mut subjects) {
                    Ok(outgoing) => call.send(index, outgoing).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = sent {
                    answers[index] = Some(Err(error));
                }
            }
            call.answered().await;
        });
        // What has no answer by now has none.
        let _ = wait.await;
        let mut unheard = Vec::new();
        for (index, outcome) in call.end().into_iter().enumerate() {
            match outcome {
                Some(Outcome::Stored) => answers[index] = Some(Ok(())),
                Some(Outcome::Failed(error)) => answers[index] = Some(Err(error)),
                Some(Outcome::Unheard) => unheard.push(index),
                None => {}
            }
        }
        unheard
    }

    /// Finds out whether a stream takes the subjects without a responder.
    async fn explain_silence(
        &self,
        link: &Link,
        batch: &[Delivery],
        unheard: Vec<usize>,
        answers: &mut Answers,
    ) {
        let mut subjects: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in unheard {
            if let Ok(subject) = subject::subject(&self.settings().prefix, &batch[index].topic()) {
                subjects.entry(subject).or_default().push(index);
            }
        }
        let limit = patience(batch, LOOKUP);
        let lookups = subjects
            .keys()
            .map(|subject| tokio::time::timeout(limit, link.context.stream_by_subject(subject)));
        let found = join_all(lookups).await;
        for ((subject, indexes), found) in subjects.iter().zip(found) {
            let is_missing = matches!(
                &found,
                Ok(Err(error)) if error.kind() == GetStreamByNameErrorKind::NotFound
            );
            for &index in indexes {
                answers[index] = Some(Err(if is_missing {
                    PublishError::unavailable(format!(
                        "no stream of NATS takes the subject `{subject}`"
                    ))
                } else {
                    PublishError::unavailable(format!(
                        "NATS has no responder for the subject `{subject}` at the moment"
                    ))
                }));
            }
        }
    }
}

impl Publisher for NatsPublisher {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Answer> {
        if batch.is_empty() {
            return Vec::new();
        }
        let link = match self.connection.link().await {
            Ok(link) => link,
            Err(error) => return unavailable(batch, &error),
        };
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        // Whatever is handed to a client without a connection would be sent when it is back, long
        // after it was given up.
        let silence = if link.is_connected() {
            let unheard = self.send(&link, batch, &mut answers).await;
            self.explain_silence(&link, batch, unheard, &mut answers)
                .await;
            let patience = self.settings().ack_timeout;
            format!(
                "NATS at {} did not acknowledge the event within {patience:?}",
                self.address
            )
        } else {
            link.trouble(&self.address)
        };
        let missing = || Err(PublishError::unavailable(silence.clone()));
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(missing))
            .collect()
    }
}

impl fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPublisher")
            .field("settings", self.settings())
            .finish_non_exhaustive()
    }
}

/// Our own names are known to be good, and cost no copy.
fn header_name(name: Cow<'static, str>) -> Result<HeaderName, PublishError> {
    let name = match name {
        Cow::Borrowed(name) => return Ok(HeaderName::from_static(name)),
        Cow::Owned(name) => name,
    };
    HeaderName::try_from(name)
        .map_err(|error| PublishError::permanent("invalid NATS header name").because(error))
}
