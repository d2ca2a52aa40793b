//! The one shape that crosses boundaries: a serialised event with its metadata.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::codec::{self, DecodeError};
use crate::event::{AnyEvent, DomainEvent, EventKind};
use crate::id::EventId;
use crate::metadata::{Headers, Routing, RoutingError};
use crate::registry::Registry;

pub use self::from_envelope::FromEnvelope;
#[doc(hidden)]
pub use self::from_envelope::one_of;

mod from_envelope;

/// A serialised event and its metadata, as stored in the outbox and handed to publishers and
/// handlers.
///
/// Cloning is cheap in the payload and the headers, which are shared.
///
/// ```
/// use bento_core::Envelope;
/// # use bento_core::domain_event;
/// # use chrono::DateTime;
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
///
/// let stored = r#"{"order_id":7}"#;
/// let envelope = Envelope::new("order.paid", 1, DateTime::UNIX_EPOCH, stored);
/// let paid: OrderPaid = envelope.decode()?;
/// assert_eq!(paid.order_id, 7);
/// # Ok::<_, bento_core::codec::DecodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's identity.
    pub event_id: EventId,
    /// The event type, `order.created`.
    pub event_type: Cow<'static, str>,
    /// The version of the payload; 0 for bytes enqueued without a Rust type.
    pub schema_version: u32,
    /// The kind: a domain event, or an integration event made from one.
    pub kind: EventKind,
    /// The type of the aggregate that raised it; empty for an event raised free of an aggregate.
    pub aggregate_type: Cow<'static, str>,
    /// The id of the aggregate; for an event free of one, the ordering key or empty.
    pub aggregate_id: String,
    /// The position within the aggregate's history, where it is known.
    pub sequence: Option<i64>,
    /// The tenant that the event belongs to.
    pub tenant_id: Option<String>,
    /// The topic to publish the event under, if not its event type.
    pub topic: Option<String>,
    /// The broker's routing key.
    pub routing_key: Option<String>,
    /// The destinations and times that the event itself names: JSON of the form that
    /// `routing_version` names; empty for none.
    pub routing: Bytes,
    /// The form of `routing`; 0 without one.
    pub routing_version: u16,
    /// The time at which the event happened: that of its metadata, else that of its raising, by the
    /// clock of the database.
    pub occurred_at: DateTime<Utc>,
    /// The encoding of the payload; `None` is plain JSON.
    pub content_encoding: Option<String>,
    /// The key the payload is encrypted with.
    pub key_id: Option<String>,
    /// Correlation, causation, source, actor and further headers as a JSON object; empty for none.
    pub headers: Bytes,
    /// The payload, JSON unless `content_encoding` says otherwise.
    pub payload: Bytes,
}

impl Envelope {
    /// An envelope of a new event, with what every event has; the rest is empty and can be set.
    pub fn new(
        event_type: impl Into<Cow<'static, str>>,
        schema_version: u32,
        occurred_at: DateTime<Utc>,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self::with_id(
            EventId::new(),
            event_type,
            schema_version,
            occurred_at,
            payload,
        )
    }

    /// The envelope of an event that has its id already.
    pub fn with_id(
        event_id: EventId,
        event_type: impl Into<Cow<'static, str>>,
        schema_version: u32,
        occurred_at: DateTime<Utc>,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            event_id,
            event_type: event_type.into(),
            schema_version,
            kind: EventKind::Domain,
            aggregate_type: Cow::Borrowed(""),
            aggregate_id: String::new(),
            sequence: None,
            tenant_id: None,
            topic: None,
            routing_key: None,
            routing: Bytes::new(),
            routing_version: 0,
            occurred_at,
            content_encoding: None,
            key_id: None,
            headers: Bytes::new(),
            payload: payload.into(),
        }
    }

    /// This copy of an event as a message of its own: its id is a UUIDv5 of the event's id and the
    /// name of the route.
    pub fn of_route(&self, route: &str) -> Self {
        let id = Uuid::new_v5(self.event_id.as_uuid(), route.as_bytes());
        Self {
            event_id: id.into(),
            ..self.clone()
        }
    }

    /// True if the event belongs to an ordered stream: an aggregate's, or that of an enqueued key.
    pub fn is_ordered(&self) -> bool {
        !self.aggregate_id.is_empty()
    }

    /// The metadata that travels in `headers`.
    ///
    /// # Errors
    /// If the stored headers are not a JSON object of texts.
    pub fn headers(&self) -> Result<Headers, serde_json::Error> {
        if self.headers.is_empty() {
            Ok(Headers::default())
        } else {
            serde_json::from_slice(&self.headers)
        }
    }

    /// The destinations and times that the event itself names. Most events name none.
    ///
    /// # Errors
    /// If a later release wrote the routing in another form, or it cannot be read.
    pub fn routing(&self) -> Result<Routing, RoutingError> {
        Routing::decode(&self.routing, self.routing_version)
    }

    /// The event as `E`, whatever version it was stored with.
    ///
    /// # Errors
    /// [`DecodeError`], which tells four causes apart.
    pub fn decode<E: DomainEvent>(&self) -> Result<E, DecodeError> {
        codec::decode(&self.event_type, self.schema_version, &self.payload)
    }

    /// The event as the type that this binary registered for its event type.
    ///
    /// # Errors
    /// [`DecodeError`], which tells four causes apart.
    pub fn decode_any(&self) -> Result<Arc<dyn AnyEvent>, DecodeError> {
        Registry::global().decode(&self.event_type, self.schema_version, &self.payload)
    }
}
