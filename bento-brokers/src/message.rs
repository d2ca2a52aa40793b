//! The wire format of a delivery: CloudEvents in binary or structured mode, or plain JSON.
//!
//! | format | body | headers |
//! |---|---|---|
//! | [`Binary`](Format::Binary) | the payload | every fact as a CloudEvents attribute, named as the protocol's [`Binding`] says |
//! | [`Structured`](Format::Structured) | a JSON object with all attributes, and the payload as `data` | – |
//! | [`Plain`](Format::Plain) | the payload | every fact as `bento-…` |
//!
//! In each of them `bento-route`, the name of the destination, and the application's own headers
//! (`traceparent` and `tracestate` among them) are headers as well, so that a consumer, a filter or
//! a tracing library need not know the format. Every other fact has one name in a message: an
//! attribute in the first two, a header in the third.
//!
//! An own header whose value is not printable ASCII, or has spaces at its ends, is encoded, the
//! same on every broker: `x-user-name: Zoë` travels as `x-user-name*: UTF-8''Zo%C3%AB`, and
//! [`decode_header`](bento_core::metadata::decode_header) reads it.
//!
//! [`Incoming`] reads the event of a message, whichever format it has.
//!
//! The attributes of CloudEvents 1.0 are `id` (the event id), `source` (the metadata's, else
//! [`MessageSettings::source`]), `type` (the event type, with its version if the destination wants
//! that), `subject` (the aggregate's id), `time` (when the event was raised) and `datacontenttype`.
//! Extensions: `schemaversion`, `aggregatetype`, `aggregatesequence`, `tenantid`, `correlationid`,
//! `causationid`, `actor`, `partitionkey`, `contentencoding`, `keyid`, and of the Distributed
//! Tracing extension `traceparent` and `tracestate`. A fact that an event does not have is left
//! out.
//!
//! `aggregatesequence` is the number of the event in its aggregate, a decimal number without
//! padding, for aggregates with a field marked `#[aggregate(version)]`: `docs/guarantees.md` says
//! what a consumer may conclude from it. It is not the `sequence` of the extension of that name,
//! which counts within a `source`.
//!
//! Decision: docs/decisions/0033-a-sequence-is-of-its-aggregate.md
//!
//! The payload is never parsed into values, so no number is rounded. It is JSON,
//! `application/json`, unless it has a content encoding or was enqueued as bytes that are not JSON:
//! then it is `application/octet-stream`, and `data_base64` in structured mode.
//!
//! ```
//! use std::sync::Arc;
//! use bento_core::Envelope;
//! use bento_relay::publish::{Delivery, Destination};
//! use bento_brokers::message::{Binding, Format, MessageSettings};
//!
//! # let now = "2026-05-04T03:02:01Z".parse()?;
//! let event = Envelope::new("order.created", 2, now, r#"{"total":1.10}"#);
//! let delivery = Delivery::new(Arc::new(event), Destination::default());
//! let message = MessageSettings::default().message(&delivery, &Binding::KAFKA)?;
//! assert_eq!(message.header("ce_type"), Some("order.created"));
//! assert_eq!(message.body, r#"{"total":1.10}"#);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;

use bento_core::metadata::{Headers, check_header, encode_header};
use bento_relay::publish::{Delivery, PublishError};
use bytes::Bytes;
use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

mod binding;
mod incoming;
mod mapping;
mod reading;
mod source;
mod structured;
#[cfg(test)]
mod tests;

use self::binding::Attribute;
pub use self::binding::Binding;
pub use self::incoming::{Incoming, IncomingError};
pub use self::mapping::{Arrived, MappingError};
pub use self::reading::Reading;
#[cfg(feature = "http")]
pub(crate) use self::reading::unreadable;
pub use self::source::{EmptySource, Source};

/// The form of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// CloudEvents 1.0, binary content mode.
    #[default]
    Binary,
    /// CloudEvents 1.0, structured content mode.
    Structured,
    /// The payload alone, with the other facts in headers.
    Plain,
}

/// The settings of messages, the same for every broker.
///
/// ```
/// use bento_brokers::message::{Format, MessageSettings, Source};
///
/// let settings = MessageSettings { format: Format::Structured, source: Source::new("/shop")? };
/// # Ok::<_, bento_brokers::message::EmptySource>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessageSettings {
    /// The form of a message; `binary` by default.
    pub format: Format,
    /// The source of events whose metadata names none; `/bento` by default.
    pub source: Source,
}

/// A header's name and value.
pub type Header<'a> = (Cow<'static, str>, Cow<'a, str>);

