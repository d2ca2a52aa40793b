//! Several relays: fair shares, hand-over, takeover, zombies.

use std::time::Duration;

use bento_relay::Relay;
use bento_relay::retry::RetryPolicy;
use bento_testkit::{Flakiness, FlakyPublisher, Outage};

use crate::scene::{PATIENCE, Scene, settle};

async fn wait_for_shares(scene: &Scene, expected: &[usize]) {
    let reached = async {
        while scene.shares().await != expected {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("waited for {expected:?}, is {:?}", scene.shares().await);
    }
}

#[tokio::test(start_paused = true)]
async fn relays_share_the_shards_fairly_as_they_come_and_go() {
    let scene = Scene::new();
    let first = scene.start();
    wait_for_shares(&scene, &[16]).await;
    let second = scene.start();
    wait_for_shares(&scene, &[8, 8]).await;
    let third = scene.start();
    wait_for_shares(&scene, &[5, 5, 6]).await;
    first.stop().await.unwrap();
    wait_for_shares(&scene, &[8, 8]).await;
    second.stop().await.unwrap();
    wait_for_shares(&scene, &[16]).await;
    third.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_under_load_makes_no_duplicates() {
    let scene = Scene::new();
    scene
        .broker
        .inner()
        .answer_after(Duration::from_millis(200));
    let mut relays = vec![scene.start()];
    for round in 0..30 {
        scene.commit_many(40, 100);
        match round {
            5 | 10 => relays.push(scene.start()),
            15 | 20 => relays.remove(0).stop().await.unwrap(),
            _ => tokio::time::sleep(Duration::from_secs(2)).await,
        }
    }
    scene.wait_for(3000).await;
    for relay in relays {
        relay.stop().await.unwrap();
    }
    scene.account().assert_exact();
    scene.broker.assert_one_at_a_time();
}

#[tokio::test(start_paused = true)]
async fn a_vanished_relay_is_replaced_and_its_return_is_harmless() {
    let scene = Scene::divided(2);
    scene.commit_many(6, 60);
    scene.broker.inner().block();
    let (store, relay) = scene.flaky_relay();
    let zombie = relay.batch(10).start().unwrap();
    scene.broker.inner().wait_for_blocked(2).await;
    store.set(Outage::Hangs);

    let survivor = scene.start();
    wait_for_shares(&scene, &[2]).await;
    scene.broker.inner().wait_for_blocked(4).await;
    scene.broker.inner().unblock();
    scene.wait_for_counts(0, 0, 0).await;
    let in_flight = scene.account();
    in_flight.assert_nothing_lost_and_in_order();
    assert!(
        in_flight.duplicates <= 2 * 10,
        "no more than was in flight: {in_flight}"
    );

    store.set(Outage::None);
    wait_for_shares(&scene, &[1, 1]).await;
    scene.commit_many(6, 60);
    scene.wait_for_counts(0, 0, 0).await;
    zombie.stop().await.unwrap();
    survivor.stop().await.unwrap();
    let account = scene.account();
    account.assert_nothing_lost_and_in_order();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_deadline_of_the_lease() {
    let scene = Scene::divided(1);
    scene.commit_many(1, 3);
    scene.broker.inner().answer_after(Duration::from_secs(15));
    let (store, relay) = scene.flaky_relay();
    let relay = relay.lease(Duration::from_secs(10)).start().unwrap();
    scene.wait_for(1).await;
    store.set(Outage::Down);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(
        scene.broker.attempts().len(),
        1,
        "its lease may be another's since"
    );
    store.set(Outage::None);
    scene.wait_for(3).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_before_the_renewing_call() {
    let scene = Scene::divided(1);
    let seconds = Duration::from_secs;
    let (store, relay) = scene.flaky_relay();
    let relay = relay.lease(seconds(10)).start().unwrap();
    settle().await;
    // Both the worker's call and a heartbeat at 3.3 s are answered eight seconds late: the lease
    // ends at 13.3 s at the latest.
    store.set(Outage::Slow(seconds(8)));
    scene.commit_many(1, 2);
    scene.broker.inner().answer_after(seconds(7));
    tokio::time::sleep(seconds(7)).await;
    store.set(Outage::Down);
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(
        scene.broker.attempts().len(),
        1,
        "the second wave would have been sent at 15 s"
    );
    store.set(Outage::None);
    scene.wait_for(2).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_relay_leaves_its_shards_to_the_others_at_once() {
    let scene = Scene::new();
    let first = scene.start();
    let second = scene.start();
    wait_for_shares(&scene, &[8, 8]).await;
    first.stop().await.unwrap();
    let start = tokio::time::Instant::now();
    wait_for_shares(&scene, &[16]).await;
    assert!(
        start.elapsed() <= Duration::from_secs(4),
        "a third of the lease, not the whole: {:?}",
        start.elapsed()
    );
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn relays_serve_only_their_lanes() {
    let sharding = bento_core::outbox::Sharding {
        shards: std::num::NonZeroU16::new(2).unwrap(),
        lanes: std::num::NonZeroU16::new(2).unwrap(),
    };
    let scene = Scene {
        sharding,
        store: bento_relay::MemoryStore::new(sharding),
        ..Scene::new()
    };
    for tenant in 0..20 {
        let mut event = crate::scene::event(&tenant.to_string());
        event.tenant_id = Some(tenant.to_string());
        scene.commit_event(event);
    }
    let report = scene.relay().lanes([1]).run_until_empty().await.unwrap();
    assert_eq!(report.shards, 2);
    assert!(report.tally.published > 0 && report.tally.published < 20);
    let lanes = scene
        .published()
        .iter()
        .map(|delivery| sharding.lane(delivery.envelope.tenant_id.as_deref()))
        .max();
    assert_eq!(lanes, Some(1));
    settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_nothing_is_lost_or_reordered() {
    let scene = Scene::new();
    let flakiness = Flakiness {
        panics: 1,
        loses_confirmations: 2,
        answers_too_little: 2,
        fails: 2,
    };
    let broker = FlakyPublisher::new(scene.broker.clone(), flakiness, 7);
    let retry = RetryPolicy::exponential(Duration::from_millis(5), Duration::from_secs(60), 50);
    let start = || {
        let relay = Relay::builder(scene.store.clone(), broker.clone())
            .wake(&scene.wake)
            .retry(retry)
            .batch(20);
        relay
            .lease(Duration::from_secs(2))
            .poll(Duration::from_millis(1), Duration::from_millis(10))
            .start()
            .unwrap()
    };
    let mut relays = vec![start(), start()];
    for round in 0..20 {
        scene.commit_many(30, 250);
        match round {
            5 => relays.push(start()),
            10 => relays.remove(0).stop().await.unwrap(),
            15 => drop(relays.remove(0)),
            _ => tokio::task::yield_now().await,
        }
    }
    scene.wait_for_counts(0, 0, 0).await;
    for relay in relays {
        relay.stop().await.unwrap();
    }
    scene.account().assert_nothing_lost_and_in_order();
    scene.broker.assert_one_at_a_time();
}
