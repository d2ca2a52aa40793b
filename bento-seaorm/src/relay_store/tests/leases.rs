//! Relays that wait for no other one.

use std::time::Duration;

use bento_core::outbox::Sharding;
use bento_relay::store::{Heartbeat, RelayId, RelayStore};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::ONE;
use crate::relay_store::OutboxStore;
use crate::session::StoreTransaction;
use crate::test_database::{on_every_back_end, on_postgres};

fn beat(relay: RelayId, ttl: Duration) -> Heartbeat {
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

async fn on_servers(test: impl AsyncFn(DatabaseConnection)) {
    on_every_back_end(async |db| {
        if db.get_database_backend() != DbBackend::Sqlite {
            test(db).await;
        }
    })
    .await;
}

/// Leaves the transaction of a relay whose process is frozen during an `advance`.
async fn freeze(db: &DatabaseConnection, shard: i32) -> StoreTransaction {
    let tx = OutboxStore::new(db.clone()).begin().await.unwrap().0;
    tx.execute_unprepared(&format!(
        "UPDATE bento_relay_shard SET revision = revision WHERE shard = {shard}"
    ))
    .await
    .unwrap();
    tx
}

#[tokio::test]
async fn a_shard_locked_by_a_frozen_relay_blocks_no_other_claim() {
    on_servers(async |db| {
        let sharding = Sharding {
            shards: 4.try_into().unwrap(),
            lanes: ONE,
        };
        let store = OutboxStore::new(db.clone()).with_sharding(sharding);
        let frozen = RelayId::new();
        assert_eq!(
            store
                .heartbeat(beat(frozen, Duration::from_millis(1)))
                .await
                .unwrap()
                .leases
                .len(),
            4
        );
        let relays = [RelayId::new(), RelayId::new()];
        for relay in relays {
            let is_known = Heartbeat {
                claim: false,
                handlers: Vec::new(),
                ..beat(relay, Duration::from_secs(600))
            };
            store.heartbeat(is_known).await.unwrap();
        }
        let lock = freeze(&db, 0).await;
        let mut claimed = Vec::new();
        for relay in relays.iter().chain(&relays).chain(&relays) {
            let holdings = store
                .heartbeat(beat(*relay, Duration::from_secs(600)))
                .await
                .unwrap();
            claimed.extend(holdings.leases.iter().map(|lease| lease.shard));
        }
        claimed.sort_unstable();
        claimed.dedup();
        assert_eq!(claimed, [1, 2, 3]);
        lock.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_frozen_relay_blocks_no_other_renewal_or_release() {
    on_servers(async |db| {
        let sharding = Sharding {
            shards: 16.try_into().unwrap(),
            lanes: ONE,
        };
        let store = OutboxStore::new(db.clone()).with_sharding(sharding);
        let (frozen, other) = (RelayId::new(), RelayId::new());
        let ttl = Duration::from_secs(600);
        // Both are known before either claims, so each gets its half.
        let quiet = Heartbeat {
            claim: false,
            handlers: Vec::new(),
            ..beat(other, ttl)
        };
        store.heartbeat(quiet).await.unwrap();
        let shard = store.heartbeat(beat(frozen, ttl)).await.unwrap().leases[0].shard;
        assert_eq!(
            store
                .heartbeat(beat(other, ttl))
                .await
                .unwrap()
                .leases
                .len(),
            8
        );
        let lock = freeze(&db, shard).await;
        let goes_on = async {
            store.heartbeat(beat(other, ttl)).await.unwrap();
            store.release(other).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(5), goes_on)
            .await
            .expect("it does not wait");
        lock.rollback().await.unwrap();
    })
    .await;
}

/// True if another one can lock the row of a shard now.
async fn is_free(db: &DatabaseConnection, shard: i32) -> bool {
    let lock = format!("SELECT 1 FROM bento_relay_shard WHERE shard = {shard} FOR UPDATE NOWAIT");
    db.execute_unprepared(&lock).await.is_ok()
}

/// The number of statements that wait for a lock.
async fn waiting(db: &DatabaseConnection) -> i64 {
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                 wait_event_type = 'Lock'";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::Postgres, asked))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// An operator who pauses a tenant locks every shard in order: two who do so in different orders
/// would wait for each other.
#[tokio::test]
async fn several_shards_are_locked_in_their_order() {
    on_postgres(async |db| {
        let sharding = Sharding {
            shards: 8.try_into().unwrap(),
            lanes: ONE,
        };
        let store = std::sync::Arc::new(OutboxStore::new(db.clone()).with_sharding(sharding));
        let relay = RelayId::new();
        let day = Duration::from_secs(86_400);
        store.heartbeat(beat(relay, day)).await.unwrap();
        // In the table they stand in the opposite order from now on.
        for statement in [
            "CREATE TABLE moved AS SELECT * FROM bento_relay_shard",
            "DELETE FROM bento_relay_shard",
            "VACUUM bento_relay_shard",
            "INSERT INTO bento_relay_shard SELECT * FROM moved ORDER BY shard DESC",
        ] {
            db.execute_unprepared(statement).await.unwrap();
        }
        for call in [0, 1] {
            let lock = freeze(&db, 0).await;
            let beating = std::sync::Arc::clone(&store);
            let waits = tokio::spawn(async move {
                match call {
                    0 => drop(beating.heartbeat(beat(relay, day)).await.unwrap()),
                    _ => beating.release(relay).await.unwrap(),
                }
            });
            while waiting(&db).await == 0 {
                tokio::task::yield_now().await;
            }
            for shard in 1..8 {
                assert!(
                    is_free(&db, shard).await,
                    "shard {shard} is locked before shard 0, in call {call}"
                );
            }
            lock.rollback().await.unwrap();
            waits.await.unwrap();
        }
    })
    .await;
}
