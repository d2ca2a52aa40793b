//! A message of any kind as it arrived, for those who make an event of it.

use std::borrow::Cow;

use bento_core::{Envelope, EventId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::incoming::{derived_id, foreign_id};

/// A message as it arrived at a source, whether it carries an event or not.
///
/// A [`Reading`](super::Reading) hands it to the mapping of foreign messages.
#[derive(Clone, Debug)]
pub struct Arrived<'m> {
    pub(super) source: &'m str,
    pub(super) subject: Cow<'m, str>,
    pub(super) headers: Vec<(Cow<'m, str>, Cow<'m, str>)>,
    pub(super) content_type: Option<Cow<'m, str>>,
    pub(super) body: Bytes,
    pub(super) message_id: Option<Cow<'m, str>>,
    pub(super) place: Option<(Cow<'m, str>, Cow<'m, str>)>,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) received_at: DateTime<Utc>,
}

/// The error of a mapping: the message becomes a dead letter with this text.
pub type MappingError = Box<dyn std::error::Error + Send + Sync>;

impl<'m> Arrived<'m> {
    /// A message with this body that the source of this name received under a subject: a NATS
    /// subject, a routing key, the name of a Redis stream, a Kafka topic, the path of a request.
    pub fn new(
        source: &'m str,
        subject: impl Into<Cow<'m, str>>,
        body: impl Into<Bytes>,
        received_at: DateTime<Utc>,
    ) -> Self {
        Self {
            source,
            subject: subject.into(),
            headers: Vec::new(),
            content_type: None,
            body: body.into(),
            message_id: None,
            place: None,
            sent_at: None,
            received_at,
        }
    }

    /// With these headers, names and values.
    #[must_use]
    pub fn with_headers<N: Into<Cow<'m, str>>, V: Into<Cow<'m, str>>>(
        self,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = headers.into_iter();
        Self {
            headers: headers.map(|(n, v)| (n.into(), v.into())).collect(),
            ..self
        }
    }

    /// With a content type that does not stand among the headers.
    #[must_use]
    pub fn with_content_type(self, content_type: Option<impl Into<Cow<'m, str>>>) -> Self {
        Self {
            content_type: content_type.map(Into::into),
            ..self
        }
    }

    /// With the id that its sender gave to the message, as in AMQP.
    #[must_use]
    pub fn with_message_id(self, id: Option<impl Into<Cow<'m, str>>>) -> Self {
        Self {
            message_id: id.map(Into::into),
            ..self
        }
    }

    /// With its place: the incarnation of the stream, and the sequence or offset in it. It is the
    /// same each time the message comes.
    #[must_use]
    pub fn with_place(
        self,
        incarnation: impl Into<Cow<'m, str>>,
        place: impl Into<Cow<'m, str>>,
    ) -> Self {
        Self {
            place: Some((incarnation.into(), place.into())),
            ..self
        }
    }

    /// With the time at which the broker got it.
    #[must_use]
    pub fn with_sent_at(self, sent_at: Option<DateTime<Utc>>) -> Self {
        Self { sent_at, ..self }
    }

    /// The name of the source.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source
    }

    /// The subject, routing key, stream, topic or path.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The value of a header, the first if there are several. Upper and lower case count the same.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// The headers, names and values.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Everything beside the body, for the dead letter of a message that cannot be read.
    pub(super) fn shown_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let subject = ("subject", &*self.subject);
        let content_type = self.content_type.as_deref();
        let message_id = self.message_id.as_deref();
        [
            Some(subject),
            content_type.map(|value| ("content-type", value)),
            message_id.map(|value| ("message-id", value)),
        ]
        .into_iter()
        .flatten()
        .chain(self.headers())
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The time at which the broker got it, by the broker's clock; `None` where it tells none.
    #[must_use]
    pub fn sent_at(&self) -> Option<DateTime<Utc>> {
        self.sent_at
    }

    /// An id that is the same each time the message comes: made of the id that its sender gave it,
    /// else of its place. `None` if it has neither, as a message of RabbitMQ without a message id:
    /// take one from the body, with [`event_with_id`](Self::event_with_id).
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        let of_message = self.message_id.as_deref().filter(|id| !id.is_empty());
        let of_place = || {
            let (incarnation, place) = self.place.as_ref()?;
            Some(derived_id(
                &Uuid::NAMESPACE_OID,
                &[self.source, "place", incarnation, place],
            ))
        };
        of_message
            .map(|id| foreign_id(self.source, "", id))
            .or_else(of_place)
    }

    /// An event with the [id](Self::id) and the time of the message, and this payload.
    ///
    /// # Errors
    /// If the message has no id by which a repetition can be told.
    pub fn event(
        &self,
        event_type: impl Into<Cow<'static, str>>,
        version: u32,
        payload: impl Into<Bytes>,
    ) -> Result<Envelope, MappingError> {
        let id = self.id().ok_or(NO_ID)?;
        let time = self.sent_at.unwrap_or(self.received_at);
        Ok(Envelope::with_id(id, event_type, version, time, payload))
    }

    /// An event whose id is made of an id in the message, of whatever form.
    pub fn event_with_id(
        &self,
        id: &str,
        event_type: impl Into<Cow<'static, str>>,
        version: u32,
        payload: impl Into<Bytes>,
    ) -> Envelope {
        let id = foreign_id(self.source, "", id);
        let time = self.sent_at.unwrap_or(self.received_at);
        Envelope::with_id(id, event_type, version, time, payload)
    }
}

/// The text for a message by which a repetition cannot be told.
pub(super) const NO_ID: &str = "the message has no id by which a repetition can be told: its \
     sender has to set a message id, or the mapping of the source takes one from the body, with \
     `Arrived::event_with_id`";
