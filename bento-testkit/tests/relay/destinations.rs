//! Several destinations: each at its own pace, each with its own circuit, none to be forgotten.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::dead_letter::DeadLetters;
use bento_relay::publish::{Destination, MemoryPublisher, PublishError, Publishers};
use bento_relay::route::{HeadOfLine, Router, RouterConfig, Rule};
use bento_relay::telemetry::{CIRCUIT_CHANGES, CIRCUIT_OPEN, FALLEN_BACK_EVENTS, PUBLISHED_EVENTS};
use bento_relay::tenant::Pauses;
use bento_relay::{
    Degradation, MemoryStore, Relay, RelayBuilder, RelayError, RelayStore, StartError,
};
use bento_testkit::{Account, Counters};
use tokio::time::Instant;

use crate::scene::{PATIENCE, Scene, event};

mod unroutable;

/// Two brokers, of the names `left` and `right`.
pub(crate) struct Pair {
    pub(crate) scene: Scene,
    pub(crate) left: MemoryPublisher,
    pub(crate) right: MemoryPublisher,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            scene: Scene::divided(2),
            left: MemoryPublisher::new(),
            right: MemoryPublisher::new(),
        }
    }

    pub(crate) fn relay(&self, router: Router) -> RelayBuilder<MemoryStore, Publishers> {
        self.relay_on(self.scene.store.clone(), router)
    }

    pub(crate) fn relay_on<S: RelayStore>(
        &self,
        store: S,
        router: Router,
    ) -> RelayBuilder<S, Publishers> {
        let publishers = Publishers::new()
            .with("left", self.left.clone())
            .with("right", self.right.clone());
        Relay::builder(store, publishers)
            .wake(&self.scene.wake)
            .router(router)
            .seed(1)
    }

    pub(crate) async fn wait_for(&self, left: usize, right: usize) {
        let both = async { tokio::join!(self.left.wait_for(left), self.right.wait_for(right)) };
        tokio::time::timeout(PATIENCE, both)
            .await
            .expect("both get everything in time");
    }

    pub(crate) fn assert_exact(&self, broker: &MemoryPublisher) {
        self.account(broker).assert_exact();
    }

    /// The events that a broker received, compared with the committed ones.
    pub(crate) fn account(&self, broker: &MemoryPublisher) -> Account {
        let ledger = bento_testkit::Ledger::new();
        for delivery in self.left.published().iter().chain(&self.right.published()) {
            ledger.commit(
                delivery.envelope.event_id,
                &delivery.envelope.aggregate_id,
                number(delivery),
            );
        }
        broker
            .published()
            .iter()
            .for_each(|delivery| ledger.delivered(&delivery.envelope));
        ledger.check()
    }

    pub(crate) fn commit_many(&self, aggregates: u32, count: u32) {
        self.commit_more(0, aggregates, count);
    }

    /// Commits `count` events more, after `before` others.
    pub(crate) fn commit_more(&self, before: u32, aggregates: u32, count: u32) {
        for number in before..before + count {
            let mut event = event(&(number % aggregates).to_string());
            event.sequence = Some(i64::from(number));
            self.scene.commit_event(event);
        }
    }
}

fn number(delivery: &bento_relay::publish::Delivery) -> i64 {
    delivery.envelope.sequence.unwrap()
}