/// A message as it is sent: a body with its content type, and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The headers without the content type. A name occurs once, unless the application's own
    /// differ in case alone.
    pub headers: Vec<Header<'a>>,
    /// The body's content type, if the binding does not say it in an attribute.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl Message<'_> {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| &**value)
    }

    /// The bytes of the body and of all names and values.
    pub fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        headers + self.content_type.map_or(0, str::len) + self.body.len()
    }
}

/// Room for all facts of most events. A list of more than 1 KiB is slow to allocate with glibc.
const USUAL_HEADERS: usize = 20;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
pub(crate) const CLOUD_EVENT: &str = "application/cloudevents+json";

impl MessageSettings {
    /// The message for a delivery.
    ///
    /// # Errors
    /// A permanent failure when the event has no event type, when its stored headers are not a JSON
    /// object of texts, or when one of them is one that not every broker carries. The event stays
    /// whole: it becomes a dead letter that says why, and whose headers an operator can
    /// [amend](bento_relay::dead_letter::DeadLetters::amend).
    pub fn message<'a>(
        &self,
        delivery: &'a Delivery,
        binding: &Binding,
    ) -> Result<Message<'a>, PublishError> {
        let headers = delivery.envelope.headers().map_err(|error| {
            PublishError::permanent(
                "the stored headers of the event are not a JSON object of texts",
            )
            .because(error)
        })?;
        let Headers {
            correlation_id,
            causation_id,
            source,
            actor,
            extra,
            ..
        } = headers;
        let facts = Facts {
            source: match source.filter(|source| !source.is_empty()) {
                Some(source) => Cow::Owned(source::uri_reference(&source).into_owned()),
                None => Cow::Owned(self.source.as_str().to_owned()),
            },
            correlation_id,
            causation_id,
            actor,
            trace_parent: extra.get("traceparent").cloned(),
            trace_state: extra.get("tracestate").cloned(),
            ..Facts::of(delivery)?
        };
        let mut message = match self.format {
            Format::Binary => facts.binary(delivery, binding),
            Format::Structured => facts.structured(delivery, binding),
            Format::Plain => facts.plain(delivery, binding),
        };
        for (name, value) in extra {
            check_header(&name, &value)
                .map_err(|refused| PublishError::permanent(refused.to_string()))?;
            let (name, value) = encode_header(name, value);
            message.headers.push((header_name(name), Cow::Owned(value)));
        }
        Ok(message)
    }
}

/// Everything that a message says about its event.
struct Facts<'a> {
    id: String,
    source: Cow<'a, str>,
    event_type: Cow<'a, str>,
    subject: &'a str,
    time: Option<String>,
    /// Empty for bytes without a event type.
    schema_version: Option<u32>,
    aggregate_type: &'a str,
    sequence: Option<String>,
    tenant: Option<&'a str>,
    partition_key: &'a str,
    content_encoding: Option<&'a str>,
    key_id: Option<&'a str>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    actor: Option<String>,
    trace_parent: Option<String>,
    trace_state: Option<String>,
}

impl<'a> Facts<'a> {
    /// The facts in the columns; the rest is empty.
    fn of(delivery: &'a Delivery) -> Result<Self, PublishError> {
        let envelope = &*delivery.envelope;
        if envelope.event_type.is_empty() {
            return Err(PublishError::permanent(
                "the event has no event type, which a message must name",
            ));
        }
        Ok(Self {
            id: envelope.event_id.to_string(),
            source: Cow::Borrowed(""),
            event_type: delivery.event_type(),
            subject: &envelope.aggregate_id,
            time: rfc3339(envelope.occurred_at),
            schema_version: Some(envelope.schema_version).filter(|&version| version > 0),
            aggregate_type: &envelope.aggregate_type,
            sequence: envelope.sequence.map(|sequence| sequence.to_string()),
            tenant: envelope.tenant_id.as_deref(),
            partition_key: delivery.partition_key(),
            content_encoding: envelope.content_encoding.as_deref(),
            key_id: envelope.key_id.as_deref(),
            correlation_id: None,
            causation_id: None,
            actor: None,
            trace_parent: None,
            trace_state: None,
        })
    }

