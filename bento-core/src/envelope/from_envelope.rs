//! Types that can be read from an envelope: the first parameter of a handler.

use std::sync::Arc;

use super::Envelope;
use crate::codec::{self, DecodeError};
use crate::event::{AnyEvent, DomainEvent, EventDescriptor};

/// A type that can be read from an [`Envelope`], whatever version was stored.
///
/// Implemented for every event, for the enum of an aggregate's events, and for [`Envelope`] itself.
///
/// ```
/// use bento_core::envelope::FromEnvelope;
/// use bento_core::{Envelope, domain_event};
///
/// #[domain_event(schema = "order.paid", version = 1)]
/// #[derive(Debug)]
/// pub struct OrderPaid {
///     pub order_id: u32,
/// }
///
/// let envelope = Envelope::new("order.paid", 1, chrono::Utc::now(), r#"{"order_id":7}"#);
/// let paid = OrderPaid::from_envelope(&envelope)?;
/// assert_eq!(paid.order_id, 7);
/// assert_eq!(OrderPaid::EVENTS[0].schema, "order.paid");
/// # Ok::<_, bento_core::codec::DecodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "a handler takes an event first",
    note = "the first parameter is a struct with `#[domain_event]`, the enum of an aggregate's \
            events, `Envelope`, or `Batch<E>` of one of them"
)]
pub trait FromEnvelope: Sized + Send + 'static {
    /// The events that the type can be; empty for a type that takes any event type.
    const EVENTS: &'static [&'static EventDescriptor];

    /// True if the type can hold any event. Not public API.
    #[doc(hidden)]
    const TAKES_ANY: bool = false;

    /// Reads the event.
    ///
    /// # Errors
    /// [`DecodeError`], which tells four causes apart.
    fn from_envelope(envelope: &Envelope) -> Result<Self, DecodeError>;
}

#[diagnostic::do_not_recommend]
impl<E: DomainEvent> FromEnvelope for E {
    const EVENTS: &'static [&'static EventDescriptor] = &[E::DESCRIPTOR];

    fn from_envelope(envelope: &Envelope) -> Result<Self, DecodeError> {
        envelope.decode()
    }
}

impl FromEnvelope for Envelope {
    const EVENTS: &'static [&'static EventDescriptor] = &[];
    const TAKES_ANY: bool = true;

    fn from_envelope(envelope: &Envelope) -> Result<Self, DecodeError> {
        Ok(envelope.clone())
    }
}

/// Reads one of several events. Not public API: called by the macro of an aggregate.
///
/// # Errors
/// [`DecodeError`], also for an event that is not among them.
#[doc(hidden)]
pub fn one_of<E>(
    envelope: &Envelope,
    from_any: impl FnOnce(Arc<dyn AnyEvent>) -> Option<E>,
) -> Result<E, DecodeError> {
    from_any(envelope.decode_any()?).ok_or_else(|| codec::not_listed(&envelope.event_type))
}
