//! Shards that cannot be read: the others go on, and nothing is published twice.

use std::collections::BTreeSet;
use std::time::Duration;

use bento_core::outbox::ShardId;
use bento_relay::{Degradation, RelayError, RelayHandle, StoreError};
use tokio::time::Instant;

use crate::scene::{Scene, event, settle};

/// The shards that health names.
fn failing(relay: &RelayHandle) -> BTreeSet<ShardId> {
    let shard = |reason: &Degradation| match reason {
        Degradation::ShardFailing { shard, .. } => Some(*shard),
        _ => None,
    };
    relay.health().degraded.iter().filter_map(shard).collect()
}

#[tokio::test(start_paused = true)]
async fn shards_that_cannot_be_read_keep_no_worker_from_the_others() {
    let scene = Scene::new();
    let (store, relay) = scene.flaky_relay();
    scene.commit_many(400, 400);
    let unreadable: BTreeSet<ShardId> = (0..8).collect();
    store.set_unreadable(unreadable.clone());
    let shard_of = |id: &str| scene.sharding.shard(&event(id));
    let good = (0..400)
        .filter(|id: &i32| shard_of(&id.to_string()) >= 8)
        .count();
    let relay = relay.start().unwrap();
    scene.wait_for(good).await;
    settle().await;
    for _ in 0..100 {
        let health = relay.health();
        assert!(health.alive && health.ready, "{health:?}");
        assert_eq!(
            (failing(&relay), health.degraded.len()),
            (unreadable.clone(), 8),
            "{health:?}"
        );
        tokio::time::sleep(Duration::from_millis(777)).await;
    }
    let start = Instant::now();
    scene.commit_many(400, 400);
    scene.wait_for(2 * good).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    store.set_unreadable([]);
    scene.wait_for(800).await;
    scene.wait_for_counts(0, 0, 0).await;
    settle().await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_delays_no_stop() {
    let scene = Scene::divided(2);
    let (store, relay) = scene.flaky_relay();
    scene.commit_many(10, 10);
    store.set_unreadable([0, 1]);
    let relay = relay.start().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let health = relay.health();
    assert!(
        health.degraded[0].to_string().contains("shard 0"),
        "{health:?}"
    );
    let start = Instant::now();
    relay.stop().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(scene.counts().await.pending, 10);
}

#[tokio::test(start_paused = true)]
async fn a_pass_empties_the_other_shards_and_then_says_what_is_wrong() {
    let scene = Scene::divided(4);
    let (store, relay) = scene.flaky_relay();
    scene.commit_many(40, 40);
    store.set_unreadable([0, 3]);
    let in_others =
        (0..40).filter(|id: &i32| ![0, 3].contains(&scene.sharding.shard(&event(&id.to_string()))));
    let in_others = in_others.count();
    let error = relay.workers(1).run_until_empty().await.unwrap_err();
    assert!(
        matches!(error, RelayError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
    assert_eq!(scene.published().len(), in_others);
}

#[tokio::test(start_paused = true)]
async fn published_events_are_recorded_when_the_next_read_fails() {
    let scene = Scene::divided(1);
    let (store, relay) = scene.flaky_relay();
    scene.commit_many(1, 3);
    scene.broker.inner().block();
    let relay = relay.batch(1).start().unwrap();
    scene.broker.inner().wait_for_blocked(1).await;
    store.set_unreadable([0]);
    scene.broker.inner().unblock();
    scene.wait_for_counts(2, 0, 0).await;
    relay.stop().await.unwrap();
    store.set_unreadable([]);
    scene.relay().run_until_empty().await.unwrap();
    scene.account().assert_exact();
}
