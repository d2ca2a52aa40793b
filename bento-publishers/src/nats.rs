//! NATS JetStream.
//!
//! Each topic is a subject, behind [`NatsSettings::prefix`]; a stream must take it. A batch is sent at once, and each event is confirmed
//! by the stream's own acknowledgement.
//!
//! ```no_run
//! use bento_publishers::nats::{NatsPublisher, NatsSettings};
//!
//! # async fn connected() -> Result<NatsPublisher, bento_publishers::ConnectError> {
//! let publisher = NatsPublisher::connect(NatsSettings { prefix: "shop".to_owned(), ..NatsSettings::default() }).await?;
//! # Ok(publisher) }
//! ```
//!
//! # What NATS guarantees
//!
//! * **Order**: a stream keeps the order in which it took the messages. The relay hands over the next event of an aggregate when the one before it
//!   is acknowledged, so an aggregate is in order in its stream. Across streams there is no order.
//! * **Deduplication**: a message is sent with `Nats-Msg-Id: <event id>:<destination>`. Within the stream's duplicate window (`duplicate_window`, two
//!   minutes by default, in the stream's settings) a repeated one is acknowledged and not stored again. A repetition after a longer outage is a
//!   duplicate, and so is one that a second stream takes. Within the window a dead letter that had arrived after all and is replayed is not stored again either.
//! * **Durability**: an acknowledgement says that the stream has the message, not that it is on disk. By default a server syncs every two minutes
//!   (`sync_interval`): a power failure of a stream with one replica loses acknowledged events. Use three replicas on machines that
//!   do not fail together, or `sync_interval: always`. The end of the server's process alone loses nothing.
//! * **Zombies**: a relay that was thought dead may still publish what it had begun. The window takes care of the copies; nothing fences it.
//!
//! # Failures
//!
//! | what happens | class |
//! |---|---|
//! | no connection, no acknowledgement in time, no leader | unavailable |
//! | nobody listens: no stream takes the subject, or its leader changes | unavailable |
//! | the subject is taken by another stream than the expected one, a sealed stream | unavailable |
//! | larger than the server's `max_payload` or the stream's `max_msg_size` | permanent |
//! | the stream is full and refuses new messages, the account's limits are reached | throttled, 1 s |
//! | the topic is no subject: empty tokens, spaces, wildcards, `$…` | permanent |
//! | any other refusal of a stream | transient |
//!
//! Where nobody listens, the publisher asks JetStream which stream takes the subject, so that the error says whether there is none; its user
//! needs the permission to publish to `$JS.API.STREAM.NAMES`. The event waits in either case, and goes on when a stream is there.
//! A user without the permission to publish to a subject gets no answer at all from NATS: its events fail as not acknowledged.
//!
//! The connection comes back by itself, also when the server refuses the credentials for a while.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, GetStreamByNameErrorKind};
use async_nats::{ConnectErrorKind, ConnectOptions, HeaderMap, HeaderName, ServerAddr, Subject, header};
use bento_core::publish::{Delivery, PublishError, Publisher};
use bytes::Bytes;
use futures_util::future::join_all;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

mod acks;
mod failure;
mod settings;
mod subject;

use self::acks::{Acks, Outcome};
pub use self::settings::{NatsCredentials, NatsSettings};
use self::subject::Subjects;
use crate::ConnectError;
use crate::message::{Binding, Message};
use crate::patience::patience;

/// How long JetStream may take to say which stream takes a subject.
const LOOKUP: Duration = Duration::from_secs(2);

/// Publishes to NATS JetStream. See the [module](self).
pub struct NatsPublisher {
    settings: NatsSettings,
    /// Host and port of every server.
    address: String,
    context: Context,
    acks: Acks,
}

type Answer = Result<(), PublishError>;
/// The answers of a batch; `None` until there is one.
type Answers = [Option<Answer>];

/// What is sent.
struct Outgoing {
    subject: Subject,
    headers: HeaderMap,
    body: Bytes,
}

