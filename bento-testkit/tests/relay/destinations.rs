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
    let config = Router::builder().with_destination(Destination::new("left"));
    config
        .with_destination(Destination::new("right"))
        .with_rule(rule)
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
async fn a_destination_that_is_away_stops_no_other_and_comes_back_through_a_trial() {
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
async fn a_destination_that_is_back_is_tried_soon_although_the_relay_polls_seldom() {
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
    let config = Router::builder().with_destination(Destination::new("left"));
    let config = config
        .with_destination(Destination::new("right"))
        .with_rule(Rule::new("all").to(["left"]));
    let relay = pair
        .relay(config.with_fallback("right").build().unwrap())
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
        "waiting is no attempt"
    );
}

#[tokio::test]
async fn a_relay_that_is_to_route_to_where_nobody_leads_is_not_started() {
    let pair = Pair::new();
    let router = || {
        RouterConfig::by_event_type([("*", "nowhere")])
            .build()
            .unwrap()
    };
    let refused = pair.relay(router()).start().unwrap_err();
    assert!(matches!(
        &refused,
        StartError::UnknownDestination(unknown) if &*unknown.destination == "nowhere"
    ));
    assert_eq!(
        refused.to_string(),
        "route `nowhere` leads to destination `nowhere`, which no publisher serves; add a \
         publisher named `nowhere` to the `Publishers`, or name one of them with `Destination::via`"
    );
    assert!(matches!(
        pair.relay(router()).run_once().await,
        Err(RelayError::UnknownDestination(_))
    ));
}

#[tokio::test]
async fn a_relay_whose_only_route_has_a_name_that_is_reserved_or_too_long_is_not_started() {
    let pair = Pair::new();
    let long = "d".repeat(129);
    for (name, rule) in [
        (
            "unroutable",
            "the name `unroutable` is reserved for events that have no route: choose another",
        ),
        (
            "unreadable",
            "the name `unreadable` is reserved for events that have no route: choose another",
        ),
        ("", "a name has 1 to 128 bytes and no control characters"),
        (
            &*long,
            "a name has 1 to 128 bytes and no control characters",
        ),
    ] {
        let router = || Router::to(Destination::new(name));
        let refused = pair.relay(router()).start().unwrap_err();
        assert!(
            matches!(&refused, StartError::RouteName(error) if &*error.name == name),
            "{refused:?}"
        );
        assert_eq!(
            refused.to_string(),
            format!("invalid route name `{name}`: {rule}")
        );
        assert!(matches!(
            pair.relay(router()).run_once().await,
            Err(RelayError::RouteName(_))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_that_was_unroutable_waits_for_a_destination_that_is_away() {
    let pair = Pair::new();
    pair.commit_many(1, 1);
    let nothing = Router::builder()
        .with_destination(Destination::new("left"))
        .with_destination(Destination::new("right"));
    let only_others = Rule::new("others")
        .events(["other.*"])
        .to(["left", "right"]);
    let relay = pair.relay(nothing.with_rule(only_others).build().unwrap());
    assert_eq!(
        relay
            .unroutable_after(Duration::ZERO)
            .run_until_empty()
            .await
            .unwrap()
            .tally
            .dead,
        1
    );
    let dead = pair.scene.dead().await.remove(0);
    assert_eq!((&*dead.cause, &*dead.route), ("unroutable", "unroutable"));

    pair.left
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.commit_more(1, 20, 19);
    pair.right.wait_for(19).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        pair.scene
            .store
            .replay(dead.envelope.event_id, "unroutable")
            .await
            .unwrap()
            .replayed
    );
    tokio::time::sleep(Duration::from_secs(600)).await;
    pair.left.recover();
    pair.wait_for(20, 20).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_an_older_release_does_not_know_waits_for_a_newer_one_and_keeps_its_order() {
    let pair = Pair::new();
    let older = || {
        let config = Router::builder()
            .with_destination(Destination::new("left"))
            .with_destination(Destination::new("right"));
        config
            .with_rule(Rule::new("old").events(["other.*"]).to(["left"]))
            .build()
            .unwrap()
    };
    pair.commit_many(1, 3);
    let report = pair.relay(older()).run_until_empty().await.unwrap();
    assert_eq!(
        (
            report.tally.unroutable,
            report.tally.held_back,
            report.tally.dead
        ),
        (1, 2, 0)
    );
    let relay = pair.relay(older()).start().unwrap();
    tokio::time::sleep(Duration::from_secs(3_000)).await;
    pair.commit_more(3, 1, 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let degraded = relay.health().degraded;
    let [Degradation::Unroutable { event_types, .. }] = &degraded[..] else {
        panic!("{degraded:?}")
    };
    assert_eq!(
        degraded[0].to_string(),
        format!(
            "events wait for a rule for event type `{}`, which this relay does not have",
            event_types[0]
        )
    );
    relay.stop().await.unwrap();
    pair.scene.wait_for_counts(0, 4, 0).await;

    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    pair.wait_for(4, 4).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}

#[tokio::test(start_paused = true)]
async fn an_unroutable_event_is_a_dead_letter_after_an_hour() {
    let pair = Pair::new();
    let rule = Rule::new("old").events(["other.*"]).to(["left"]);
    let config = Router::builder()
        .with_destination(Destination::new("left"))
        .with_destination(Destination::new("right"));
    let router = config.with_rule(rule).build().unwrap();
    pair.commit_many(1, 2);
    let relay = pair.relay(router).start().unwrap();
    tokio::time::sleep(Duration::from_secs(3_590)).await;
    assert_eq!(pair.scene.dead().await.len(), 0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    pair.scene.wait_for_counts(0, 1, 1).await;
    relay.stop().await.unwrap();
    let dead = pair.scene.dead().await.remove(0);
    assert!(dead.parks && !dead.later_ones_out());

    let relay = pair.relay(both(|rule| rule)).start().unwrap();
    pair.commit_more(2, 1, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (pair.left.published().len(), pair.right.published().len()),
        (0, 0),
        "its aggregate waits"
    );
    assert!(
        !pair
            .scene
            .store
            .replay(dead.envelope.event_id, "unroutable")
            .await
            .unwrap()
            .later_ones_out
    );
    pair.wait_for(3, 3).await;
    pair.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    pair.assert_exact(&pair.left);
    pair.assert_exact(&pair.right);
}
