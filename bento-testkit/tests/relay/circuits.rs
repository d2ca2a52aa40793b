//! Several relays and a destination that is away: together they try it as often as one would, and all learn that it is back.

use std::time::Duration;

use bento_core::inspect::Inspect;
use bento_core::publish::{Destination, MemoryPublisher, PublishError, Publishers};
use bento_core::relay::{Relay, RelayHandle};
use bento_core::route::{Router, Rule};
use bento_core::telemetry::CIRCUIT_CHANGES;
use bento_testkit::{Counters, Outage};
use tokio::time::Instant;

use crate::scene::{PATIENCE, Scene};

const EVENTS: u32 = 600;
const HOUR: Duration = Duration::from_secs(3600);
/// The longest pause between two trials.
const LONGEST: Duration = Duration::from_secs(30);
/// How soon each relay asks again whose turn it is, and what it takes to deliver then.
const SOON: Duration = Duration::from_secs(2);

/// Relays of one outbox.
struct Cluster {
    scene: Scene,
    left: MemoryPublisher,
    right: MemoryPublisher,
    relays: Vec<RelayHandle>,
}

impl Cluster {
    /// So many relays, each with shards and events, while the broker is away.
    async fn of(relays: usize, is_only_one: bool) -> Self {
        let (left, right) = (MemoryPublisher::new(), MemoryPublisher::new());
        let mut cluster = Self { scene: Scene::divided(12), left, right, relays: Vec::new() };
        cluster.away();
        for _ in 0..relays {
            cluster.start(is_only_one);
        }
        while cluster.scene.shares().await.len() < relays
            || cluster.scene.shares().await.iter().any(|&n| n > 12 / relays)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.scene.commit_many(120, EVENTS);
        cluster
    }

    fn start(&mut self, is_only_one: bool) {
        let publishers = Publishers::new().with("left", self.left.clone()).with("right", self.right.clone());
        let names: &[&str] = if is_only_one { &["left"] } else { &["left", "right"] };
        let router =
            names.iter().fold(Router::builder(), |router, name| router.with_destination(Destination::new(*name)));
        let router = router.with_rule(Rule::new("all").to(names.iter().copied())).build().unwrap();
        let relay = Relay::builder(self.scene.store.clone(), publishers).wake(&self.scene.wake).router(router);
        self.relays.push(relay.seed(self.relays.len() as u64).start().unwrap());
    }

    fn away(&self) {
        self.left.fail(|_| Some(PublishError::transient("connection refused")));
    }

    async fn delivered(&self, count: usize) {
        tokio::time::timeout(PATIENCE, self.left.wait_for(count)).await.expect("it is delivered in time");
    }

    async fn stop(self) {
        for relay in self.relays {
            relay.stop().await.unwrap();
        }
    }
}

/// The trials that so many relays make in an hour.
async fn trials_of(relays: usize, is_only_one: bool) -> u64 {
    let counters = Counters::default();
    let _recording = counters.record();
    let cluster = Cluster::of(relays, is_only_one).await;
    tokio::time::sleep(HOUR).await;
    let trials = counters.get_labelled(CIRCUIT_CHANGES, "change", "half_open");
    assert_eq!(cluster.scene.counts().await.dead, 0);
    cluster.stop().await;
    trials
}

#[tokio::test(start_paused = true)]
async fn relays_together_try_as_often_as_one() {
    for is_only_one in [true, false] {
        let (one, three) = (trials_of(1, is_only_one).await, trials_of(3, is_only_one).await);
        assert!((100..=125).contains(&one), "every 30 s: {one}");
        assert!(three.abs_diff(one) <= 3, "three relays tried {three} times, one {one} times");
    }
}

#[tokio::test(start_paused = true)]
async fn every_relay_delivers_soon_after_the_first_trial_that_goes_well() {
    for is_only_one in [true, false] {
        let counters = Counters::default();
        let _recording = counters.record();
        let cluster = Cluster::of(3, is_only_one).await;
        tokio::time::sleep(HOUR).await;
        assert_eq!(cluster.left.published(), []);
        let away = cluster.scene.store.circuits().await.unwrap();
        assert_eq!(away.iter().map(|circuit| &*circuit.destination).collect::<Vec<_>>(), ["left"]);
        let back = Instant::now();
        cluster.left.recover();
        cluster.delivered(1).await;
        assert!(back.elapsed() <= LONGEST + SOON, "{:?}", back.elapsed());
        let first = Instant::now();
        cluster.delivered(EVENTS as usize).await;
        assert!(first.elapsed() <= SOON, "{:?}", first.elapsed());
        cluster.scene.wait_for_counts(0, 0, 0).await;
        assert_eq!(cluster.scene.store.circuits().await.unwrap(), []);
        assert_eq!(counters.get_labelled(CIRCUIT_CHANGES, "change", "closed"), 3, "in each relay");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_vanishes_keeps_no_other_from_trying() {
    let mut cluster = Cluster::of(3, true).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(200)).await;
        drop(cluster.relays.pop());
    }
    tokio::time::sleep(Duration::from_secs(200)).await;
    let back = Instant::now();
    cluster.left.recover();
    cluster.delivered(EVENTS as usize).await;
    assert!(back.elapsed() <= LONGEST * 2 + SOON, "{:?}", back.elapsed());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_cannot_ask_the_others_tries_by_itself() {
    let scene = Scene::divided(1);
    scene.broker.inner().fail(|_| Some(PublishError::transient("connection refused")));
    scene.commit_many(40, 40);
    let (store, relay) = scene.flaky_relay();
    let relay = relay.start().unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    for outage in [Outage::Down, Outage::Hangs, Outage::Panics] {
        store.set(outage);
        tokio::time::sleep(Duration::from_secs(120)).await;
        store.set(Outage::None);
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    scene.broker.inner().recover();
    scene.wait_for(40).await;
    scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    scene.account().assert_exact();
}
