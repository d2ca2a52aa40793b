//! The common parts of the rules: events, a relay that holds the leases, and settlements.

use std::sync::Arc;
use std::time::Duration;

use bento_core::Envelope;
use bento_core::outbox::{OutboxEntry, ShardId, Sharding};
use bento_relay::RelayStore;
use bento_relay::publish::Destination;
use bento_relay::store::{
    Advance, Advanced, Failure, Heartbeat, HeldRow, Holdings, Lease, NewDeadLetter, OutboxRow,
    Outcome, RelayId, Settlement, StoreError,
};
use chrono::{SubsecRound, Utc};

use super::StoreHarness;

/// A time that does not pass within a test.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// The route of all settlements that name no other.
pub(super) fn default_route() -> Arc<str> {
    Arc::from(Destination::DEFAULT)
}

/// A sharding into `shards` shards and `lanes` lanes.
pub(super) fn sharding(shards: u16, lanes: u16) -> Sharding {
    let number = |number: u16| number.try_into().expect("the suite divides by more than 0");
    Sharding {
        shards: number(shards),
        lanes: number(lanes),
    }
}

/// The `number`-th event of an aggregate, in shard 0.
pub fn event(aggregate_id: &str, number: u32) -> OutboxEntry {
    let mut envelope = Envelope::new(
        "thing.happened",
        1,
        Utc::now().trunc_subsecs(6),
        number.to_string(),
    );
    envelope.aggregate_type = "thing".into();
    envelope.aggregate_id = aggregate_id.to_owned();
    OutboxEntry {
        shard: 0,
        may_be_known: false,
        envelope,
    }
}

/// An event that belongs to no aggregate, in shard 0.
pub fn unordered_event(number: u32) -> OutboxEntry {
    let mut entry = event("", number);
    entry.envelope.aggregate_type = "".into();
    entry
}

/// An event of a tenant, in shard 0.
pub fn event_of_tenant(tenant: &str, number: u32) -> OutboxEntry {
    let mut entry = event(tenant, number);
    entry.envelope.tenant_id = Some(tenant.to_owned());
    entry
}

/// The numbers that [`event`] gave to these rows.
pub fn numbers<'a>(rows: impl IntoIterator<Item = &'a OutboxRow>) -> Vec<u32> {
    rows.into_iter()
        .map(|row| number_of(&row.envelope))
        .collect()
}

pub(super) fn number_of(envelope: &Envelope) -> u32 {
    std::str::from_utf8(&envelope.payload)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("the payload is a number")
}

pub(super) fn held_numbers(rows: &[HeldRow]) -> Vec<u32> {
    numbers(rows.iter().map(|held| &held.row))
}

pub(super) fn published(row: &OutboxRow) -> Settlement {
    Settlement::published(row.position)
}

/// A follower of a row that failed.
pub(super) fn follows(row: &OutboxRow) -> Settlement {
    Settlement::pending(row.position, default_route(), Outcome::Behind)
}

pub(super) fn failure(attempts: u32, retry_after: Duration) -> Failure {
    Failure {
        attempts,
        retry_after,
        error: "refused".to_owned(),
        delivered: Vec::new(),
    }
}

pub(super) fn failed(row: &OutboxRow, retry_after: Duration) -> Settlement {
    let why = Outcome::Retry(failure(1, retry_after));
    Settlement::pending(row.position, default_route(), why)
}

pub(super) fn dead_letter(parks: bool) -> NewDeadLetter {
    NewDeadLetter {
        attempts: 1,
        error: "refused: no such topic".to_owned(),
        cause: NewDeadLetter::PERMANENT.into(),
        parks,
        delivered: Vec::new(),
    }
}

pub(super) fn died(row: &OutboxRow, parks: bool) -> Settlement {
    Settlement::pending(
        row.position,
        default_route(),
        Outcome::Dead(dead_letter(parks)),
    )
}

