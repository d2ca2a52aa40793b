//! The store is away, hangs, panics, or its answers are lost.

use std::time::Duration;

use bento_testkit::Outage;

use crate::scene::Scene;

async fn minutes(count: u64) {
    tokio::time::sleep(Duration::from_secs(60 * count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    for outage in [Outage::Down, Outage::Hangs] {
        let scene = Scene::new();
        let (store, relay) = scene.flaky_relay();
        store.set(outage);
        scene.commit("1");
        let relay = relay.start().unwrap();
        minutes(2).await;
        assert!(relay.is_running());
        store.set(Outage::None);
        scene.wait_for(1).await;
        relay.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_is_waited_out() {
    for outage in [Outage::Down, Outage::Hangs, Outage::Panics] {
        let scene = Scene::new();
        let (store, relay) = scene.flaky_relay();
        let relay = relay.batch(10).start().unwrap();
        scene.commit_many(30, 100);
        scene.wait_for(30).await;
        store.set(outage);
        minutes(5).await;
        scene.commit_many(30, 100);
        store.set(Outage::None);
        scene.wait_for_counts(0, 0, 0).await;
        relay.stop().await.unwrap();
        let account = scene.account();
        account.assert_nothing_lost_and_in_order();
        // A worker that panicked has forgotten what it published; the others settle it after the
        // outage.
        assert!(
            account.duplicates == 0 || outage == Outage::Panics,
            "{outage:?}: {account}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_lost_answer_is_repeated_without_duplicates() {
    let scene = Scene::divided(2);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.batch(3).start().unwrap();
    for _ in 0..100 {
        scene.commit_many(5, 10);
        store.set(Outage::AnswersLost(3));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    store.set(Outage::None);
    scene.wait_for(1000).await;
    scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn stopping_during_an_outage_takes_no_longer_than_allowed() {
    for outage in [Outage::Down, Outage::Hangs] {
        let scene = Scene::new();
        let (store, relay) = scene.flaky_relay();
        scene.commit("1");
        let relay = relay
            .drain_timeout(Duration::from_secs(3))
            .lease(Duration::from_secs(2))
            .start()
            .unwrap();
        scene.wait_for(1).await;
        store.set(outage);
        scene.commit("1");
        minutes(1).await;
        let start = tokio::time::Instant::now();
        relay.stop().await.unwrap();
        assert!(
            start.elapsed() <= Duration::from_secs(6),
            "{outage:?}: {:?}",
            start.elapsed()
        );
    }
}
