//! Destinations that answer one by one: each event has a call of its own, and a slow call keeps
//! nothing else waiting.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_relay::publish::{
    Answering, Delivery, Destination, MemoryPublisher, PublishError, Publisher, Publishers,
};
use bento_relay::route::{Router, Rule};
use bento_relay::{MemoryStore, Relay, RelayBuilder};
use tokio::time::{Instant, sleep};

use crate::scene::{PATIENCE, Scene, event};

/// A publisher that takes as long for an event as its aggregate's name says.
#[derive(Clone, Debug)]
struct Handler {
    answering: Answering,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    running: usize,
    most: usize,
    begun: Vec<(String, Instant)>,
    done: Vec<(String, i64)>,
}

impl Handler {
    fn new(answering: Answering) -> Self {
        let seen = Arc::default();
        Self { answering, seen }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    async fn wait_for(&self, count: usize) {
        let reached = async {
            while self.seen(|seen| seen.done.len()) < count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        in_time.expect("everything is handled in time");
    }
}

impl Publisher for Handler {
    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let [delivery] = batch else {
            panic!("{} events in one call", batch.len());
        };
        let aggregate = delivery.envelope.aggregate_id.clone();
        self.seen(|seen| {
            seen.running += 1;
            seen.most = seen.most.max(seen.running);
            seen.begun.push((aggregate.clone(), Instant::now()));
        });
        let _running = Running(self);
        let (kind, _) = aggregate.split_once('-').unwrap_or((&aggregate, ""));
        let answer = match kind {
            "slow" | "second" => {
                sleep(Duration::from_secs(if kind == "slow" { 5 } else { 1 })).await;
                Ok(())
            }
            "hangs" => std::future::pending().await,
            "fails" => Err(PublishError::transient("an ordinary error")),
            "waits" => Err(PublishError::not_tried(
                "another transaction was in the way",
            )),
            "panics" => panic!("a handler panicked"),
            _ => Ok(()),
        };
        if answer.is_ok() {
            let number = delivery.envelope.sequence.unwrap();
            self.seen(|seen| seen.done.push((aggregate, number)));
        }
        vec![answer]
    }

    fn answering(&self, _: &Destination) -> Answering {
        self.answering
    }
}

/// Counts the call as over, also when it is dropped.
struct Running<'a>(&'a Handler);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.seen(|seen| seen.running -= 1);
    }
}

/// A handler `h` and a broker `b`, each with every event.
struct Two {
    scene: Scene,
    handler: Handler,
    broker: MemoryPublisher,
    numbers: HashMap<String, i64>,
}

impl Two {
    fn new(answering: Answering) -> Self {
        Self {
            scene: Scene::divided(4),
            handler: Handler::new(answering),
            broker: MemoryPublisher::new(),
            numbers: HashMap::new(),
        }
    }

    fn relay(&self) -> RelayBuilder<MemoryStore, Publishers> {
        let router = Router::builder()
            .destination(Destination::new("h"))
            .destination(Destination::new("b"))
            .rule(Rule::new("h").to(["h"]))
            .rule(Rule::new("b").to(["b"]));
        let publishers = Publishers::new()
            .with("h", self.handler.clone())
            .with("b", self.broker.clone());
        Relay::builder(self.scene.store.clone(), publishers)
            .wake(&self.scene.wake)
            .router(router.build().unwrap())
            .seed(1)
    }

    fn commit(&mut self, aggregate: &str) {
        let number = self.numbers.entry(aggregate.to_owned()).or_default();
        *number += 1;
        let mut event = event(aggregate);
        event.sequence = Some(*number);
        self.scene.commit_event(event);
    }

    /// Asserts that 99 of 100 calls for these aggregates have begun within 250 ms.
    fn assert_begun_in_time(&self, committed: &HashMap<String, Instant>) {
        let mut delays: Vec<_> = self.handler.seen(|seen| {
            let begun = seen.begun.iter();
            begun
                .filter_map(|(aggregate, at)| Some(*at - *committed.get(aggregate)?))
                .collect()
        });
        delays.sort();
        let p99 = delays[delays.len() * 99 / 100];
        assert!(
            p99 <= Duration::from_millis(250),
            "{p99:?}, {:?}",
            delays.last()
        );
    }

