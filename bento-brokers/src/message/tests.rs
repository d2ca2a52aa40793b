//! The mapping, checked with the CloudEvents SDK.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_core::Envelope;
use bento_core::metadata::decode_header;
use bento_relay::publish::{Destination, FailureClass};
use cloudevents::event::{AttributesReader, Data, EventBuilderV10};
use cloudevents::{Event, EventBuilder as _};
use proptest::prelude::*;

use super::*;

const BINDINGS: [Binding; 5] = [
    Binding::HTTP,
    Binding::NATS,
    Binding::KAFKA,
    Binding::AMQP,
    Binding::REDIS,
];

fn envelope(payload: &'static str) -> Envelope {
    let time = "2026-05-04T03:02:01.000123Z".parse().unwrap();
    let id = serde_json::from_str(r#""018f0000-0000-7000-8000-000000000001""#).unwrap();
    let mut envelope = Envelope::with_id(id, "order.created", 2, time, payload);
    envelope.aggregate_type = "order".into();
    envelope.aggregate_id = "42".into();
    envelope.sequence = Some(7);
    envelope.tenant_id = Some("Zürich AG".into());
    envelope.headers = Bytes::from_static(
        br#"{"correlation_id":"c-1","causation_id":"c-0","source":"order service","actor":"ann","traceparent":"00-1-2-01","x-own":"it \"is\""}"#,
    );
    envelope
}

fn delivery(envelope: Envelope) -> Delivery {
    Delivery::new(
        Arc::new(envelope),
        Destination::new("audit").with_versioned_names(),
    )
}

fn settings(format: Format) -> MessageSettings {
    MessageSettings {
        format,
        ..MessageSettings::default()
    }
}

fn shown(message: &Message<'_>) -> String {
    let mut lines: Vec<_> = message
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.push(format!(
        "[{}] {}",
        message.content_type.unwrap_or("-"),
        String::from_utf8_lossy(&message.body)
    ));
    lines.join("\n")
}

#[test]
fn binary_names_every_fact_as_the_binding_says() {
    let delivery = delivery(envelope(r#"{"total":1.10}"#));
    let message = settings(Format::Binary)
        .message(&delivery, &Binding::NATS)
        .unwrap();
    expect_test::expect![[r#"
        bento-route: audit
        ce-specversion: 1.0
        ce-id: 018f0000-0000-7000-8000-000000000001
        ce-source: order%2520service
        ce-type: order.created.v2
        ce-subject: 42
        ce-time: 2026-05-04T03:02:01.000123Z
        ce-datacontenttype: application/json
        ce-schemaversion: 2
        ce-aggregatetype: order
        ce-aggregatesequence: 7
        ce-tenantid: Z%C3%BCrich%20AG
        ce-correlationid: c-1
        ce-causationid: c-0
        ce-actor: ann
        ce-partitionkey: 42
        ce-traceparent: 00-1-2-01
        traceparent: 00-1-2-01
        x-own: it "is"
        [-] {"total":1.10}"#]]
    .assert_eq(&shown(&message));
    for (binding, name, content_type) in [
        (Binding::HTTP, "ce-type", Some("application/json")),
        (Binding::KAFKA, "ce_type", Some("application/json")),
        (Binding::AMQP, "cloudEvents_type", Some("application/json")),
        (Binding::REDIS, "ce-type", Some("application/json")),
    ] {
        let message = settings(Format::Binary)
            .message(&delivery, &binding)
            .unwrap();
        assert_eq!(
            (message.header(name), message.content_type),
            (Some("order.created.v2"), content_type)
        );
    }
}

#[test]
fn structured_embeds_the_payload_as_it_is() {
    let delivery = delivery(envelope(
        "{ \"total\": 1.10,\n\"big\": 340282366920938463463374607431768211455}",
    ));
    let message = settings(Format::Structured)
        .message(&delivery, &Binding::KAFKA)
        .unwrap();
    expect_test::expect![[r#"
        bento-route: audit
        traceparent: 00-1-2-01
        x-own: it "is"
        [application/cloudevents+json] {"specversion":"1.0","id":"018f0000-0000-7000-8000-000000000001","source":"order%20service","type":"order.created.v2","subject":"42","time":"2026-05-04T03:02:01.000123Z","datacontenttype":"application/json","schemaversion":2,"aggregatetype":"order","aggregatesequence":"7","tenantid":"Zürich AG","correlationid":"c-1","causationid":"c-0","actor":"ann","partitionkey":"42","traceparent":"00-1-2-01","data":{ "total": 1.10,
        "big": 340282366920938463463374607431768211455}}"#]].assert_eq(&shown(&message));
}

#[test]
fn plain_is_the_payload_with_the_facts_beside_it() {
    let delivery = delivery(envelope("{}"));
    let message = settings(Format::Plain)
        .message(&delivery, &Binding::AMQP)
        .unwrap();
    expect_test::expect![[r#"
        bento-route: audit
        bento-event-id: 018f0000-0000-7000-8000-000000000001
        bento-source: order%20service
        bento-event-type: order.created.v2
        bento-schema-version: 2
        bento-aggregate-type: order
        bento-aggregate-id: 42
        bento-aggregate-sequence: 7
        bento-occurred-at: 2026-05-04T03:02:01.000123Z
        bento-tenant-id: Zürich AG
        bento-correlation-id: c-1
        bento-causation-id: c-0
        bento-actor: ann
        bento-partition-key: 42
        traceparent: 00-1-2-01
        x-own: it "is"
        [application/json] {}"#]]
    .assert_eq(&shown(&message));
}

#[test]
fn a_payload_that_is_no_json_travels_as_bytes() {
    let mut encrypted = envelope("{}");
    encrypted.content_encoding = Some("aes-gcm".into());
    let mut enqueued = envelope("\u{1}\u{2}");
    enqueued.schema_version = 0;
    for envelope in [encrypted, enqueued] {
        let payload = envelope.payload.clone();
        let delivery = delivery(envelope);
        for format in [Format::Binary, Format::Plain] {
            let message = settings(format).message(&delivery, &Binding::HTTP).unwrap();
            assert_eq!(
                (message.content_type, message.body),
                (Some(BYTES), payload.clone())
            );
        }
        let message = settings(Format::Structured)
            .message(&delivery, &Binding::HTTP)
            .unwrap();
        let event: Event = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(event.data(), Some(&Data::Binary(payload.to_vec())));
        assert_eq!(event.datacontenttype(), Some(BYTES));
    }
}

fn with_header(name: &str, value: &str) -> Delivery {
    let mut envelope = envelope("{}");
    envelope.headers = serde_json::to_vec(&BTreeMap::from([(name, value)]))
        .unwrap()
        .into();
    delivery(envelope)
}

#[test]
fn a_value_is_encoded_the_same_for_every_broker() {
    let delivery = with_header("x-user-name", "Zoë");
    for (binding, format) in BINDINGS.iter().zip(
        [Format::Plain, Format::Binary, Format::Structured]
            .iter()
            .cycle(),
    ) {
        let message = settings(*format).message(&delivery, binding).unwrap();
        assert_eq!(
            message.header("x-user-name*"),
            Some("UTF-8''Zo%C3%AB"),
            "{binding:?}"
        );
        assert_eq!(message.header("x-user-name"), None, "{binding:?}");
    }
}

#[test]
fn a_header_that_one_broker_cannot_carry_fails_on_every_broker() {
    for (name, value, why) in [
        (
            "x-a",
            "line\nbreak",
            "its value has the control character U+000A at byte 4",
        ),
        ("x a", "1", "its name has ' ' and may have ASCII letters"),
        (
            "Nats-Msg-Id",
            "1",
            "the name is one of those of the NATS server",
        ),
        (
            "authorization",
            "Bearer own",
            "the name is that of a credential",
        ),
        ("", "1", "its name is empty"),
    ] {
        let delivery = with_header(name, value);
        for binding in BINDINGS {
            let error = settings(Format::Plain)
                .message(&delivery, &binding)
                .unwrap_err();
            assert_eq!(error.class(), FailureClass::Permanent);
            let refused = format!("the header `{name}` cannot be sent: {why}");
            assert!(error.to_string().starts_with(&refused), "{error}");
        }
    }
}

#[test]
fn stored_headers_that_cannot_be_read_are_a_permanent_failure() {
    let mut envelope = envelope("{}");
    envelope.headers = Bytes::from_static(b"{\"a\":1}");
    let delivery = delivery(envelope);
    let error = settings(Format::Binary)
        .message(&delivery, &Binding::HTTP)
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(
        error
            .chain()
            .contains("invalid type: integer `1`, expected a string"),
        "{}",
        error.chain()
    );
}

#[test]
fn settings_are_read_from_json_and_an_empty_source_is_refused() {
    let read = serde_json::from_str::<MessageSettings>;
    let expected = MessageSettings {
        format: Format::Structured,
        source: Source::new("/shop").unwrap(),
    };
    assert_eq!(
        read(r#"{"format":"structured","source":"/shop"}"#).unwrap(),
        expected
    );
    assert_eq!(read("{}").unwrap(), MessageSettings::default());
    assert!(
        read(r#"{"source":""}"#)
            .unwrap_err()
            .to_string()
            .starts_with("the source of events is empty")
    );
    assert!(read(r#"{"sauce":"a"}"#).is_err());
}

/// The event that the SDK builds from a message in binary mode.
fn event_of(message: &Message<'_>, binding: &Binding) -> Event {
    let prefix = binding.attributes[0].strip_suffix("specversion").unwrap();
    let mut builder = EventBuilderV10::new();
    let mut content_type = message.content_type.map(str::to_owned);
    for (name, value) in &message.headers {
        let Some(attribute) = name.strip_prefix(prefix) else {
            continue;
        };
        let value = value.clone().into_owned();
        builder = match attribute {
            "specversion" => builder,
            "id" => builder.id(value),
            "source" => builder.source(value),
            "type" => builder.ty(value),
            "subject" => builder.subject(value),
            "time" => builder.time(value),
            "datacontenttype" => {
                content_type = Some(value);
                builder
            }
            extension => {
                let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                assert!(
                    extension.len() <= 20 && extension.bytes().all(is_valid),
                    "{extension}"
                );
                builder.extension(extension, value)
            }
        };
    }
    builder
        .data(content_type.unwrap(), message.body.to_vec())
        .build()
        .unwrap()
}

fn some_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.-]{0,8}", any::<String>(), "[ -~\n\t\u{e9}]{0,8}"]
}

prop_compose! {
    fn any_envelope()(
        texts in prop::collection::vec(some_text(), 12),
        present in any::<u16>(),
        version in any::<u32>(),
        sequence in any::<Option<i64>>(),
        seconds in any::<i32>(),
        payload in prop_oneof![any::<Vec<u8>>(), Just(b"{\"a\":[1,null]}".to_vec())],
        raw_headers in prop::option::of(any::<Vec<u8>>()),
    ) -> Envelope {
        let given = |index: usize| (present >> index & 1 == 1).then(|| texts[index].clone());
        let time = DateTime::from_timestamp(i64::from(seconds) * 1_000, 0).unwrap();
        let mut envelope = Envelope::new(texts[0].clone(), version, time, payload);
        envelope.aggregate_type = texts[1].clone().into();
        envelope.aggregate_id = texts[2].clone();
        envelope.sequence = sequence;
        envelope.tenant_id = given(3);
        envelope.topic = given(4);
        envelope.content_encoding = given(5);
        envelope.key_id = given(6);
        let mut headers = BTreeMap::new();
        let names = ["correlation_id", "causation_id", "source", "actor"];
        for (index, name) in names.into_iter().enumerate() {
            headers.extend(given(7 + index).map(|value| (name.to_owned(), value)));
        }
        headers.extend(given(11).map(|value| (texts[0].clone(), value)));
        let headers = || serde_json::to_vec(&headers).unwrap();
        envelope.headers = raw_headers.unwrap_or_else(headers).into();
        envelope
    }
}

proptest! {
    #[test]
    fn every_event_has_a_valid_message_or_a_permanent_failure(envelope in any_envelope()) {
        let delivery = Delivery::new(Arc::new(envelope), Destination::new("audit"));
        for binding in BINDINGS {
            let Ok(binary) = settings(Format::Binary).message(&delivery, &binding) else {
                let failure = settings(Format::Plain).message(&delivery, &binding).unwrap_err();
                prop_assert_eq!(failure.class(), FailureClass::Permanent);
                continue;
            };
            let event = event_of(&binary, &binding);
            prop_assert_eq!(event.id(), delivery.envelope.event_id.to_string());
            prop_assert_eq!(&binary.body, &delivery.envelope.payload);
            let structured = settings(Format::Structured).message(&delivery, &binding).unwrap();
            let same: Event = serde_json::from_slice(&structured.body).unwrap();
            prop_assert_eq!(same.ty(), &*delivery.envelope.event_type);
            prop_assert!(!same.source().is_empty() && same.data().is_some());
            let plain = settings(Format::Plain).message(&delivery, &binding).unwrap();
            for message in [&binary, &structured, &plain] {
                prop_assert_eq!(read(message, &binding), as_read(&delivery.envelope));
            }
            let own = delivery.envelope.headers().unwrap().extra;
            for message in [binary, structured, plain] {
                prop_assert_eq!(&own_headers_of(&message), &own);
                for (name, value) in message.headers.iter().filter(|_| binding_is_ascii(&binding)) {
                    let is_printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                    prop_assert!(name.is_ascii() && is_printable, "{}", value);
                }
            }
        }
    }
}

/// The extension `sequence` of CloudEvents counts within a source, in any form that sorts as text.
#[test]
fn the_sequence_of_a_source_is_not_that_of_an_aggregate() {
    let facts = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/theirs"),
        ("ce-type", "thing.happened"),
    ];
    let headers = facts.into_iter().chain([("ce-sequence", "A-007")]);
    let event = Incoming::new("{}", DateTime::UNIX_EPOCH)
        .with_headers(headers)
        .envelope(&Binding::HTTP)
        .unwrap();
    assert_eq!(event.sequence, None);
    let sent = delivery(envelope("{}"));
    let message = settings(Format::Binary)
        .message(&sent, &Binding::HTTP)
        .unwrap();
    assert_eq!(message.header("ce-sequence"), None);
}

/// The event that is read of a message.
fn read(message: &Message<'_>, binding: &Binding) -> Envelope {
    let headers = message
        .headers
        .iter()
        .map(|(name, value)| (&**name, &**value));
    let incoming = Incoming::new(message.body.clone(), DateTime::UNIX_EPOCH).with_headers(headers);
    let incoming = match message.content_type {
        Some(content_type) => incoming.with_content_type(content_type),
        None => incoming,
    };
    incoming.envelope(binding).unwrap()
}

/// The part of an event that is read again: empty texts are none, its routing stays behind, and a
/// source is a URI reference.
fn as_read(sent: &Envelope) -> Envelope {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut event = sent.clone();
    event.tenant_id = some(&sent.tenant_id);
    event.content_encoding = some(&sent.content_encoding);
    event.key_id = some(&sent.key_id);
    (event.topic, event.routing_key) = (None, None);
    if !(0..=9999).contains(&event.occurred_at.year()) {
        event.occurred_at = DateTime::UNIX_EPOCH;
    }
    let Headers {
        correlation_id,
        causation_id,
        source,
        actor,
        extra,
        ..
    } = sent.headers().unwrap();
    let source = some(&source).map_or_else(
        || "/bento".to_owned(),
        |source| source::uri_reference(&source).into_owned(),
    );
    let mut headers = extra;
    headers.insert("source".to_owned(), source);
    for (name, value) in [
        ("correlation_id", correlation_id),
        ("causation_id", causation_id),
        ("actor", actor),
    ] {
        headers.extend(some(&value).map(|value| (name.to_owned(), value)));
    }
    event.headers = serde_json::to_vec(&headers).unwrap().into();
    event
}

/// The application's headers as a consumer reads them.
fn own_headers_of(message: &Message<'_>) -> BTreeMap<String, String> {
    let is_own = |name: &str| {
        !["ce-", "ce_", "cloudEvents_", "bento-"]
            .iter()
            .any(|own| name.starts_with(own))
    };
    let own = message.headers.iter().filter(|(name, _)| is_own(name));
    let read = own.map(|(name, value)| decode_header(name, value).unwrap());
    read.map(|(name, value)| (name.to_owned(), value.into_owned()))
        .collect()
}

fn binding_is_ascii(binding: &Binding) -> bool {
    binding.encode("é".into()) != "é"
}
