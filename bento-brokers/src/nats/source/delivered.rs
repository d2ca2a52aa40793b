//! A message of a stream, however it came.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, Subject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bento_relay::source::Message;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::message::{Arrived, Binding, Reading};

/// A message of a stream.
pub(super) struct Delivered {
    pub(super) sequence: u64,
    pub(super) body: Bytes,
    subject: String,
    headers: Vec<(String, String)>,
    sent_at: Option<DateTime<Utc>>,
    /// False for a message that ends the connection of the client that receives it.
    pub(super) is_well_formed: bool,
    /// The facts of its delivery; `None` if the source asked the stream itself.
    pub(super) by_consumer: Option<ByConsumer>,
}

/// The position of a message in the stream: its number, and the time at which the stream stored it,
/// `7@1700000000000000001`. A stream that lost its last messages gives their numbers out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) sequence: u64,
    pub(super) stored_at: Option<DateTime<Utc>>,
}

impl Position {
    /// Reads the place of a cursor.
    pub(super) fn of(place: &str) -> Option<Self> {
        let (sequence, time) = match place.split_once('@') {
            Some((sequence, time)) => (sequence, Some(time.parse().ok()?)),
            None => (place, None),
        };
        Some(Self {
            sequence: sequence.parse().ok()?,
            stored_at: time.map(DateTime::from_timestamp_nanos),
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.stored_at.and_then(|time| time.timestamp_nanos_opt());
        match time {
            Some(time) => write!(f, "{}@{time}", self.sequence),
            None => write!(f, "{}", self.sequence),
        }
    }
}

/// The facts of a delivery by a consumer.
pub(super) struct ByConsumer {
    /// The subject of its acknowledgement.
    pub(super) reply: Subject,
    /// The number of the delivery: a consumer counts them without a gap.
    pub(super) number: u64,
    /// The messages behind it.
    pub(super) pending: u64,
}

/// A message as `$JS.API.STREAM.MSG.GET` returns it. Headers that the client could not read are
/// in base64 here.
#[derive(Deserialize)]
pub(super) struct Fetched {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: Option<String>,
    #[serde(default)]
    data: Option<String>,
    time: Option<String>,
}

impl Delivered {
    /// A message that came by a consumer; `None` for one that no stream sent.
    pub(super) fn of_consumer(message: async_nats::Message) -> Option<Self> {
        let reply = message.reply?;
        let place = Place::of(&reply)?;
        Some(Self {
            sequence: place.sequence,
            body: message.payload,
            subject: message.subject.to_string(),
            headers: message.headers.as_ref().map(headers).unwrap_or_default(),
            sent_at: Some(DateTime::from_timestamp_nanos(place.nanoseconds)),
            is_well_formed: true,
            by_consumer: Some(ByConsumer {
                reply,
                number: place.number,
                pending: place.pending,
            }),
        })
    }

    pub(super) fn position(&self) -> Position {
        Position {
            sequence: self.sequence,
            stored_at: self.sent_at,
        }
    }

    /// The event of the message, or what is wrong with it.
    pub(super) fn message(
        self,
        reading: &Reading,
        source: &str,
        (stream, incarnation): (&str, &str),
    ) -> Message {
        let position = self.position();
        let place = format!("stream {stream}, sequence {}", position.sequence);
        let arrived = Arrived::new(source, self.subject, self.body, Utc::now())
            .with_headers(self.headers)
            .with_place(incarnation, position.to_string())
            .with_sent_at(self.sent_at);
        reading.message(&arrived, &Binding::NATS, &place)
    }
}

impl From<Fetched> for Delivered {
    fn from(Fetched { message }: Fetched) -> Self {
        let decoded = |text: Option<String>| STANDARD.decode(text.unwrap_or_default());
        let time = message.time.as_deref().map(DateTime::parse_from_rfc3339);
        let headers = decoded(message.hdrs).unwrap_or_default();
        Self {
            sequence: message.seq,
            body: decoded(message.data).unwrap_or_default().into(),
            subject: message.subject,
            headers: lossy_headers(&headers),
            is_well_formed: are_well_formed(&headers),
            sent_at: time.and_then(Result::ok).map(|time| time.to_utc()),
            by_consumer: None,
        }
    }
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    let values = map.iter().flat_map(|(name, values)| {
        let each = values.iter();
        each.map(move |value| (name.to_string(), value.to_string()))
    });
    values.collect()
}

/// True if the client can read the headers.
fn are_well_formed(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut lines = text.lines();
    let is_header = |line: &str| {
        let name = line.split_once(':').map(|(name, _)| name);
        line.is_empty()
            || line.starts_with(char::is_whitespace)
            || name.is_some_and(|name| HeaderName::from_str(name).is_ok())
    };
    lines.next().is_none_or(|version| version == "NATS/1.0") && lines.all(is_header)
}

/// The headers of any bytes, as well as they can be read.
fn lossy_headers(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes);
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
        match (line.split_once(':'), headers.last_mut()) {
            (_, Some((_, value))) if line.starts_with(char::is_whitespace) => value.push_str(line),
            (Some((name, value)), _) => headers.push((name.to_owned(), value.trim().to_owned())),
            (None, _) => headers.push((line.to_owned(), String::new())),
        }
    }
    headers
}

