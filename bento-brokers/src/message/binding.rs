//! The differences between brokers: the names and the encoding of an event's own facts.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

/// The way in which a protocol carries the facts of an event.
///
/// | binding | attributes | data's content type | texts of the facts |
/// |---|---|---|---|
/// | [`HTTP`](Self::HTTP) | `ce-…` | `content-type` | printable ASCII |
/// | [`NATS`](Self::NATS) | `ce-…` | `ce-datacontenttype` | printable ASCII |
/// | [`KAFKA`](Self::KAFKA) | `ce_…` | `content-type` | any |
/// | [`AMQP`](Self::AMQP) | `cloudEvents_…` | the property content-type | any |
/// | [`REDIS`](Self::REDIS) | `ce-…` | `content-type` | any |
///
/// A binding of printable ASCII percent-encodes Bento's own facts as the HTTP binding of
/// CloudEvents says: everything but `!` to `~`, and `"` and `%`.
///
/// The application's own headers do not depend on the binding. A value of printable ASCII without
/// spaces at its ends travels as it is; any other one as
/// [`encode_header`](bento_core::metadata::encode_header) writes it, under the name with a `*`
/// behind it, and is read by [`decode_header`](bento_core::metadata::decode_header). What
/// [`check_header`](bento_core::metadata::check_header) refuses is refused by the flush already,
/// and here once more.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The names of the attributes, in the order of [`Attribute`].
    pub(super) attributes: [&'static str; Attribute::COUNT],
    /// True if the data's content type is an attribute like any other.
    pub(super) content_type_is_an_attribute: bool,
    /// True if a header holds printable ASCII only.
    ascii: bool,
    /// The names of headers that the transport adds to a message, and the beginnings of such names,
    /// which end with `-`.
    of_the_transport: &'static [&'static str],
}

/// The attributes of an event, with their names in CloudEvents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    SchemaVersion,
    AggregateType,
    AggregateSequence,
    Tenant,
    CorrelationId,
    CausationId,
    Actor,
    PartitionKey,
    ContentEncoding,
    KeyId,
    TraceParent,
    TraceState,
}

impl Attribute {
    const COUNT: usize = Self::TraceState as usize + 1;
}

macro_rules! attributes {
    ($prefix:literal) => {
        [
            concat!($prefix, "specversion"),
            concat!($prefix, "id"),
            concat!($prefix, "source"),
            concat!($prefix, "type"),
            concat!($prefix, "subject"),
            concat!($prefix, "time"),
            concat!($prefix, "datacontenttype"),
            concat!($prefix, "schemaversion"),
            concat!($prefix, "aggregatetype"),
            concat!($prefix, "aggregatesequence"),
            concat!($prefix, "tenantid"),
            concat!($prefix, "correlationid"),
            concat!($prefix, "causationid"),
            concat!($prefix, "actor"),
            concat!($prefix, "partitionkey"),
            concat!($prefix, "contentencoding"),
            concat!($prefix, "keyid"),
            concat!($prefix, "traceparent"),
            concat!($prefix, "tracestate"),
        ]
    };
}

impl Binding {
    /// HTTP.
    pub const HTTP: Self = Self {
        attributes: attributes!("ce-"),
        content_type_is_an_attribute: false,
        ascii: true,
        of_the_transport: &[
            "accept",
            "accept-",
            "cache-control",
            "content-",
            "date",
            "forwarded",
            "origin",
            "referer",
            "user-agent",
            "via",
            "x-forwarded-",
        ],
    };

    /// NATS.
    pub const NATS: Self = Self {
        content_type_is_an_attribute: true,
        of_the_transport: &[],
        ..Self::HTTP
    };

    /// Kafka.
    pub const KAFKA: Self = Self {
        attributes: attributes!("ce_"),
        content_type_is_an_attribute: false,
        ascii: false,
        // As a source names the key of a message.
        of_the_transport: &["kafka-key"],
    };

    /// AMQP 1.0 and 0.9.1.
    pub const AMQP: Self = Self {
        attributes: attributes!("cloudEvents_"),
        of_the_transport: &[
            "amqp-",
            "x-acquired-count",
            "x-death",
            "x-delivery-count",
            "x-first-death-",
            "x-last-death-",
        ],
        ..Self::KAFKA
    };

    /// Redis Streams, for which CloudEvents has no binding: each header is a field of the entry.
    pub const REDIS: Self = Self {
        attributes: attributes!("ce-"),
        ..Self::KAFKA
    };

    /// The names of the attributes in CloudEvents, in the order of [`Attribute`].
    pub(super) const ATTRIBUTES: [&'static str; Attribute::COUNT] = attributes!("");

    /// The attribute that a header holds, by its name in CloudEvents.
    pub(super) fn attribute(&self, header: &str) -> Option<&'static str> {
        let position = self
            .attributes
            .iter()
            .position(|name| name.eq_ignore_ascii_case(header))?;
        Some(Self::ATTRIBUTES[position])
    }

    /// True if a header says something about the transport of a message and nothing about its
    /// event.
    pub(super) fn is_of_the_transport(&self, header: &str) -> bool {
        self.of_the_transport
            .iter()
            .any(|name| match name.strip_suffix('-') {
                Some(_) => header
                    .get(..name.len())
                    .is_some_and(|beginning| beginning.eq_ignore_ascii_case(name)),
                None => header.eq_ignore_ascii_case(name),
            })
    }

    /// A fact of an event as it was before a header held it. A text in double quotes is unquoted,
    /// as the HTTP binding of CloudEvents says.
    pub(super) fn decode<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if !self.ascii || !text.contains(['%', '"']) {
            return text;
        }
        let unquoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let text = unquoted.map_or_else(|| text.to_string(), unescaped);
        Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
    }

    /// A fact of Bento's own as a header can hold it.
    pub(crate) fn encode<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        if !self.ascii || text.bytes().all(is_plain) {
            return text;
        }
        let mut encoded = String::with_capacity(text.len() + 8);
        for byte in text.bytes() {
            if is_plain(byte) {
                encoded.push(char::from(byte));
            } else {
                write!(encoded, "%{byte:02X}").expect("a String takes every text");
            }
        }
        Cow::Owned(encoded)
    }
}

/// The text between quotes: what follows a backslash stands for itself.
fn unescaped(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' {
            characters.next()
        } else {
            Some(character)
        });
    }
    text
}

/// True if the HTTP binding of CloudEvents leaves this byte as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'%'
}
