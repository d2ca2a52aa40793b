//! The one database transaction beneath all frames of a unit of work.
//!
//! Savepoints are named here and commanded by name. SeaORM's nested transactions count depths instead: one dropped out of
//! order, or whose `SAVEPOINT` failed, rolls back what another frame owns, and one dropped beside a running statement panics.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_core::outbox::{ShardId, Sharding};
use bento_core::telemetry;
use bento_core::unit_of_work::{FrameError, FrameId, Opener, UnitOfWork};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};

use crate::connection::Settings;
use crate::dialect::{self, Look};
use crate::error::Error;

/// A savepoint of ours, by the number in its name. A later one has a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Savepoint(u64);

impl fmt::Display for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bento_savepoint_{}", self.0)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Physical {
    unit_of_work: UnitOfWork,
    settings: Arc<Settings>,
    /// Held around savepoint commands and flushes, so that frames and savepoints are stacked alike.
    turn: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
    database: DatabaseTransaction,
}

#[derive(Debug, Default)]
struct Health {
    /// How many savepoints were opened.
    savepoints: u64,
    /// Savepoints to roll back to before anything else happens.
    abandoned: Vec<Savepoint>,
    /// Shards that have new rows.
    shards: Vec<ShardId>,
    /// How the outbox is divided, once something was written.
    sharding: Option<Sharding>,
    /// Whether any statement failed.
    failed: bool,
    /// Whether a failure since the last look may have ended the transaction.
    uncertain: bool,
    /// What ended the transaction.
    ended_by: Option<DbErr>,
}

impl Physical {
    pub(super) fn new(database: DatabaseTransaction, unit_of_work: UnitOfWork, settings: Arc<Settings>) -> Self {
        Self { unit_of_work, settings, turn: tokio::sync::Mutex::new(()), health: Mutex::default(), database }
    }

    pub(super) fn unit_of_work(&self) -> &UnitOfWork {
        &self.unit_of_work
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(super) fn database(&self) -> &DatabaseTransaction {
        &self.database
    }

    pub(super) fn into_database(self) -> DatabaseTransaction {
        self.database
    }

    /// What was written: how the outbox is divided, and which shards have new rows.
    pub(super) fn written(&self) -> Option<(Sharding, Vec<ShardId>)> {
        let health = self.health();
        health.sharding.map(|sharding| (sharding, health.shards.clone()))
    }

    /// Waits until `frame` may run a statement: what was abandoned before it is rolled back first.
    pub(super) async fn ready(&self, frame: FrameId) -> Result<(), Error> {
        if self.health().is_quiet() {
            return self.check_open(frame);
        }
        let _turn = self.turn.lock().await;
        self.settle(frame).await
    }

    /// Runs a statement and notes whether it failed or was cancelled.
    pub(super) async fn watch<T>(&self, statement: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
        let mut unanswered = Unanswered { physical: self, is_answered: false };
        let result = statement.await;
        unanswered.is_answered = true;
        result.map_err(|error| self.failure(error))
    }

    /// Notes a failed statement, and names it.
    fn failure(&self, error: DbErr) -> Error {
        self.note_failure(Some(&error));
        Error::Database(error)
    }

    /// Notes that a statement failed, or was cancelled.
    pub(super) fn note_failure(&self, error: Option<&DbErr>) {
        self.unit_of_work.statement_failed();
        self.note_outcome(error);
    }

    /// Notes what a failure may have done to the transaction.
    fn note_outcome(&self, error: Option<&DbErr>) {
        let mut health = self.health();
        health.failed = true;
        health.uncertain = true;
        if let Some(error) = error.filter(|error| dialect::is_rolled_back(self.backend(), error)) {
            health.ended_by.get_or_insert_with(|| error.clone());
        }
    }

    /// Opens a savepoint and its frame on top.
    pub(super) async fn open_savepoint(&self, parent: FrameId, opener: Opener) -> Result<(FrameId, Savepoint), Error> {
        let _turn = self.turn.lock().await;
        self.settle(parent).await?;
        let savepoint = self.health().next_savepoint();
        self.watch(self.database.execute_unprepared(&format!("SAVEPOINT {savepoint}"))).await?;
        let frame = self.unit_of_work.push_frame(parent, opener)?;
        Ok((frame, savepoint))
    }

    /// Releases a savepoint and merges its frame into the one below.
    pub(super) async fn release(&self, frame: FrameId, savepoint: Savepoint) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        self.unit_of_work.check_mergeable(frame)?;
        self.watch(self.database.execute_unprepared(&format!("RELEASE SAVEPOINT {savepoint}"))).await?;
        Ok(self.unit_of_work.merge(frame)?)
    }

    /// Rolls back to the savepoints that were abandoned.
    pub(super) async fn roll_back_abandoned(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.undo().await
    }

