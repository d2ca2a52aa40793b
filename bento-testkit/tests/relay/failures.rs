//! Publishing fails: retry, dead letter, parking, replay, discard, outages of the broker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetters, Discarding};
use bento_relay::publish::{Delivery, Destination, MemoryPublisher, PublishError, Publisher};
use bento_relay::retry::RetryPolicy;
use bento_testkit::{Flakiness, FlakyPublisher};
use tokio::time::Instant;

use crate::scene::{PATIENCE, Scene, event};

fn fails(
    aggregate_id: &'static str,
) -> impl Fn(&Delivery) -> Option<PublishError> + Send + Sync + 'static {
    move |delivery| {
        (delivery.envelope.aggregate_id == aggregate_id).then(|| PublishError::transient("busy"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_holds_back_its_own_aggregate_only() {
    let scene = Scene::divided(1);
    scene.broker.inner().fail(fails("1"));
    ["1", "2", "1", "2", "1"]
        .iter()
        .for_each(|id| drop(scene.commit(id)));
    let relay = scene.start();
    scene.wait_for(2).await;
    scene.commit("1");
    scene.commit("2");
    scene.wait_for(3).await;
    assert_eq!(scene.published_of(), ["2", "2", "2"]);
    scene.wait_for_counts(0, 4, 0).await;
    scene.broker.inner().recover();
    scene.wait_for(7).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
    scene.broker.assert_one_at_a_time();
}

#[tokio::test(start_paused = true)]
async fn retries_wait_longer_each_time_and_end_in_a_dead_letter() {
    let scene = Scene::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    scene.broker.inner().fail(move |delivery| {
        noted
            .lock()
            .unwrap()
            .push((delivery.attempts, Instant::now()));
        Some(PublishError::transient("busy").because(std::io::Error::other("socket closed")))
    });
    let poisoned = scene.commit("1");
    let relay = scene.start();
    scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();

    let times = times.lock().unwrap().clone();
    assert_eq!(
        times
            .iter()
            .map(|(attempts, _)| *attempts)
            .collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    for (pair, ceiling) in times.windows(2).zip([500, 1000, 2000, 4000]) {
        let waited = pair[1].1 - pair[0].1;
        assert!(
            waited <= Duration::from_millis(ceiling + 10),
            "waited {waited:?} of at most {ceiling} ms"
        );
    }
    let total = times[4].1 - times[0].1;
    assert!(
        total > Duration::from_millis(500),
        "the waits are real: {total:?}"
    );
    let dead = scene.dead().await.remove(0);
    assert_eq!(
        (dead.envelope.event_id, dead.attempts),
        (poisoned.event_id, 5)
    );
    assert_eq!(
        (&*dead.cause, &*dead.error),
        ("max attempts", "busy: socket closed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_parks_its_aggregate_until_it_is_replayed() {
    let scene = Scene::divided(1);
    scene.broker.inner().fail(|delivery| {
        (delivery.envelope.aggregate_id == "1").then(|| PublishError::permanent("no such topic"))
    });
    let first = scene.commit("1");
    scene.commit("1");
    let relay = scene.start();
    scene.wait_for_counts(0, 1, 1).await;
    assert_eq!(
        scene.broker.attempts().len(),
        1,
        "a permanent failure is not tried again"
    );
    scene.broker.inner().recover();
    scene.commit("1");
    scene.commit("2");
    scene.wait_for_counts(0, 2, 1).await;
    assert_eq!(
        scene.published_of(),
        ["2"],
        "new events of a parked aggregate wait as well"
    );

    assert!(
        scene
            .store
            .replay(first.event_id, Destination::DEFAULT)
            .await
            .unwrap()
            .replayed
    );
    scene.wait_for(4).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn a_discarded_dead_letter_lets_its_aggregate_go_on() {
    let scene = Scene::new();
    let first = scene.commit("1");
    let poisoned = first.event_id;
    scene.broker.inner().fail(move |delivery| {
        (delivery.envelope.event_id == poisoned).then(|| PublishError::permanent("no such topic"))
    });
    scene.commit("1");
    let relay = scene.start();
    scene.wait_for_counts(0, 1, 1).await;
    let discarding = Discarding::because("not needed any more").unwrap();
    assert!(
        scene
            .store
            .discard(first.event_id, Destination::DEFAULT, &discarding)
            .await
            .unwrap()
    );
    scene.commit("1");
    scene.wait_for(2).await;
    relay.stop().await.unwrap();
    assert_eq!(scene.account().lost, [poisoned]);
    assert!(scene.account().out_of_order.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_throttling_broker_is_tried_no_sooner_than_it_said() {
    let scene = Scene::new();
    let asked = Duration::from_secs(120);
    let start = Instant::now();
    scene.broker.inner().fail(move |_| {
        (start.elapsed() < asked)
            .then(|| PublishError::throttled("slow down", asked.saturating_sub(start.elapsed())))
    });
    scene.commit("1");
    let relay = scene.start();
    scene.wait_for(1).await;
    relay.stop().await.unwrap();
    assert!(start.elapsed() >= asked);
    assert_eq!(scene.broker.attempts().len(), 2);
    assert_eq!(
        scene.broker.attempts()[1].attempts,
        0,
        "it did not count as an attempt"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_broker_makes_no_dead_letters_of_the_backlog() {
    let scene = Scene::new();
    scene
        .broker
        .inner()
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    scene.commit_many(200, 1000);
    let relay = scene.start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let during = scene.counts().await;
    assert_eq!((during.pending + during.held, during.dead), (1000, 0));
    let attempts = scene.broker.attempts().len();
    assert!(
        attempts < 1000,
        "{attempts} attempts in an hour at a broker that is away"
    );
    scene.broker.inner().recover();
    scene.wait_for(1000).await;
    scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_has_failed_for_the_moment() {
    #[derive(Debug)]
    struct Panics(std::sync::atomic::AtomicU32, MemoryPublisher);
    impl Publisher for Panics {
        async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
            let call = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(call > 0, "out of cheese");
            self.1.publish(batch).await
        }
    }
    let scene = Scene::new();
    scene.commit_many(1, 3);
    let broker = MemoryPublisher::new();
    let relay = Relay::builder(scene.store.clone(), Panics(0.into(), broker.clone()))
        .start()
        .unwrap();
    tokio::time::timeout(PATIENCE, broker.wait_for(3))
        .await
        .unwrap();
    relay.stop().await.unwrap();
    let attempts: Vec<_> = broker
        .published()
        .iter()
        .map(|delivery| delivery.attempts)
        .collect();
    assert_eq!(attempts, [1, 0, 0]);
}

/// Confirms nothing, and says nothing.
#[derive(Debug)]
struct Silent;

impl Publisher for Silent {
    async fn publish(&self, _: &[Delivery]) -> Vec<Result<(), PublishError>> {
        Vec::new()
    }
}

#[tokio::test(start_paused = true)]
async fn missing_answers_make_no_dead_letters_of_the_backlog() {
    let scene = Scene::divided(1);
    scene.commit_many(50, 50);
    let relay = Relay::builder(scene.store.clone(), Silent)
        .seed(1)
        .start()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        (scene.counts().await.dead, relay.health().degraded.len()),
        (0, 1)
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_never_answers_is_given_up_on() {
    let scene = Scene::new();
    scene.commit("1");
    scene.broker.inner().block();
    let relay = scene
        .relay()
        .publish_timeout(Duration::from_secs(2))
        .start()
        .unwrap();
    scene.wait_for_counts(0, 1, 0).await;
    scene.broker.inner().unblock();
    scene.wait_for(1).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_the_broker_loses_or_reorders_events() {
    for seed in 0..20 {
        let scene = Scene::divided(4);
        let flakiness = Flakiness {
            panics: 5,
            loses_confirmations: 10,
            answers_too_little: 10,
            fails: 10,
        };
        let broker = FlakyPublisher::new(scene.broker.clone(), flakiness, seed);
        scene.commit_many(10, 200);
        let retry = RetryPolicy {
            max_attempts: 50,
            ..RetryPolicy::default()
        };
        let relay = Relay::builder(scene.store.clone(), broker)
            .retry(retry)
            .batch(15)
            .seed(seed)
            .start()
            .unwrap();
        scene.wait_for_counts(0, 0, 0).await;
        relay.stop().await.unwrap();
        let account = scene.account();
        account.assert_nothing_lost_and_in_order();
        assert!(
            account.duplicates > 0,
            "lost confirmations make duplicates: {account}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenants_poison_holds_up_no_other_aggregate() {
    let scene = Scene::divided(1);
    scene.broker.inner().fail(fails("poison"));
    let mut poisoned = event("poison");
    poisoned.tenant_id = Some("noisy".into());
    scene.commit_event(poisoned);
    let relay = scene.start();
    let start = Instant::now();
    for number in 0..100 {
        scene.commit(&format!("fine {number}"));
    }
    scene.wait_for(100).await;
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    relay.stop().await.unwrap();
}
