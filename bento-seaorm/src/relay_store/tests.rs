//! What the store promises beyond the conformance suite: what may be seen inside the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::store::{
    Advance, Advanced, Failure, Heartbeat, Held, HeldRow, Lease, OutboxRow, RelayId, RelayStore,
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
mod fuzz;
mod gone;
mod held;
mod leases;
mod letters;
mod poll;
mod refused;
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
        self.settled.extend(
            positions
                .clone()
                .map(|position| Settlement::Published { position }),
        );
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

/// Rounds in which an event commits after later ones were published; returns how many of all events
/// never came.
async fn late_commits(db: &DatabaseConnection, by_largest_seen: bool) -> usize {
    const ROUNDS: usize = 20;
    let mut relay = Relay::new(db).await;
    for _ in 0..ROUNDS {
        let late = write(db, 1).await;
        for _ in 0..4 {
            write(db, 1).await.commit().await.unwrap();
            relay.call().await;
            if by_largest_seen {
                relay.begin_behind_the_largest_seen();
            }
        }
        late.commit().await.unwrap();
        relay.call().await;
        if by_largest_seen {
            relay.begin_behind_the_largest_seen();
        }
    }
    for _ in 0..4 {
        relay.call().await;
    }
    db.execute_unprepared("DELETE FROM bento_outbox")
        .await
        .unwrap();
    relay.store.release(relay.lease.owner).await.unwrap();
    relay.seen.sort_unstable();
    relay.seen.dedup();
    ROUNDS * 5 - relay.seen.len()
}

#[tokio::test]
async fn late_commits_are_never_lost_and_a_bound_by_the_largest_position_seen_loses_them() {
    on_postgres(async |db| {
        assert_eq!(late_commits(&db, false).await, 0);
        assert!(
            late_commits(&db, true).await >= 20,
            "the wrong bound has to lose, or the test proves nothing"
        );
    })
    .await;
}

