//! The ids that messages get, what a mapping is asked, and that reading always has an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_core::{Envelope, EventId, limits};
use bento_relay::source::{Message, Unreadable};
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;

const ID: &str = "018f0000-0000-7000-8000-000000000001";

/// A CloudEvent in binary mode of a service that says to be `/shop`.
const FOREIGN: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "17"),
    ("ce-source", "/shop"),
    ("ce-type", "order.created"),
];

fn now() -> DateTime<Utc> {
    "2026-05-04T03:02:01Z".parse().unwrap()
}

fn arrived<'m>(headers: &[(&'m str, &'m str)], body: &'static str) -> Arrived<'m> {
    Arrived::new("orders", "shop.orders", body, now()).with_headers(headers.iter().copied())
}

fn read_by(reading: &Reading, arrived: &Arrived<'_>) -> Message {
    reading.message(arrived, &Binding::NATS, "sequence 7")
}

fn event(arrived: &Arrived<'_>) -> Envelope {
    event_of(read_by(&Reading::default(), arrived))
}

fn event_of(message: Message) -> Envelope {
    match message {
        Message::Event { envelope, .. } => *envelope,
        Message::Unreadable(unreadable) => panic!("{unreadable:?}"),
    }
}

fn unreadable(arrived: &Arrived<'_>) -> Unreadable {
    unreadable_of(read_by(&Reading::default(), arrived))
}

fn unreadable_of(message: Message) -> Unreadable {
    match message {
        Message::Unreadable(unreadable) => unreadable,
        Message::Event { envelope, .. } => panic!("{envelope:?}"),
    }
}

/// The headers with another value for one of them.
fn with<'m>(headers: &[(&'m str, &'m str)], name: &str, value: &'m str) -> Vec<(&'m str, &'m str)> {
    let changed = headers.iter().map(|(own, old)| match *own == name {
        true => (*own, value),
        false => (*own, *old),
    });
    changed.collect()
}

#[test]
fn an_event_of_bento_keeps_its_id_in_both_modes() {
    let id = EventId::from(uuid::Uuid::parse_str(ID).unwrap());
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", ID),
        ("ce-source", "/shop"),
        ("ce-type", "order.created"),
        ("bento-route", "outside"),
    ];
    assert_eq!(event(&arrived(&binary, "{}")).event_id, id);
    let plain = [
        ("bento-event-id", ID),
        ("bento-event-type", "order.created"),
        ("bento-route", "outside"),
    ];
    assert_eq!(event(&arrived(&plain, "{}")).event_id, id);
    // Another service may well use a UUID that is known here.
    let foreign = event(&arrived(&with(&FOREIGN, "ce-id", ID), "{}"));
    assert_ne!(foreign.event_id, id);
}

#[test]
fn a_foreign_id_is_of_its_source_its_service_and_itself() {
    let first = event(&arrived(&FOREIGN, "{}")).event_id;
    let again = arrived(&FOREIGN, "{\"changed\":true}").with_place("s", "9");
    assert_eq!(event(&again).event_id, first);
    let others = [
        event(&arrived(&with(&FOREIGN, "ce-id", "18"), "{}")),
        event(&arrived(&with(&FOREIGN, "ce-source", "/till"), "{}")),
        event(&Arrived::new("till", "shop.orders", "{}", now()).with_headers(FOREIGN)),
    ];
    for other in others {
        assert_ne!(other.event_id, first);
    }
    // The parts do not run into each other.
    let long = with(&with(&FOREIGN, "ce-source", "/shop1"), "ce-id", "7");
    assert_ne!(event(&arrived(&long, "{}")).event_id, first);
}

#[test]
fn what_has_no_id_is_told_by_its_place() {
    let at = |incarnation: &'static str, place: &'static str| {
        unreadable(&arrived(&[], "hello").with_place(incarnation, place)).id
    };
    assert_eq!(at("a", "7"), at("a", "7"));
    assert_ne!(at("a", "7"), at("a", "8"));
    assert_ne!(at("a", "7"), at("b", "7"));
    let named = || arrived(&[], "hello").with_message_id(Some("m-1"));
    let of_message = unreadable(&named()).id;
    assert_eq!(unreadable(&named().with_place("a", "7")).id, of_message);
    let nameless = || arrived(&[], "hello").with_message_id(Some(""));
    assert_eq!(
        unreadable(&nameless().with_place("a", "7")).id,
        at("a", "7")
    );
    assert_eq!(nameless().id(), None);
}