impl NatsPublisher {
    /// Connects, and looks for the expected stream.
    ///
    /// # Errors
    /// When the settings cannot be used, no server answers or none accepts the credentials, or the expected stream is not there.
    ///
    /// # Cancel safety
    /// The attempt is given up, and what was connected is closed in the background.
    pub async fn connect(settings: NatsSettings) -> Result<Self, ConnectError> {
        if !settings.prefix.is_empty()
            && let Some(why) = subject::fault(&settings.prefix)
        {
            return Err(ConnectError::settings(format!("the prefix of the subjects cannot be used: {why}")));
        }
        if settings.max_in_flight == 0 {
            return Err(ConnectError::settings("`max_in_flight` is 0: nothing could ever be published"));
        }
        let address = settings.urls.iter().map(|url| url.address()).collect::<Vec<_>>().join(", ");
        let context = open(&settings, &address).await?;
        if let Some(stream) = &settings.expected_stream {
            context.get_stream(stream).await.map_err(|error| ConnectError::Unfit {
                address: address.clone(),
                what: format!("there is no stream `{stream}`"),
                source: Some(error.into()),
            })?;
        }
        let acks = Acks::listen(context.client(), settings.max_in_flight)
            .await
            .map_err(|error| ConnectError::Unreachable { address: address.clone(), source: error.into() })?;
        Ok(Self { settings, address, context, acks })
    }

