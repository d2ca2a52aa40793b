//! Unacknowledged messages come again, in order; acknowledged ones do not.

use std::collections::BTreeMap;

use bento_relay::source::{Cursor, Received, Subscription};
use tokio::time::Instant;

use super::bench::{
    Open, acknowledge, attempt, event, events, nothing_comes, numbers, read, receive, subscribe,
    take, up_to,
};
use super::{SourceBench, skipped};
use crate::draws::Draws;

/// After an orderly end, what was not acknowledged comes again before what was sent later.
pub async fn unacknowledged_messages_come_again_after_a_close<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=10)).await;
    let mut first = subscribe(bench, None).await;
    take(&mut first, 6).await;
    bench.send(&events(11..=12)).await;
    first.close().await;
    comes_whole(bench, subscribe(bench, None).await).await;
}

/// The same without an orderly end, as after the crash of a process.
pub async fn unacknowledged_messages_come_again_after_a_drop<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=10)).await;
    let mut first = subscribe(bench, None).await;
    take(&mut first, 6).await;
    drop(first);
    bench.send(&events(11..=12)).await;
    comes_whole(bench, subscribe(bench, None).await).await;
}

/// Expects 1 to 12 and nothing else, and that a later message comes behind them.
async fn comes_whole<B: SourceBench>(bench: &B, mut subscription: Open<B>) {
    let seen = numbers(&take(&mut subscription, 12).await.messages);
    assert!(seen.iter().copied().eq(1..=12), "{seen:?} came again");
    acknowledge(&mut subscription).await;
    bench.send(&events([13])).await;
    assert_eq!(numbers(&take(&mut subscription, 1).await.messages), [13]);
    acknowledge(&mut subscription).await;
    nothing_comes(&mut subscription).await;
    subscription.close().await;
}

/// Acknowledged messages do not come again to the next subscription, with its cursor.
pub async fn acknowledged_messages_do_not_come_again<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=10)).await;
    let mut cursor = None;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let mut subscription = subscribe(bench, cursor.take()).await;
        let received = take(&mut subscription, 2).await;
        assert_eq!(received.cursor.is_some(), bench.traits().has_places);
        cursor = received.cursor;
        seen.extend(numbers(&received.messages));
        acknowledge(&mut subscription).await;
        // A second one has nothing to add.
        acknowledge(&mut subscription).await;
        subscription.close().await;
    }
    assert!(seen.iter().copied().eq(1..=10), "{seen:?}");
    let mut subscription = subscribe(bench, cursor).await;
    nothing_comes(&mut subscription).await;
    subscription.close().await;
}

/// Messages that were stored, and not acknowledged because the process crashed, are before the
/// cursor and do not come again.
pub async fn what_is_stored_is_left_out_unacknowledged<B: SourceBench>(bench: &B) {
    if !bench.traits().has_places {
        return skipped(
            "what_is_stored_is_left_out_unacknowledged",
            "the broker keeps no place",
        );
    }
    bench.send(&events(1..=10)).await;
    let mut first = subscribe(bench, None).await;
    take(&mut first, 2).await;
    acknowledge(&mut first).await;
    let stored = take(&mut first, 3).await.cursor;
    take(&mut first, 2).await;
    drop(first);
    let mut second = subscribe(bench, stored.clone()).await;
    let seen = numbers(&take(&mut second, 5).await.messages);
    assert_eq!(seen, [6, 7, 8, 9, 10]);
    nothing_comes(&mut second).await;
    second.close().await;
    // Also to one that acknowledged nothing of it.
    let mut third = subscribe(bench, stored).await;
    let received = take(&mut third, 5).await;
    assert_eq!(numbers(&received.messages), [6, 7, 8, 9, 10]);
    acknowledge(&mut third).await;
    third.close().await;
    let mut fourth = subscribe(bench, received.cursor).await;
    nothing_comes(&mut fourth).await;
    fourth.close().await;
}

/// The stored cursor wins over what the broker knows: after the restore of a backup the messages
/// that it lacks come again.
pub async fn an_older_cursor_brings_acknowledged_ones_again<B: SourceBench>(bench: &B) {
    if !bench.traits().rewinds {
        return skipped(
            "an_older_cursor_brings_acknowledged_ones_again",
            "the broker does not keep what is acknowledged",
        );
    }
    bench.send(&events(1..=9)).await;
    let mut first = subscribe(bench, None).await;
    let backup = take(&mut first, 3).await.cursor;
    acknowledge(&mut first).await;
    take(&mut first, 6).await;
    acknowledge(&mut first).await;
    first.close().await;
    let mut restored = subscribe(bench, backup).await;
    let seen = numbers(&take(&mut restored, 6).await.messages);
    assert_eq!(seen, [4, 5, 6, 7, 8, 9]);
    acknowledge(&mut restored).await;
    nothing_comes(&mut restored).await;
    restored.close().await;
}

