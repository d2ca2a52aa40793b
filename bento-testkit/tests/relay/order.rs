//! Order, and how much is on its way at once.

use std::time::Duration;

use bento_relay::Relay;
use bento_relay::publish::MemoryPublisher;
use bento_testkit::RecordingPublisher;

use crate::scene::{Scene, settle};

#[tokio::test(start_paused = true)]
async fn every_event_is_published_once_and_each_aggregate_in_order() {
    let scene = Scene::new();
    scene.commit_many(50, 1000);
    let relay = scene.start();
    scene.commit_many(50, 1000);
    scene.wait_for(2000).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
    scene.broker.assert_one_at_a_time();
    scene.wait_for_counts(0, 0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_chains_gets_an_aggregate_in_one_batch() {
    let scene = Scene::new();
    let broker = RecordingPublisher::watching(MemoryPublisher::chaining());
    (0..10).for_each(|_| drop(scene.commit("1")));
    Relay::builder(scene.store.clone(), broker.clone())
        .run_until_empty()
        .await
        .unwrap();
    assert_eq!(
        broker.batches().iter().map(Vec::len).collect::<Vec<_>>(),
        [10]
    );
    broker
        .attempts()
        .iter()
        .for_each(|delivery| scene.ledger.delivered(&delivery.envelope));
    scene.ledger.check().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn events_without_order_go_out_together() {
    let scene = Scene::divided(1);
    (0..10).for_each(|_| drop(scene.commit("")));
    scene.relay().run_until_empty().await.unwrap();
    assert_eq!(
        scene
            .broker
            .batches()
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>(),
        [10]
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_never_empty_makes_room_for_another() {
    let scene = Scene::divided(2);
    let names: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    let in_shard = |shard| {
        let name = names
            .iter()
            .find(|name| scene.sharding.shard(&crate::scene::event(name)) == shard);
        name.expect("20 aggregates reach both shards")
    };
    let (busy, other) = (in_shard(0), in_shard(1));
    (0..1000).for_each(|_| drop(scene.commit(busy)));
    scene.commit(other);
    let mut settings = bento_relay::RelaySettings::default();
    (settings.batch, settings.workers, settings.turn) = (5, 1, Duration::from_secs(1));
    scene
        .broker
        .inner()
        .answer_after(Duration::from_millis(100));
    let relay = scene.relay().settings(settings).start().unwrap();
    scene.wait_for(1001).await;
    relay.stop().await.unwrap();
    let place = scene
        .published_of()
        .iter()
        .position(|id| id == other)
        .unwrap();
    assert!(place <= 10, "it waited for {place} events of another shard");
}

#[tokio::test(start_paused = true)]
async fn no_more_batches_are_on_their_way_than_there_are_workers() {
    let scene = Scene::new();
    scene.commit_many(100, 100);
    scene.broker.inner().block();
    let relay = scene.relay().workers(3).start().unwrap();
    scene.broker.inner().wait_for_blocked(3).await;
    settle().await;
    assert_eq!(scene.broker.batches().len(), 3);
    scene.broker.inner().unblock();
    scene.wait_for(100).await;
    relay.stop().await.unwrap();
}
