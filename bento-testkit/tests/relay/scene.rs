//! A store, a broker, and what was committed and delivered.

use std::num::NonZeroU16;
use std::time::Duration;

use bento_core::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters};
use bento_relay::inspect::{Inspect, StatusCounts};
use bento_relay::publish::{Delivery, MemoryPublisher};
use bento_relay::{MemoryStore, Relay, RelayBuilder, RelayHandle, Wake};
use bento_testkit::{Account, FlakyStore, Ledger, RecordingPublisher};

/// Long enough for every poll, wait and lease of a test that goes well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) type Broker = RecordingPublisher<MemoryPublisher>;

/// The scene of a test.
pub(crate) struct Scene {
    pub(crate) sharding: Sharding,
    pub(crate) store: MemoryStore,
    pub(crate) broker: Broker,
    pub(crate) ledger: Ledger,
    pub(crate) wake: Wake,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::divided(16)
    }

    pub(crate) fn divided(shards: u16) -> Self {
        let sharding = Sharding {
            shards: NonZeroU16::new(shards).unwrap(),
            ..Sharding::default()
        };
        let (store, broker) = (MemoryStore::new(sharding), RecordingPublisher::new());
        Self {
            sharding,
            store,
            broker,
            ledger: Ledger::new(),
            wake: Wake::new(),
        }
    }

    /// A relay that polls seldom, so that what comes quickly was woken.
    pub(crate) fn relay(&self) -> RelayBuilder<MemoryStore, Broker> {
        Relay::builder(self.store.clone(), self.broker.clone())
            .wake(&self.wake)
            .seed(1)
    }

    pub(crate) fn start(&self) -> RelayHandle {
        self.relay().start().unwrap()
    }

    /// A relay whose store can go away.
    pub(crate) fn flaky_relay(
        &self,
    ) -> (
        FlakyStore<MemoryStore>,
        RelayBuilder<FlakyStore<MemoryStore>, Broker>,
    ) {
        let store = FlakyStore::new(self.store.clone());
        (
            store.clone(),
            Relay::builder(store, self.broker.clone())
                .wake(&self.wake)
                .seed(2),
        )
    }

    /// Commits the next event of an aggregate, and wakes the relays.
    pub(crate) fn commit(&self, aggregate_id: &str) -> Envelope {
        self.commit_event(event(aggregate_id))
    }

    pub(crate) fn commit_event(&self, envelope: Envelope) -> Envelope {
        let shard = self.sharding.shard(&envelope);
        self.ledger.committed(&envelope);
        self.store.append([OutboxEntry {
            shard,
            may_be_known: false,
            envelope: envelope.clone(),
        }]);
        self.wake.wake(&[shard]);
        envelope
    }

    /// Commits `count` events of `aggregates` aggregates in turn.
    pub(crate) fn commit_many(&self, aggregates: u32, count: u32) {
        (0..count).for_each(|number| drop(self.commit(&(number % aggregates).to_string())));
    }

    pub(crate) fn published(&self) -> Vec<Delivery> {
        self.broker.inner().published()
    }

    /// The aggregates of what was published, in order.
    pub(crate) fn published_of(&self) -> Vec<String> {
        self.published()
            .iter()
            .map(|delivery| delivery.envelope.aggregate_id.clone())
            .collect()
    }

    pub(crate) async fn wait_for(&self, count: usize) {
        let published = self.broker.inner().wait_for(count);
        tokio::time::timeout(PATIENCE, published)
            .await
            .expect("everything is published in time");
    }

    /// Waits until the counts are these.
    pub(crate) async fn wait_for_counts(&self, pending: u64, held: u64, dead: u64) {
        let expected = StatusCounts {
            pending,
            held,
            dead,
        };
        let reached = async {
            while self.counts().await != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("waited for {expected:?}, is {:?}", self.counts().await);
        }
    }

    pub(crate) async fn counts(&self) -> StatusCounts {
        self.store.counts().await.unwrap()
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.store.list(&DeadLetterQuery::default()).await.unwrap()
    }

    /// The number of shards of each living relay, in no order.
    pub(crate) async fn shares(&self) -> Vec<usize> {
        let mut shares = std::collections::BTreeMap::new();
        for lease in self.store.leases().await.unwrap() {
            if let (Some(owner), Some(_)) = (lease.owner, lease.expires_in) {
                *shares.entry(owner).or_default() += 1;
            }
        }
        let mut shares: Vec<_> = shares.into_values().collect();
        shares.sort_unstable();
        shares
    }

    /// The events that the broker received, compared with the committed ones.
    pub(crate) fn account(&self) -> Account {
        self.published()
            .iter()
            .for_each(|delivery| self.ledger.delivered(&delivery.envelope));
        self.ledger.check()
    }
}

pub(crate) fn event(aggregate_id: &str) -> Envelope {
    let mut event = Envelope::new("order.paid", 1, chrono::DateTime::UNIX_EPOCH, "{}");
    event.aggregate_type = "order".into();
    event.aggregate_id = aggregate_id.to_owned();
    event
}

/// Lets everything run that can run without time going on.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
