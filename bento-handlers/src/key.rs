//! The key under which a handler does its work elsewhere.

use std::fmt;

use bento_core::EventId;
use uuid::Uuid;

/// The key of one event for one handler: the same for each attempt, so that another system can tell
/// a repeated call from a new one.
///
/// It is a UUIDv5 of the event's id, the handler's name and the generation, which an operator
/// raises with [*handle again*](bento_relay::handler_control::HandlerControl::handle_again). Hand
/// it to the other system, as an `Idempotency-Key` header for example.
///
/// ```
/// use bento_handlers::{HandleError, IdempotencyKey, event_handler};
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
/// # struct Mail;
/// # impl Mail {
/// #     async fn send(&self, _: &str, _: u64) -> Result<(), HandleError> { Ok(()) }
/// # }
/// # static MAIL: Mail = Mail;
///
/// #[event_handler(name = "mail.confirmation", timeout = "20s")]
/// async fn confirm(event: OrderConfirmed, key: IdempotencyKey) -> Result<(), HandleError> {
///     MAIL.send(&key.to_string(), event.order_id).await
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Uuid);

impl IdempotencyKey {
    /// The key of an event for a handler.
    #[must_use]
    pub fn new(handler: &str, event: EventId, generation: u32) -> Self {
        let name = format!("{handler}\n{generation}");
        Self(Uuid::new_v5(event.as_uuid(), name.as_bytes()))
    }

    /// The key as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
