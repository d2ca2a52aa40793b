//! An application with its outbox, and what became of its events.

use std::time::Duration;

use bento_core::Metadata;
use bento_relay::Wake;
use bento_relay::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters};
use bento_seaorm::{OutboxConnection, OutboxStore};
use bento_tests::{Account, Counted};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr};

use crate::support::{TestDatabase, in_database};

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(180);

pub struct Scene<'a> {
    database: &'a TestDatabase,
    pool: DatabaseConnection,
    pub outbox: OutboxConnection,
    pub wake: Wake,
}

/// Plays in a database of its own.
pub async fn play(test: impl AsyncFnOnce(&Scene<'_>)) {
    in_database(DbBackend::Sqlite, async |database| {
        let wake = Wake::new();
        let outbox = OutboxConnection::builder(database.connect(2).await)
            .wake(&wake)
            .build();
        let pool = database.connect(5).await;
        test(&Scene {
            database,
            pool,
            outbox,
            wake,
        })
        .await;
    })
    .await;
}

impl Scene<'_> {
    pub fn store(&self) -> OutboxStore {
        OutboxStore::new(self.pool.clone())
    }

    /// Commits an event of an account, with metadata of its own.
    pub async fn commit(
        &self,
        account: i64,
        token: &str,
        adjust: impl FnOnce(Metadata) -> Metadata,
    ) {
        let raise = self.outbox.transaction_async(async |_| {
            Account::new(account).raise_with(
                Counted {
                    token: token.to_owned(),
                },
                adjust,
            );
            Ok::<_, DbErr>(())
        });
        raise.await.unwrap();
    }

    /// Gives the last event headers that a flush refuses, as an older release may have written
    /// them.
    pub async fn spoil_headers(&self, headers: &str) {
        let last = "(SELECT max(position) FROM bento_outbox)";
        let sql = format!(
            "UPDATE bento_outbox SET headers = CAST('{headers}' AS BLOB) WHERE position = {last}"
        );
        self.pool.execute_unprepared(&sql).await.unwrap();
    }

    /// Waits until this number of rows are pending, held and dead.
    pub async fn counted(&self, expected: [i64; 3]) {
        let reached = async {
            while self.counts().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, reached).await.is_err() {
            panic!(
                "{:?} rows are pending, held and dead, and not {expected:?}",
                self.counts().await
            );
        }
    }

    pub async fn counts(&self) -> [i64; 3] {
        let mut counts = [0; 3];
        for (count, status) in counts.iter_mut().zip(["pending", "held", "dead"]) {
            let sql = format!("SELECT count(*) FROM bento_outbox_status WHERE status = '{status}'");
            *count = self.database.number(&sql).await;
        }
        counts
    }

    /// The dead letters, by account.
    pub async fn dead(&self) -> Vec<DeadLetter> {
        let mut dead = self
            .store()
            .list(&DeadLetterQuery::default())
            .await
            .unwrap();
        dead.sort_by(|left, right| left.envelope.aggregate_id.cmp(&right.envelope.aggregate_id));
        dead
    }

    pub async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let reached = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, reached)
            .await
            .unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }
}