    fn binary(self, delivery: &'a Delivery, binding: &Binding) -> Message<'a> {
        let content_type = content_type(delivery);
        let mut list = shared_headers(delivery, binding);
        let mut put = |attribute: Attribute, value: Cow<'a, str>| {
            if !value.is_empty() {
                list.push((
                    Cow::Borrowed(binding.attributes[attribute as usize]),
                    binding.encode(value),
                ));
            }
        };
        put(Attribute::SpecVersion, "1.0".into());
        put(Attribute::Id, self.id.into());
        put(Attribute::Source, self.source);
        put(Attribute::Type, self.event_type);
        put(Attribute::Subject, self.subject.into());
        put(Attribute::Time, text(self.time));
        if binding.content_type_is_an_attribute {
            put(Attribute::DataContentType, content_type.into());
        }
        put(
            Attribute::SchemaVersion,
            text(self.schema_version.map(|version| version.to_string())),
        );
        put(Attribute::AggregateType, self.aggregate_type.into());
        put(Attribute::AggregateSequence, text(self.sequence));
        put(Attribute::Tenant, self.tenant.unwrap_or_default().into());
        put(Attribute::CorrelationId, text(self.correlation_id));
        put(Attribute::CausationId, text(self.causation_id));
        put(Attribute::Actor, text(self.actor));
        put(Attribute::PartitionKey, self.partition_key.into());
        put(
            Attribute::ContentEncoding,
            self.content_encoding.unwrap_or_default().into(),
        );
        put(Attribute::KeyId, self.key_id.unwrap_or_default().into());
        put(Attribute::TraceParent, text(self.trace_parent));
        put(Attribute::TraceState, text(self.trace_state));
        let content_type = (!binding.content_type_is_an_attribute).then_some(content_type);
        Message {
            headers: list,
            content_type,
            body: delivery.envelope.payload.clone(),
        }
    }

    fn structured(self, delivery: &'a Delivery, binding: &Binding) -> Message<'a> {
        let headers = shared_headers(delivery, binding);
        let body = structured::body(&self, &delivery.envelope);
        Message {
            headers,
            content_type: Some(CLOUD_EVENT),
            body,
        }
    }

    fn plain(self, delivery: &'a Delivery, binding: &Binding) -> Message<'a> {
        let mut list = shared_headers(delivery, binding);
        let mut put = |name: &'static str, value: Cow<'a, str>| {
            if !value.is_empty() {
                list.push((Cow::Borrowed(name), binding.encode(value)));
            }
        };
        put("bento-event-id", self.id.into());
        put("bento-source", self.source);
        put("bento-event-type", self.event_type);
        put(
            "bento-schema-version",
            text(self.schema_version.map(|version| version.to_string())),
        );
        put("bento-aggregate-type", self.aggregate_type.into());
        put("bento-aggregate-id", self.subject.into());
        put("bento-aggregate-sequence", text(self.sequence));
        put("bento-occurred-at", text(self.time));
        put("bento-tenant-id", self.tenant.unwrap_or_default().into());
        put("bento-correlation-id", text(self.correlation_id));
        put("bento-causation-id", text(self.causation_id));
        put("bento-actor", text(self.actor));
        put("bento-partition-key", self.partition_key.into());
        put(
            "bento-content-encoding",
            self.content_encoding.unwrap_or_default().into(),
        );
        put("bento-key-id", self.key_id.unwrap_or_default().into());
        Message {
            headers: list,
            content_type: Some(content_type(delivery)),
            body: delivery.envelope.payload.clone(),
        }
    }
}

/// The headers that are there in every format, in a list with room for the others.
fn shared_headers<'a>(delivery: &'a Delivery, binding: &Binding) -> Vec<Header<'a>> {
    let mut list = Vec::with_capacity(USUAL_HEADERS);
    list.push((
        "bento-route".into(),
        binding.encode(Cow::Borrowed(&*delivery.destination.name)),
    ));
    list
}

/// The names that nearly every traced event has are not copied again.
fn header_name(name: String) -> Cow<'static, str> {
    match &*name {
        "traceparent" => Cow::Borrowed("traceparent"),
        "tracestate" => Cow::Borrowed("tracestate"),
        _ => Cow::Owned(name),
    }
}

fn text<'a>(text: Option<String>) -> Cow<'a, str> {
    text.map_or(Cow::Borrowed(""), Cow::Owned)
}

/// The content type of the payload. Only bytes that were enqueued without a Rust type are looked
/// at; an event is JSON by construction.
fn content_type(delivery: &Delivery) -> &'static str {
    let envelope = &*delivery.envelope;
    let is_json = envelope.content_encoding.is_none()
        && (envelope.schema_version > 0
            || serde_json::from_slice::<&RawValue>(&envelope.payload).is_ok());
    if is_json { JSON } else { BYTES }
}

/// The time as RFC 3339 has it, which ends with the year 9999.
fn rfc3339(time: DateTime<Utc>) -> Option<String> {
    (0..=9999)
        .contains(&time.year())
        .then(|| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