/// The default of the column takes the transaction's id before the position. Without that the bound
/// could pass a position whose transaction has no id yet.
#[tokio::test]
async fn a_transaction_that_only_writes_events_has_its_id_before_its_position() {
    on_postgres(async |db| {
        let position = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = \
                        'bento_outbox'::regclass";
        let default: String = one(&db, position).await.try_get_by_index(0).unwrap();
        assert!(
            default.contains("pg_current_xact_id() IS NOT NULL"),
            "{default}"
        );
        let cache = "SELECT cache_size FROM pg_sequences WHERE sequencename = \
                     'bento_outbox_position'";
        assert_eq!(one(&db, cache).await.try_get_by_index::<i64>(0).unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn reading_does_not_walk_over_deleted_rows_that_somebody_may_still_see() {
    on_postgres(async |db| {
        let mut relay = Relay::new(&db).await;
        let reader = db
            .begin_with_config(Some(sea_orm::IsolationLevel::RepeatableRead), None)
            .await
            .unwrap();
        one(&reader, "SELECT count(*) FROM bento_outbox").await;
        for _ in 0..40 {
            write(&db, 200).await.commit().await.unwrap();
            assert_eq!(relay.call().await.pending.len(), 200);
        }
        // A transaction of another test on the same server may hold the bound back for as long as
        // it runs.
        let follows = async {
            while relay.floor() < 7_800 {
                relay.call().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), follows)
            .await
            .expect("the bound follows what is settled");
        let from_the_start = blocks_read(&db, 0).await;
        let from_the_bound = blocks_read(&db, relay.floor()).await;
        assert!(
            from_the_bound * 5 < from_the_start,
            "{from_the_bound} blocks against {from_the_start}"
        );
        reader.rollback().await.unwrap();
    })
    .await;
}

async fn blocks_read(db: &DatabaseConnection, floor: i64) -> u64 {
    let select = format!(
        "SELECT payload FROM bento_outbox WHERE shard = 0 AND position > {floor} ORDER BY \
         position LIMIT 200"
    );
    let tx = pinned(db).await;
    let plan = explained(&tx, &format!("(ANALYZE, BUFFERS) {select}")).await;
    let hit = plan
        .split("shared hit=")
        .nth(1)
        .expect("a plan names the blocks it read");
    hit.split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap()
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

#[tokio::test]
async fn plans_are_pinned_and_nothing_of_it_outlives_the_transaction() {
    on_postgres(async |db| {
        db.execute_unprepared("ANALYZE bento_outbox").await.unwrap();
        let statement = "DELETE FROM bento_outbox WHERE shard = 0 AND position = ANY ('{1,2,3}')";
        let tx = pinned(&db).await;
        let plan = explained(&tx, statement).await;
        assert!(
            plan.contains("Index Scan") && !plan.contains("Seq Scan"),
            "{plan}"
        );
        tx.commit().await.unwrap();
        for setting in [
            "enable_seqscan",
            "enable_bitmapscan",
            "enable_hashjoin",
            "enable_mergejoin",
        ] {
            let value: String = one(&db, &format!("SHOW {setting}"))
                .await
                .try_get_by_index(0)
                .unwrap();
            assert_eq!(value, "on", "{setting} leaks");
        }
        let mode: String = one(&db, "SHOW plan_cache_mode")
            .await
            .try_get_by_index(0)
            .unwrap();
        assert_eq!(mode, "auto");
    })
    .await;
}

#[tokio::test]
async fn the_relay_commits_durably_and_reads_committed_whatever_the_database_says() {
    on_postgres(async |db| {
        db.execute_unprepared("SET synchronous_commit = off")
            .await
            .unwrap();
        db.execute_unprepared("SET default_transaction_isolation = 'serializable'")
            .await
            .unwrap();
        let tx = pinned(&db).await;
        for (setting, expected) in [
            ("synchronous_commit", "on"),
            ("transaction_isolation", "read committed"),
        ] {
            let value: String = one(&tx, &format!("SHOW {setting}"))
                .await
                .try_get_by_index(0)
                .unwrap();
            assert_eq!(value, expected, "{setting}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_costs_two_statements_on_postgres_and_three_elsewhere() {
    on_every_back_end(async |mut db| {
        let statements = counted(&mut db);
        let mut relay = Relay::new(&db).await;
        write(&db, 300).await.commit().await.unwrap();
        relay.call().await;
        relay.call().await;
        statements.store(0, Ordering::SeqCst);
        relay.call().await;
        let expected = if db.get_database_backend() == DbBackend::Postgres {
            2
        } else {
            3
        };
        assert_eq!(statements.load(Ordering::SeqCst), expected);
    })
    .await;
}

/// Counts what is sent to the database.
fn counted(db: &mut DatabaseConnection) -> Arc<AtomicUsize> {
    let statements = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&statements);
    db.set_metric_callback(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    statements
}

#[tokio::test]
async fn holding_back_many_streams_costs_no_statement_for_each() {
    on_every_back_end(async |mut db| {
        let statements = counted(&mut db);
        let relay = Relay::new(&db).await;
        let mut entries: Vec<_> = (0..200).map(|_| entry()).collect();
        entries
            .iter_mut()
            .enumerate()
            .for_each(|(nth, entry)| entry.envelope.aggregate_id = nth.to_string());
        let tx = db.begin().await.unwrap();
        OutboxWriter::new(Tables::default(), Expected::default())
            .write(&tx, entries)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let pending = relay.settle(Vec::new()).await.pending;
        let behind = |row: &OutboxRow| Settlement::Hold {
            position: row.position,
            route: "away".into(),
            ordered: true,
            why: Held::Behind,
        };
        let settled: Vec<_> = pending.iter().map(behind).collect();
        statements.store(0, Ordering::SeqCst);
        let held = relay.settle(settled).await.held;
        let count = statements.load(Ordering::SeqCst);
        assert_eq!(held.len(), 200, "each heads its stream");
        assert!(count <= 25, "{count} statements");
    })
    .await;
}

/// More streams than one statement asks about, so that they are asked about in several.
#[tokio::test]
async fn many_streams_are_held_back_and_let_go_together() {
    const STREAMS: usize = 120;
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        let tx = db.begin().await.unwrap();
        let entries = (0..2 * STREAMS).map(|nth| {
            let mut entry = entry();
            entry.envelope.aggregate_id = (nth % STREAMS).to_string();
            entry
        });
        OutboxWriter::new(Tables::default(), Expected::default())
            .write(&tx, entries.collect())
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let rows = relay.settle(Vec::new()).await.pending;
        let route: Arc<str> = "d".into();
        let hold = |row: &OutboxRow| {
            let (position, route) = (row.position, Arc::clone(&route));
            Settlement::Hold {
                position,
                route,
                ordered: true,
                why: Held::Behind,
            }
        };
        let held = relay.settle(rows.iter().map(hold).collect()).await.held;
        let streams: Vec<_> = held
            .iter()
            .map(|held| held.row.envelope.aggregate_id.clone())
            .collect();
        assert_eq!(held.len(), 2 * STREAMS);
        assert!(
            streams.chunks(2).all(|pair| pair[0] == pair[1]),
            "a head comes with its follower"
        );
        let published = |held: &HeldRow| {
            let (position, route) = (held.row.position, Arc::clone(&held.route));
            Settlement::HeldPublished { position, route }
        };
        let heads: Vec<_> = held.iter().step_by(2).map(published).collect();
        assert_eq!(relay.settle(heads).await.held.len(), STREAMS);
        let followers: Vec<_> = held.iter().skip(1).step_by(2).map(published).collect();
        assert_eq!(relay.settle(followers).await.held.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn writers_and_the_relay_never_wait_for_each_other_in_a_circle() {
    const WRITERS: usize = 4;
    const TRANSACTIONS: usize = 40;
    on_every_back_end(async |db| {
        let mut relay = Relay::new(&db).await;
        let writer = async || {
            for _ in 0..TRANSACTIONS {
                write(&db, 5).await.commit().await.unwrap();
            }
        };
        let relaying = async {
            while relay.seen.len() < WRITERS * TRANSACTIONS * 5 {
                relay.call().await;
            }
        };
        tokio::join!(
            relaying,
            futures_util::future::join_all((0..WRITERS).map(|_| writer()))
        );
        relay.seen.sort_unstable();
        relay.seen.dedup();
        assert_eq!(relay.seen.len(), WRITERS * TRANSACTIONS * 5);
    })
    .await;
}

/// A row may fall due between the statement that asks which are and the one that asks when the next
/// is.
#[tokio::test]
async fn a_held_row_is_never_missed_however_it_falls_due() {
    on_every_back_end(async |db| {
        let mut relay = Relay::new(&db).await;
        write(&db, 1).await.commit().await.unwrap();
        let position = relay.call().await.pending[0].position;
        let route: Arc<str> = "d".into();
        relay.settled = vec![Settlement::Hold {
            position,
            route: Arc::clone(&route),
            ordered: true,
            why: Held::Behind,
        }];
        for nth in 0..100 {
            let comes_back = async { while relay.call().await.held.is_empty() {} };
            tokio::time::timeout(Duration::from_secs(2), comes_back)
                .await
                .expect("it falls due and comes back");
            let retry_after = Duration::from_micros(2000 + nth * 37);
            let failure = Failure {
                attempts: 1,
                retry_after,
                error: String::new(),
                delivered: Vec::new(),
            };
            relay.settled = vec![Settlement::HeldFailed {
                position,
                route: Arc::clone(&route),
                failure,
            }];
            relay.revision = None;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_ever_can_be_stored() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write(&db, 1).await.commit().await.unwrap();
        let position = relay.settle(Vec::new()).await.pending[0].position;
        let failure = Failure {
            attempts: 1,
            retry_after: Duration::MAX,
            error: String::new(),
            delivered: Vec::new(),
        };
        let held = relay
            .settle(vec![Settlement::Hold {
                position,
                route: "d".into(),
                ordered: true,
                why: Held::Failed(failure),
            }])
            .await;
        assert_eq!((held.pending.len(), held.held.len()), (0, 0));
        assert!(held.next_due.unwrap() > Duration::from_secs(3600));
    })
    .await;
}

#[tokio::test]
async fn positions_that_begin_anew_are_read_anew() {
    on_postgres(async |db| {
        let mut relay = Relay::new(&db).await;
        write(&db, 50).await.commit().await.unwrap();
        let follows = async {
            while relay.floor() < 50 {
                relay.call().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), follows)
            .await
            .expect("the bound follows what is settled");
        db.execute_unprepared("TRUNCATE bento_outbox RESTART IDENTITY")
            .await
            .unwrap();
        // As many as there were, so that the last position tells nothing.
        write(&db, 60).await.commit().await.unwrap();
        assert_eq!(relay.store.poll(&[0], &[]).await.unwrap(), [0]);
        assert_eq!(relay.call().await.pending.len(), 60);
    })
    .await;
}
