//! Whatever a message holds, it comes: as an event or as unreadable.

use bento_core::EventId;
use bento_relay::source::{Message, Subscription};
use tokio::time::Instant;

use super::bench::{
    acknowledge, event, nothing_comes, read, receive, subscribe, subscribe_to, take, up_to,
};
use super::{Sent, SourceBench};
use crate::draws::Draws;

/// The hostile messages, with an event of a known aggregate after each hundred.
const HOSTILE: usize = 10_000;

/// An event of Bento's comes with its id and everything else that it said.
pub async fn an_event_comes_as_it_was_sent<B: SourceBench>(bench: &B) {
    let sent = event("a", 1);
    let expected = sent.event.clone().expect("it is an event");
    bench.send(&[sent]).await;
    let mut subscription = subscribe(bench, None).await;
    let received = take(&mut subscription, 1).await.messages;
    let Message::Event { envelope, .. } = &received[0] else {
        panic!("{:?} came for an event", received[0]);
    };
    assert_eq!(envelope.event_id, expected.event_id);
    assert_eq!(envelope.event_type, expected.event_type);
    assert_eq!(envelope.schema_version, expected.schema_version);
    assert_eq!(envelope.aggregate_type, expected.aggregate_type);
    assert_eq!(envelope.aggregate_id, expected.aggregate_id);
    assert_eq!(envelope.sequence, expected.sequence);
    assert_eq!(envelope.occurred_at, expected.occurred_at);
    assert_eq!(envelope.payload, expected.payload);
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// A message without headers, one with an empty body, and one whose body is no text come with their
/// bytes, between events.
pub async fn what_is_no_event_comes_whole<B: SourceBench>(bench: &B) {
    let bodies: [&[u8]; 4] = [b"hello", b"", b"\xff\x00\xfe{", br#"{"number":1}"#];
    let mut all = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        all.push(Sent::raw("a", body.to_vec()));
        all.push(event("a", number));
    }
    bench.send(&all).await;
    let mut subscription = subscribe(bench, None).await;
    let received = take(&mut subscription, all.len()).await.messages;
    for (number, (pair, body)) in (1..).zip(received.chunks(2).zip(bodies)) {
        match &pair[0] {
            Message::Unreadable(unreadable) => {
                assert_eq!(unreadable.raw.body, body);
                assert!(!unreadable.error.is_empty() && !unreadable.raw.place.is_empty());
            }
            other => panic!("{other:?} is no event and came as one"),
        }
        assert_eq!(read(&pair[1]), Some(("a", number)));
    }
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// 10,000 messages of random parts, some of them right: each comes, and the events between them
/// come in order.
pub async fn whatever_a_message_holds_it_comes<B: SourceBench>(bench: &B) {
    let mut draws = Draws::new(20);
    let mut all: Vec<Sent> = Vec::new();
    for at in 0..HOSTILE {
        all.push(hostile(&mut draws));
        if at % 100 == 99 {
            let number = i64::try_from(at / 100 + 1).expect("it is small");
            all.push(event("a", number));
        }
    }
    for chunk in all.chunks(500) {
        bench.send(chunk).await;
    }
    let source = bench.source();
    let mut subscription = subscribe_to(bench, &source, None).await;
    let (mut count, mut numbers, mut cursor) = (0, Vec::new(), None);
    let (mut last, mut ends) = (Instant::now(), 0);
    while count < all.len() {
        assert!(
            last.elapsed() < bench.traits().takes_over_within,
            "{count} of {} messages came",
            all.len()
        );
        let received = match receive(&mut subscription, up_to(777)).await {
            Ok(received) => received,
            // A client may end at a message that it cannot read; the next one has to get past it.
            Err(error) => {
                ends += 1;
                assert!(ends < 20, "it ended again and again: {}", error.chain());
                drop(subscription);
                subscription = subscribe_to(bench, &source, cursor.clone()).await;
                continue;
            }
        };
        if received.messages.is_empty() {
            continue;
        }
        last = Instant::now();
        count += received.messages.len();
        cursor = received.cursor.or(cursor);
        let known = received.messages.iter().filter_map(read);
        numbers.extend(
            known
                .filter(|(aggregate, _)| *aggregate == "a")
                .map(|(_, at)| at),
        );
        // What is behind the cursor is stored; elsewhere it would come again.
        if !bench.traits().has_places {
            acknowledge(&mut subscription).await;
        } else if let Err(error) = subscription.acknowledge().await {
            assert!(!error.is_refused(), "{}", error.chain());
        }
    }
    assert_eq!(count, all.len());
    assert!(numbers.iter().copied().eq(1..=100), "{numbers:?}");
    nothing_comes(&mut subscription).await;
    subscription.close().await;
}

/// The names of headers that mean something, and some that do not.
const NAMES: [&str; 30] = [
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-time",
    "ce-schemaversion",
    "ce-aggregatesequence",
    "ce_specversion",
    "ce_id",
    "ce_type",
    "cloudEvents:specversion",
    "cloudEvents:id",
    "cloudEvents:type",
    "cloudEvents_id",
    "bento-event-id",
    "bento-event-type",
    "bento-schema-version",
    "bento-aggregate-id",
    "bento-aggregate-sequence",
    "bento-occurred-at",
    "bento-tenant-id",
    "bento-content-encoding",
    "bento-route",
    "content-type",
    "traceparent",
    "tracestate",
    "x-own*",
    "X-OWN",
    "Nats-Sequence",
    "x-death",
];

/// Texts that are right, nearly right, and wrong.
const VALUES: [&str; 20] = [
    "1.0",
    "",
    "7",
    "-7",
    "99999999999999999999999999",
    "2026-05-04T03:02:01Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "+275760-09-13T00:00:00Z",
    "order.created",
    "a.v7",
    "application/cloudevents+json",
    "application/cloudevents+json; charset=utf-8",
    "application/json",
    "%",
    "%ZZ%f",
    "UTF-8''Zo%C3%AB",
    "UTF-8''%ff%00",
    "gzip",
    "\u{1F371} \u{202E}",
];

fn hostile(draws: &mut Draws) -> Sent {
    // An aggregate of its own, so that none is taken for a known one.
    let mut sent = Sent::raw(format!("h{}", draws.below(5)), body(draws));
    for _ in 0..draws.below(8) {
        let name = NAMES[draws.below(NAMES.len())].to_owned();
        sent.headers.push((name, value(draws)));
    }
    if draws.happens(30) {
        let at = draws.below(VALUES.len());
        sent.content_type = Some(VALUES[at].to_owned());
    }
    sent
}

fn value(draws: &mut Draws) -> Vec<u8> {
    match draws.below(10) {
        0..=4 => VALUES[draws.below(VALUES.len())].as_bytes().to_vec(),
        5 => EventId::new().to_string().into_bytes(),
        6 => bytes(draws, 3_000),
        _ => bytes(draws, 40),
    }
}

fn body(draws: &mut Draws) -> Vec<u8> {
    const JSON: [&str; 8] = [
        "{",
        "null",
        "[[[[[[[[[[",
        r#"{"specversion":"1.0","id":"1","type":"t","source":"/s","data":{"a":1e999}}"#,
        r#"{"specversion":"1.0","id":7,"type":"t","data_base64":"%%%"}"#,
        r#"{"specversion":"1.0","id":"\u0000","type":"\u0000\ud800"}"#,
        r#"{"id":null,"type":[],"time":"now"}"#,
        r#"{"id":"1","id":"2","type":"t","aggregatesequence":"x"}"#,
    ];
    match draws.below(4) {
        0 => JSON[draws.below(JSON.len())].as_bytes().to_vec(),
        1 => Vec::new(),
        2 => bytes(draws, 200),
        _ => br#"{"total":1.10}"#.to_vec(),
    }
}

fn bytes(draws: &mut Draws, most: usize) -> Vec<u8> {
    let length = draws.below(most);
    let byte = |_| u8::try_from(draws.below(256)).expect("it is a byte");
    (0..length).map(byte).collect()
}
