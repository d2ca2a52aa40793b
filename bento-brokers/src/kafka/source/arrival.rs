//! A message of Kafka as it arrives.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bento_relay::source::Message;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};

use crate::message::{Arrived, Binding, Reading};

/// The header in which a mapping finds the key.
const KEY: &str = "kafka-key";

/// A message that was fetched.
pub(super) struct Arrival {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// In ms.
    pub(super) time: Option<i64>,
    /// The bytes of the body.
    pub(super) size: usize,
    pub(super) message: Message,
}

/// The time of a message in ms.
pub(super) fn time(message: &BorrowedMessage<'_>) -> Option<i64> {
    message.timestamp().to_millis()
}

impl Arrival {
    /// Reads a message of a topic's incarnation.
    pub(super) fn new(
        message: &BorrowedMessage<'_>,
        source: &str,
        incarnation: &str,
        reading: &Reading,
    ) -> Self {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let body = message.payload().unwrap_or_default();
        let key = message
            .key()
            .map(|key| (Cow::Borrowed(KEY), String::from_utf8_lossy(key)));
        let headers = message.headers().map(readable).unwrap_or_default();
        let time = time(message);
        // The time tells messages apart that stand in the same place of two topics of one name.
        let id = format!("{partition}/{offset}/{}", time.unwrap_or_default());
        let arrived = Arrived::new(source, topic, Bytes::copy_from_slice(body), Utc::now())
            .with_headers(key.into_iter().chain(headers))
            .with_place(incarnation, id)
            .with_sent_at(appended_at(message.timestamp()));
        let place = format!("topic {topic}, partition {partition}, offset {offset}");
        Self {
            partition,
            offset,
            time,
            size: body.len(),
            message: reading.message(&arrived, &Binding::KAFKA, &place),
        }
    }
}

/// The time of the broker. The time of creation is the producer's.
fn appended_at(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    match timestamp {
        Timestamp::LogAppendTime(millis) => DateTime::from_timestamp_millis(millis),
        Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
    }
}

/// The headers. A name that is not UTF-8 panics in the client, and its header is left out.
fn readable<H: Headers>(headers: &H) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let header = |at| {
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(at)))
            .ok()
            .flatten()?;
        let value = header.value.unwrap_or_default();
        Some((Cow::Borrowed(header.key), String::from_utf8_lossy(value)))
    };
    (0..headers.count()).filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// Headers of which the second panics, as those of the client do.
    struct Hostile;

    impl Headers for Hostile {
        fn count(&self) -> usize {
            4
        }

        fn try_get(&self, at: usize) -> Option<Header<'_, &[u8]>> {
            let (key, value) = match at {
                0 => ("a", Some(&b"\xff1"[..])),
                1 => panic!("its name is no text"),
                2 => ("b", None),
                _ => return None,
            };
            Some(Header { key, value })
        }
    }

    #[test]
    fn headers_of_any_bytes_are_read() {
        let expected = [("a".into(), "\u{fffd}1".into()), ("b".into(), "".into())];
        assert_eq!(readable(&Hostile), expected);
    }

    #[test]
    fn only_the_time_of_the_broker_counts() {
        let time = appended_at(Timestamp::LogAppendTime(1500));
        assert_eq!(time.map(|time| time.timestamp_millis()), Some(1500));
        assert_eq!(appended_at(Timestamp::LogAppendTime(i64::MAX)), None);
        assert_eq!(appended_at(Timestamp::CreateTime(1500)), None);
        assert_eq!(appended_at(Timestamp::NotAvailable), None);
    }
}
