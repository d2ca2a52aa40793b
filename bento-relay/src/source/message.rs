//! A message: one that carries an event, or one that cannot be read.

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bytes::Bytes;
use chrono::{DateTime, Utc};

/// A message as a source returns it.
#[derive(Clone, Debug)]
pub enum Message {
    /// It carries an event.
    Event {
        /// The event. Its routing counts for nothing; its tenant counts if the source is trusted.
        envelope: Box<Envelope>,
        /// The service that says to have raised it: the `source` of a CloudEvent.
        origin: Option<String>,
        /// The time at which the broker got it, by the broker's clock; `None` where it tells none.
        sent_at: Option<DateTime<Utc>>,
    },
    /// It carries no event, or one that cannot be read. It becomes a dead letter.
    Unreadable(Unreadable),
}

/// A message that carries no event which can be read, with everything that it holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unreadable {
    /// The id of its dead letter, the same each time the message comes, where the broker tells
    /// messages apart.
    pub id: EventId,
    /// The reason why it cannot be read, and the way out.
    pub error: String,
    /// The message itself.
    pub raw: RawMessage,
}

/// The headers and the body of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawMessage {
    /// The place of the message at the broker, as people read it: `stream ORDERS, sequence 7`.
    pub place: String,
    /// The headers, names and values. A value that is not UTF-8 is shown with replacement
    /// characters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// A message that carries an event.
    pub fn event(envelope: Envelope) -> Self {
        Self::Event {
            envelope: Box::new(envelope),
            origin: None,
            sent_at: None,
        }
    }

    /// With the service that says to have raised the event.
    #[must_use]
    pub fn from_origin(mut self, named: impl Into<String>) -> Self {
        if let Self::Event { origin, .. } = &mut self {
            *origin = Some(named.into()).filter(|named| !named.is_empty());
        }
        self
    }

    /// With the time at which the broker got it.
    #[must_use]
    pub fn sent_at(mut self, time: Option<DateTime<Utc>>) -> Self {
        if let Self::Event { sent_at, .. } = &mut self {
            *sent_at = time;
        }
        self
    }

    /// A message that carries no event which can be read.
    pub fn unreadable(id: EventId, error: impl Into<String>, raw: RawMessage) -> Self {
        Self::Unreadable(Unreadable::new(id, error, raw))
    }
}

impl Unreadable {
    /// A message with the id of its dead letter, and what is wrong with it.
    pub fn new(id: EventId, error: impl Into<String>, raw: RawMessage) -> Self {
        Self {
            id,
            error: error.into(),
            raw,
        }
    }
}

impl RawMessage {
    /// A message with this body.
    pub fn new(place: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            place: place.into(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// With these headers.
    #[must_use]
    pub fn with_headers<N: Into<String>, V: Into<String>>(
        self,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = headers.into_iter();
        Self {
            headers: headers.map(|(n, v)| (n.into(), v.into())).collect(),
            ..self
        }
    }
}
