//! A relay that runs while the tables are cleared, or dropped and migrated again.

use std::time::Duration;

use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_relay::held::{HeldEvents, HeldFilter};
use bento_relay::inspect::Inspect;
use bento_relay::publish::{MemoryPublisher, PublishError};
use bento_relay::store::{Heartbeat, NewDeadLetter, RelayId, RelayStore, StoreError};
use bento_relay::{Relay, RelayHandle};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use tokio::time::{sleep, timeout};

use super::unreadable::write_of;
use crate::relay_store::OutboxStore;
use crate::tables::Tables;
use crate::test_database::on_every_back_end;
use crate::{dialect, migrate};

/// The longest wait for something that should happen.
const SOON: Duration = Duration::from_secs(30);

struct Running {
    db: DatabaseConnection,
    broker: MemoryPublisher,
    relay: RelayHandle,
    expected: usize,
}

impl Running {
    fn start(db: &DatabaseConnection) -> Self {
        let broker = MemoryPublisher::new();
        let store = OutboxStore::new(db.clone());
        let relay = Relay::builder(store, broker.clone())
            .lease(Duration::from_millis(300))
            .start()
            .unwrap();
        Self {
            db: db.clone(),
            broker,
            relay,
            expected: 0,
        }
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let health = || self.relay.health();
        timeout(SOON, waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", health()));
    }

    async fn publishes(&mut self, after: &str) {
        self.expected += 1;
        super::write(&self.db, 1).await.commit().await.unwrap();
        self.until(after, |running| {
            running.broker.published().len() >= running.expected
        })
        .await;
        self.until(after, |running| {
            running.relay.health().ready && running.relay.health().degraded.is_empty()
        })
        .await;
    }

    async fn held_and_dead(&self) -> (u64, u64) {
        let counts = OutboxStore::new(self.db.clone()).counts().await.unwrap();
        (counts.held, counts.dead)
    }

    async fn execute(&self, statements: impl IntoIterator<Item = String>) {
        for statement in statements {
            self.db.execute_unprepared(&statement).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_goes_on_after_its_tables_were_cleared() {
    on_every_back_end(async |db| {
        let mut running = Running::start(&db);
        running.publishes("at first").await;
        let tables = Tables::default();
        for table in [tables.shard(), tables.meta(), tables.relay()] {
            running.execute([format!("DELETE FROM {table}")]).await;
            running.publishes(table).await;
        }
        let delete = tables
            .all()
            .into_iter()
            .map(|table| format!("DELETE FROM {table}"));
        running.execute(delete).await;
        running.publishes("everything was deleted").await;
        let truncate = |table: &str| match db.get_database_backend() {
            DbBackend::Postgres => format!("TRUNCATE {table} RESTART IDENTITY"),
            DbBackend::MySql => format!("TRUNCATE TABLE {table}"),
            _ => format!("DELETE FROM {table}"),
        };
        running
            .execute(tables.all().into_iter().map(truncate))
            .await;
        running.publishes("everything was truncated").await;
        running.relay.stop().await.unwrap();
    })
    .await;
}

/// Empties the outbox, and lets its positions begin anew.
fn truncate(backend: DbBackend) -> Vec<String> {
    let statements: &[&str] = match backend {
        DbBackend::Postgres => &["TRUNCATE bento_outbox RESTART IDENTITY"],
        DbBackend::MySql => &["TRUNCATE TABLE bento_outbox"],
        _ => &[
            "DELETE FROM bento_outbox",
            "DELETE FROM sqlite_sequence WHERE name = 'bento_outbox'",
        ],
    };
    statements
        .iter()
        .map(|statement| (*statement).to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_relay_sees_events_whose_positions_went_back() {
    on_every_back_end(async |db| {
        let mut running = Running::start(&db);
        for _ in 0..10 {
            running.publishes("at first").await;
        }
        let take_back = match db.get_database_backend() {
            DbBackend::Postgres => "SELECT setval('bento_outbox_position', 1, false)",
            DbBackend::MySql => "ALTER TABLE bento_outbox AUTO_INCREMENT = 1",
            _ => "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'bento_outbox'",
        };
        for _ in 0..3 {
            running.execute([take_back.to_owned()]).await;
            for _ in 0..3 {
                running.publishes("the positions were taken back").await;
            }
        }
        running.relay.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_handed_out_twice_costs_at_most_the_second_event() {
    on_every_back_end(async |db| {
        let running = Running::start(&db);
        running.broker.fail(|delivery| {
            let is_refused = ["a", "b"].contains(&&*delivery.envelope.aggregate_id);
            is_refused.then(|| PublishError::throttled("less", Duration::from_secs(600)))
        });
        let counts = async |held, dead| {
            let reached = async {
                while running.held_and_dead().await != (held, dead) {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(SOON, reached).await.unwrap_or_else(|_| {
                panic!("{held} held, {dead} dead: {:?}", running.relay.health())
            });
        };
        write_of(&db, &["a"]).await;
        counts(1, 0).await;
        running.execute(truncate(db.get_database_backend())).await;
        // Written in the shard and at the position of the one that is held.
        write_of(&db, &["b"]).await;
        counts(1, 1).await;
        let store = OutboxStore::new(db.clone());
        let letter = store
            .list(&DeadLetterQuery::default())
            .await
            .unwrap()
            .remove(0);
        assert_eq!(
            (&*letter.envelope.aggregate_id, &*letter.cause),
            ("b", NewDeadLetter::UNSETTLED)
        );
        write_of(&db, &["c"]).await;
        running
            .until("the shard goes on", |running| {
                running.broker.published().len() == 1
            })
            .await;
        running.broker.recover();
        assert_eq!(store.retry_now(&HeldFilter::default()).await.unwrap(), 1);
        running
            .until("what was held arrives", |running| {
                running.broker.published().len() == 2
            })
            .await;
        running
            .until("nothing fails", |running| {
                running.relay.health().degraded.is_empty()
            })
            .await;
        running.relay.stop().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_names_a_dropped_table_and_goes_on_when_it_is_back() {
    on_every_back_end(async |db| {
        let mut running = Running::start(&db);
        running.publishes("at first").await;
        let dialect = dialect::of(db.get_database_backend()).unwrap();
        running
            .execute(dialect.drop_schema(&Tables::default()))
            .await;
        let names_a_table = |running: &Running| {
            let health = running.relay.health();
            !health.ready
                && health
                    .degraded
                    .iter()
                    .any(|reason| reason.to_string().contains("table `bento_"))
        };
        running
            .until("it says what is missing", names_a_table)
            .await;
        migrate(&db).await.unwrap();
        running.publishes("they are back").await;
        running
            .execute(dialect.drop_schema(&Tables::default()))
            .await;
        migrate(&db).await.unwrap();
        running.publishes("they were gone for a moment").await;
        running.relay.stop().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_row_that_is_made_again_has_an_epoch_that_it_never_had() {
    on_every_back_end(async |db| {
        let store = OutboxStore::new(db.clone());
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
        let before = store.heartbeat(beat.clone()).await.unwrap().leases;
        db.execute_unprepared("DELETE FROM bento_relay_shard")
            .await
            .unwrap();
        // Another process that opens the outbox makes the rows as well.
        OutboxStore::new(db.clone()).open().await.unwrap();
        let after = store.heartbeat(beat.clone()).await.unwrap().leases;
        assert_eq!(after.len(), before.len());
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| before.epoch < after.epoch),
            "{before:?} {after:?}"
        );
        db.execute_unprepared("UPDATE bento_outbox_meta SET shards = 8")
            .await
            .unwrap();
        let refused = store.heartbeat(beat).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::Mismatch { .. }),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn relays_and_operators_refuse_an_outbox_of_another_application() {
    use bento_relay::tenant::Pauses;
    on_every_back_end(async |db| {
        let shop = OutboxStore::new(db.clone()).with_application("shop");
        shop.open().await.unwrap();
        shop.pause("acme", "it asked for it", None).await.unwrap();
        let billing = OutboxStore::new(db.clone()).with_application("billing");
        let beat = Heartbeat {
            relay: RelayId::new(),
            ttl: Duration::from_secs(600),
            lanes: None,
            claim: true,
            publishes: true,
            handlers: Vec::new(),
            idle: Vec::new(),
        };
        let refusals = [
            billing.open().await.map(drop),
            billing.heartbeat(beat).await.map(drop),
            billing.list(&DeadLetterQuery::default()).await.map(drop),
            billing.resume("acme").await.map(drop),
        ];
        for refused in refusals {
            let refused = refused.unwrap_err();
            assert!(
                matches!(&refused, StoreError::OtherApplication { recorded, configured }
                    if recorded == "shop" && configured == "billing"),
                "{refused:?}"
            );
        }
        OutboxStore::new(db.clone()).open().await.unwrap();
        let other = crate::tables::TablePrefix::new("billing_").unwrap();
        crate::migrate_with(&db, other.clone()).await.unwrap();
        billing.with_table_prefix(other).open().await.unwrap();
    })
    .await;
}
