//! The relay itself on the store.

use std::time::Duration;

use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::Relay;
use bento_relay::inspect::Inspect;
use bento_relay::publish::{Delivery, MemoryPublisher, PublishError};
use bento_relay::retry::RetryPolicy;

use super::StoreHarness;
use super::bench::{event, number_of, open, sharding};
use crate::Ledger;

/// A pass publishes every event once and each aggregate in order, those of failing aggregates as
/// well.
pub async fn a_relay_empties_the_outbox_in_order<H: StoreHarness>(harness: &H) {
    let sharding = sharding(4, 1);
    let broker = MemoryPublisher::new();
    broker.fail(some_fail_at_first);
    let store = open(harness, sharding).await;
    let ledger = written(harness, sharding, 300).await;
    let retry = RetryPolicy::immediate(5);
    let pass = Relay::builder(store, broker.clone())
        .retry(retry)
        .batch(20)
        .run_until_empty();
    let report = pass.await.expect("the store is there");
    broker
        .published()
        .iter()
        .for_each(|delivery| ledger.delivered(&delivery.envelope));
    ledger.check().assert_exact();
    assert_eq!(
        (report.shards, report.tally.published, report.tally.retried),
        (4, 300, 30)
    );
    assert!(report.tally.held_back > 0, "{report:?}");
}

/// Several relays at once deliver everything, each aggregate in order.
pub async fn relays_share_the_work_and_lose_nothing<H: StoreHarness>(harness: &H) {
    let sharding = sharding(8, 1);
    let broker = MemoryPublisher::new();
    let mut relays = Vec::new();
    for _ in 0..3 {
        let relay = Relay::builder(open(harness, sharding).await, broker.clone()).batch(20);
        let relay = relay
            .lease(Duration::from_secs(2))
            .poll(Duration::from_millis(20), Duration::from_millis(50));
        relays.push(relay.start().expect("a runtime is there"));
    }
    let ledger = written(harness, sharding, 400).await;
    tokio::time::timeout(Duration::from_secs(60), broker.wait_for(400))
        .await
        .expect("everything is delivered in time");
    for relay in relays {
        relay.stop().await.expect("a relay stops");
    }
    broker
        .published()
        .iter()
        .for_each(|delivery| ledger.delivered(&delivery.envelope));
    ledger.check().assert_nothing_lost_and_in_order();
    assert_eq!(
        open(harness, sharding)
            .await
            .counts()
            .await
            .expect("the store is there")
            .backlog(),
        0
    );
}

fn some_fail_at_first(delivery: &Delivery) -> Option<PublishError> {
    let fails = delivery.attempts == 0 && number_of(&delivery.envelope) % 10 == 3;
    fails.then(|| PublishError::transient("refused"))
}

/// Writes events of 17 aggregates, ten in a transaction.
async fn written<H: StoreHarness>(harness: &H, sharding: Sharding, count: u32) -> Ledger {
    let ledger = Ledger::new();
    let entries: Vec<_> = (0..count)
        .map(|number| {
            let entry = event(&(number % 17).to_string(), number);
            OutboxEntry {
                shard: sharding.shard(&entry.envelope),
                ..entry
            }
        })
        .collect();
    for transaction in entries.chunks(10) {
        harness.append(transaction.to_vec()).await;
        transaction
            .iter()
            .for_each(|entry| ledger.committed(&entry.envelope));
    }
    ledger
}
