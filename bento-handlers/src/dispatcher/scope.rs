//! The metadata in which a handler runs.

use std::collections::BTreeMap;

use bento_core::Envelope;
use bento_core::metadata::{HOPS, Headers, Metadata};
use bento_core::trace::TraceContext;
use tracing::Span;

use crate::error::HandleError;

/// The most handlers in a chain. Beyond it an event is a dead letter: two handlers that raise each
/// other's events would go on for ever.
const MOST_HOPS: u32 = 32;

/// The metadata of what a handler raises for an event: the tenant, the correlation and the trace go
/// on, and the event is the cause.
///
/// # Errors
/// A permanent failure if the headers cannot be read, or the event has passed too many handlers.
pub(super) fn metadata_of(envelope: &Envelope) -> Result<Metadata, HandleError> {
    let headers = headers_of(envelope)?;
    let hops = next_hop(&headers)?;
    let id = envelope.event_id.to_string();
    let correlation = headers.correlation_id.unwrap_or_else(|| id.clone());
    let metadata = Metadata::default()
        .with_causation(id)
        .with_correlation(correlation)
        .with_header(HOPS, hops.to_string());
    let metadata = with_trace(metadata, &headers.extra);
    Ok(match &envelope.tenant_id {
        Some(tenant) => metadata.with_tenant(tenant.as_str()),
        None => metadata,
    })
}

/// The number of handlers in the chain of what is raised for an event.
///
/// # Errors
/// As [`metadata_of`].
pub(super) fn hops_of(envelope: &Envelope) -> Result<u32, HandleError> {
    let mut names = envelope.headers.windows(HOPS.len());
    // Most events were not raised by a handler, and their headers need not be read.
    match names.any(|name| name == HOPS.as_bytes()) {
        true => next_hop(&headers_of(envelope)?),
        false => Ok(1),
    }
}

fn headers_of(envelope: &Envelope) -> Result<Headers, HandleError> {
    envelope.headers().map_err(|error| {
        HandleError::permanent("the headers of the event cannot be read").because(error)
    })
}

fn next_hop(headers: &Headers) -> Result<u32, HandleError> {
    let hops = headers.extra.get(HOPS).and_then(|hops| hops.parse().ok());
    let hops = hops.unwrap_or(0u32).saturating_add(1);
    if hops > MOST_HOPS {
        return Err(HandleError::permanent(format!(
            "causation_loop: the event has passed {MOST_HOPS} handlers that each raised the next: \
             two of them probably raise each other's events"
        )));
    }
    Ok(hops)
}

/// The metadata of what is raised for several events: their tenant, if they have one together.
pub(super) fn metadata_of_all<'a>(mut envelopes: impl Iterator<Item = &'a Envelope>) -> Metadata {
    let first = envelopes
        .next()
        .and_then(|first| first.tenant_id.as_deref());
    match first {
        Some(first) if envelopes.all(|other| other.tenant_id.as_deref() == Some(first)) => {
            Metadata::default().with_tenant(first)
        }
        _ => Metadata::default(),
    }
}

/// Hands the trace of the event on, unless the span of the call has one that continues it.
fn with_trace(metadata: Metadata, headers: &BTreeMap<String, String>) -> Metadata {
    if TraceContext::of(&Span::current()).is_some() {
        return metadata;
    }
    let of_trace = |(name, _): &(&String, &String)| {
        ["traceparent", "tracestate"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let headers = headers.iter().filter(of_trace);
    headers.fold(metadata, |metadata, (name, value)| {
        metadata.with_header(name, value)
    })
}
