//! The receiver of webhooks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bento_relay::source::{Intake, IntakeError, Message, Taken};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

mod settings;

pub use self::settings::HttpReceiverSettings;
use super::{ID_HEADER, SignatureError, SigningSecrets};
use crate::ConnectError;
use crate::message::{Arrived, Binding, CLOUD_EVENT, Reading, unreadable};

/// The content type of several CloudEvents in one request.
const BATCH: &str = "application/cloudevents-batch+json";
/// The most events of one request.
const MOST_IN_BATCH: usize = 1000;
/// Headers that say who sends, and not what. They are not stored.
const CREDENTIALS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    super::SIGNATURE_HEADER,
];

/// Receives webhooks: verifies their signatures, and stores the events in the inbox before it
/// answers. Clones are the same receiver.
///
/// It belongs to no server: an endpoint of any hands it path, headers and body.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::body::Bytes;
/// use axum::extract::State;
/// use axum::http::{HeaderMap, Response, Uri};
/// use axum::routing::post;
/// use bento_brokers::ConnectError;
/// use bento_brokers::http::{HttpReceiver, HttpReceiverSettings};
/// use bento_relay::source::Intake;
///
/// fn router(intake: Arc<dyn Intake>) -> Result<axum::Router, ConnectError> {
///     let settings = HttpReceiverSettings {
///         signing_secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
///         ..HttpReceiverSettings::default()
///     };
///     let receiver = HttpReceiver::new(intake, settings)?;
///     Ok(axum::Router::new().route("/hooks", post(hook)).with_state(receiver))
/// }
///
/// async fn hook(
///     State(receiver): State<HttpReceiver>,
///     uri: Uri,
///     headers: HeaderMap,
///     body: Bytes,
/// ) -> Response<String> {
///     receiver.receive(uri.path(), &headers, body).await
/// }
/// # let _ = router;
/// ```
///
/// A request is one message, in any [format](crate::message::Format), or a batch of CloudEvents
/// (`application/cloudevents-batch+json`, up to 1,000), which is stored as a whole. Other requests
/// need a [mapping](Reading::mapping). `webhook-id` is the id of the message: an event without an
/// id of its own gets one that is made of it.
///
/// # What HTTP guarantees
///
/// * **Order**: events are stored in the order of the requests, if each waits for the answer to the
///   one before it. Requests that are under way at once have no order, and a header with a sequence
///   does not give them one; the event's `aggregatesequence` is stored.
/// * **Deduplication**: the inbox knows an event that comes again by its id.
/// * **Durability**: a 2xx answer says that the event, or its dead letter, is in the database.
/// * **Authenticity**: the signature covers `webhook-id`, time and body, not the other headers. Who
///   saw a request can send it again within the tolerance, with other headers. Let senders use
///   [`Format::Structured`](crate::message::Format::Structured) if that matters.
///
/// # Answers
///
/// | status | what has become of the request |
/// |---|---|
/// | 204 | every event is stored, was stored before, or is taken by no handler |
/// | 202 | some of it holds no event that can be read, and is kept as a dead letter with its bytes: sending it again would not help |
/// | 401 | the signature is missing, wrong, or of another time: the text says which header or rule |
/// | 413 | the body is larger than `max_body`, or the batch longer than 1,000 events |
/// | 415 | the body is compressed: let the server decompress it, behind the signature of what was signed |
/// | 503 with `Retry-After` | the inbox is full, or the database is away: the sender sends it again |
///
/// The headers `authorization`, `proxy-authorization`, `cookie` and `webhook-signature`, and those
/// of [`secret_headers`](HttpReceiverSettings::secret_headers), are not stored.
#[derive(Clone)]
pub struct HttpReceiver {
    intake: Arc<dyn Intake>,
    settings: Arc<HttpReceiverSettings>,
    secrets: Option<SigningSecrets>,
    reading: Reading,
}

