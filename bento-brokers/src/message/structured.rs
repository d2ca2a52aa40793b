//! The JSON object of the structured mode.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bento_core::Envelope;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{BYTES, Facts, JSON};

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    time: &'a str,
    datacontenttype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemaversion: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    aggregatetype: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aggregatesequence: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tenantid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    correlationid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    causationid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    actor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    partitionkey: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    contentencoding: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    keyid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    traceparent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tracestate: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// The event as a JSON object, its payload embedded as it is.
pub(super) fn body(facts: &Facts<'_>, envelope: &Envelope) -> Bytes {
    let json = match envelope.content_encoding {
        None => serde_json::from_slice::<&RawValue>(&envelope.payload).ok(),
        Some(_) => None,
    };
    let event = CloudEvent {
        specversion: "1.0",
        id: &facts.id,
        source: &facts.source,
        event_type: &facts.event_type,
        subject: facts.subject,
        time: facts.time.as_deref().unwrap_or_default(),
        datacontenttype: if json.is_some() { JSON } else { BYTES },
        schemaversion: facts.schema_version,
        aggregatetype: facts.aggregate_type,
        aggregatesequence: facts.sequence.as_deref().unwrap_or_default(),
        tenantid: facts.tenant.unwrap_or_default(),
        correlationid: facts.correlation_id.as_deref().unwrap_or_default(),
        causationid: facts.causation_id.as_deref().unwrap_or_default(),
        actor: facts.actor.as_deref().unwrap_or_default(),
        partitionkey: facts.partition_key,
        contentencoding: facts.content_encoding.unwrap_or_default(),
        keyid: facts.key_id.unwrap_or_default(),
        traceparent: facts.trace_parent.as_deref().unwrap_or_default(),
        tracestate: facts.trace_state.as_deref().unwrap_or_default(),
        data: json,
        data_base64: json.is_none().then(|| STANDARD.encode(&envelope.payload)),
    };
    let mut bytes = Vec::with_capacity(512 + envelope.payload.len());
    serde_json::to_writer(&mut bytes, &event).expect("texts, numbers and JSON are JSON");
    bytes.into()
}
