//! The relay's work beside delivery: it prunes, reports its state, and keeps its attempts apart
//! from those of others.

use std::time::Duration;

use bento_relay::publish::{Delivery, MemoryPublisher, PublishError, Publisher};
use bento_relay::retry::RetryPolicy;
use bento_relay::telemetry::PRUNED_EVENTS;
use bento_relay::{Degradation, Health, Relay, RelayHandle};
use bento_testkit::{Counters, Outage};

use crate::scene::{PATIENCE, Scene, settle};

#[tokio::test(start_paused = true)]
async fn published_rows_are_kept_for_the_retention_and_pruned() {
    let counters = Counters::default();
    let _recording = counters.record();
    let scene = Scene::new();
    scene.commit_many(5, 20);
    let relay = scene
        .relay()
        .retention(Duration::from_secs(600))
        .start()
        .unwrap();
    scene.wait_for(20).await;
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(counters.get(PRUNED_EVENTS), 0);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(counters.get(PRUNED_EVENTS), 20);
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn times_that_no_clock_can_tell_are_only_very_long() {
    let scene = Scene::divided(1);
    let fails = |delivery: &Delivery| delivery.envelope.aggregate_id == "1";
    scene
        .broker
        .inner()
        .fail(move |delivery| fails(delivery).then(|| PublishError::transient("busy")));
    let forever = Duration::MAX;
    let relay = scene
        .relay()
        .poll(forever, forever)
        .retention(forever)
        .retry(RetryPolicy::fixed(forever, 5));
    let relay = relay.publish_timeout(forever).start().unwrap();
    settle().await;
    scene.commit_many(3, 3);
    scene.wait_for(2).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    scene.commit("2");
    scene.wait_for(3).await;
    assert_eq!(relay.health().degraded, []);
    scene.wait_for_counts(0, 1, 0).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn health_says_what_is_wrong_and_when_it_is_right_again() {
    let scene = Scene::new();
    let (store, relay) = scene.flaky_relay();
    store.set(Outage::Down);
    let relay = relay.retention(Duration::from_secs(60)).start().unwrap();
    settle().await;
    let Health {
        alive,
        ready,
        degraded,
        ..
    } = relay.health();
    assert_eq!(
        (alive, ready, &degraded[..]),
        (true, false, &[Degradation::NotStarted][..])
    );
    store.set(Outage::None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let Health {
        ready, degraded, ..
    } = relay.health();
    assert_eq!((ready, &degraded[..]), (true, &[][..]));
    store.set(Outage::Down);
    tokio::time::sleep(Duration::from_secs(90)).await;
    let Health {
        alive,
        ready,
        degraded,
        ..
    } = relay.health();
    assert!(alive && !ready);
    let seconds = |elapsed: &Duration| (80..=90).contains(&elapsed.as_secs());
    assert!(
        matches!(&degraded[..], [
        Degradation::StoreUnavailable { elapsed, .. },
        Degradation::PruneFailing { .. },
    ] if seconds(elapsed)),
        "{degraded:?}"
    );
    store.set(Outage::None);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_a_shard_says_so_and_one_that_ended_is_dead() {
    let scene = Scene::divided(1);
    let (first, second) = (scene.start(), scene.start());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let degraded = [first.health().degraded, second.health().degraded].concat();
    assert_eq!(
        degraded,
        [Degradation::NoShard],
        "one of them holds the shard"
    );
    let probe = first.probe();
    assert_eq!(probe.health(), first.health());
    first.stop().await.unwrap();
    assert!(
        !probe.health().alive,
        "also seen by what outlives the handle"
    );
    let mut mistaken = Relay::builder(scene.store.clone(), MemoryPublisher::new())
        .lanes([7])
        .start()
        .unwrap();
    mistaken.join().await.unwrap_err();
    assert!(!mistaken.health().alive && !mistaken.health().ready);
    second.stop().await.unwrap();
}

/// The number of attempts that this number of relays makes in an hour at eight failing events.
async fn attempts_of(relays: usize) -> usize {
    let scene = Scene::divided(4);
    scene.broker.inner().fail(|delivery| {
        (delivery.envelope.aggregate_id != "fine").then(|| PublishError::transient("busy"))
    });
    // The waits are fixed, so that only the number of relays differs.
    let retry = RetryPolicy::fixed(Duration::from_secs(30), u32::MAX);
    let start = || {
        scene
            .relay()
            .retry(retry)
            .failure_threshold(u32::MAX)
            .start()
            .unwrap()
    };
    let running: Vec<_> = (0..relays).map(|_| start()).collect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    (0..8).for_each(|id| drop(scene.commit(&id.to_string())));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    for relay in running {
        relay.stop().await.unwrap();
    }
    scene.broker.attempts().len()
}

#[tokio::test(start_paused = true)]
async fn several_relays_try_a_failing_event_no_more_often_than_one() {
    let (one, three) = (attempts_of(1).await, attempts_of(3).await);
    assert!(
        (8 * 110..=8 * 121).contains(&one),
        "{one} attempts in an hour, one each 30 s of eight events"
    );
    assert!(
        one.abs_diff(three) <= 16,
        "{one} by one relay, {three} by three"
    );
}

/// Panics, or hangs, when it is given a certain event.
#[derive(Debug)]
struct Poisoned {
    hangs: bool,
    inner: MemoryPublisher,
}

impl Publisher for Poisoned {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        if batch
            .iter()
            .any(|delivery| delivery.envelope.aggregate_id == "poison")
        {
            assert!(self.hangs, "out of cheese");
            std::future::pending::<()>().await;
        }
        self.inner.publish(batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_or_hanging_event_is_the_only_dead_letter() {
    for hangs in [false, true] {
        let scene = Scene::divided(4);
        let ids: Vec<_> = (0..40).map(|id| id.to_string()).collect();
        ids.iter().take(20).for_each(|id| drop(scene.commit(id)));
        let poison = scene.commit("poison");
        ids.iter().skip(20).for_each(|id| drop(scene.commit(id)));
        let publisher = Poisoned {
            hangs,
            inner: scene.broker.inner().clone(),
        };
        let retry = RetryPolicy::fixed(Duration::from_secs(1), 3);
        let relay = Relay::builder(scene.store.clone(), publisher)
            .publish_timeout(Duration::from_secs(5))
            .failure_threshold(1000)
            .retry(retry);
        let relay = relay.seed(1).wake(&scene.wake).start().unwrap();
        tokio::time::timeout(PATIENCE, scene.wait_for(40))
            .await
            .unwrap();
        let mut more = 40;
        while scene.counts().await.dead == 0 {
            // Only while others are answered is one that hangs to blame.
            more += 1;
            scene.commit(&format!("more {more}"));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        scene.wait_for(more).await;
        scene.wait_for_counts(0, 0, 1).await;
        relay.stop().await.unwrap();
        assert_eq!(scene.dead().await[0].envelope.event_id, poison.event_id);
        let account = scene.account();
        assert_eq!(account.lost, [poison.event_id]);
        assert_eq!(scene.dead().await[0].attempts, 3);
        let attempts = scene
            .published()
            .iter()
            .map(|delivery| delivery.attempts)
            .max();
        assert_eq!(attempts, Some(0), "it costs the others no attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn events_outside_of_the_sharding_are_published_and_reported() {
    let scene = Scene::divided(2);
    let relay = scene.start();
    settle().await;
    let mut stray = bento_testkit::store::event("a", 1);
    stray.shard = 7;
    scene.store.append([stray]);
    let is_told =
        |relay: &RelayHandle| {
            relay.health().degraded.iter().any(
                |reason| matches!(reason, Degradation::StrayShards { shards } if shards == &[7]),
            )
        };
    let began = tokio::time::Instant::now();
    while !is_told(&relay) {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            relay.health()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(scene.broker.inner().published().len(), 1);
    assert_eq!(relay.health().degraded, [], "they are gone");
    relay.stop().await.unwrap();
}