pub(super) fn held_published(held: &HeldRow) -> Settlement {
    Settlement::held(
        held.row.position,
        Arc::clone(&held.route),
        Outcome::Published,
    )
}

pub(super) fn held_failed(held: &HeldRow, attempts: u32, retry_after: Duration) -> Settlement {
    let (position, route) = (held.row.position, Arc::clone(&held.route));
    Settlement::held(
        position,
        route,
        Outcome::Retry(failure(attempts, retry_after)),
    )
}

/// The number of shards above the fair share, in all lanes.
pub(super) fn surplus(holdings: &Holdings) -> usize {
    holdings.surplus.iter().map(|lane| lane.shards).sum()
}

/// A heartbeat of a relay that serves all lanes, claims, and offers nothing.
pub(super) fn heartbeat(relay: RelayId, ttl: Duration) -> Heartbeat {
    Heartbeat {
        relay,
        ttl,
        lanes: None,
        claim: true,
        publishes: true,
        handlers: Vec::new(),
        idle: Vec::new(),
    }
}

/// A call for everything of a shard, which settles nothing.
pub(super) fn call(lease: Lease) -> Advance {
    Advance {
        lease,
        ttl: LONG,
        settled: Vec::new(),
        pending: 100,
        held: 100,
        revision: None,
        without: Vec::new(),
        keep_published: false,
    }
}

/// An open outbox of one shard, and a relay that holds it for longer than a test takes.
#[derive(Debug)]
pub struct Bench<'a, H: StoreHarness> {
    pub(super) harness: &'a H,
    /// The store.
    pub store: H::Store,
    /// The lease of its only shard, 0.
    pub lease: Lease,
}

impl<'a, H: StoreHarness> Bench<'a, H> {
    /// Opens the outbox and claims its shard.
    pub async fn new(harness: &'a H) -> Self {
        let store = open(harness, sharding(1, 1)).await;
        let holdings = beat(&store, heartbeat(RelayId::new(), LONG)).await;
        Self {
            harness,
            store,
            lease: holdings.leases[0],
        }
    }

    /// Writes events, each in a transaction of its own.
    pub async fn append(&self, entries: impl IntoIterator<Item = OutboxEntry>) {
        for entry in entries {
            self.harness.append(vec![entry]).await;
        }
    }

    /// Everything that is there.
    pub async fn next(&self) -> Advanced {
        self.settle(Vec::new()).await
    }

    /// Settles, and returns everything that is there then.
    pub async fn settle(&self, settled: Vec<Settlement>) -> Advanced {
        self.advance(Advance {
            settled,
            ..call(self.lease)
        })
        .await
    }

    /// Makes one call that must succeed.
    pub async fn advance(&self, advance: Advance) -> Advanced {
        self.store
            .advance(advance)
            .await
            .expect("the lease is held and the store is there")
    }

    /// Writes events of one transaction and returns their rows.
    pub(super) async fn pending(
        &self,
        entries: impl IntoIterator<Item = OutboxEntry>,
    ) -> Vec<OutboxRow> {
        self.append(entries).await;
        self.next().await.pending
    }
}

pub(super) async fn open<H: StoreHarness>(harness: &H, sharding: Sharding) -> H::Store {
    let store = harness.store(sharding).await;
    assert_eq!(store.open().await.expect("the outbox opens"), sharding);
    store
}

pub(super) async fn beat(store: &impl RelayStore, heartbeat: Heartbeat) -> Holdings {
    store
        .heartbeat(heartbeat)
        .await
        .expect("the store is there")
}

pub(super) fn shards_of(leases: &[Lease]) -> Vec<ShardId> {
    let mut shards: Vec<_> = leases.iter().map(|lease| lease.shard).collect();
    shards.sort_unstable();
    shards
}

pub(super) fn is_lost(result: &Result<Advanced, StoreError>) -> bool {
    matches!(result, Err(StoreError::LeaseLost { .. }))
}