#[test]
fn an_unreadable_message_is_kept_with_all_that_it_holds() {
    let message = arrived(&[("x-own", "value")], "hello")
        .with_content_type(Some("text/plain"))
        .with_message_id(Some("m-1"));
    let Unreadable { error, raw, .. } = unreadable(&message);
    assert!(error.contains("`mapping`"), "{error}");
    assert_eq!((&*raw.place, &*raw.body), ("sequence 7", &b"hello"[..]));
    let expected = [
        ("subject", "shop.orders"),
        ("content-type", "text/plain"),
        ("message-id", "m-1"),
        ("x-own", "value"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(raw.headers, expected);
}

#[test]
fn the_service_that_raised_an_event_is_told() {
    let message = read_by(&Reading::default(), &arrived(&FOREIGN, "{}"));
    let Message::Event { origin, .. } = message else {
        panic!("{message:?}");
    };
    assert_eq!(origin.as_deref(), Some("/shop"));
}

#[test]
fn a_mapping_is_asked_for_what_is_no_event_alone() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let reading = Reading::default().mapping(move |message| {
        counted.fetch_add(1, Ordering::Relaxed);
        message.event("order.imported", 1, message.body().clone())
    });
    let foreign = event_of(read_by(&reading, &arrived(&FOREIGN, "{}")));
    assert_eq!(foreign.event_type, "order.created");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let sent_at = "2026-05-04T03:02:00Z".parse().unwrap();
    let message = arrived(&[], "hello")
        .with_place("a", "7")
        .with_sent_at(Some(sent_at));
    let mapped = event_of(read_by(&reading, &message));
    assert_eq!(
        (&*mapped.event_type, &*mapped.payload),
        ("order.imported", &b"hello"[..])
    );
    assert_eq!(Some(mapped.event_id), message.id());
    assert_eq!(mapped.occurred_at, sent_at);
    // An event that cannot be read is none either.
    let broken = with(&FOREIGN, "ce-type", "");
    let mapped = event_of(read_by(
        &reading,
        &arrived(&broken, "{}").with_place("a", "8"),
    ));
    assert_eq!(mapped.event_type, "order.imported");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn an_id_in_the_body_is_the_same_each_time() {
    let reading = Reading::default()
        .mapping(|message| Ok(message.event_with_id("A-1", "order.imported", 1, "{}")));
    let at = |place: &'static str| {
        let message = arrived(&[], "hello").with_place("a", place);
        event_of(read_by(&reading, &message)).event_id
    };
    assert_eq!(at("7"), at("8"));
}

#[test]
fn a_mapping_that_fails_or_panics_makes_a_dead_letter() {
    let said = |reading: Reading| {
        let unreadable = unreadable_of(read_by(&reading, &arrived(&[], "hello")));
        assert_eq!(&*unreadable.raw.body, b"hello");
        unreadable.error
    };
    let failing = Reading::default().mapping(|_| Err("no number".into()));
    assert_eq!(said(failing), "the mapping of the source failed: no number");
    let panicking = Reading::default().mapping(|message| panic!("{:?}", message.body()));
    assert_eq!(said(panicking), "the mapping of the source panicked");
    let nameless = Reading::default().mapping(|message| message.event("order.imported", 1, "{}"));
    let error = said(nameless);
    assert!(error.contains("`Arrived::event_with_id`"), "{error}");
    let garbled = Reading::default().mapping(|message| {
        let mut event = message.event_with_id("1", "order.imported", 1, "{}");
        event.headers = "hello".into();
        Ok(event)
    });
    let error = said(garbled);
    assert!(error.contains("headers that are no JSON object"), "{error}");
    let endless = Reading::default()
        .mapping(|message| Ok(message.event_with_id("1", "x".repeat(191), 1, "{}")));
    let error = said(endless);
    assert!(error.contains("`event_type` has 191 characters"), "{error}");
}

#[test]
fn what_no_database_stores_is_unreadable() {
    let long = "x".repeat(300);
    for (name, value, says) in [
        ("ce-type", &*long, "`event_type` has 300 characters"),
        (
            "ce-type",
            "a%00b",
            "`event_type` contains the character U+0000",
        ),
        ("ce-subject", &*long, "`aggregate_id` has 300 characters"),
        ("ce-tenantid", &*long, "`tenant_id` has 300 characters"),
        ("ce-time", "0999-01-01T00:00:00Z", "is in the year 999"),
        ("ce-time", "2016-12-31T23:59:60Z", "is in a leap second"),
        ("ce-contentencoding", &*long, "`content_encoding` has 300"),
    ] {
        let mut headers = FOREIGN.to_vec();
        headers.retain(|(own, _)| *own != name);
        headers.push((name, value));
        let error = unreadable(&arrived(&headers, "{}")).error;
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn headers_that_lie_are_unreadable_or_left_out() {
    for (name, value, says) in [
        ("ce-schemaversion", "-1", "`schemaversion`"),
        ("ce-schemaversion", "4294967296", "`schemaversion`"),
        ("ce-aggregatesequence", "1e3", "`aggregatesequence`"),
        ("ce-time", "yesterday", "`time`"),
        ("content-type", "application/cloudevents+json", "`type`"),
    ] {
        let mut headers = FOREIGN.to_vec();
        headers.push((name, value));
        let error = unreadable(&arrived(&headers, "{}").with_place("a", "1")).error;
        assert!(
            error.contains(says) || error.contains("`id`"),
            "{name}: {error}"
        );
    }
    // The first of several values counts.
    let mut twice = FOREIGN.to_vec();
    twice.push(("ce-id", "18"));
    let first = event(&arrived(&FOREIGN, "{}")).event_id;
    assert_eq!(event(&arrived(&twice, "{}")).event_id, first);
    // What could not be a header of an event, and what is the connection's own.
    let mut strange = FOREIGN.to_vec();
    strange.extend([
        ("x y", "1"),
        ("Nats-Sequence", "7"),
        ("traceparent", "lies"),
    ]);
    let headers = event(&arrived(&strange, "{}")).headers().unwrap();
    assert!(!headers.extra.contains_key("x y"), "{headers:?}");
}

/// A text that is nearly right, or anything.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "1.0",
            "",
            "7",
            "-7",
            ID,
            "order.created",
            "2026-05-04T03:02:01Z",
            "-0001-01-01T00:00:00Z",
            "application/cloudevents+json",
            "application/json; a",
            "%",
            "%f",
            "%ff%00",
            "UTF-8''%ff",
            "UTF-8''Zo%C3%AB",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
        ".{0,600}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    let names: Vec<String> = ["id", "specversion", "source", "type", "time", "subject"]
        .into_iter()
        .chain([
            "schemaversion",
            "aggregatesequence",
            "tenantid",
            "traceparent",
        ])
        .flat_map(|name| {
            let prefixes = ["ce-", "ce_", "cloudEvents:", "cloudEvents_", "bento-", ""];
            prefixes.map(|prefix| format!("{prefix}{name}"))
        })
        .chain(
            [
                "content-type",
                "bento-event-id",
                "bento-event-type",
                "x-own*",
            ]
            .map(str::to_owned),
        )
        .chain(["bento-route", "bento-occurred-at"].map(str::to_owned))
        .collect();
    prop_oneof![4 => prop::sample::select(names), 1 => any::<String>()]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let member = prop::sample::select(vec![
        r#""specversion":"1.0""#,
        r#""id":"1""#,
        r#""id":7"#,
        r#""id":"\u0000""#,
        r#""type":"t""#,
        r#""type":null"#,
        r#""time":"now""#,
        r#""source":{}"#,
        r#""data":{"a":1e999}"#,
        r#""data_base64":"%%""#,
        r#""data_base64":"aGVsbG8=""#,
        r#""datacontenttype":"text/plain""#,
        r#""subject":"\ud800""#,
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(member, 0..8).prop_map(|members| format!(
            "{{{}}}",
            members.join(",")
        )
        .into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_arrives_is_an_event_or_unreadable(
        headers in prop::collection::vec((name(), value()), 0..10),
        content_type in prop::option::of(value()),
        message_id in prop::option::of(value()),
        body in body(),
    ) {
        let bindings = [
            Binding::HTTP,
            Binding::NATS,
            Binding::KAFKA,
            Binding::AMQP,
            Binding::REDIS,
        ];
        for binding in bindings {
            let read = || {
                let arrived = Arrived::new("orders", "s", body.clone(), now())
                    .with_headers(headers.clone())
                    .with_content_type(content_type.clone())
                    .with_message_id(message_id.clone())
                    .with_place("a", "7");
                Reading::default().message(&arrived, &binding, "place")
            };
            match (read(), read()) {
                (Message::Event { envelope, .. }, Message::Event { envelope: again, .. }) => {
                    prop_assert_eq!(envelope.event_id, again.event_id);
                    prop_assert_eq!(limits::check_envelope(&envelope), Ok(()));
                    prop_assert!(envelope.headers().is_ok());
                }
                (Message::Unreadable(unreadable), Message::Unreadable(again)) => {
                    prop_assert_eq!(unreadable.id, again.id);
                    prop_assert_eq!(&unreadable.raw.body[..], &body[..]);
                    prop_assert!(!unreadable.error.is_empty());
                }
                (one, other) => prop_assert!(false, "{one:?} and then {other:?}"),
            }
        }
    }
}
