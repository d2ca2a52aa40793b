//! The common parts of the rules: events, and reading them.

use std::collections::BTreeMap;
use std::time::Duration;

use bento_core::Envelope;
use bento_relay::source::{
    Cursor, Message, Most, Received, Resume, Source, SourceError, Subscription,
};
use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use tokio::time::{Instant, sleep, timeout};

use super::{LEASE, Sent, SourceBench};

/// A broker that takes longer than this to give what it has does not give it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(100);

/// The subscription of a bench's source.
pub(super) type Open<B> = <<B as SourceBench>::Source as Source>::Subscription;

/// The `number`-th event of an aggregate.
pub(super) fn event(aggregate: &str, number: i64) -> Sent {
    let payload = format!(r#"{{"aggregate":"{aggregate}","number":{number},"total":1.10}}"#);
    event_with(aggregate, number, payload)
}

/// The same with another payload.
pub(super) fn event_with(aggregate: &str, number: i64, payload: impl Into<Bytes>) -> Sent {
    let mut event = Envelope::new("thing.happened", 3, Utc::now().trunc_subsecs(3), payload);
    event.aggregate_type = "thing".into();
    event.aggregate_id = aggregate.to_owned();
    event.sequence = Some(number);
    Sent::event(event)
}

/// The events `numbers` of one aggregate.
pub(super) fn events(numbers: impl IntoIterator<Item = i64>) -> Vec<Sent> {
    numbers
        .into_iter()
        .map(|number| event("a", number))
        .collect()
}

/// At most this number of messages within the wait.
pub(super) fn most(messages: usize, wait: Duration) -> Most {
    let bytes = 16 << 20;
    Most {
        messages,
        bytes,
        wait,
    }
}

/// A wait that ends when messages come, as a consumer's does.
pub(super) fn up_to(messages: usize) -> Most {
    most(messages, Duration::from_millis(500))
}

/// Long enough for a message that would come.
pub(super) const A_WHILE: Duration = Duration::from_millis(700);

/// The subscription behind the cursor, of another process. The broker may be busy with the end of
/// the one before.
pub(super) async fn subscribe<B: SourceBench>(bench: &B, cursor: Option<Cursor>) -> Open<B> {
    subscribe_to(bench, &bench.source(), cursor).await
}

/// The same, of one process.
pub(super) async fn subscribe_to<B: SourceBench>(
    bench: &B,
    source: &B::Source,
    cursor: Option<Cursor>,
) -> Open<B> {
    let limit = bench.traits().takes_over_within;
    let begun = Instant::now();
    loop {
        match attempt(source, cursor.clone()).await {
            Ok(subscription) => return subscription,
            Err(error) if error.is_refused() || begun.elapsed() > limit => {
                panic!("not subscribed: {}", error.chain())
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// One attempt to subscribe.
pub(super) async fn attempt<S: Source>(
    source: &S,
    cursor: Option<Cursor>,
) -> Result<S::Subscription, SourceError> {
    let resume = Resume::new("outside").behind(cursor).lease(LEASE);
    let subscribed = timeout(PATIENCE, source.subscribe(resume)).await;
    subscribed.expect("an attempt to subscribe ends")
}

/// Receives once.
pub(super) async fn receive(
    subscription: &mut impl Subscription,
    most: Most,
) -> Result<Received, SourceError> {
    let received = timeout(most.wait + PATIENCE, subscription.receive(most)).await;
    let received = received.expect("a receive ends")?;
    assert!(
        received.messages.len() <= most.messages,
        "{} messages came, and {} were asked for",
        received.messages.len(),
        most.messages
    );
    Ok(received)
}

/// Receives exactly this number of messages, and acknowledges none.
pub(super) async fn take(subscription: &mut impl Subscription, count: usize) -> Received {
    let begun = Instant::now();
    let mut all = Received::default();
    while all.messages.len() < count {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {count} messages came",
            all.messages.len()
        );
        let received = receive(subscription, up_to(count - all.messages.len())).await;
        let received = received.unwrap_or_else(|error| panic!("not received: {}", error.chain()));
        all.messages.extend(received.messages);
        all.cursor = received.cursor.or(all.cursor);
    }
    all
}

/// Receives and expects that nothing comes.
pub(super) async fn nothing_comes(subscription: &mut impl Subscription) {
    let received = receive(subscription, most(10, A_WHILE)).await;
    let received = received.unwrap_or_else(|error| panic!("not received: {}", error.chain()));
    let read: Vec<_> = received.messages.iter().map(read).collect();
    assert!(read.is_empty(), "{read:?} came and should not");
}

pub(super) async fn acknowledge(subscription: &mut impl Subscription) {
    let acknowledged = timeout(PATIENCE, subscription.acknowledge()).await;
    let acknowledged = acknowledged.expect("an acknowledgement ends");
    acknowledged.unwrap_or_else(|error| panic!("not acknowledged: {}", error.chain()));
}

/// The aggregate and the number of an event; `None` for a message without an event.
pub(super) fn read(message: &Message) -> Option<(&str, i64)> {
    match message {
        Message::Event { envelope, .. } => Some((&envelope.aggregate_id, envelope.sequence?)),
        Message::Unreadable(_) => None,
    }
}

/// The numbers of the only aggregate.
pub(super) fn numbers(messages: &[Message]) -> Vec<i64> {
    let number = |message| read(message).expect("every message is an event").1;
    messages.iter().map(number).collect()
}

/// The numbers of each aggregate.
pub(super) fn by_aggregate(messages: &[Message]) -> BTreeMap<String, Vec<i64>> {
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for message in messages {
        let (aggregate, number) = read(message).expect("every message is an event");
        numbers
            .entry(aggregate.to_owned())
            .or_default()
            .push(number);
    }
    numbers
}
