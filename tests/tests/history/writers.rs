//! Eight writers that do what services do to an outbox, badly timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bento_seaorm::{OutboxConnection, OutboxTransaction};
use bento_tests::{Account, Counted, CountedEarly, EarlyAccount};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::schema::ACCOUNTS;

const WRITERS: usize = 8;

/// The work of the writers, and their progress.
pub struct Writing {
    outbox: OutboxConnection,
    /// The number of events to be committed.
    target: i64,
    committed: watch::Sender<i64>,
    /// Events of transactions and savepoints that were rolled back.
    rolled_back: AtomicI64,
    tokens: AtomicU64,
}

impl Writing {
    pub fn new(database: DatabaseConnection, target: i64) -> Self {
        let committed = watch::Sender::new(0);
        let outbox = OutboxConnection::new(database);
        Self {
            outbox,
            target,
            committed,
            rolled_back: AtomicI64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    /// Starts the writers.
    pub fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let writing = Arc::clone(self);
            writers.spawn(async move { writing.write_until_done().await });
        }
        writers
    }

    /// Waits until this number of events are committed.
    pub async fn reached(&self, events: i64) {
        let mut committed = self.committed.subscribe();
        committed
            .wait_for(|count| *count >= events)
            .await
            .expect("the sender lives as long as this");
    }

    /// True when all events are committed.
    pub fn is_done(&self) -> bool {
        *self.committed.borrow() >= self.target
    }

    /// The number of events that were raised in transactions and savepoints that were rolled back.
    pub fn rolled_back(&self) -> i64 {
        self.rolled_back.load(Ordering::Relaxed)
    }

    async fn write_until_done(&self) {
        while !self.is_done() {
            let events = if fastrand::u8(..6) == 0 {
                self.early_flush().await
            } else {
                self.business().await
            };
            match events {
                Ok(events) => self.committed.send_modify(|count| *count += events),
                Err(error) if is_deadlock(&error) => {}
                Err(error) => panic!("a writer failed: {error}"),
            }
        }
    }

    /// Locks accounts, counts up, raises: the way it is meant. One in ten is rolled back.
    async fn business(&self) -> Result<i64, DbErr> {
        let tx = self.outbox.begin().await?;
        pause().await;
        let mut accounts: Vec<i64> = (0..=fastrand::usize(..2))
            .map(|_| 1 + fastrand::i64(0..ACCOUNTS))
            .collect();
        accounts.sort_unstable();
        accounts.dedup();
        let mut events = 0;
        for account in accounts {
            events += tx.scope(self.count_up(&tx, account)).await?;
            if fastrand::u8(..4) == 0 {
                events += self.nested(&tx, account).await?;
            }
        }
        pause().await;
        self.end(tx, events).await
    }

    /// Counts up in a savepoint, half of which are rolled back.
    async fn nested(&self, tx: &OutboxTransaction, account: i64) -> Result<i64, DbErr> {
        let savepoint = tx.begin().await?;
        let events = savepoint.scope(self.count_up(&savepoint, account)).await?;
        if fastrand::bool() {
            savepoint.commit().await.map_err(DbErr::from)?;
            Ok(events)
        } else {
            self.rolled_back.fetch_add(events, Ordering::Relaxed);
            savepoint.rollback().await.map_err(DbErr::from)?;
            Ok(0)
        }
    }

    async fn count_up(&self, tx: &OutboxTransaction, account: i64) -> Result<i64, DbErr> {
        let version = lock(tx, "account", account).await?;
        let count = 1 + fastrand::i64(0..5);
        let mut aggregate = Account::new(account);
        let mut truth = Vec::new();
        for step in 1..=count {
            let token = self.token();
            aggregate.raise(Counted {
                token: token.clone(),
            });
            truth.push((token, account, version + step));
        }
        advance(tx, "account", account, version + count, &truth).await?;
        Ok(count)
    }

    /// The mistake: the position is taken before the account's row is locked.
    async fn early_flush(&self) -> Result<i64, DbErr> {
        let account = 1 + fastrand::i64(0..2);
        let token = self.token();
        let tx = self.outbox.begin().await?;
        let mut aggregate = EarlyAccount::new(account);
        tx.scope(async {
            aggregate.raise(CountedEarly {
                token: token.clone(),
            })
        })
        .await;
        tx.flush().await.map_err(DbErr::from)?;
        pause().await;
        let version = lock(&tx, "early_account", account).await? + 1;
        advance(
            &tx,
            "early_account",
            account,
            version,
            &[(token, account, version)],
        )
        .await?;
        self.end(tx, 1).await
    }

    async fn end(&self, tx: OutboxTransaction, events: i64) -> Result<i64, DbErr> {
        if fastrand::u8(..10) == 0 {
            self.rolled_back.fetch_add(events, Ordering::Relaxed);
            tx.rollback().await.map_err(DbErr::from)?;
            return Ok(0);
        }
        tx.commit().await.map_err(DbErr::from)?;
        Ok(events)
    }

    fn token(&self) -> String {
        format!(
            "{}-{}",
            self.tokens.fetch_add(1, Ordering::Relaxed),
            Uuid::new_v4().as_fields().0
        )
    }
}

/// Locks the row and reads the version.
async fn lock(tx: &OutboxTransaction, table: &str, account: i64) -> Result<i64, DbErr> {
    let sql = format!("SELECT version FROM {table} WHERE id = {account} FOR UPDATE");
    let row = tx
        .query_one_raw(Statement::from_string(
            ConnectionTrait::get_database_backend(tx),
            sql,
        ))
        .await?;
    row.expect("the account is there").try_get_by_index(0)
}

/// Writes the version and the ground truth of its events.
async fn advance(
    tx: &OutboxTransaction,
    table: &str,
    account: i64,
    version: i64,
    truth: &[(String, i64, i64)],
) -> Result<(), DbErr> {
    tx.execute_unprepared(&format!(
        "UPDATE {table} SET version = {version} WHERE id = {account}"
    ))
    .await?;
    let rows = truth
        .iter()
        .map(|(token, account, version)| format!("('{token}', {account}, {version})"));
    let rows = rows.collect::<Vec<_>>().join(",");
    tx.execute_unprepared(&format!(
        "INSERT INTO truth (token, account, version) VALUES {rows}"
    ))
    .await?;
    Ok(())
}

/// Mostly short, sometimes long enough for later transactions to commit first.
async fn pause() {
    let micros = if fastrand::u8(..20) == 0 {
        fastrand::u64(..40_000)
    } else {
        fastrand::u64(..2_000)
    };
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

fn is_deadlock(error: &DbErr) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("deadlock") || text.contains("lock wait timeout")
}
