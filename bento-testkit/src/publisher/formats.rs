//! Messages are what their format says, as the CloudEvents SDK reads them.

use std::collections::BTreeMap;

use bento_core::Envelope;
use bento_core::metadata::decode_header;
use bento_relay::publish::Publisher;
use cloudevents::Event;
use cloudevents::event::{AttributesReader, Data};
use cloudevents::message::BinaryDeserializer;

use super::bench::{all_confirmed, event, own_headers, to};
use super::cloud_event::{Binary, structured};
use super::{Mode, PublisherHarness, Received, Wire, skipped};

/// Every attribute is a header named as the binding says, and the body is the payload.
pub async fn binary_is_a_cloud_event<H: PublisherHarness>(harness: &H) {
    let Some(wire) = harness.traits().wire else {
        return skipped("binary_is_a_cloud_event", "events are kept as they are");
    };
    let (envelope, received) = sent(harness, Mode::Binary).await;
    let event = Binary {
        received: &received,
        wire,
    }
    .into_event()
    .expect("the message is a CloudEvent");
    assert_describes(&event, &envelope);
    assert_eq!(event.data(), Some(&Data::Binary(envelope.payload.to_vec())));
}

/// The body is a JSON object with every attribute and the payload.
pub async fn structured_is_a_cloud_event<H: PublisherHarness>(harness: &H) {
    if harness.traits().wire.is_none() {
        return skipped("structured_is_a_cloud_event", "events are kept as they are");
    }
    let (envelope, received) = sent(harness, Mode::Structured).await;
    assert_eq!(
        received.header("content-type"),
        Some("application/cloudevents+json")
    );
    let event = structured(&received);
    assert_describes(&event, &envelope);
    let payload = serde_json::from_slice(&envelope.payload).expect("the payload is JSON");
    assert_eq!(event.data(), Some(&Data::Json(payload)));
    let text = std::str::from_utf8(&received.body).expect("JSON is UTF-8");
    assert!(text.contains("1.10"), "a number is not rewritten: {text}");
}

/// The body is the payload, and what the event says beside it is in headers of Bento's own.
pub async fn plain_is_the_payload_with_the_facts_beside_it<H: PublisherHarness>(harness: &H) {
    let Some(wire) = harness.traits().wire else {
        return skipped(
            "plain_is_the_payload_with_the_facts_beside_it",
            "events are kept as they are",
        );
    };
    let (envelope, received) = sent(harness, Mode::Plain).await;
    assert_eq!(received.body, envelope.payload);
    assert_eq!(received.header("content-type"), Some("application/json"));
    let id = envelope.event_id.to_string();
    for (name, value) in [
        ("bento-event-id", &*id),
        ("bento-event-type", "thing.happened"),
        ("bento-schema-version", "3"),
        ("bento-aggregate-type", "thing"),
        ("bento-aggregate-id", "a"),
        ("bento-aggregate-sequence", "1"),
        ("bento-tenant-id", "Zürich AG"),
        ("bento-correlation-id", "correlation-1"),
        ("bento-causation-id", "causation-1"),
        ("bento-actor", "ann"),
        ("bento-source", "https://shop.example/orders"),
    ] {
        assert_eq!(
            header(&received, wire, name).as_deref(),
            Some(value),
            "{name}"
        );
    }
    let no_attribute = received
        .headers
        .keys()
        .all(|name| !name.starts_with(wire.prefix));
    assert!(
        no_attribute,
        "plain is not a CloudEvent: {:?}",
        received.headers
    );
}

/// A consumer finds the route and the trace context without knowing the format.
pub async fn route_and_trace_are_headers_in_every_form<H: PublisherHarness>(harness: &H) {
    let Some(wire) = harness.traits().wire else {
        return skipped(
            "route_and_trace_are_headers_in_every_form",
            "events are kept as they are",
        );
    };
    for (number, mode) in [Mode::Binary, Mode::Structured, Mode::Plain]
        .into_iter()
        .enumerate()
    {
        let batch = [to(harness, event("a", number))];
        all_confirmed(&batch, &harness.publisher(mode).await.publish(&batch).await);
        let received = &harness.received(number + 1).await[number];
        let route = &*batch[0].destination.name;
        assert_eq!(
            header(received, wire, "bento-route").as_deref(),
            Some(route),
            "{mode:?}"
        );
        for (name, value) in own_headers() {
            assert_eq!(received.header(name), Some(value), "{mode:?}");
        }
    }
}

/// A header of any text without control characters arrives, written the same on every broker and in
/// every form, and is read as it was.
pub async fn a_header_of_any_text_is_read_as_it_was_written<H: PublisherHarness>(harness: &H) {
    let texts = [
        ("x-user-name", "Zoë"),
        ("x-spaces", " at both ends "),
        ("x-signs", "\"50%\" of '£', c:\\a; UTF-8''b*"),
        ("x-far", "日本語 🍱\u{2028}"),
        ("x-empty", ""),
    ];
    let own: BTreeMap<_, _> = texts.into_iter().collect();
    for (number, mode) in [Mode::Binary, Mode::Structured, Mode::Plain]
        .into_iter()
        .enumerate()
    {
        let mut envelope = event("a", number);
        envelope.headers = serde_json::to_vec(&own)
            .expect("a map of texts is JSON")
            .into();
        let batch = [to(harness, envelope)];
        all_confirmed(&batch, &harness.publisher(mode).await.publish(&batch).await);
        let received = &harness.received(number + 1).await[number];
        if harness.traits().wire.is_some() {
            assert_eq!(
                received.header("x-user-name*"),
                Some("UTF-8''Zo%C3%AB"),
                "{mode:?}: {:?}",
                received.headers
            );
        }
        let read = received
            .headers
            .iter()
            .map(|(name, value)| decode_header(name, value).expect("it is encoded"));
        let read: BTreeMap<_, _> = read.filter(|(name, _)| own.contains_key(name)).collect();
        assert_eq!(
            read,
            texts.map(|(name, text)| (name, text.into())).into(),
            "{mode:?}"
        );
    }
}

async fn sent<H: PublisherHarness>(harness: &H, mode: Mode) -> (Envelope, Received) {
    let envelope = event("a", 1);
    let batch = [to(harness, envelope.clone())];
    all_confirmed(&batch, &harness.publisher(mode).await.publish(&batch).await);
    let received = harness.received(1).await;
    (
        envelope,
        received.into_iter().next().expect("it was waited for"),
    )
}

fn header(received: &Received, wire: Wire, name: &str) -> Option<String> {
    received.header(name).map(|value| wire.decoded(value))
}

fn assert_describes(event: &Event, envelope: &Envelope) {
    assert_eq!(event.id(), envelope.event_id.to_string());
    assert_eq!(event.ty(), envelope.event_type);
    assert_eq!(event.source(), "https://shop.example/orders");
    assert_eq!(event.subject(), Some(&*envelope.aggregate_id));
    assert_eq!(event.time().copied(), Some(envelope.occurred_at));
    assert_eq!(event.datacontenttype(), Some("application/json"));
    for (name, value) in [
        ("schemaversion", "3"),
        ("aggregatetype", "thing"),
        ("aggregatesequence", "1"),
        ("tenantid", "Zürich AG"),
        ("correlationid", "correlation-1"),
        ("causationid", "causation-1"),
        ("actor", "ann"),
        ("partitionkey", "a"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1"),
    ] {
        assert_eq!(
            event.extension(name).map(ToString::to_string).as_deref(),
            Some(value),
            "{name}"
        );
    }
}
