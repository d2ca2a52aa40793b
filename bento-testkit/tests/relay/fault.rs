//! Whose fault a failure is: an outage makes no dead letters, a bad event does, and neither keeps
//! anything else waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_core::outbox::ShardId;
use bento_relay::publish::{Delivery, PublishError, Publisher};
use bento_relay::retry::RetryPolicy;
use bento_relay::{Degradation, Relay};
use bento_testkit::Counters;
use tokio::time::Instant;

use crate::destinations::{Pair, both};
use crate::scene::{PATIENCE, Scene, event};

/// Much longer than all retries of an event.
const LONG: Duration = Duration::from_secs(4 * 3600);
/// The longest time until a destination that is back is tried.
const LONGEST: Duration = Duration::from_secs(30);

/// One aggregate of each shard.
fn one_of_each_shard(scene: &Scene) -> BTreeMap<ShardId, String> {
    let ids = (0..10_000).map(|id| id.to_string());
    ids.map(|id| (scene.sharding.shard(&event(&id)), id))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_makes_no_dead_letters_in_a_quiet_service() {
    for events in [1, 2] {
        let scene = Scene::new();
        scene
            .broker
            .inner()
            .fail(|_| Some(PublishError::unavailable("connection refused")));
        scene.commit_many(events, events);
        let relay = scene.start();
        tokio::time::sleep(LONG).await;
        let counts = scene.counts().await;
        assert_eq!(
            (counts.pending + counts.held, counts.dead),
            (events.into(), 0)
        );
        let attempts = scene.broker.attempts();
        assert!(
            attempts.iter().all(|delivery| delivery.attempts == 0),
            "an outage does not count as an attempt"
        );
        assert!(
            attempts.len() < 3_000,
            "{} calls in four hours",
            attempts.len()
        );
        let back = Instant::now();
        scene.broker.inner().recover();
        scene.wait_for(events as usize).await;
        assert!(
            back.elapsed() <= LONGEST + Duration::from_secs(1),
            "{:?}",
            back.elapsed()
        );
        relay.stop().await.unwrap();
        scene.account().assert_exact();
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_service_with_several_destinations_makes_none_either() {
    let pair = Pair::new();
    pair.left
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    pair.commit_many(1, 1);
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.right.wait_for(1).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(
        (
            pair.scene.counts().await.held,
            pair.scene.counts().await.dead
        ),
        (1, 0)
    );
    let back = Instant::now();
    pair.left.recover();
    pair.wait_for(1, 1).await;
    assert!(
        back.elapsed() <= LONGEST + Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bad_events_alone_become_dead_letters_and_open_no_circuit() {
    for bad in [1, 3, 15] {
        let scene = Scene::new();
        scene
            .broker
            .inner()
            .fail(|_| Some(PublishError::transient("the receiver answers 500")));
        scene.commit_many(bad, bad);
        let relay = scene.start();
        scene.wait_for_counts(0, 0, bad.into()).await;
        assert_eq!(relay.health().degraded, []);
        relay.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_event_arrives_beside_fifteen_shards_of_bad_ones() {
    let scene = Scene::new();
    let mut ids = one_of_each_shard(&scene);
    let (_, good) = ids.pop_last().unwrap();
    assert_eq!(ids.len(), 15);
    let fine = good.clone();
    scene.broker.inner().fail(move |delivery| {
        (delivery.envelope.aggregate_id != fine)
            .then(|| PublishError::transient("the receiver answers 500"))
    });
    let patient = RetryPolicy {
        max_attempts: u32::MAX,
        ..RetryPolicy::default()
    };
    let relay = scene.relay().retry(patient).start().unwrap();
    ids.values().for_each(|id| drop(scene.commit(id)));
    for round in 1..=20 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let begun = Instant::now();
        scene.commit(&good);
        scene.wait_for(round).await;
        assert!(
            begun.elapsed() <= Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
    }
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn trials_go_round_all_shards() {
    let scene = Scene::new();
    let ids = one_of_each_shard(&scene);
    scene
        .broker
        .inner()
        .fail(|_| Some(PublishError::unavailable("no stream takes the subject")));
    let relay = scene.start();
    ids.values().for_each(|id| drop(scene.commit(id)));
    let is_open = || {
        matches!(
            relay.health().degraded[..],
            [Degradation::CircuitOpen { .. }]
        )
    };
    while !is_open() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = scene.broker.attempts().len();
    // Long enough for a trial of each shard, and for those whose event was not due.
    tokio::time::sleep(LONGEST * 32).await;
    let mut tried = BTreeMap::new();
    for delivery in &scene.broker.attempts()[before..] {
        *tried
            .entry(delivery.envelope.aggregate_id.clone())
            .or_insert(0) += 1;
    }
    assert_eq!(tried.len(), 16, "{tried:?}");
    assert!(tried.values().all(|times| *times <= 4), "{tried:?}");
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_missing_is_waited_for_and_keeps_no_other_event() {
    let scene = Scene::new();
    scene.broker.inner().fail(|delivery| {
        (delivery.envelope.aggregate_id == "homeless")
            .then(|| PublishError::unavailable("no stream takes the subject"))
    });
    let retry = RetryPolicy::immediate(1);
    let relay = scene.relay().retry(retry).start().unwrap();
    scene.commit("homeless");
    for round in 1..=200 {
        let begun = Instant::now();
        scene.commit("fine");
        scene.wait_for(round).await;
        assert!(
            begun.elapsed() <= Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(
        (scene.counts().await.held, scene.counts().await.dead),
        (1, 0)
    );
    let calls = scene.broker.attempts().len() - 200;
    assert!(
        (60..400).contains(&calls),
        "the wait grows to 30 s, whatever the policy says: {calls} calls in half an hour"
    );
    scene.broker.inner().recover();
    scene.wait_for(201).await;
    relay.stop().await.unwrap();
}

/// Hangs at every event, or at one aggregate.
#[derive(Debug)]
struct Hangs<P> {
    at: Option<&'static str>,
    calls: Mutex<usize>,
    inner: P,
}

impl<P: Publisher> Publisher for Hangs<P> {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        *self.calls.lock().unwrap() += 1;
        if batch.iter().any(|delivery| {
            self.at
                .is_none_or(|at| delivery.envelope.aggregate_id == at)
        }) {
            std::future::pending::<()>().await;
        }
        self.inner.publish(batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_broker_makes_no_dead_letters_in_a_quiet_service() {
    let scene = Scene::new();
    scene.commit_many(2, 2);
    let publisher = Arc::new(Hangs {
        at: None,
        calls: Mutex::default(),
        inner: scene.broker.clone(),
    });
    let relay = Relay::builder(scene.store.clone(), Arc::clone(&publisher))
        .wake(&scene.wake)
        .seed(1)
        .start()
        .unwrap();
    // Several times the timeouts of all attempts.
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert!(*publisher.calls.lock().unwrap() > 10);
    assert_eq!(
        (
            scene.counts().await.held + scene.counts().await.pending,
            scene.counts().await.dead
        ),
        (2, 0)
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hanging_event_is_the_only_dead_letter_with_the_defaults() {
    let scene = Scene::new();
    scene.commit_many(40, 40);
    let poison = scene.commit("poison");
    let publisher = Hangs {
        at: Some("poison"),
        calls: Mutex::default(),
        inner: scene.broker.clone(),
    };
    let relay = Relay::builder(scene.store.clone(), publisher)
        .wake(&scene.wake)
        .seed(1)
        .start()
        .unwrap();
    let mut more = 40;
    while scene.counts().await.dead == 0 {
        more += 1;
        scene.commit(&format!("later {more}"));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(more < 2000, "it is not a dead letter after hours");
    }
    scene.wait_for(more).await;
    scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();
    assert_eq!(
        (
            scene.dead().await[0].envelope.event_id,
            scene.dead().await[0].attempts
        ),
        (poison.event_id, 5)
    );
    assert_eq!(scene.account().lost, [poison.event_id]);
}

#[tokio::test(start_paused = true)]
async fn no_broker_makes_the_relay_wait_beyond_its_settings() {
    for events in [1, 20] {
        let scene = Scene::new();
        let forever = Duration::from_secs(9_999_999_999);
        scene
            .broker
            .inner()
            .fail(move |_| Some(PublishError::throttled("Retry-After: 9999999999", forever)));
        scene.commit_many(events, events);
        let relay = scene.start();
        tokio::time::sleep(Duration::from_secs(60)).await;
        scene.broker.inner().recover();
        let hour = Duration::from_secs(3600);
        tokio::time::timeout(
            hour + LONGEST,
            scene.broker.inner().wait_for(events as usize),
        )
        .await
        .unwrap();
        relay.stop().await.unwrap();
        assert_eq!(scene.counts().await.dead, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_blocks_its_thread_is_reported() {
    #[derive(Debug)]
    struct Blocks(Mutex<Duration>);
    impl Publisher for Blocks {
        async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
            let wait = *self.0.lock().unwrap();
            std::thread::sleep(wait);
            batch.iter().map(|_| Ok(())).collect()
        }
    }
    let scene = Scene::divided(1);
    let publisher = Arc::new(Blocks(Mutex::new(Duration::from_millis(700))));
    let relay = Relay::builder(scene.store.clone(), Arc::clone(&publisher)).wake(&scene.wake);
    let relay = relay.lease(Duration::from_secs(2)).start().unwrap();
    let until = async |is_expected: fn(&[Degradation]) -> bool| {
        let reached = async {
            while !is_expected(&relay.health().degraded) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .unwrap();
    };
    scene.commit("1");
    until(|degraded| {
        matches!(
            degraded,
            [Degradation::PublisherBlocks { longest, .. }] if longest.as_millis() >= 700
        )
    })
    .await;
    assert!(
        relay.health().degraded[0]
            .to_string()
            .contains("spawn_blocking")
    );
    *publisher.0.lock().unwrap() = Duration::ZERO;
    scene.commit("1");
    until(<[_]>::is_empty).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_unavailable_is_counted_as_such() {
    let counters = Counters::default();
    let _recording = counters.record();
    let scene = Scene::new();
    scene
        .broker
        .inner()
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    scene.commit("1");
    let relay = scene.start();
    let counted = || {
        counters.get_labelled(
            bento_relay::telemetry::FAILED_PUBLISHES,
            "class",
            "unavailable",
        )
    };
    let waited = async {
        while counted() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
    relay.stop().await.unwrap();
}
