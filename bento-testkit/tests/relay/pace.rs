//! The pace of polling: how soon a relay finds events without a wake-up.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::publish::HandlerRoute;
use bento_relay::store::{
    Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, RelayStore, StoreError,
};
use bento_relay::{MemoryStore, Relay, RelayBuilder, Wake};
use tokio::time::{Instant, sleep};

use crate::scene::{Broker, Scene};

const BUSY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(1);

/// A store that notes when it is polled, and whose `advance` panics when told to.
#[derive(Clone, Debug)]
struct Watched {
    inner: MemoryStore,
    polls: Arc<Mutex<Vec<Instant>>>,
    panics: Arc<Mutex<bool>>,
}

impl Watched {
    fn relay(scene: &Scene) -> (Self, RelayBuilder<Self, Broker>) {
        let store = Self {
            inner: scene.store.clone(),
            polls: Arc::default(),
            panics: Arc::default(),
        };
        (
            store.clone(),
            Relay::builder(store, scene.broker.clone())
                .wake(&scene.wake)
                .seed(1),
        )
    }

    /// The milliseconds between the polls since the last time, the first counted from `start`.
    fn intervals(&self, start: Instant) -> Vec<u128> {
        let times = std::mem::take(&mut *self.polls.lock().unwrap());
        let before = std::iter::once(&start).chain(&times);
        before
            .zip(&times)
            .map(|(before, time)| time.saturating_duration_since(*before).as_millis())
            .collect()
    }

    /// The same after `time` has passed.
    async fn intervals_within(&self, time: Duration) -> Vec<u128> {
        self.polls.lock().unwrap().clear();
        let start = Instant::now();
        sleep(time).await;
        self.intervals(start)
    }
}

impl RelayStore for Watched {
    fn open(&self) -> impl Future<Output = Result<Sharding, StoreError>> + Send {
        self.inner.open()
    }

    async fn is_published(&self) -> Result<bool, StoreError> {
        self.inner.is_published().await
    }

    async fn record_handlers(&self, handlers: &[HandlerRoute]) -> Result<(), StoreError> {
        self.inner.record_handlers(handlers).await
    }

    fn heartbeat(
        &self,
        heartbeat: Heartbeat,
    ) -> impl Future<Output = Result<Holdings, StoreError>> + Send {
        self.inner.heartbeat(heartbeat)
    }

    async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        assert!(!*self.panics.lock().unwrap(), "it panics as told");
        self.inner.advance(advance).await
    }

    fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<ShardId>, StoreError>> + Send {
        self.polls.lock().unwrap().push(Instant::now());
        self.inner.poll(shards, without)
    }

    fn release(&self, relay: RelayId) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.inner.release(relay)
    }

    fn prune(&self, prune: Prune) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send {
        self.inner.prune(prune)
    }
}

/// Busy to begin with, slower with every poll, idle at last.
fn assert_slows_down(intervals: &[u128]) {
    let (busy, idle) = (BUSY.as_millis(), IDLE.as_millis());
    assert!(
        intervals[..8]
            .iter()
            .all(|interval| (busy - 1..=busy + 2).contains(interval)),
        "{intervals:?}"
    );
    assert!(
        intervals.windows(2).all(|pair| pair[1] + 2 >= pair[0]),
        "{intervals:?}"
    );
    assert!(
        (idle..=idle + 2).contains(intervals.last().unwrap()),
        "{intervals:?}"
    );
    let slower = intervals
        .iter()
        .filter(|interval| (busy + 10..idle / 2).contains(interval))
        .count();
    assert!(slower >= 10, "it does not go idle at once: {intervals:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_found_by_a_poll_makes_polls_frequent_for_a_while() {
    let mut scene = Scene::new();
    let (store, relay) = Watched::relay(&scene);
    let relay = relay.start().unwrap();
    scene.wake = Wake::new();
    sleep(Duration::from_secs(60)).await;
    assert!(
        store
            .intervals_within(IDLE * 5)
            .await
            .iter()
            .skip(1)
            .all(|interval| (1000..=1002).contains(interval))
    );
    scene.commit("1");
    scene.wait_for(1).await;
    assert_slows_down(&store.intervals_within(Duration::from_secs(60)).await);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wake_does_as_well() {
    let scene = Scene::new();
    let (store, relay) = Watched::relay(&scene);
    let relay = relay.start().unwrap();
    // Between two polls of an idle relay.
    sleep(Duration::from_millis(60_300)).await;
    scene.commit("1");
    scene.wait_for(1).await;
    assert_slows_down(&store.intervals_within(Duration::from_secs(60)).await);
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wake_for_shards_of_another_relay_does_not() {
    let scene = Scene::new();
    let (store, relay) = Watched::relay(&scene);
    let relay = relay.start().unwrap();
    sleep(Duration::from_secs(60)).await;
    scene.wake.wake(&[99]);
    let intervals = store.intervals_within(IDLE * 5).await;
    assert!(
        intervals
            .iter()
            .skip(1)
            .all(|interval| (1000..=1002).contains(interval)),
        "{intervals:?}"
    );
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_that_keep_coming_are_found_within_a_busy_interval() {
    let mut scene = Scene::new();
    let relay = scene.start();
    scene.wake = Wake::new();
    scene.commit("0");
    scene.wait_for(1).await;
    for number in 1..=100 {
        sleep(Duration::from_millis(20 + number * 37 % 120)).await;
        let start = Instant::now();
        scene.commit(&number.to_string());
        scene.wait_for(number as usize + 1).await;
        assert!(
            start.elapsed() <= BUSY + Duration::from_millis(2),
            "event {number}: {:?}",
            start.elapsed()
        );
    }
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_a_worker_is_at_work_the_other_shards_are_looked_at_often() {
    let scene = Scene::new();
    let (store, relay) = Watched::relay(&scene);
    let relay = relay
        .publish_timeout(Duration::from_secs(600))
        .start()
        .unwrap();
    sleep(Duration::from_millis(60_300)).await;
    scene.broker.inner().block();
    scene.commit("1");
    scene.broker.inner().wait_for_blocked(1).await;
    let intervals = store.intervals_within(Duration::from_secs(5)).await;
    assert!(
        intervals.len() > 200 && intervals.iter().all(|interval| *interval <= 22),
        "{intervals:?}"
    );
    scene.broker.inner().unblock();
    relay.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_fails_each_time_is_no_reason_to_hurry() {
    let mut scene = Scene::divided(1);
    let (store, relay) = Watched::relay(&scene);
    let relay = relay.start().unwrap();
    scene.wake = Wake::new();
    sleep(Duration::from_secs(60)).await;
    *store.panics.lock().unwrap() = true;
    scene.commit("1");
    let polls = store.intervals_within(Duration::from_secs(30)).await.len();
    assert!(polls <= 31, "{polls} polls in 30 s");
    *store.panics.lock().unwrap() = false;
    scene.wait_for(1).await;
    relay.stop().await.unwrap();
}
