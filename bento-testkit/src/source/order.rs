//! Messages come in order, when there are any, and no more than asked for.

use std::time::{Duration, Instant};

use bento_relay::source::{Message, Most, Subscription};
use bytes::Bytes;

use super::bench::{
    acknowledge, by_aggregate, event, event_with, events, most, nothing_comes, numbers, read,
    receive, subscribe, take, up_to,
};
use super::{Sent, SourceBench};

const AGGREGATES: i64 = 7;
const EVENTS: i64 = 40;

/// The events of each aggregate come in the order in which they were sent, each once.
pub async fn an_aggregate_keeps_its_order<B: SourceBench>(bench: &B) {
    let all = (1..=EVENTS).flat_map(|number| {
        (0..AGGREGATES).map(move |aggregate| event(&format!("a{aggregate}"), number))
    });
    let all: Vec<_> = all.collect();
    bench.send(&all).await;
    let mut subscription = subscribe(bench, None).await;
    let mut messages = Vec::new();
    while messages.len() < all.len() {
        messages.extend(take(&mut subscription, 1).await.messages);
        let further = receive(&mut subscription, up_to(13)).await;
        messages.extend(further.expect("it goes on").messages);
        acknowledge(&mut subscription).await;
    }
    for (aggregate, numbers) in by_aggregate(&messages) {
        assert!(
            numbers.iter().copied().eq(1..=EVENTS),
            "the events of `{aggregate}` came as {numbers:?}"
        );
    }
    nothing_comes(&mut subscription).await;
    subscription.close().await;
}

/// The subscription is there when `subscribe` returns: a message that is sent then is received.
pub async fn a_message_sent_after_the_subscription_is_received<B: SourceBench>(bench: &B) {
    let mut subscription = subscribe(bench, None).await;
    for number in 1..=5 {
        bench.send(&events([number])).await;
        let received = take(&mut subscription, 1).await;
        assert_eq!(numbers(&received.messages), [number]);
        acknowledge(&mut subscription).await;
    }
    subscription.close().await;
}

/// Without a message a receive returns nothing, about when its wait is over; and it waits no longer
/// when a message comes.
pub async fn an_idle_receive_is_empty_after_the_wait<B: SourceBench>(bench: &B) {
    let mut subscription = subscribe(bench, None).await;
    let wait = Duration::from_millis(400);
    for _ in 0..3 {
        let begun = Instant::now();
        let received = receive(&mut subscription, most(10, wait)).await;
        let took = begun.elapsed();
        let received = received.expect("an idle subscription goes on");
        assert!(received.messages.is_empty() && received.cursor.is_none());
        assert!(
            took >= wait / 2 && took < wait + Duration::from_secs(5),
            "a wait of {wait:?} took {took:?}"
        );
    }
    let begun = Instant::now();
    let long = most(10, Duration::from_secs(30));
    let (received, ()) = tokio::join!(receive(&mut subscription, long), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.send(&events([1])).await;
    });
    let received = received.expect("an idle subscription goes on");
    assert_eq!(numbers(&received.messages), [1]);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "one message of ten was held back for {:?}",
        begun.elapsed()
    );
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// A receive returns no more messages than asked for, and the next one goes on behind them.
pub async fn no_more_messages_come_than_asked_for<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=50)).await;
    let mut subscription = subscribe(bench, None).await;
    let mut seen = Vec::new();
    for count in [1, 3, 20, 2, 20, 4] {
        let received = take(&mut subscription, count).await;
        seen.extend(numbers(&received.messages));
    }
    assert!(seen.iter().copied().eq(1..=50), "{seen:?}");
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// The bodies of a receive are no larger together than asked for, unless there is one alone.
pub async fn no_more_bytes_come_than_asked_for<B: SourceBench>(bench: &B) {
    const SIZE: usize = 40_000;
    let large = |number| event_with("a", number, vec![b'x'; SIZE]);
    bench.send(&(1..=12).map(large).collect::<Vec<_>>()).await;
    let mut subscription = subscribe(bench, None).await;
    let mut seen = Vec::new();
    for bytes in [SIZE * 3 + SIZE / 2, SIZE / 2]
        .into_iter()
        .cycle()
        .take(200)
    {
        let bounds = Most {
            bytes,
            ..up_to(1_000)
        };
        let received = receive(&mut subscription, bounds)
            .await
            .expect("it goes on");
        let sizes = received.messages.iter().map(|message| match message {
            Message::Event { envelope, .. } => envelope.payload.len(),
            Message::Unreadable(unreadable) => unreadable.raw.body.len(),
        });
        let size: usize = sizes.sum();
        assert!(
            size <= bytes || received.messages.len() == 1,
            "{size} bytes in {} messages came, and {bytes} were asked for",
            received.messages.len()
        );
        seen.extend(numbers(&received.messages));
        if seen.len() >= 12 {
            break;
        }
    }
    assert!(seen.iter().copied().eq(1..=12), "{seen:?}");
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// A large body comes whole, between two small ones.
pub async fn a_large_message_comes_whole<B: SourceBench>(bench: &B) {
    let body: Bytes = (0..bench.traits().large)
        .map(|at| (at % 251) as u8)
        .collect::<Vec<_>>()
        .into();
    let large = Sent::raw("a", body.clone());
    bench.send(&[event("a", 1), large, event("a", 2)]).await;
    let mut subscription = subscribe(bench, None).await;
    let received = take(&mut subscription, 3).await.messages;
    assert_eq!(read(&received[0]), Some(("a", 1)));
    assert_eq!(read(&received[2]), Some(("a", 2)));
    match &received[1] {
        Message::Unreadable(unreadable) => assert!(unreadable.raw.body == body, "it has changed"),
        other => panic!("{other:?} is no event and came as one"),
    }
    acknowledge(&mut subscription).await;
    subscription.close().await;
}

/// The number of messages that wait, if the broker tells it, counts those that are not
/// acknowledged.
pub async fn what_is_not_acknowledged_is_counted<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=5)).await;
    let mut subscription = subscribe(bench, None).await;
    let Some(waiting) = subscription.lag().await.expect("it is told") else {
        let rule = "what_is_not_acknowledged_is_counted";
        return super::skipped(rule, "the broker does not tell what waits");
    };
    assert_eq!(waiting, 5);
    take(&mut subscription, 5).await;
    acknowledge(&mut subscription).await;
    let begun = Instant::now();
    while subscription.lag().await.expect("it is told") != Some(0) {
        // Some brokers count now and then.
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    subscription.close().await;
}
