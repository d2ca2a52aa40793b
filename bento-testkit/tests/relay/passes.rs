//! One pass without a running relay.

use bento_relay::publish::PublishError;
use bento_relay::{RelayError, StoreError};
use bento_testkit::Outage;

use crate::scene::Scene;

#[tokio::test(start_paused = true)]
async fn run_once_takes_one_batch_from_each_shard() {
    let scene = Scene::divided(2);
    scene.commit_many(20, 100);
    let report = scene.relay().batch(10).run_once().await.unwrap();
    assert_eq!((report.shards, report.tally.published), (2, 20));
    assert_eq!(scene.counts().await.pending, 80);
    assert_eq!(scene.shares().await, [0; 0], "the shards are free again");
}

#[tokio::test(start_paused = true)]
async fn run_until_empty_leaves_only_what_waits() {
    let scene = Scene::divided(2);
    scene.commit_many(20, 100);
    let (busy, poisoned) = (
        scene.commit("busy").event_id,
        scene.commit("poisoned").event_id,
    );
    scene
        .broker
        .inner()
        .fail(move |delivery| match delivery.envelope.event_id {
            id if id == busy && delivery.attempts == 0 => Some(PublishError::transient("busy")),
            id if id == poisoned => Some(PublishError::permanent("no such topic")),
            _ => None,
        });
    (0..4).for_each(|_| drop(scene.commit("busy")));
    scene.commit("poisoned");
    let report = scene.relay().batch(10).run_until_empty().await.unwrap();
    assert_eq!(
        (
            report.tally.published,
            report.tally.retried,
            report.tally.dead
        ),
        (100, 1, 1)
    );
    assert!(
        report
            .next_due
            .is_some_and(|due| due <= std::time::Duration::from_millis(500)),
        "{report:?}"
    );
    scene.wait_for_counts(0, 6, 1).await;
    tokio::time::advance(report.next_due.unwrap()).await;
    let report = scene.relay().run_until_empty().await.unwrap();
    assert_eq!((report.tally.published, report.next_due), (5, None));
    scene.wait_for_counts(0, 1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_takes_nothing_from_a_running_relay() {
    let scene = Scene::new();
    let relay = scene.start();
    scene.commit("1");
    scene.wait_for(1).await;
    let report = scene.relay().run_until_empty().await.unwrap();
    assert_eq!((report.shards, report.tally.published), (0, 0));
    assert_eq!(scene.shares().await, [16]);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pass_does_not_wait_for_a_store_that_is_away() {
    let scene = Scene::new();
    scene.commit("1");
    let (store, relay) = scene.flaky_relay();
    store.set(Outage::Down);
    let error = relay.run_until_empty().await.unwrap_err();
    assert!(matches!(
        error,
        RelayError::Store(StoreError::Unavailable { .. })
    ));
    assert_eq!(scene.published().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pass_ends_when_the_broker_is_away() {
    let scene = Scene::new();
    scene.commit_many(100, 1000);
    scene
        .broker
        .inner()
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    let report = scene.relay().batch(20).run_until_empty().await.unwrap();
    assert!(
        report.is_broker_away && report.tally.retried < 100,
        "{report:?}"
    );
    assert_eq!(
        (scene.counts().await.backlog(), scene.shares().await),
        (1000, vec![])
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_pass_keeps_its_leases() {
    let scene = Scene::divided(1);
    scene.commit_many(1, 20);
    scene
        .broker
        .inner()
        .answer_after(std::time::Duration::from_secs(6));
    let pass = tokio::spawn(scene.relay().run_until_empty());
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let other = scene.relay().run_until_empty().await.unwrap();
    assert_eq!(other.shards, 0);
    assert_eq!(pass.await.unwrap().unwrap().tally.published, 20);
    scene.account().assert_exact();
}
