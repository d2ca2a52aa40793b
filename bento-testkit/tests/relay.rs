//! The relay against the store in memory, rule by rule.
use bento_core::envelope::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_core::publish::MemoryPublisher;
use bento_core::relay::{MemoryStore, Relay};

fn entry(kind: &str, id: u32) -> OutboxEntry {
    let mut e = Envelope::new("order.paid", 1, chrono::DateTime::UNIX_EPOCH, "{}");
    e.aggregate_type = kind.to_owned().into();
    e.aggregate_id = id.to_string();
    OutboxEntry { shard: Sharding::default().shard(&e), id_supplied: false, envelope: e }
}

#[tokio::test(start_paused = true)]
async fn smoke() {
    let store = MemoryStore::default();
    let broker = MemoryPublisher::new();
    store.append((0..1000).map(|i| entry("order", i % 50)));
    let relay = Relay::builder(store.clone(), broker.clone()).start().unwrap();
    broker.wait_for(1000).await;
    relay.stop().await.unwrap();
    assert_eq!(broker.published().len(), 1000);
    store.append((0..1000).map(|i| entry("order", i % 50)));
    let report = Relay::builder(store.clone(), broker.clone()).run_until_empty().await.unwrap();
    assert_eq!(report.tally.published, 1000);
}
