//! The inverse of a message: the event that it carries.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bento_core::metadata::{check_header, decode_header};
use bento_core::{Envelope, EventId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Binding, CLOUD_EVENT};

/// A message as it was received, of which the [event](Self::envelope) is read.
///
/// ```
/// use bento_brokers::message::{Binding, Incoming};
/// use chrono::Utc;
///
/// let headers = [
///     ("ce-specversion", "1.0"),
///     ("ce-id", "018f0000-0000-7000-8000-000000000001"),
///     ("ce-source", "/shop"),
///     ("ce-type", "order.created"),
///     ("ce-schemaversion", "2"),
///     ("x-user-name*", "UTF-8''Zo%C3%AB"),
/// ];
/// let message = Incoming::new(r#"{"total":1.10}"#, Utc::now()).with_headers(headers);
/// let event = message.envelope(&Binding::NATS)?;
/// assert_eq!((&*event.event_type, event.schema_version), ("order.created", 2));
/// assert_eq!(event.headers()?.extra["x-user-name"], "Zoë");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Incoming<'m> {
    headers: Vec<(&'m str, &'m str)>,
    content_type: Option<&'m str>,
    body: Bytes,
    received_at: DateTime<Utc>,
    /// The source that received it.
    source: Option<&'m str>,
}

/// A message that carries no event which can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncomingError {
    /// Nothing says that the message is an event.
    #[error(
        "the message is not an event: it has neither the attributes of a CloudEvent nor \
         `bento-event-id`"
    )]
    NoEvent,
    /// The event lacks what every event has.
    #[error("the event has no `{attribute}`")]
    Missing {
        /// The name of the attribute in CloudEvents.
        attribute: &'static str,
    },
    /// The event describes itself in another form.
    #[error("`{attribute}` of the event is `{}`: expected {expected}", value.escape_debug())]
    Invalid {
        /// The name of the attribute in CloudEvents.
        attribute: &'static str,
        /// Its value.
        value: String,
        /// The form that it should have.
        expected: &'static str,
    },
    /// The body says that it is a CloudEvent in JSON, and is none.
    #[error("the body is not a CloudEvent in JSON")]
    Body(#[source] serde_json::Error),
}

impl<'m> Incoming<'m> {
    /// A message with this body and no headers. `received_at` is the time of an event that says
    /// none.
    pub fn new(body: impl Into<Bytes>, received_at: DateTime<Utc>) -> Self {
        Self {
            headers: Vec::new(),
            content_type: None,
            body: body.into(),
            received_at,
            source: None,
        }
    }

    /// Received by the source of this name. An id then counts as it is only if the message is one
    /// of Bento's and the id a UUID; any other id becomes a UUIDv5 of this name, the CloudEvent's
    /// source and the id, so that two services that count from 1 do not meet.
    #[must_use]
    pub fn of_source(self, name: &'m str) -> Self {
        Self {
            source: Some(name),
            ..self
        }
    }

    /// With these headers, names and values.
    #[must_use]
    pub fn with_headers(self, headers: impl IntoIterator<Item = (&'m str, &'m str)>) -> Self {
        Self {
            headers: headers.into_iter().collect(),
            ..self
        }
    }

    /// With a content type that does not stand among the headers, as in AMQP.
    #[must_use]
    pub fn with_content_type(self, content_type: &'m str) -> Self {
        Self {
            content_type: Some(content_type),
            ..self
        }
    }

