//! The payload of a raised event, and the integration events that are made from it.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::FlushError;
use crate::envelope::Envelope;
use crate::event::{AnyEvent, EventDescriptor, EventKind};
use crate::integration::{self, Mapping};
use crate::pending::{Content, RaisedEvent};

/// The integration event of a domain event, with what other contexts may know of it. It says itself
/// where it goes.
pub(super) fn integration_event(
    mapping: &Mapping,
    event: &RaisedEvent,
    source: &Envelope,
) -> Result<Envelope, FlushError> {
    let EventDescriptor {
        schema, version, ..
    } = *mapping.event;
    let domain_event = event.event().expect("a mapping is that of a typed event");
    let made = mapping
        .make(&**domain_event)
        .map_err(|panic| FlushError::Unmappable {
            event_type: event.event_type().into_owned(),
            raised_at: event.raised_at,
            integration_event: schema,
            version,
            rust_name: mapping.event.rust_name,
            panic,
        })?;
    let mut envelope = Envelope::with_id(
        integration::event_id(source.event_id, schema, version),
        schema,
        version,
        source.occurred_at,
        payload(&*made, event)?,
    );
    envelope.kind = EventKind::Integration;
    envelope.aggregate_type = source.aggregate_type.clone();
    envelope.aggregate_id = source.aggregate_id.clone();
    envelope.sequence = source.sequence;
    envelope.tenant_id = source.tenant_id.clone();
    envelope.headers = source.headers.clone();
    envelope.topic = mapping.event.topic.map(str::to_owned);
    envelope.routing_key = mapping.event.routing_key.map(str::to_owned);
    Ok(envelope)
}

/// The event type, the version and the payload of an event.
pub(super) fn content(event: &RaisedEvent) -> Result<(Cow<'static, str>, u32, Bytes), FlushError> {
    match &event.content {
        Content::Typed(typed) => {
            let payload = payload(&**typed, event)?;
            let descriptor = typed.descriptor();
            Ok((
                Cow::Borrowed(descriptor.schema),
                descriptor.version,
                payload,
            ))
        }
        Content::Raw { topic, payload } => Ok((Cow::Owned(topic.clone()), 0, payload.clone())),
    }
}

/// The payload of an event that was raised, or made from one that was.
fn payload(event: &dyn AnyEvent, raised: &RaisedEvent) -> Result<Bytes, FlushError> {
    let (event_type, raised_at) = (event.descriptor().schema, raised.raised_at);
    let mut payload = Vec::with_capacity(256);
    event
        .encode(&mut payload)
        .map_err(|source| FlushError::Unserialisable {
            event_type: event_type.to_owned(),
            raised_at,
            source,
        })?;
    if cfg!(debug_assertions) {
        event
            .reads_back(&payload)
            .map_err(|source| FlushError::Unreadable {
                event_type: event_type.to_owned(),
                raised_at,
                source: Box::new(source),
            })?;
    }
    Ok(payload.into())
}