    /// Discards a frame, unless it has ended. Its savepoint is rolled back before the next statement.
    pub(super) fn abandon(&self, frame: FrameId, savepoint: Option<Savepoint>) {
        let mut health = self.health();
        if self.unit_of_work.discard(frame)
            && let Some(savepoint) = savepoint
        {
            // Rolling back to a savepoint ends those that were opened after it.
            health.abandoned.retain(|later| *later < savepoint);
            health.abandoned.push(savepoint);
        }
    }

    /// Writes the unflushed events of all frames.
    pub(super) async fn flush(&self, frame: FrameId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        self.write_unflushed(frame).await
    }

    /// Flushes and closes the unit of work for its commit.
    pub(super) async fn prepare_commit(&self, frame: FrameId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        self.unit_of_work.check_mergeable(frame)?;
        let failed = self.health().failed;
        if failed {
            self.look_before_commit().await?;
        }
        while !self.unit_of_work.seal(frame)? {
            self.write_unflushed(frame).await?;
        }
        Ok(())
    }

    async fn write_unflushed(&self, frame: FrameId) -> Result<(), Error> {
        self.unit_of_work.check_flushable(frame)?;
        if !self.unit_of_work.has_unflushed() {
            return Ok(());
        }
        self.write(frame).await.inspect_err(|error| self.note_outcome(error.database_source()))
    }

    async fn write(&self, frame: FrameId) -> Result<(), Error> {
        let writer = &self.settings.writer;
        let sharding = writer.sharding(&self.database).await?;
        let mut flush = self.unit_of_work.flush(frame, &sharding)?;
        let entries = std::mem::take(&mut flush.entries);
        let shards: Vec<ShardId> = entries.iter().map(|entry| entry.shard).collect();
        let written = writer.write(&self.database, entries).await?;
        flush.done();
        telemetry::count(telemetry::DUPLICATE_EVENTS, written.duplicates);
        let mut health = self.health();
        health.sharding = Some(sharding);
        health.add_shards(shards);
        Ok(())
    }

    /// Brings the connection to where `frame` expects it.
    async fn settle(&self, frame: FrameId) -> Result<(), Error> {
        self.undo().await?;
        self.look_after_failure().await?;
        self.check_open(frame)
    }

    async fn undo(&self) -> Result<(), Error> {
        loop {
            // It stays in the list until the answer is there: if this future is dropped, the next one repeats it.
            let Some(savepoint) = self.health().abandoned.last().copied() else { return Ok(()) };
            let rolled_back = self.database.execute_unprepared(&format!("ROLLBACK TO SAVEPOINT {savepoint}")).await;
            let mut health = self.health();
            if let Err(error) = rolled_back {
                health.ended_by.get_or_insert_with(|| error.clone());
                health.abandoned.clear();
                return Err(Error::Aborted { source: error });
            }
            health.abandoned.retain(|other| *other != savepoint);
        }
    }

    async fn look_after_failure(&self) -> Result<(), Error> {
        if !self.health().uncertain {
            return Ok(());
        }
        let ended_by = match dialect::of(self.backend())?.look() {
            Look::BeforeNext(sql) => self.database.execute_unprepared(sql).await.is_ok().then(rolled_back_silently),
            Look::BeforeCommit(_) | Look::Needless => None,
        };
        let mut health = self.health();
        health.uncertain = false;
        health.ended_by = health.ended_by.take().or(ended_by);
        Ok(())
    }

    async fn look_before_commit(&self) -> Result<(), Error> {
        if let Look::BeforeCommit(sql) = dialect::of(self.backend())?.look() {
            let looked = self.database.execute_unprepared(sql).await;
            looked.map_err(|error| Error::from_statement(self.backend(), error))?;
        }
        Ok(())
    }

    fn backend(&self) -> DbBackend {
        self.database.get_database_backend()
    }

    fn check_open(&self, frame: FrameId) -> Result<(), Error> {
        if let Some(error) = &self.health().ended_by {
            return Err(Error::Aborted { source: error.clone() });
        }
        if self.unit_of_work.contains(frame) { Ok(()) } else { Err(FrameError::Ended.into()) }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn is_quiet(&self) -> bool {
        self.abandoned.is_empty() && !self.uncertain
    }

    fn next_savepoint(&mut self) -> Savepoint {
        self.savepoints += 1;
        Savepoint(self.savepoints)
    }

    fn add_shards(&mut self, shards: Vec<ShardId>) {
        self.shards.extend(shards);
        self.shards.sort_unstable();
        self.shards.dedup();
    }
}

fn rolled_back_silently() -> DbErr {
    DbErr::Custom("the database rolled the transaction back when a statement failed".to_owned())
}

/// A statement whose answer has not come: dropped like this, nobody knows what it did.
struct Unanswered<'a> {
    physical: &'a Physical,
    is_answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.physical.note_failure(None);
        }
    }
}