/// One rule for every event to both, changed.
pub(crate) fn both(change: impl FnOnce(Rule) -> Rule) -> Router {
    let rule = change(Rule::new("both").to(["left", "right"]));
    let config = Router::builder().destination(Destination::new("left"));
    config
        .destination(Destination::new("right"))
        .rule(rule)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_slow_destination_does_not_slow_down_another_within_a_batch() {
    let pair = Pair::new();
    pair.left.answer_after(Duration::from_secs(10));
    pair.commit_many(2, 10);
    let start = Instant::now();
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.right.wait_for(10).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    pair.wait_for(10, 10).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_destination_stops_no_other_until_a_trial() {
    let counters = Counters::default();
    let _recording = counters.record();
    let pair = Pair::new();
    pair.left
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    pair.commit_many(20, 400);
    let relay = pair.relay(both(|rule| rule)).batch(50).start().unwrap();
    tokio::time::timeout(Duration::from_secs(60), pair.right.wait_for(400))
        .await
        .expect("it is not stopped");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let during = pair.scene.counts().await;
    assert_eq!(
        (during.pending, during.held, during.dead),
        (0, 400, 0),
        "held, and no dead letter"
    );
    let error = "connection refused".to_owned();
    let away = Degradation::CircuitOpen {
        destination: Arc::from("left"),
        error,
    };
    assert_eq!(
        (relay.health().degraded, relay.health().ready),
        (vec![away], true)
    );
    assert_eq!(
        counters.gauge(CIRCUIT_OPEN, "destination", "left"),
        Some(1.0)
    );
    let changes = |change| counters.get_labelled(CIRCUIT_CHANGES, "change", change);
    assert!(changes("opened") > 1 && changes("half_open") > 1 && changes("closed") == 0);

    pair.left.recover();
    pair.wait_for(400, 400).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(
        (
            changes("closed"),
            counters.gauge(CIRCUIT_OPEN, "destination", "left")
        ),
        (1, Some(0.0))
    );
    assert_eq!(relay.health().degraded, []);
    assert_eq!(
        counters.get_labelled(PUBLISHED_EVENTS, "destination", "right"),
        400
    );
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn a_returned_destination_is_tried_soon_at_a_slow_poll() {
    let pair = Pair::new();
    pair.left
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    let seldom = Duration::from_secs(1_000_000);
    let relay = pair
        .relay(both(|rule| rule))
        .poll(seldom, seldom)
        .start()
        .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    pair.commit_many(20, 20);
    pair.right.wait_for(20).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    pair.left.recover();
    pair.wait_for(20, 20).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
}

#[tokio::test(start_paused = true)]
async fn all_or_nothing_goes_to_the_missing_ones_only() {
    let pair = Pair::new();
    pair.right
        .fail(|delivery| (delivery.attempts < 2).then(|| PublishError::transient("busy")));
    pair.commit_many(1, 3);
    let relay = pair.relay(both(Rule::all_or_nothing)).start().unwrap();
    pair.wait_for(3, 3).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn all_or_nothing_that_is_given_up_says_who_got_it() {
    let pair = Pair::new();
    pair.right
        .fail(|_| Some(PublishError::permanent("no such topic")));
    pair.commit_many(1, 1);
    let relay = pair.relay(both(Rule::all_or_nothing)).start().unwrap();
    pair.scene.wait_for_counts(0, 0, 1).await;
    relay.stop().await.unwrap();
    let dead = pair.scene.dead().await.remove(0);
    assert_eq!(dead.error, "right: no such topic; delivered to left");
    assert_eq!(dead.delivered, [Arc::from("left")]);
}

#[tokio::test(start_paused = true)]
async fn what_a_route_gives_up_goes_to_its_fallback() {
    let counters = Counters::default();
    let _recording = counters.record();
    let pair = Pair::new();
    pair.left
        .fail(|delivery| (number(delivery) == 0).then(|| PublishError::permanent("too large")));
    pair.commit_many(1, 3);
    let config = Router::builder().destination(Destination::new("left"));
    let config = config
        .destination(Destination::new("right"))
        .rule(Rule::new("all").to(["left"]));
    let relay = pair
        .relay(config.fallback("right").build().unwrap())
        .start()
        .unwrap();
    pair.wait_for(2, 1).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    assert_eq!(
        pair.right
            .published()
            .iter()
            .map(number)
            .collect::<Vec<_>>(),
        [0]
    );
    assert_eq!(
        pair.left.published().iter().map(number).collect::<Vec<_>>(),
        [1, 2],
        "its aggregate goes on"
    );
    assert_eq!(
        counters.get_labelled(FALLEN_BACK_EVENTS, "route", "left"),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_route_that_continues_goes_past_a_failing_event() {
    let pair = Pair::new();
    pair.left
        .fail(|delivery| (number(delivery) == 0).then(|| PublishError::transient("busy")));
    pair.commit_many(1, 3);
    let rule = |rule: Rule| rule.to(["left"]).head_of_line(HeadOfLine::Continue);
    let relay = pair.relay(both(rule)).start().unwrap();
    pair.wait_for(2, 0).await;
    pair.scene.wait_for_counts(0, 0, 1).await;
    pair.commit_many(1, 1);
    pair.scene.wait_for_counts(0, 0, 2).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delayed_event_comes_when_it_is_due_by_the_clock_of_the_store() {
    let pair = Pair::new();
    let mut delayed = event("1");
    delayed.occurred_at = chrono::Utc::now();
    delayed.sequence = Some(0);
    pair.scene.commit_event(delayed);
    let router = both(|rule| rule.to(["left"]).delay(Duration::from_secs(3600)));
    let (start, relay) = (Instant::now(), pair.relay(router).start().unwrap());
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(pair.left.published(), []);
    tokio::time::timeout(Duration::from_secs(200), pair.left.wait_for(1))
        .await
        .expect("it is due");
    let late = start.elapsed().as_secs_f64() - 3600.0;
    assert!((-2.0..5.0).contains(&late), "late by {late} s");
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_tenant_waits_and_goes_on_in_its_order() {
    let scene = Scene::new();
    scene.store.pause("acme", "moving", None).await.unwrap();
    let commit = |id: &str| {
        let mut event = event(id);
        event.tenant_id = Some("acme".to_owned());
        scene.commit_event(event);
    };
    ["1", "1", "2"].into_iter().for_each(commit);
    scene.commit("3");
    let relay = scene.start();
    scene.wait_for(1).await;
    scene.wait_for_counts(0, 3, 0).await;
    commit("1");
    scene.wait_for_counts(0, 4, 0).await;
    scene.store.resume("acme").await.unwrap();
    scene.wait_for(5).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
    assert!(
        scene
            .broker
            .attempts()
            .iter()
            .all(|attempt| attempt.attempts == 0),
        "waiting does not count as an attempt"
    );
}
