//! Entries of a stream, and the messages in them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bento_relay::source::Message;
use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use redis::Value;

use crate::message::{Arrived, Binding, Reading};

/// The id of an entry: milliseconds and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64, u64);

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (time, number) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self(time.parse()?, number.parse()?))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl Id {
    /// The time at which Redis added the entry; `None` for an id of the sender's own making.
    fn time(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let time = DateTime::from_timestamp_millis(i64::try_from(self.0).ok()?)?;
        let earliest = DateTime::from_timestamp(1_262_304_000, 0)?;
        // The clocks of two machines differ a little.
        (earliest <= time && time <= now + Duration::days(1)).then_some(time)
    }
}

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Id,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The fields that hold a body, the first that is there.
const BODIES: [&[u8]; 5] = [b"data", b"payload", b"body", b"message", b"value"];

impl Entry {
    /// The bytes of its fields.
    pub(super) fn size(&self) -> usize {
        let field = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() + value.len();
        self.fields.iter().map(field).sum()
    }

    /// Reads the message in it.
    pub(super) fn message(self, reading: &Reading, source: &str, stream: &str) -> Message {
        let Self { id, mut fields } = self;
        let at = BODIES
            .iter()
            .find_map(|body| fields.iter().position(|(name, _)| name == body));
        let body = at.map(|at| Bytes::from(fields.remove(at).1));
        let headers = fields.iter().map(|(name, value)| (text(name), text(value)));
        let now = Utc::now();
        let arrived = Arrived::new(source, stream, body.unwrap_or_default(), now)
            .with_headers(headers)
            .with_place(stream, id.to_string())
            .with_sent_at(id.time(now));
        let place = format!("stream {stream}, entry {id}");
        reading.message(&arrived, &Binding::REDIS, &place)
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The entries of an answer to `XREAD` for one stream.
pub(super) fn of_read(answer: Value) -> Option<Vec<Entry>> {
    match answer {
        Value::Nil => Some(Vec::new()),
        // The form of RESP3.
        Value::Map(streams) => match streams.into_iter().next() {
            Some((_, entries)) => of_range(entries),
            None => Some(Vec::new()),
        },
        Value::Array(streams) => match streams.into_iter().next() {
            Some(Value::Array(mut stream)) => of_range(stream.pop()?),
            Some(_) => None,
            None => Some(Vec::new()),
        },
        _ => None,
    }
}

/// The entries of an answer to `XRANGE`.
pub(super) fn of_range(answer: Value) -> Option<Vec<Entry>> {
    let Value::Array(entries) = answer else {
        return None;
    };
    entries.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let id = id(&parts.next()?)?;
    let mut fields = Vec::new();
    match parts.next()? {
        Value::Array(list) => {
            let mut list = list.into_iter();
            while let (Some(name), Some(value)) = (list.next(), list.next()) {
                fields.push((bytes(name)?, bytes(value)?));
            }
        }
        Value::Map(list) => {
            for (name, value) in list {
                fields.push((bytes(name)?, bytes(value)?));
            }
        }
        _ => {}
    }
    Some(Entry { id, fields })
}

/// An id in an answer.
pub(super) fn id(value: &Value) -> Option<Id> {
    match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_the_stream() {
        let id = |text: &str| text.parse::<Id>().unwrap();
        assert!(id("9-10") < id("10-2") && id("9-9") < id("9-10"));
        assert_eq!(id("7"), id("7-0"));
        assert_eq!(
            id("18446744073709551615-1").to_string(),
            "18446744073709551615-1"
        );
        for wrong in ["", "-", "a-1", "1-", "-1-1", "99999999999999999999-0"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_time_of_an_id_is_that_of_redis_only() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let time = |text: &str| text.parse::<Id>().unwrap().time(now);
        let of_redis = time("1799999999999-3").unwrap();
        assert_eq!(of_redis.timestamp_millis(), 1_799_999_999_999);
        for own in ["1-1", "1800090000000-0", "18446744073709551615-0"] {
            assert_eq!(time(own), None, "{own}");
        }
    }

    #[test]
    fn answers_of_another_form_are_refused() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let one = Value::Array(vec![text("7-1"), Value::Array(vec![text("a"), text("b")])]);
        let entries = Value::Array(vec![one]);
        let of_resp2 = Value::Array(vec![Value::Array(vec![text("s"), entries.clone()])]);
        let of_resp3 = Value::Map(vec![(text("s"), entries)]);
        for answer in [of_resp2, of_resp3] {
            let read = of_read(answer).unwrap();
            assert_eq!((read.len(), read[0].id, read[0].size()), (1, Id(7, 1), 2));
        }
        assert!(of_read(Value::Nil).unwrap().is_empty());
        for wrong in [Value::Int(1), Value::Array(vec![Value::Int(1)])] {
            assert!(of_read(wrong).is_none());
        }
    }
}