/// A second subscriber, while the first one is still there, as after a lease that was lost in a
/// pause: it gets nothing, or it takes over; and when the first one is gone it has everything that
/// was not acknowledged, in order.
pub async fn another_subscriber_takes_over_in_order<B: SourceBench>(bench: &B) {
    bench.send(&events(1..=8)).await;
    let mut first = subscribe(bench, None).await;
    let stored = take(&mut first, 2).await.cursor;
    acknowledge(&mut first).await;
    take(&mut first, 3).await;
    let mut second = attempt(&bench.source(), stored.clone()).await.ok();
    let mut seen = Vec::new();
    if let Some(open) = &mut second {
        match receive(open, up_to(2)).await {
            Ok(received) => seen = numbers(&received.messages),
            Err(_) => second = None,
        }
    }
    first.close().await;
    let begun = Instant::now();
    while seen.len() < 6 {
        assert!(
            begun.elapsed() < bench.traits().takes_over_within * 2,
            "only {seen:?} came to the second one"
        );
        let open = match &mut second {
            Some(open) => open,
            None => {
                seen.clear();
                second.insert(subscribe(bench, stored.clone()).await)
            }
        };
        match receive(open, up_to(6 - seen.len())).await {
            Ok(received) => seen.extend(numbers(&received.messages)),
            Err(_) => second = None,
        }
    }
    assert_eq!(seen, [3, 4, 5, 6, 7, 8]);
    let mut second = second.expect("it has received");
    acknowledge(&mut second).await;
    nothing_comes(&mut second).await;
    second.close().await;
}

/// A consumer that stores, acknowledges, closes, crashes and is cut off at random: every event is
/// stored, and those of an aggregate in their order.
pub async fn crashes_lose_nothing_and_keep_the_order<B: SourceBench>(bench: &B) {
    let mut draws = Draws::new(7);
    let mut inbox = Inbox::default();
    let mut subscription = None;
    let mut sent = 0;
    let mut crashes = 0;
    let mut progress = (0, Instant::now());
    while inbox.length() < 240 || sent < 240 {
        if inbox.length() > progress.0 {
            progress = (inbox.length(), Instant::now());
        }
        assert!(
            progress.1.elapsed() < bench.traits().takes_over_within * 2,
            "{} of {sent} events are stored, and no more come",
            progress.0
        );
        if sent < 240 {
            let number = sent / 6 + 1;
            let events: Vec<_> = (0..6).map(|of| event(&format!("a{of}"), number)).collect();
            bench.send(&events).await;
            sent += 6;
        }
        let mut open = match subscription.take() {
            Some(open) => open,
            None => subscribe(bench, inbox.cursor.clone()).await,
        };
        let Ok(received) = receive(&mut open, up_to(1 + draws.below(12))).await else {
            continue;
        };
        let is_stored = draws.happens(80);
        if is_stored {
            inbox.store(received);
        }
        // The chances are those of a bad day: each crash takes a broker some time.
        match draws.below(10) {
            0 if crashes < 6 => {
                crashes += 1;
                drop(open);
            }
            1 => open.close().await,
            2 if is_stored => subscription = Some(open),
            _ if is_stored => {
                acknowledge(&mut open).await;
                subscription = Some(open);
            }
            _ => open.close().await,
        }
    }
    if let Some(open) = subscription {
        open.close().await;
    }
}

/// An inbox that knows what it has.
#[derive(Default)]
struct Inbox {
    last: BTreeMap<String, i64>,
    cursor: Option<Cursor>,
}

impl Inbox {
    fn length(&self) -> i64 {
        self.last.values().sum()
    }

    fn store(&mut self, received: Received) {
        for message in &received.messages {
            let (aggregate, number) = read(message).expect("every message is an event");
            let last = self.last.entry(aggregate.to_owned()).or_default();
            assert!(
                number <= *last + 1,
                "event {number} of `{aggregate}` came behind {last}"
            );
            *last = number.max(*last);
        }
        self.cursor = received.cursor.or(self.cursor.take());
    }
}