    /// Reads the event, in whichever [format](super::Format) it is: the inverse of
    /// [`MessageSettings::message`](super::MessageSettings::message).
    ///
    /// An id that is not a UUID becomes a UUIDv5 of the source and the id, so that it is the same
    /// each time. What a message does not carry is empty: topic, routing key, and what the event
    /// said about its routing. Headers that an event cannot have are left out, those of the
    /// connection among them, and so are extensions of CloudEvents that Bento does not know.
    ///
    /// # Errors
    /// [`IncomingError`]: the message is to be kept for an operator, because it will not be an
    /// event the next time either.
    pub fn envelope(&self, binding: &Binding) -> Result<Envelope, IncomingError> {
        let content_type = self
            .content_type
            .or_else(|| self.header("content-type"))
            .unwrap_or_default();
        if is_structured(content_type) {
            let (facts, payload) = structured(&self.body)?;
            return self.event(&facts, payload, binding);
        }
        let of_cloud_event: Facts<'_> = self.facts(|name| binding.attribute(name));
        if of_cloud_event.contains_key("specversion") {
            let decoded = of_cloud_event
                .into_iter()
                .map(|(name, value)| (name, binding.decode(value)));
            return self.event(&decoded.collect(), self.body.clone(), binding);
        }
        let plain = self.facts(|name| {
            let known = PLAIN.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
            known.map(|(_, attribute)| *attribute)
        });
        if plain.contains_key("id") {
            let decoded = plain
                .into_iter()
                .map(|(name, value)| (name, binding.decode(value)));
            return self.event(&decoded.collect(), self.body.clone(), binding);
        }
        Err(IncomingError::NoEvent)
    }

    /// The value of a header, the first if there are several.
    fn header(&self, name: &str) -> Option<&'m str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The headers that are facts of the event, by the names of CloudEvents.
    fn facts(&self, attribute: impl Fn(&str) -> Option<&'static str>) -> Facts<'m> {
        let facts = self.headers.iter().rev();
        facts
            .filter_map(|(name, value)| Some((attribute(name)?, Cow::Borrowed(*value))))
            .collect()
    }

    fn event(
        &self,
        facts: &Facts<'_>,
        payload: Bytes,
        binding: &Binding,
    ) -> Result<Envelope, IncomingError> {
        let get = |name: &'static str| {
            facts
                .get(name)
                .map(|value| &**value)
                .filter(|value| !value.is_empty())
        };
        let missing = |attribute| IncomingError::Missing { attribute };
        let id = self.event_id(
            get("id").ok_or_else(|| missing("id"))?,
            get("source").unwrap_or_default(),
        );
        let event_type = get("type").ok_or_else(|| missing("type"))?;
        let version = number::<u32>("schemaversion", get("schemaversion"))?.unwrap_or(0);
        let time = match get("time") {
            Some(text) => time(text)?,
            None => self.received_at,
        };
        let event_type = unversioned(event_type, version).to_owned();
        let mut event = Envelope::with_id(id, event_type, version, time, payload);
        let owned = |name| get(name).map(str::to_owned);
        event.aggregate_type = Cow::Owned(owned("aggregatetype").unwrap_or_default());
        event.aggregate_id = owned("subject").unwrap_or_default();
        event.sequence = number("aggregatesequence", get("aggregatesequence"))?;
        event.tenant_id = owned("tenantid");
        event.content_encoding = owned("contentencoding");
        event.key_id = owned("keyid");
        event.headers = self.stored_headers(facts, binding);
        Ok(event)
    }

    /// The id of the event: the one in the message, or one that is derived from it.
    fn event_id(&self, id: &str, origin: &str) -> EventId {
        let may_be_known = self.source.is_none() || self.header("bento-route").is_some();
        let own = Uuid::parse_str(id).ok().filter(|_| may_be_known);
        let derived = || match self.source {
            Some(source) => foreign_id(source, origin, id),
            None => derived_id(&Uuid::NAMESPACE_URL, &[origin, id]),
        };
        own.map_or_else(derived, EventId::from)
    }

    /// The headers as an event stores them.
    fn stored_headers(&self, facts: &Facts<'_>, binding: &Binding) -> Bytes {
        let mut stored: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
        for (name, attribute) in [
            ("correlation_id", "correlationid"),
            ("causation_id", "causationid"),
            ("source", "source"),
            ("actor", "actor"),
            ("traceparent", "traceparent"),
            ("tracestate", "tracestate"),
        ] {
            if let Some(value) = facts.get(attribute).filter(|value| !value.is_empty()) {
                stored.insert(name, value.clone());
            }
        }
        for (name, value) in self.headers.iter().rev() {
            if let Ok((name, value)) = decode_header(name, value)
                && !binding.is_of_the_transport(name)
                && check_header(name, &value).is_ok()
            {
                stored.insert(name, value);
            }
        }
        match stored.is_empty() {
            true => Bytes::new(),
            false => serde_json::to_vec(&stored).expect("texts are JSON").into(),
        }
    }
}

