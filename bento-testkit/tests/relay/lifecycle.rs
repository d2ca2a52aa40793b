//! Start, wake, poll, stop, drop.

use std::time::Duration;

use bento_core::outbox::Sharding;
use bento_relay::{Relay, RelayError, StartError, StoreError, Wake};
use tokio::time::Instant;

use crate::scene::{Scene, settle};

const NEVER: Duration = Duration::from_secs(100_000);

#[tokio::test(start_paused = true)]
async fn a_wake_needs_no_poll() {
    let scene = Scene::new();
    let relay = scene.relay().poll(NEVER, NEVER).start().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    for number in 1..=20 {
        let start = Instant::now();
        scene.commit(&number.to_string());
        scene.wait_for(number).await;
        assert!(
            start.elapsed() < Duration::from_millis(1),
            "no time went by: {:?}",
            start.elapsed()
        );
    }
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wake_during_a_batch_is_not_lost() {
    let scene = Scene::divided(1);
    let relay = scene.relay().poll(NEVER, NEVER).start().unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    for count in 1..=50 {
        scene.commit("1");
        // A different number of steps each time, so that the wake meets the worker at every stage
        // of its work.
        for _ in 0..count % 17 {
            tokio::task::yield_now().await;
        }
    }
    scene.wait_for(50).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn the_handle_wakes_as_well() {
    let mut scene = Scene::new();
    let relay = Relay::builder(scene.store.clone(), scene.broker.clone())
        .poll(NEVER, NEVER)
        .start()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    scene.wake = Wake::from(&relay);
    scene.commit("1");
    scene.wait_for(1).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_wake_the_next_poll_finds_the_event() {
    let mut scene = Scene::new();
    let relay = scene.start();
    scene.wake = Wake::new();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    scene.commit("1");
    scene.wait_for(1).await;
    assert!(
        start.elapsed() <= Duration::from_secs(1),
        "idle: {:?}",
        start.elapsed()
    );
    let start = Instant::now();
    scene.commit("1");
    scene.wait_for(2).await;
    assert!(
        start.elapsed() <= Duration::from_millis(25),
        "busy: {:?}",
        start.elapsed()
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_and_settles_what_is_in_flight() {
    let scene = Scene::divided(1);
    scene.commit_many(1, 3);
    scene.broker.inner().block();
    let relay = scene.start();
    scene.broker.inner().wait_for_blocked(1).await;
    let stopping = tokio::spawn(relay.stop());
    settle().await;
    assert!(!stopping.is_finished());
    scene.broker.inner().unblock();
    stopping.await.unwrap().unwrap();
    assert_eq!(
        scene.published().len(),
        1,
        "the wave is finished, the next one not begun"
    );
    scene.wait_for_counts(2, 0, 0).await;
    assert_eq!(scene.shares().await, [0; 0], "the leases are released");
    scene.broker.inner().unblock();
    scene.relay().run_until_empty().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn stopping_leaves_what_takes_too_long_to_be_published_again() {
    let scene = Scene::divided(1);
    scene.commit("1");
    scene.broker.inner().answer_after(NEVER);
    let relay = scene
        .relay()
        .publish_timeout(NEVER)
        .drain_timeout(Duration::from_secs(3))
        .start()
        .unwrap();
    scene.wait_for(1).await;
    let start = Instant::now();
    relay.stop().await.unwrap();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(4),
        "{took:?}"
    );
    assert_eq!(
        (scene.counts().await.pending, scene.shares().await),
        (1, vec![])
    );
    scene.broker.inner().answer_after(Duration::ZERO);
    scene.relay().run_until_empty().await.unwrap();
    let account = scene.account();
    account.assert_nothing_lost_and_in_order();
    assert_eq!(account.duplicates, 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_stops_the_relay() {
    let scene = Scene::new();
    let relay = scene.start();
    scene.commit("1");
    scene.wait_for(1).await;
    assert_eq!(scene.shares().await, [16]);
    drop(relay);
    settle().await;
    assert_eq!(scene.shares().await, [0; 0]);
    scene.commit("1");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.published().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_division_ends_the_relay_with_both_numbers() {
    let scene = Scene::divided(4);
    let first = scene.start();
    settle().await;
    let misconfigured = scene.store.configured_for(Sharding::default());
    let mut relay = Relay::builder(misconfigured, scene.broker.clone())
        .start()
        .unwrap();
    let error = relay.join().await.unwrap_err();
    assert!(matches!(
        error,
        RelayError::Store(StoreError::Mismatch { .. })
    ));
    assert!(
        error.to_string().contains("4 shard(s)") && error.to_string().contains("16"),
        "{error}"
    );
    assert!(!relay.is_running());
    relay.stop().await.unwrap();
    first.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_the_outbox_does_not_have_is_refused() {
    let scene = Scene::new();
    let mut relay = scene.relay().lanes([0, 3]).start().unwrap();
    let error = relay.join().await.unwrap_err();
    assert!(
        matches!(error, RelayError::NoSuchLane { lane: 3, lanes: 1 }),
        "{error}"
    );
    assert!(scene.relay().lanes([3]).run_once().await.is_err());
}

#[test]
fn a_relay_outside_a_runtime_says_what_it_needs() {
    let scene = Scene::new();
    let error = scene.relay().start().unwrap_err();
    assert!(matches!(error, StartError::NoRuntime));
    assert_eq!(
        error.to_string(),
        "a relay needs a tokio runtime; start it inside one, or call `start` within \
         `Runtime::enter`"
    );
}

#[tokio::test]
async fn settings_out_of_range_are_refused_at_start() {
    let scene = Scene::new();
    assert!(matches!(
        scene.relay().batch(0).start(),
        Err(StartError::Settings(_))
    ));
    assert!(matches!(
        scene.relay().workers(0).run_once().await,
        Err(RelayError::Settings(_))
    ));
}
