//! One call of a handler, from which its parameters are taken.

use std::sync::Arc;

use bento_core::{Envelope, EventId};
use bento_seaorm::OutboxTransaction;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::key::IdempotencyKey;
use crate::state::States;

/// Facts about the event that a handler works on.
///
/// ```
/// use bento_handlers::{EventContext, HandleError, event_handler};
/// use bento_seaorm::OutboxTransaction;
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
///
/// #[event_handler(name = "stock.reserve")]
/// async fn reserve(
///     event: OrderConfirmed,
///     context: EventContext,
///     tx: &OutboxTransaction,
/// ) -> Result<(), HandleError> {
///     tracing::info!(id = %context.event_id(), attempt = context.attempt(), "reserving");
///     # let _ = (event, tx);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct EventContext {
    envelope: Arc<Envelope>,
    attempt: u32,
}

impl EventContext {
    /// The facts about an event, with the number of earlier attempts; for tests of a handler.
    #[must_use]
    pub fn new(envelope: Arc<Envelope>, earlier: u32) -> Self {
        Self {
            envelope,
            attempt: earlier.saturating_add(1),
        }
    }

    /// The id of the event.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        self.envelope.event_id
    }

    /// The number of the event in its aggregate, from 1; `None` for an aggregate without a version.
    #[must_use]
    pub fn sequence(&self) -> Option<i64> {
        self.envelope.sequence
    }

    /// The tenant of the event.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.envelope.tenant_id.as_deref()
    }

    /// The time at which the event occurred.
    #[must_use]
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.envelope.occurred_at
    }

    /// The number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The event with all its metadata.
    #[must_use]
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }
}

/// One call of a handler. Parameters are taken from it by [`FromCall`](crate::FromCall).
#[derive(Debug)]
pub struct Call {
    pub(crate) contexts: Vec<EventContext>,
    pub(crate) key: IdempotencyKey,
    pub(crate) transaction: Option<OutboxTransaction>,
    pub(crate) states: Arc<States>,
    pub(crate) cancelled: CancellationToken,
}

impl Call {
    /// The event; of a batch the first one.
    #[must_use]
    pub fn envelope(&self) -> &Arc<Envelope> {
        self.contexts[0].envelope()
    }

    /// The facts about each event.
    #[must_use]
    pub fn contexts(&self) -> &[EventContext] {
        &self.contexts
    }
}