/// The answer to a request that is not stored.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl HttpReceiver {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConnectError::Settings`] for settings that cannot be used.
    pub fn new(
        intake: Arc<dyn Intake>,
        settings: HttpReceiverSettings,
    ) -> Result<Self, ConnectError> {
        let secrets = settings.checked()?;
        Ok(Self {
            intake,
            settings: Arc::new(settings),
            secrets,
            reading: Reading::default(),
        })
    }

    /// Sets how messages are read: with a mapping, requests that carry no CloudEvent as well.
    #[must_use]
    pub fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// The largest body that is taken, in bytes: the limit for a server that collects a body.
    #[must_use]
    pub fn max_body(&self) -> usize {
        self.settings.max_body
    }

    /// Verifies a request, stores what it carries, and returns the answer.
    ///
    /// `path` is the [subject](Arrived::subject) of the message, without the query, which may be
    /// secret. The body is as it came: it is signed byte by byte.
    ///
    /// # Cancel safety
    /// The request may be stored or not: its sender got no answer and sends it again.
    pub async fn receive(&self, path: &str, headers: &HeaderMap, body: Bytes) -> Response<String> {
        let now = Utc::now();
        let messages = self
            .message_id(headers, &body, now)
            .and_then(|id| self.messages(path, headers, &body, id.as_deref(), now));
        let messages = match messages {
            Ok(messages) => messages,
            Err(Refusal { status, text }) => {
                let source = self.intake.name();
                tracing::debug!(source, %status, text, "a webhook is refused");
                return answer(status, text);
            }
        };
        let count = messages.len();
        if count == 0 {
            return answer(StatusCode::NO_CONTENT, "");
        }
        match self.intake.take(messages).await {
            Ok(Taken { refused: 0, .. }) => answer(StatusCode::NO_CONTENT, ""),
            Ok(Taken { refused, .. }) => {
                let text = format!(
                    "{refused} of {count} messages hold no event that can be read, and are kept \
                     as dead letters"
                );
                answer(StatusCode::ACCEPTED, text)
            }
            Err(error) => self.later(&error),
        }
    }

    /// The id of the message, if the request may be read.
    fn message_id<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<std::borrow::Cow<'h, str>>, Refusal> {
        let (bytes, most) = (body.len(), self.settings.max_body);
        if bytes > most {
            let text = format!("the body has {bytes} bytes and may have {most}");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let id = match &self.secrets {
            Some(secrets) => {
                let id = secrets.verify(headers, body, now, self.settings.tolerance)?;
                Some(id.into())
            }
            None => headers
                .get(ID_HEADER)
                .map(|id| String::from_utf8_lossy(id.as_bytes())),
        };
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        match encodings.all(|encoding| encoding == "identity") {
            true => Ok(id),
            false => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body has a `content-encoding`: send it as it is",
            )),
        }
    }

    /// The messages of a request: one, or those of a batch.
    fn messages(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
        id: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Message>, Refusal> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let place = match id {
            Some(id) => format!("request to {path}, {ID_HEADER} {id}"),
            None => format!("request to {path}"),
        };
        let arrived = Arrived::new(self.intake.name(), path, body.clone(), now)
            .with_headers(self.stored_headers(headers))
            .with_message_id(id);
        if !is_batch(headers) {
            let message = self.reading.message(&arrived, &Binding::HTTP, &place);
            return Ok(vec![message]);
        }
        let elements: Vec<&RawValue> = match serde_json::from_slice(body) {
            Ok(elements) => elements,
            Err(error) => {
                let error = format!("the body is not a JSON array of CloudEvents: {error}");
                return Ok(vec![unreadable(&arrived, error, &place)]);
            }
        };
        let count = elements.len();
        if count > MOST_IN_BATCH {
            let text = format!(
                "the batch has {count} events and may have {MOST_IN_BATCH}: send it in parts"
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let message = |(number, element): (usize, &RawValue)| {
            let body = body.slice_ref(element.get().as_bytes());
            let arrived = Arrived::new(self.intake.name(), path, body, now)
                .with_headers(self.stored_headers(headers))
                .with_content_type(Some(CLOUD_EVENT))
                .with_message_id(id.map(|id| format!("{id}/{number}")));
            let place = format!("{place}, event {number} of {count}");
            self.reading.message(&arrived, &Binding::HTTP, &place)
        };
        Ok((1..).zip(elements).map(message).collect())
    }

    fn stored_headers<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> impl Iterator<Item = (&'h str, std::borrow::Cow<'h, str>)> {
        let secret = &self.settings.secret_headers;
        let is_stored = move |name: &str| {
            !CREDENTIALS.contains(&name) && !secret.iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(move |(name, _)| is_stored(name))
            .map(|(name, value)| (name, String::from_utf8_lossy(value)))
    }

    /// The answer to a request that cannot be stored now, or not at all.
    fn later(&self, error: &IntakeError) -> Response<String> {
        let source = self.intake.name();
        tracing::warn!(source, error = error.chain(), "a webhook is not stored");
        let text = match error {
            IntakeError::Refused { refused, count, .. } => {
                let text = format!(
                    "the database refuses to store {refused} of {count} messages, and would again: \
                     do not send them again"
                );
                return answer(StatusCode::UNPROCESSABLE_ENTITY, text);
            }
            IntakeError::Full { .. } => "the inbox is full: send it again later",
            _ => "the inbox cannot be written: send it again later",
        };
        let mut answer = answer(StatusCode::SERVICE_UNAVAILABLE, text);
        let seconds = whole_seconds(error.retry_after());
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        answer
    }
}

impl fmt::Debug for HttpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReceiver")
            .field("intake", &self.intake)
            .field("settings", &self.settings)
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

impl From<SignatureError> for Refusal {
    fn from(error: SignatureError) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error.to_string())
    }
}

fn is_batch(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(BATCH))
}

/// The whole seconds that hold a time, at least one.
fn whole_seconds(time: Duration) -> u64 {
    let begun = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(begun).max(1)
}

fn answer(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let text = text.into();
    let content_type = (!text.is_empty()).then(|| {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        (CONTENT_TYPE, plain)
    });
    let mut answer = Response::new(text);
    *answer.status_mut() = status;
    answer.headers_mut().extend(content_type);
    answer
}
