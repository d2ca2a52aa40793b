//! Payloads as bytes: JSON, written in one pass and read back at whatever version was stored.

use std::sync::Arc;

use crate::event::{AnyEvent, DomainEvent, EventDescriptor};
pub use crate::payload::{DecodeError, encode};
use crate::payload::{UpcastFault, as_text};

/// Reads a stored payload as an `E`, whatever version it was written with.
///
/// The current version is one [`serde_json::from_str`]; an earlier one runs its chain of
/// upcasters once.
///
/// ```
/// use bento_core::{codec, domain_event};
///
/// #[domain_event(schema = "order.paid", version = 2)]
/// #[derive(Debug)]
/// pub struct OrderPaid {
///     pub order_id: u32,
///     #[event(since = 2, default = "EUR")]
///     pub currency: String,
/// }
///
/// let paid: OrderPaid = codec::decode("order.paid", 1, br#"{"order_id":7}"#)?;
/// assert_eq!(paid.currency, "EUR");
/// # Ok::<_, codec::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeError`], which tells four causes apart.
pub fn decode<E: DomainEvent>(
    event_type: &str,
    version: u32,
    payload: &[u8],
) -> Result<E, DecodeError> {
    if event_type != E::SCHEMA {
        return Err(DecodeError::UnknownEventType {
            event_type: event_type.to_owned(),
            wanted: Some(E::SCHEMA),
        });
    }
    decode_version(version, payload)
}

#[diagnostic::do_not_recommend]
impl<E: DomainEvent> AnyEvent for E {
    fn descriptor(&self) -> &'static EventDescriptor {
        E::DESCRIPTOR
    }

    fn encode(&self, payload: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        encode(self, payload)
    }

    fn reads_back(&self, payload: &[u8]) -> Result<(), DecodeError> {
        reads_back(E::DESCRIPTOR, decode_any::<E>(E::VERSION, payload))
    }
}

/// The payload as an event of any type, as the registry reads it.
pub(crate) fn decode_any<E: DomainEvent>(
    version: u32,
    payload: &[u8],
) -> Result<Arc<dyn AnyEvent>, DecodeError> {
    match decode_version::<E>(version, payload) {
        Ok(event) => Ok(Arc::new(event)),
        Err(error) => Err(error),
    }
}

/// [`decode`] for a payload whose event type is known to be that of `E`.
///
/// Little is compiled for each event, here and below: the rest is in functions without a type
/// parameter.
pub(crate) fn decode_version<E: DomainEvent>(
    version: u32,
    payload: &[u8],
) -> Result<E, DecodeError> {
    if let Some(refused) = refused(E::DESCRIPTOR, version) {
        return Err(refused);
    }
    match decode_known_version(version, payload) {
        Ok(event) => Ok(event),
        Err(fault) => Err(malformed(E::DESCRIPTOR, version, fault)),
    }
}

/// The payload as an `E`, once it is known that `E` reads this version.
pub(crate) fn decode_known_version<E: DomainEvent>(
    version: u32,
    payload: &[u8],
) -> Result<E, UpcastFault> {
    if version != E::VERSION {
        return E::decode_older(version, payload);
    }
    match serde_json::from_str(as_text(payload)?) {
        Ok(event) => Ok(event),
        Err(source) => Err(UpcastFault::in_payload(payload, source)),
    }
}

/// The answer for an event that is none of those asked for.
pub(crate) fn not_listed(event_type: &str) -> DecodeError {
    DecodeError::UnknownEventType {
        event_type: event_type.to_owned(),
        wanted: None,
    }
}

/// The answer for a version that the event does not read.
fn refused(event: &EventDescriptor, version: u32) -> Option<DecodeError> {
    let EventDescriptor {
        schema,
        version: newest,
        oldest,
        ..
    } = *event;
    if version > newest {
        Some(DecodeError::NewerVersion {
            event_type: schema,
            version,
            newest,
        })
    } else if version < oldest {
        Some(DecodeError::Retired {
            event_type: schema,
            version,
            oldest,
        })
    } else {
        None
    }
}

fn malformed(
    event: &EventDescriptor,
    version: u32,
    UpcastFault { path, source }: UpcastFault,
) -> DecodeError {
    DecodeError::Malformed {
        event_type: event.schema,
        version,
        path,
        source,
    }
}

/// The result of reading a payload that has just been written from this event.
///
/// Serde has no place for a fault in flattened fields, which it reads last.
fn reads_back(
    event: &EventDescriptor,
    read: Result<Arc<dyn AnyEvent>, DecodeError>,
) -> Result<(), DecodeError> {
    match read {
        Ok(_) => Ok(()),
        Err(DecodeError::Malformed {
            event_type,
            version,
            path: None,
            source,
        }) => {
            let path = event
                .fields
                .iter()
                .find(|field| field.is_flattened)
                .map(|field| field.name.to_owned());
            Err(DecodeError::Malformed {
                event_type,
                version,
                path,
                source,
            })
        }
        Err(other) => Err(other),
    }
}
