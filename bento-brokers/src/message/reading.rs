//! The way from messages to events, the same for every source.

use std::fmt;
use std::sync::Arc;

use bento_core::{Envelope, EventId, limits};
use bento_relay::source::{Message, RawMessage};

use super::mapping::NO_ID;
use super::{Arrived, Binding, Incoming, IncomingError, MappingError};

#[cfg(test)]
mod tests;

/// The way from messages to events: an event of Bento's or a CloudEvent is read as it is, and
/// everything else by a mapping, if there is one.
///
/// ```
/// use bento_brokers::message::Reading;
///
/// let reading = Reading::default().mapping(|message| {
///     let order: serde_json::Value = serde_json::from_slice(message.body())?;
///     let number = order["number"].as_str().ok_or("the order has no number")?;
///     let mut event = message.event_with_id(number, "order.imported", 1, message.body().clone());
///     event.aggregate_type = "order".into();
///     event.aggregate_id = number.to_owned();
///     Ok(event)
/// });
/// # let _ = reading;
/// ```
#[derive(Clone, Default)]
pub struct Reading {
    mapping: Option<Arc<Mapping>>,
}

type Mapping = dyn Fn(&Arrived<'_>) -> Result<Envelope, MappingError> + Send + Sync;

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("has_mapping", &self.mapping.is_some())
            .finish()
    }
}

impl Reading {
    /// Sets the mapping of messages that carry no event by themselves. A message for which it
    /// fails, or panics, becomes a dead letter with its raw bytes.
    ///
    /// Give the event an id that is the same each time the message comes, as
    /// [`Arrived::event`] and [`Arrived::event_with_id`] do.
    #[must_use]
    pub fn mapping(
        self,
        mapping: impl Fn(&Arrived<'_>) -> Result<Envelope, MappingError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            mapping: Some(Arc::new(mapping)),
        }
    }

    /// Reads a message. Whatever it holds, it is an event or unreadable.
    pub fn message(&self, arrived: &Arrived<'_>, binding: &Binding, place: &str) -> Message {
        match self.event(arrived, binding) {
            Ok(event) => {
                let origin = origin(&event);
                let message = Message::event(event).sent_at(arrived.sent_at);
                match origin {
                    Some(origin) => message.from_origin(origin),
                    None => message,
                }
            }
            Err(error) => unreadable(arrived, error, place),
        }
    }

    fn event(&self, arrived: &Arrived<'_>, binding: &Binding) -> Result<Envelope, String> {
        let event = match (read(arrived, binding), &self.mapping) {
            (Ok(event), _) => event,
            (Err(_), Some(mapping)) => mapped(&**mapping, arrived)?,
            (Err(IncomingError::NoEvent), None) => {
                return Err(format!(
                    "{}; give its source a mapping, with `mapping`",
                    IncomingError::NoEvent
                ));
            }
            (Err(error), None) => return Err(bento_core::report::with_causes(&error)),
        };
        limits::check_envelope(&event).map_err(|rule| rule.to_string())?;
        Ok(event)
    }
}

/// The dead letter of a message, with everything that it holds.
pub(crate) fn unreadable(arrived: &Arrived<'_>, error: String, place: &str) -> Message {
    let raw = RawMessage::new(place, arrived.body.clone());
    let raw = raw.with_headers(arrived.shown_headers());
    let id = arrived.id().unwrap_or_else(EventId::new);
    Message::unreadable(id, error, raw)
}

/// Reads a message that carries an event by itself.
fn read(arrived: &Arrived<'_>, binding: &Binding) -> Result<Envelope, IncomingError> {
    let incoming = Incoming::new(arrived.body.clone(), arrived.received_at)
        .with_headers(arrived.headers())
        .of_source(arrived.source);
    match arrived.content_type.as_deref() {
        Some(content_type) => incoming.with_content_type(content_type).envelope(binding),
        None => incoming.envelope(binding),
    }
}

fn mapped(mapping: &Mapping, arrived: &Arrived<'_>) -> Result<Envelope, String> {
    let called = std::panic::AssertUnwindSafe(|| mapping(arrived));
    match std::panic::catch_unwind(called) {
        Ok(Ok(event)) => match event.headers() {
            Ok(_) => Ok(event),
            Err(error) => Err(format!(
                "the mapping of the source wrote headers that are no JSON object of texts: {error}"
            )),
        },
        Ok(Err(error)) if error.to_string() == NO_ID => Err(NO_ID.to_owned()),
        Ok(Err(error)) => Err(format!("the mapping of the source failed: {error}")),
        Err(_) => Err("the mapping of the source panicked".to_owned()),
    }
}

/// The service that says to have raised the event.
fn origin(event: &Envelope) -> Option<String> {
    // Most headers were written by `Incoming` a moment ago.
    if event.headers.is_empty() {
        return None;
    }
    event.headers().ok()?.source
}
