//! The rules of the store beyond the conformance suite: those that are seen inside the database.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::store::{
    Advance, Advanced, Failure, Heartbeat, HeldRow, Lease, OutboxRow, Outcome, RelayId, RelayStore,
    Settlement,
};
use chrono::Utc;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait,
};

use super::OutboxStore;
use super::scan::Scan;
use crate::outbox::OutboxWriter;
use crate::outbox::meta::Expected;
use crate::session::StoreTransaction;
use crate::tables::Tables;
use crate::test_database::{on_every_back_end, on_postgres};

mod clones;
mod dead_letters;
mod due;
mod fuzz;
mod gone;
mod handlers;
mod held;
mod leases;
mod poll;
mod reading;
mod refused;
mod sessions;
mod statements;
mod unreadable;

const ONE: std::num::NonZeroU16 = std::num::NonZeroU16::MIN;

fn entry() -> OutboxEntry {
    let mut envelope = Envelope::new("thing.happened", 1, Utc::now(), "{}");
    envelope.aggregate_type = "thing".into();
    envelope.aggregate_id = "1".to_owned();
    OutboxEntry {
        shard: 0,
        may_be_known: false,
        envelope,
    }
}

async fn write(db: &DatabaseConnection, count: usize) -> DatabaseTransaction {
    let tx = db.begin().await.unwrap();
    let writer = OutboxWriter::new(Tables::default(), Expected::default());
    writer
        .write(&tx, (0..count).map(|_| entry()).collect())
        .await
        .unwrap();
    tx
}

/// A call for everything of a shard, which settles nothing.
fn advance(lease: Lease) -> Advance {
    let (settled, without) = (Vec::new(), Vec::new());
    let ttl = Duration::from_secs(600);
    Advance {
        lease,
        ttl,
        settled,
        pending: 1000,
        held: 1000,
        revision: None,
        without,
        keep_published: false,
    }
}

/// A relay that holds the only shard and settles everything it gets with its next call.
struct Relay {
    store: OutboxStore,
    lease: Lease,
    settled: Vec<Settlement>,
    revision: Option<i64>,
    seen: Vec<i64>,
}

impl Relay {
    async fn new(db: &DatabaseConnection) -> Self {
        let store = OutboxStore::new(db.clone()).with_sharding(Sharding {
            shards: ONE,
            lanes: ONE,
        });
        store.open().await.unwrap();
        let ttl = Duration::from_secs(600);
        let beat = Heartbeat {
            relay: RelayId::new(),
            ttl,
            lanes: None,
            claim: true,
            publishes: true,
            handlers: Vec::new(),
            idle: Vec::new(),
        };
        let lease = store.heartbeat(beat).await.unwrap().leases[0];
        Self {
            store,
            lease,
            settled: Vec::new(),
            revision: None,
            seen: Vec::new(),
        }
    }

    async fn call(&mut self) -> Advanced {
        let settled = std::mem::take(&mut self.settled);
        let (lease, ttl, revision) = (self.lease, Duration::from_secs(600), self.revision);
        let advance = Advance {
            lease,
            ttl,
            settled,
            pending: 200,
            held: 200,
            revision,
            without: Vec::new(),
            keep_published: false,
        };
        let advanced = self.store.advance(advance).await.unwrap();
        self.revision = Some(advanced.revision);
        let positions = advanced.pending.iter().map(|row| row.position);
        self.settled
            .extend(positions.clone().map(Settlement::published));
        self.seen.extend(positions);
        advanced
    }

    async fn settle(&self, settled: Vec<Settlement>) -> Advanced {
        self.store
            .advance(Advance {
                settled,
                ..advance(self.lease)
            })
            .await
            .unwrap()
    }

    fn floor(&self) -> i64 {
        self.store.memory.floor(0)
    }

    /// Lets reading begin behind the largest position seen, as the sound bound does not.
    fn begin_behind_the_largest_seen(&self) {
        let mut remembered = self.store.memory.take(self.lease);
        remembered.scan = Scan::beginning_behind(self.seen.iter().copied().max().unwrap_or(0));
        self.store.memory.put(0, remembered);
    }
}

async fn pinned(db: &DatabaseConnection) -> StoreTransaction {
    OutboxStore::new(db.clone()).begin().await.unwrap().0
}

async fn explained(db: &impl ConnectionTrait, statement: &str) -> String {
    let rows = db
        .query_all_raw(Statement::from_string(
            db.get_database_backend(),
            format!("EXPLAIN {statement}"),
        ))
        .await;
    let lines: Vec<String> = rows
        .unwrap()
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect();
    lines.join("\n")
}

async fn one(db: &impl ConnectionTrait, sql: &str) -> sea_orm::QueryResult {
    db.query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await
        .unwrap()
        .unwrap()
}
