//! Readers that many outboxes use and that are wrong. They must fail, or the history is too tame.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement, TransactionTrait};
use tokio::task::JoinHandle;

use crate::verdict::{Truth, out_of_order};
use crate::writers::Writing;

/// The wrong readers at work.
pub struct WrongReaders {
    database: DatabaseConnection,
    cursor: JoinHandle<HashSet<i64>>,
    skip_locked: Vec<JoinHandle<()>>,
    claimed: Arc<Mutex<Vec<String>>>,
}

/// The failures of the wrong readers.
pub struct WrongReadersFailed {
    cursor_lost: usize,
    skip_locked_reordered: usize,
}

impl WrongReaders {
    pub fn start(database: DatabaseConnection, writing: Arc<Writing>) -> Self {
        let cursor = tokio::spawn(read_by_cursor(database.clone(), Arc::clone(&writing)));
        let claimed = Arc::<Mutex<Vec<String>>>::default();
        let worker = |_| {
            tokio::spawn(claim_with_skip_locked(
                database.clone(),
                Arc::clone(&writing),
                Arc::clone(&claimed),
            ))
        };
        let skip_locked = (0..3).map(worker).collect();
        Self {
            database,
            cursor,
            skip_locked,
            claimed,
        }
    }

    pub async fn finish(self) -> WrongReadersFailed {
        let seen = self.cursor.await.expect("the cursor ends");
        for worker in self.skip_locked {
            worker.await.expect("the worker ends");
        }
        let all = positions(&self.database, "SELECT position FROM cursor_copy").await;
        let cursor_lost = all
            .iter()
            .filter(|position| !seen.contains(position))
            .count();
        let truth = Truth::read(&self.database).await;
        let claimed = self.claimed.lock().expect("nobody panicked").clone();
        WrongReadersFailed {
            cursor_lost,
            skip_locked_reordered: out_of_order(&truth, claimed.iter()),
        }
    }
}

impl WrongReadersFailed {
    pub fn assert_they_fail(&self) {
        assert!(
            self.cursor_lost > 0,
            "`position > last` lost nothing: the history is too tame"
        );
        assert!(
            self.skip_locked_reordered > 0,
            "SKIP LOCKED kept the order: the history is too tame"
        );
    }
}

impl fmt::Display for WrongReadersFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "wrong reader `position > last`:            {} lost",
            self.cursor_lost
        )?;
        write!(
            f,
            "wrong reader SKIP LOCKED, three workers:   {} out of order",
            self.skip_locked_reordered
        )
    }
}

/// Reads what lies behind the last position it saw.
async fn read_by_cursor(database: DatabaseConnection, writing: Arc<Writing>) -> HashSet<i64> {
    let mut seen = HashSet::new();
    let mut last = 0;
    loop {
        let done = writing.is_done();
        let sql =
            format!("SELECT position FROM cursor_copy WHERE position > {last} ORDER BY position");
        let new = positions(&database, &sql).await;
        if let Some(newest) = new.last() {
            last = *newest;
        } else if done {
            return seen;
        }
        seen.extend(new);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Three of these claim batches of one queue.
async fn claim_with_skip_locked(
    database: DatabaseConnection,
    writing: Arc<Writing>,
    claimed: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let done = writing.is_done();
        match claim(&database, &claimed).await {
            Ok(0) if done => return,
            Ok(0) => tokio::time::sleep(Duration::from_millis(2)).await,
            Ok(_) => {}
            Err(error) => assert!(
                error.to_string().to_lowercase().contains("deadlock"),
                "a claim failed: {error}"
            ),
        }
    }
}

async fn claim(
    database: &DatabaseConnection,
    claimed: &Mutex<Vec<String>>,
) -> Result<usize, DbErr> {
    let tx = database.begin().await?;
    let sql = "SELECT position, payload FROM queue_copy ORDER BY position LIMIT 10 FOR UPDATE \
               SKIP LOCKED";
    let rows = tx
        .query_all_raw(Statement::from_string(database.get_database_backend(), sql))
        .await?;
    let mut batch = HashMap::new();
    for row in &rows {
        let payload: Vec<u8> = row.try_get_by_index(1)?;
        let payload: serde_json::Value =
            serde_json::from_slice(&payload).expect("the payload is JSON");
        let position: i64 = row.try_get_by_index(0)?;
        batch.insert(
            position,
            payload["token"].as_str().unwrap_or_default().to_owned(),
        );
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..300))).await;
        claimed
            .lock()
            .expect("nobody panicked")
            .push(batch[&position].clone());
    }
    if !batch.is_empty() {
        let list = batch
            .keys()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(",");
        tx.execute_unprepared(&format!(
            "DELETE FROM queue_copy WHERE position IN ({list})"
        ))
        .await?;
    }
    tx.commit().await?;
    Ok(batch.len())
}

async fn positions(database: &DatabaseConnection, sql: &str) -> Vec<i64> {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let rows = database
        .query_all_raw(statement)
        .await
        .expect("the copy can be read");
    rows.iter()
        .map(|row| row.try_get_by_index(0).expect("a position"))
        .collect()
}
