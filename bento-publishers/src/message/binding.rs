//! What tells the brokers apart: how attributes are named and which texts a header can hold.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How a protocol carries a message's attributes and headers.
///
/// | binding | attributes | data's content type | texts in headers |
/// |---|---|---|---|
/// | [`HTTP`](Self::HTTP) | `ce-…` | `content-type` | printable ASCII |
/// | [`NATS`](Self::NATS) | `ce-…` | `ce-datacontenttype` | printable ASCII |
/// | [`KAFKA`](Self::KAFKA) | `ce_…` | `content-type` | any |
/// | [`AMQP`](Self::AMQP) | `cloudEvents_…` | the property content-type | any; names up to 255 bytes |
/// | [`REDIS`](Self::REDIS) | `ce-…` | `content-type` | any |
///
/// Where only printable ASCII goes, Bento's own facts are percent-encoded as the HTTP binding of CloudEvents says: everything but `!` to
/// `~`, and `"` and `%`. The application's own headers are never changed: one that does not fit is refused.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The names of the attributes, in the order of [`Attribute`].
    pub(super) attributes: [&'static str; Attribute::COUNT],
    /// What they begin with.
    prefix: &'static str,
    /// Whether the data's content type is an attribute like any other.
    pub(super) content_type_is_an_attribute: bool,
    /// Whether a header holds printable ASCII only.
    ascii: bool,
    /// Why a header of the application cannot travel under this name, beyond what holds for every binding.
    refuses_name: fn(&str) -> Option<&'static str>,
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
    Sequence,
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
            concat!($prefix, "sequence"),
            concat!($prefix, "tenant"),
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
        prefix: "ce-",
        content_type_is_an_attribute: false,
        ascii: true,
        refuses_name: refused_by_http,
    };

    /// NATS.
    pub const NATS: Self = Self {
        content_type_is_an_attribute: true,
        refuses_name: |name| begins_with(name, "nats-").then_some("names that begin with `nats-` are the server's own"),
        ..Self::HTTP
    };

    /// Kafka.
    pub const KAFKA: Self = Self {
        attributes: attributes!("ce_"),
        prefix: "ce_",
        content_type_is_an_attribute: false,
        ascii: false,
        refuses_name: |_| None,
    };

    /// AMQP 1.0 and 0.9.1.
    pub const AMQP: Self = Self {
        attributes: attributes!("cloudEvents_"),
        prefix: "cloudEvents_",
        refuses_name: |name| (name.len() > 255).then_some("a name has 255 bytes at most"),
        ..Self::KAFKA
    };

    /// Redis Streams, for which CloudEvents has no binding: each header is a field of the entry.
    pub const REDIS: Self = Self {
        attributes: attributes!("ce-"),
        prefix: "ce-",
        refuses_name: |name| (name == "data").then_some("the field of this name holds the payload"),
        ..Self::KAFKA
    };

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

    /// Why a header of the application cannot travel.
    pub(super) fn refuses(&self, name: &str, value: &str) -> Option<&'static str> {
        if name.is_empty() {
            Some("its name is empty")
        } else if name.eq_ignore_ascii_case("content-type") {
            Some("the content type follows from the payload")
        } else if begins_with(name, self.prefix) || begins_with(name, "bento-") {
            Some("names with this beginning are those of the event's own facts")
        } else if let Some(why) = (self.refuses_name)(name) {
            Some(why)
        } else if !self.ascii {
            None
        } else if !name.bytes().all(is_token) {
            Some("its name may hold ASCII letters, digits and !#$%&'*+-.^_`|~ only")
        } else if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Some("its value may hold printable ASCII only; encode it, as base64 for instance")
        } else if value.starts_with(' ') || value.ends_with(' ') {
            Some("spaces around its value would be lost")
        } else {
            None
        }
    }
}

fn refused_by_http(name: &str) -> Option<&'static str> {
    const OF_THE_CONNECTION: [&str; 10] = [
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let is_one = OF_THE_CONNECTION.iter().any(|own| name.eq_ignore_ascii_case(own)) || begins_with(name, "proxy-");
    is_one.then_some("HTTP itself uses this name")
}

fn begins_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

/// Whether the HTTP binding of CloudEvents leaves this byte as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'%'
}

/// Whether RFC 9110 allows this byte in a header's name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