/// The facts that a message states about its event, by the names of CloudEvents.
type Facts<'m> = BTreeMap<&'static str, Cow<'m, str>>;

/// The headers of the plain format, and the attributes that say the same.
const PLAIN: [(&str, &str); 15] = [
    ("bento-event-id", "id"),
    ("bento-source", "source"),
    ("bento-event-type", "type"),
    ("bento-schema-version", "schemaversion"),
    ("bento-aggregate-type", "aggregatetype"),
    ("bento-aggregate-id", "subject"),
    ("bento-aggregate-sequence", "aggregatesequence"),
    ("bento-occurred-at", "time"),
    ("bento-tenant-id", "tenantid"),
    ("bento-correlation-id", "correlationid"),
    ("bento-causation-id", "causationid"),
    ("bento-actor", "actor"),
    ("bento-partition-key", "partitionkey"),
    ("bento-content-encoding", "contentencoding"),
    ("bento-key-id", "keyid"),
];

fn is_structured(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case(CLOUD_EVENT)
}

/// The attributes and the payload of a CloudEvent in JSON.
fn structured(body: &[u8]) -> Result<(Facts<'static>, Bytes), IncomingError> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(body).map_err(IncomingError::Body)?;
    let mut facts = Facts::new();
    for name in Binding::ATTRIBUTES {
        let Some(value) = members.get(name) else {
            continue;
        };
        // Texts, numbers and booleans; whatever else there is cannot be an attribute.
        let text =
            serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned());
        if text != "null" || value.get() != "null" {
            facts.insert(name, Cow::Owned(text));
        }
    }
    let payload = match (members.get("data_base64"), members.get("data")) {
        (Some(encoded), _) => {
            let text =
                serde_json::from_str::<Cow<'_, str>>(encoded.get()).map_err(IncomingError::Body)?;
            let decoded = STANDARD
                .decode(&*text)
                .map_err(|_| IncomingError::Invalid {
                    attribute: "data_base64",
                    value: text.chars().take(40).collect(),
                    expected: "base64",
                })?;
            decoded.into()
        }
        (None, Some(json))
            if is_json(
                facts
                    .get("datacontenttype")
                    .map(|content_type| &**content_type),
            ) =>
        {
            Bytes::copy_from_slice(json.get().as_bytes())
        }
        // The text of another content type stands in a JSON string.
        (None, Some(json)) => match serde_json::from_str::<String>(json.get()) {
            Ok(text) => text.into(),
            Err(_) => Bytes::copy_from_slice(json.get().as_bytes()),
        },
        (None, None) => Bytes::new(),
    };
    Ok((facts, payload))
}

fn is_json(content_type: Option<&str>) -> bool {
    let media_type = content_type
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

/// The id of a foreign event: a UUIDv5 of the names of the source that received it and of the
/// service that raised it, and of its id there.
pub(super) fn foreign_id(source: &str, origin: &str, id: &str) -> EventId {
    derived_id(&Uuid::NAMESPACE_OID, &[source, origin, id])
}

/// A UUIDv5 of texts, each within the one before it.
pub(super) fn derived_id(namespace: &Uuid, texts: &[&str]) -> EventId {
    let within = |space, text: &&str| Uuid::new_v5(&space, text.as_bytes());
    texts.iter().fold(*namespace, within).into()
}

/// The event type without the version that a destination may have put behind it.
fn unversioned(event_type: &str, version: u32) -> &str {
    let own = (version > 0)
        .then(|| event_type.strip_suffix(&format!(".v{version}")))
        .flatten();
    own.filter(|own| !own.is_empty()).unwrap_or(event_type)
}

fn number<T: std::str::FromStr>(
    attribute: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, IncomingError> {
    let invalid = |value: &str| IncomingError::Invalid {
        attribute,
        value: value.to_owned(),
        expected: "a number",
    };
    text.map(|text| text.parse().map_err(|_| invalid(text)))
        .transpose()
}

fn time(text: &str) -> Result<DateTime<Utc>, IncomingError> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    let expected = "a time as in RFC 3339";
    time.map_err(|_| IncomingError::Invalid {
        attribute: "time",
        value: text.to_owned(),
        expected,
    })
}
