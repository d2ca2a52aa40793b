//! A publisher for people: one line per event.

use std::fmt;
use std::io::{self, Stdout, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Delivery, Destination, PublishError, Publisher};

/// Writes each event as a line, for people or as JSON, to standard output or any other writer.
///
/// A batch is written in one go under a lock. Writing blocks; it is meant for a terminal, a pipe or
/// a file.
///
/// ```
/// use bento_relay::publish::ConsolePublisher;
///
/// let people = ConsolePublisher::text();
/// let machines = ConsolePublisher::json().to_writer(Vec::new());
/// ```
pub struct ConsolePublisher<W = Stdout> {
    format: Format,
    writer: Mutex<W>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Text,
    Json,
}

impl ConsolePublisher {
    /// Lines for people: topic, event type and version, aggregate, tenant, payload.
    pub fn text() -> Self {
        Self {
            format: Format::Text,
            writer: Mutex::new(io::stdout()),
        }
    }

    /// JSON lines with every field of the envelope.
    pub fn json() -> Self {
        Self {
            format: Format::Json,
            writer: Mutex::new(io::stdout()),
        }
    }
}

impl<W> ConsolePublisher<W> {
    /// The same lines to another writer.
    pub fn to_writer<V: Write + Send>(self, writer: V) -> ConsolePublisher<V> {
        ConsolePublisher {
            format: self.format,
            writer: Mutex::new(writer),
        }
    }

    /// Returns the writer, with the written lines.
    pub fn into_writer(self) -> W {
        self.writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write + Send + 'static> Publisher for ConsolePublisher<W> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let mut lines = Vec::new();
        for delivery in batch {
            match self.format {
                Format::Text => append_text(&mut lines, delivery),
                Format::Json => append_json(&mut lines, delivery),
            }
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writer.write_all(&lines).and_then(|()| writer.flush());
        let answer = |error: &io::Error| {
            PublishError::unavailable(format!("the events could not be written: {error}"))
        };
        batch
            .iter()
            .map(|_| written.as_ref().map(|_| ()).map_err(answer))
            .collect()
    }

    /// The lines of a batch are written in order, all or none.
    fn chains(&self, _destination: &Destination) -> bool {
        true
    }
}

impl<W> fmt::Debug for ConsolePublisher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsolePublisher")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

fn append_text(lines: &mut Vec<u8>, delivery: &Delivery) {
    let event = &*delivery.envelope;
    let mut line = format!("{} v{}", event.event_type, event.schema_version);
    if delivery.topic() != event.event_type {
        line.insert_str(0, &format!("{} ← ", delivery.topic()));
    }
    if event.is_ordered() {
        line.push_str(&format!(
            "  {}/{}",
            event.aggregate_type, event.aggregate_id
        ));
    }
    if let Some(tenant) = &event.tenant_id {
        line.push_str(&format!("  tenant {tenant}"));
    }
    line.push_str("  ");
    line.push_str(&String::from_utf8_lossy(&event.payload));
    // Control characters in an event must not move the cursor or forge a line.
    let clean = line.chars().map(|character| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    });
    lines.extend_from_slice(clean.collect::<String>().as_bytes());
    lines.push(b'\n');
}

fn append_json(lines: &mut Vec<u8>, delivery: &Delivery) {
    let event = &*delivery.envelope;
    let line = Line {
        topic: &delivery.topic(),
        partition_key: delivery.partition_key(),
        destination: &delivery.destination.name,
        event_id: event.event_id.to_string(),
        event_type: &event.event_type,
        schema_version: event.schema_version,
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence,
        tenant_id: event.tenant_id.as_deref(),
        routing_key: event.routing_key.as_deref(),
        occurred_at: event.occurred_at,
        content_encoding: event.content_encoding.as_deref(),
        key_id: event.key_id.as_deref(),
        headers: Embedded::of(&event.headers),
        payload: Embedded::of(&event.payload),
    };
    serde_json::to_writer(&mut *lines, &line).expect("texts, numbers and JSON are JSON");
    lines.push(b'\n');
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_key: &'a str,
    destination: &'a str,
    event_id: String,
    event_type: &'a str,
    schema_version: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    aggregate_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aggregate_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    occurred_at: chrono::DateTime<chrono::Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Embedded::is_nothing")]
    headers: Embedded<'a>,
    payload: Embedded<'a>,
}

/// Bytes inside a JSON line: JSON as it is, text as a string, anything else as an array of numbers.
#[derive(Serialize)]
#[serde(untagged)]
enum Embedded<'a> {
    Nothing,
    Json(&'a RawValue),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Embedded<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        // A raw value keeps its whitespace, so JSON that spans several lines is written as text.
        let json = || {
            serde_json::from_slice(bytes)
                .ok()
                .filter(|json: &&RawValue| !json.get().contains(['\n', '\r']))
        };
        match (bytes, json()) {
            ([], _) => Self::Nothing,
            (_, Some(json)) => Self::Json(json),
            (bytes, None) => std::str::from_utf8(bytes).map_or(Self::Bytes(bytes), Self::Text),
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::publish::Destination;
    use bento_core::envelope::Envelope;

    fn delivery(payload: &'static [u8]) -> Delivery {
        let mut event = Envelope::new("order.paid", 2, DateTime::UNIX_EPOCH, payload);
        event.event_id = uuid::Uuid::from_u128(7).into();
        event.aggregate_type = "order".into();
        event.aggregate_id = "42".into();
        event.tenant_id = Some("acme".into());
        Delivery::new(Arc::new(event), Destination::default())
    }

    async fn written(publisher: ConsolePublisher, batch: &[Delivery]) -> String {
        let publisher = publisher.to_writer(Vec::new());
        assert!(publisher.publish(batch).await.iter().all(Result::is_ok));
        String::from_utf8(publisher.into_writer()).unwrap()
    }

    #[tokio::test]
    async fn text_is_one_line_for_each_event() {
        let text = written(
            ConsolePublisher::text(),
            &[delivery(b"{\"total\":1}"), delivery(b"\x1b[2J\nforged")],
        )
        .await;
        expect_test::expect![[r#"
            order.paid v2  order/42  tenant acme  {"total":1}
            order.paid v2  order/42  tenant acme   [2J forged
        "#]]
        .assert_eq(&text);
    }

    #[tokio::test]
    async fn json_is_one_object_for_each_event_whatever_its_payload_is() {
        let payloads: [&[u8]; 4] = [b"{\"total\":1.10}", b"{\n}", b"text", b"\xff\x00"];
        let json = written(ConsolePublisher::json(), &payloads.map(delivery)).await;
        let lines: Vec<serde_json::Value> = json
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 4);
        assert!(
            json.lines()
                .next()
                .unwrap()
                .ends_with(r#""payload":{"total":1.10}}"#),
            "a number is not rounded: {json}"
        );
        assert_eq!(lines[0]["event_id"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(lines[2]["payload"], "text");
        assert_eq!(lines[3]["payload"], serde_json::json!([255, 0]));
    }

    #[tokio::test]
    async fn a_failing_writer_is_a_transient_failure_of_the_whole_batch() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let publisher = ConsolePublisher::text().to_writer(Full);
        let answers = publisher.publish(&[delivery(b"{}"), delivery(b"{}")]).await;
        assert!(answers.iter().all(|answer| {
            answer
                .as_ref()
                .is_err_and(|error| error.class() == crate::publish::FailureClass::Unavailable)
        }));
    }
}