/// The place of a message, as the subject of its acknowledgement says it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    sequence: u64,
    number: u64,
    nanoseconds: i64,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.[domain.account.]stream.consumer.delivered.sequence.number.time.pending[.…]`.
    fn of(reply: &str) -> Option<Self> {
        let tokens: Vec<Cow<'_, str>> = reply.split('.').map(Cow::from).collect();
        let first = match tokens.len() {
            9 => 5,
            11.. => 7,
            _ => return None,
        };
        if tokens[0] != "$JS" || tokens[1] != "ACK" {
            return None;
        }
        Some(Self {
            sequence: tokens[first].parse().ok()?,
            number: tokens[first + 1].parse().ok()?,
            nanoseconds: tokens[first + 2].parse().ok()?,
            pending: tokens[first + 3].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_in_both_forms() {
        let expected = Place {
            sequence: 7,
            number: 9,
            nanoseconds: 1_700_000_000_000_000_001,
            pending: 3,
        };
        for reply in [
            "$JS.ACK.ORDERS.own.1.7.9.1700000000000000001.3",
            "$JS.ACK.hub.X4.ORDERS.own.1.7.9.1700000000000000001.3",
            "$JS.ACK.hub.X4.ORDERS.own.1.7.9.1700000000000000001.3.token",
        ] {
            assert_eq!(Place::of(reply).as_ref(), Some(&expected), "{reply}");
        }
        for strange in ["", "_INBOX.x", "$JS.ACK.a.b.c.d.e.f.g", "a.b.c.d.e.1.2.3.4"] {
            assert_eq!(Place::of(strange), None, "{strange}");
        }
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["7", "7@1700000000000000001"] {
            let position = Position::of(text).expect("it is one");
            assert_eq!((position.sequence, &*position.to_string()), (7, text));
        }
        for strange in ["", "x", "7@", "7@x", "@1"] {
            assert_eq!(Position::of(strange), None, "{strange}");
        }
    }

    #[test]
    fn headers_of_any_bytes_are_read() {
        let bytes = b"NATS/1.0\r\nx-name: Zo\xff\r\nno colon\r\na:b:c\r\n  more\r\n\r\n";
        let expected = [
            ("x-name", "Zo\u{FFFD}"),
            ("no colon", ""),
            ("a", "b:c  more"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(lossy_headers(bytes), expected);
        assert!(lossy_headers(b"").is_empty());
        assert!(!are_well_formed(bytes));
        for good in [
            &b""[..],
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nA: b\r\n c\r\n\r\n",
        ] {
            assert!(are_well_formed(good), "{good:?}");
        }
        for bad in [
            &b"NATS/1.0 503\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\na: \xff\r\n\r\n",
        ] {
            assert!(!are_well_formed(bad), "{bad:?}");
        }
    }
}