    /// What is sent for a delivery.
    fn outgoing(&self, delivery: &Delivery, subjects: &mut Subjects) -> Result<Outgoing, PublishError> {
        let subject = subjects.of(&self.settings.prefix, &delivery.topic())?;
        let Message { headers: list, content_type, body } = self.settings.message.message(delivery, &Binding::NATS)?;
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            // The client panics at a line break, which a binding of printable ASCII lets through nowhere.
            headers.insert(header_name(name)?, value.into_owned());
        }
        if let Some(content_type) = content_type {
            headers.insert("content-type", content_type);
        }
        // One event may go to several subjects of one stream.
        let destination = Binding::NATS.encode((&*delivery.destination.name).into());
        headers.insert(header::NATS_MESSAGE_ID, format!("{}:{destination}", delivery.envelope.event_id));
        if let Some(stream) = &self.settings.expected_stream {
            headers.insert(header::NATS_EXPECTED_STREAM, stream.as_str());
        }
        Ok(Outgoing { subject, headers, body })
    }

    /// Sends everything and waits for the acknowledgements. Answers with the index of what nobody listened to.
    async fn send(&self, batch: &[Delivery], answers: &mut Answers) -> Vec<usize> {
        let mut call = self.acks.call(batch.len());
        let mut subjects = Subjects::default();
        let wait = tokio::time::timeout(patience(batch, self.settings.ack_timeout), async {
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

    /// Finds out whether a stream takes the subjects that nobody listened to.
    async fn explain_silence(&self, batch: &[Delivery], unheard: Vec<usize>, answers: &mut Answers) {
        let mut subjects: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for index in unheard {
            if let Ok(subject) = subject::subject(&self.settings.prefix, &batch[index].topic()) {
                subjects.entry(subject).or_default().push(index);
            }
        }
        let limit = patience(batch, LOOKUP);
        let lookups =
            subjects.keys().map(|subject| tokio::time::timeout(limit, self.context.stream_by_subject(subject)));
        let found = join_all(lookups).await;
        for ((subject, indexes), found) in subjects.iter().zip(found) {
            let is_missing = matches!(&found, Ok(Err(error)) if error.kind() == GetStreamByNameErrorKind::NotFound);
            for &index in indexes {
                answers[index] = Some(Err(if is_missing {
                    PublishError::unavailable(format!("no stream of NATS takes the subject `{subject}`"))
                } else {
                    PublishError::unavailable(format!("nobody listens to the subject `{subject}` at the moment"))
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
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        // Whatever is handed to a client without a connection would be sent when it is back, long after it was given up.
        let silence = if self.context.client().connection_state() == State::Connected {
            let unheard = self.send(batch, &mut answers).await;
            self.explain_silence(batch, unheard, &mut answers).await;
            format!("NATS at {} did not acknowledge the event within {:?}", self.address, self.settings.ack_timeout)
        } else {
            format!("not connected to NATS at {}", self.address)
        };
        let missing = || Err(PublishError::unavailable(silence.clone()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }
}

impl fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPublisher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

async fn open(settings: &NatsSettings, address: &str) -> Result<Context, ConnectError> {
    let servers = settings.urls.iter().map(|url| {
        url.expose().parse::<ServerAddr>().map_err(|error| ConnectError::Settings {
            what: format!("`{url}` is no URL of a NATS server"),
            source: Some(error.into()),
        })
    });
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        return Err(ConnectError::settings("`urls` names no NATS server"));
    }
    let options = options(settings, &servers).await?;
    let connecting = tokio::time::timeout(settings.connect_timeout, options.connect(servers)).await;
    let address = address.to_owned();
    let connected =
        connecting.map_err(|elapsed| ConnectError::Unreachable { address: address.clone(), source: elapsed.into() })?;
    let connected = connected.map_err(|error| match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Credentials { address, source: error.into() }
        }
        _ => ConnectError::Unreachable { address, source: error.into() },
    })?;
    Ok(ContextBuilder::new().timeout(settings.ack_timeout).build(connected))
}

async fn options(settings: &NatsSettings, servers: &[ServerAddr]) -> Result<ConnectOptions, ConnectError> {
    let NatsSettings { credentials, tls, connect_timeout, max_in_flight, .. } = settings;
    // What does not fit into the queue of a subscription is lost, and all acknowledgements come by one.
    let capacity = (*max_in_flight).clamp(1 << 16, Semaphore::MAX_PERMITS);
    let mut options =
        ConnectOptions::new().name("bento").connection_timeout(*connect_timeout).subscription_capacity(capacity);
    let of_a_url = servers.iter().find_map(credentials_of);
    options = match credentials.as_ref().or(of_a_url.as_ref()) {
        None => options,
        Some(NatsCredentials::Password { user, password }) => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        Some(NatsCredentials::Token(token)) => options.token(token.expose().to_owned()),
        Some(NatsCredentials::NkeySeed(seed)) => options.nkey(seed.expose().to_owned()),
        Some(NatsCredentials::File(path)) => {
            options.credentials_file(path).await.map_err(|error| ConnectError::Settings {
                what: format!("the credentials in {} cannot be read", path.display()),
                source: Some(error.into()),
            })?
        }
    };
    options = options.require_tls(tls.required);
    if let Some(authorities) = &tls.ca_file {
        options = options.add_root_certificates(authorities.clone());
    }
    match (&tls.certificate_file, &tls.key_file) {
        (None, None) => Ok(options),
        (Some(certificate), Some(key)) => Ok(options.add_client_certificate(certificate.clone(), key.clone())),
        _ => Err(ConnectError::settings("a client certificate needs both `certificate_file` and `key_file`")),
    }
}

/// The credentials in a URL, which the client itself leaves aside. A name without a password is a token.
fn credentials_of(server: &ServerAddr) -> Option<NatsCredentials> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decoded(server.username()?);
    Some(match server.password() {
        Some(password) => NatsCredentials::Password { user, password: decoded(password).into() },
        None => NatsCredentials::Token(user.into()),
    })
}

/// Our own names are known to be good, and cost no copy.
fn header_name(name: Cow<'static, str>) -> Result<HeaderName, PublishError> {
    let name = match name {
        Cow::Borrowed(name) => return Ok(HeaderName::from_static(name)),
        Cow::Owned(name) => name,
    };
    HeaderName::try_from(name).map_err(|error| PublishError::permanent("a header has no name of NATS").because(error))
}