    /// Asserts that the handler has handled each event once, in the order of its aggregate.
    fn assert_each_once_and_in_order(&self) {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for (aggregate, number) in self.handler.seen(|seen| seen.done.clone()) {
            let last = last.entry(aggregate.clone()).or_default();
            assert_eq!(number, *last + 1, "of {aggregate}");
            *last = number;
        }
        let committed: BTreeMap<_, _> = self.numbers.clone().into_iter().collect();
        assert_eq!(last, committed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_delays_no_other_event_of_its_destination() {
    let mut two = Two::new(Answering::one_by_one(20));
    let relay = two.relay().start().unwrap();
    let mut committed = HashMap::new();
    for number in 0..2000 {
        let kind = if number % 100 == 0 { "slow" } else { "quick" };
        let aggregate = format!("{kind}-{number}");
        two.commit(&aggregate);
        committed.insert(aggregate, Instant::now());
        sleep(Duration::from_millis(5)).await;
    }
    two.handler.wait_for(2000).await;
    two.assert_begun_in_time(&committed);
    two.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    two.assert_each_once_and_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_delays_no_other_event_of_its_destination() {
    let mut two = Two::new(Answering::one_by_one(4));
    let relay = two.relay().start().unwrap();
    let mut committed = HashMap::new();
    for number in 0..300 {
        two.commit(&format!("fails-{number}"));
        let aggregate = format!("quick-{number}");
        two.commit(&aggregate);
        committed.insert(aggregate, Instant::now());
        sleep(Duration::from_millis(5)).await;
    }
    two.handler.wait_for(300).await;
    two.assert_begun_in_time(&committed);
    two.broker.wait_for(600).await;
    two.scene.wait_for_counts(0, 0, 300).await;
    assert_eq!(relay.health().degraded, []);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_destination_without_free_calls_delays_no_other() {
    let mut two = Two::new(Answering::one_by_one(2));
    let relay = two.relay().start().unwrap();
    for number in 0..100 {
        two.commit(&format!("second-{number}"));
    }
    let start = Instant::now();
    two.broker.wait_for(100).await;
    for number in 0..100 {
        two.commit(&format!("second-{number}"));
        sleep(Duration::from_millis(50)).await;
    }
    two.broker.wait_for(200).await;
    let longest = start.elapsed();
    assert!(longest < Duration::from_secs(6), "{longest:?}");
    two.handler.wait_for(200).await;
    let all = start.elapsed();
    assert!(
        all < Duration::from_secs(110),
        "two calls of a second at a time: {all:?}"
    );
    two.scene.wait_for_counts(0, 0, 0).await;
    relay.stop().await.unwrap();
    assert_eq!(two.handler.seen(|seen| seen.most), 2);
    two.assert_each_once_and_in_order();
}

#[tokio::test(start_paused = true)]
async fn the_calls_at_once_are_those_of_all_shards_together() {
    let mut two = Two::new(Answering::one_by_one(8));
    (0..400).for_each(|number| two.commit(&format!("second-{}", number % 100)));
    let start = Instant::now();
    let relay = two.relay().start().unwrap();
    two.handler.wait_for(400).await;
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(60),
        "50 s if no call waits: {took:?}"
    );
    relay.stop().await.unwrap();
    assert_eq!(two.handler.seen(|seen| seen.most), 8);
    two.assert_each_once_and_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_an_attempt_at_its_event_and_says_nothing_of_others() {
    let mut two = Two::new(Answering::one_by_one(4).within(Duration::from_secs(2)));
    let relay = two.relay().start().unwrap();
    two.commit("hangs");
    (0..100).for_each(|number| two.commit(&format!("quick-{number}")));
    two.handler.wait_for(100).await;
    two.scene.wait_for_counts(0, 0, 1).await;
    let dead = two.scene.dead().await.remove(0);
    assert_eq!(
        (dead.attempts, &*dead.route, &*dead.error),
        (5, "h", "the publisher did not answer within 2s")
    );
    assert!(
        relay.health().degraded.is_empty(),
        "the circuit stays closed"
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn errors_and_panics_are_attempts_and_open_no_circuit() {
    let mut two = Two::new(Answering::one_by_one(4));
    let relay = two.relay().start().unwrap();
    (0..50).for_each(|number| two.commit(&format!("fails-{number}")));
    (0..50).for_each(|number| two.commit(&format!("panics-{number}")));
    two.scene.wait_for_counts(0, 0, 100).await;
    assert!(relay.health().degraded.is_empty());
    assert!(two.scene.dead().await.iter().all(|dead| dead.attempts == 5));
    (0..50).for_each(|number| two.commit(&format!("quick-{number}")));
    two.handler.wait_for(50).await;
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_not_tried_waits_without_an_attempt_or_a_circuit() {
    let mut two = Two::new(Answering::one_by_one(4));
    let relay = two.relay().start().unwrap();
    (0..50).for_each(|number| two.commit(&format!("waits-{number}")));
    sleep(Duration::from_secs(600)).await;
    let counts = two.scene.counts().await;
    assert_eq!((counts.pending, counts.held, counts.dead), (0, 50, 0));
    assert!(relay.health().degraded.is_empty());
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pass_waits_for_every_call() {
    let mut two = Two::new(Answering::one_by_one(4));
    (0..8).for_each(|number| two.commit(&format!("slow-{number}")));
    let report = two.relay().run_until_empty().await.unwrap();
    assert_eq!(report.tally.published, 16);
    two.assert_each_once_and_in_order();
}
