//! The one database transaction beneath all frames of a unit of work.
//!
//! Savepoints are named here and commanded by name. SeaORM's nested transactions count depths
//! instead: one dropped out of order, or whose `SAVEPOINT` failed, rolls back what another frame
//! owns, and one dropped beside a running statement panics.
//!
//! Decision: docs/decisions/0009-savepoints-are-named-here.md

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use bento_core::EventId;
use bento_core::outbox::{OutboxEntry, ShardId};
use bento_core::saving::Saving;
use bento_core::telemetry;
use bento_core::unit_of_work::{Flush, FrameError, FrameId, Opener, UnitOfWork};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};
use tokio::time::timeout;

use super::background::Background;
use super::health::{Contention, Doubt, Health, Savepoint, lock};
use crate::backend::{self, Look};
use crate::error::Error;
use crate::outbox::Known;
use crate::session::{ROLLBACK_LIMIT, Session, to_the_end};
use crate::settings::Settings;
use crate::stream::Head;

/// See the module.
#[derive(Debug)]
pub(super) struct Physical {
    unit_of_work: UnitOfWork,
    settings: Arc<Settings>,
    /// Held around savepoint commands and flushes, so that frames and savepoints are stacked alike.
    turn: tokio::sync::Mutex<()>,
    health: Arc<Mutex<Health>>,
    background: Background,
    session: Session,
}

impl Physical {
    pub(super) fn new(
        database: DatabaseTransaction,
        unit_of_work: UnitOfWork,
        settings: Arc<Settings>,
    ) -> Self {
        let (turn, session) = (tokio::sync::Mutex::new(()), Session::new(database));
        Self {
            unit_of_work,
            settings,
            turn,
            health: Arc::default(),
            background: Background::new(),
            session,
        }
    }

    pub(super) fn unit_of_work(&self) -> &UnitOfWork {
        &self.unit_of_work
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The transaction itself, once no statement runs on it; `None` if another owner has it.
    pub(super) async fn into_database(self) -> Option<DatabaseTransaction> {
        self.background.finished().await;
        self.session.into_transaction()
    }

    /// Rolls the whole transaction back, once no statement runs on it. A statement that runs for
    /// too long is dropped, and the connection closed.
    pub(super) async fn roll_back(self) -> Result<(), DbErr> {
        let Self {
            background,
            session,
            ..
        } = self;
        to_the_end(async move {
            if timeout(ROLLBACK_LIMIT, background.finished())
                .await
                .is_err()
            {
                session.give_up();
                background.give_up();
            }
            session.roll_back().await
        })
        .await
    }

    /// The result of a write: the record of the outbox that the writer has read, and the shards
    /// that have new rows.
    pub(super) fn written(&self) -> Option<(Known, Vec<ShardId>)> {
        self.health().written()
    }

    /// Waits until `frame` may run a statement: savepoints that were abandoned before are rolled
    /// back first.
    pub(super) async fn ready(&self, frame: FrameId) -> Result<(), Error> {
        if self.health().is_quiet() {
            return self.check_open(frame);
        }
        let _turn = self.turn.lock().await;
        self.settle(frame).await
    }

    /// Runs a statement, and notes a failure or a cancellation.
    pub(super) async fn watch<T: Send + 'static>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut doubt = Doubt::about(&self.unit_of_work);
        let result = self.complete(async { Ok(statement.await?) }).await;
        doubt.is_dispelled = result.is_ok();
        result
    }

    /// Runs a statement to its end. If this future is dropped before, the rest is done in the
    /// background.
    async fn complete<T: Send + 'static>(
        &self,
        statement: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut running = Running {
            physical: self,
            statement: Some(Box::pin(statement)),
        };
        let result = running.statement.as_mut().expect("it is taken below").await;
        running.statement = None;
        result.inspect_err(|error| self.note_outcome(error.database_source()))
    }

    /// Runs a statement of Bento's own: a failure leaves no doubt about the events.
    pub(super) async fn run_own<T: Send + 'static>(
        &self,
        frame: FrameId,
        statement: impl Future<Output = Result<T, DbErr>> + Send + 'static,
    ) -> Result<T, Error> {
        self.ready(frame).await?;
        let backend = self.backend();
        self.complete(async move {
            let result = statement.await;
            result.map_err(|error| Error::from_statement(backend, error))
        })
        .await
    }

    /// Notes that a statement failed.
    pub(super) fn note_failure(&self, error: &DbErr) {
        self.unit_of_work.statement_failed();
        self.note_outcome(Some(error));
    }

    /// Notes that the answer to a statement is not read to its end.
    pub(super) fn leave_unanswered(&self) {
        if backend::of(self.backend()).is_ok_and(|backend| backend.counts_answers()) {
            self.session.give_up();
            self.health().end(left_unanswered());
        }
    }

    /// Notes that a save met another version of its aggregate.
    pub(super) fn note_conflict(&self) {
        self.health().conflicted = true;
    }

    /// Returns a handle that tells if another transaction was in the way, also when this one is
    /// over.
    pub(super) fn contention(&self) -> Contention {
        Contention::of(&self.health)
    }

    /// Notes what a failure may have done to the transaction.
    fn note_outcome(&self, error: Option<&DbErr>) {
        note(&self.health, &self.session, error);
    }

    /// Opens a savepoint and its frame on top.
    pub(super) async fn open_savepoint(
        &self,
        parent: FrameId,
        opener: Opener,
    ) -> Result<(FrameId, Savepoint), Error> {
        let _turn = self.turn.lock().await;
        self.settle(parent).await?;
        let savepoint = self.health().next_savepoint();
        self.command(format!("SAVEPOINT {savepoint}")).await?;
        let frame = self.unit_of_work.push_frame(parent, opener)?;
        Ok((frame, savepoint))
    }

    /// Releases a savepoint and merges its frame into the one below.
    pub(super) async fn release(&self, frame: FrameId, savepoint: Savepoint) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        self.unit_of_work.check_mergeable(frame)?;
        self.command(format!("RELEASE SAVEPOINT {savepoint}"))
            .await?;
        Ok(self.unit_of_work.merge(frame)?)
    }

    /// Rolls back to the savepoints that were abandoned.
    pub(super) async fn roll_back_abandoned(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.undo().await
    }

    async fn command(&self, sql: String) -> Result<(), Error> {
        let session = self.session.clone();
        self.watch(async move { session.execute_unprepared(&sql).await.map(|_| ()) })
            .await
    }

    /// Discards a frame, unless it has ended. Its savepoint is rolled back before the next
    /// statement.
    pub(super) fn abandon(&self, frame: FrameId, savepoint: Option<Savepoint>) {
        let mut health = self.health();
        if self.unit_of_work.discard(frame)
            && let Some(savepoint) = savepoint
        {
            health.abandon(savepoint);
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
        self.write(frame).await
    }

    async fn write(&self, frame: FrameId) -> Result<(), Error> {
        let known = self.look().await?;
        let mut flush = self.unit_of_work.flush(frame, &known.sharding)?;
        let entries = std::mem::take(&mut flush.entries);
        let shards = self.shards_of(&entries);
        let (settings, session) = (Arc::clone(&self.settings), self.session.clone());
        let repeated = self
            .complete(async move { settings.writer.write(&session, entries).await })
            .await?;
        flush.done_except(&repeated);
        self.health().add_written(known, shards);
        Ok(())
    }

    /// The shards of entries that are about to be written. Their events are noted, if they are to
    /// be.
    fn shards_of(&self, entries: &[OutboxEntry]) -> Vec<ShardId> {
        if let Some(events) = &mut self.health().events {
            events.extend(entries.iter().map(|entry| entry.envelope.event_id));
        }
        entries.iter().map(|entry| entry.shard).collect()
    }

    /// Notes from now on which events are written.
    pub(super) fn note_events(&self) {
        self.health().events.get_or_insert_default();
    }

    /// The events that were written since they are noted.
    pub(super) fn noted_events(&self) -> Vec<EventId> {
        self.health().events.take().unwrap_or_default()
    }

    /// Appends the events of a save to the stored ones of their aggregate, and to the outbox.
    pub(super) async fn append(
        &self,
        frame: FrameId,
        saving: &Saving,
        head: Head,
    ) -> Result<(Flush, Head), Error> {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        let known = self.look().await?;
        let mut flush = saving.flush(&known.sharding)?;
        let entries = std::mem::take(&mut flush.entries);
        let shards = self.shards_of(&entries);
        let (settings, session) = (Arc::clone(&self.settings), self.session.clone());
        let aggregate_type = head.stream.aggregate_type;
        let append = async move {
            settings.writer.append(&session, &head, entries).await?;
            Ok(head)
        };
        let head = self.complete(append).await.inspect_err(|error| {
            self.unit_of_work.statement_failed();
            if matches!(error, Error::Conflict { .. }) {
                self.note_conflict();
                count(telemetry::APPEND_CONFLICTS, aggregate_type);
            }
        })?;
        count(telemetry::APPENDS, aggregate_type);
        self.health().add_written(known, shards);
        Ok((flush, head))
    }

    /// Runs what the transaction can do without: its failure is undone.
    pub(super) async fn attempt<F>(
        &self,
        frame: FrameId,
        work: impl FnOnce(Session) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let _turn = self.turn.lock().await;
        self.settle(frame).await?;
        let (session, savepoint) = (self.session.clone(), self.health().next_savepoint());
        let work = work(session.clone());
        let attempt = async move {
            session
                .execute_unprepared(&format!("SAVEPOINT {savepoint}"))
                .await?;
            let result = work.await;
            if result.is_err() {
                let undo = format!("ROLLBACK TO SAVEPOINT {savepoint}");
                if session.execute_unprepared(&undo).await.is_err() {
                    return result.map(Ok);
                }
            }
            session
                .execute_unprepared(&format!("RELEASE SAVEPOINT {savepoint}"))
                .await?;
            Ok(result)
        };
        let attempted = self.complete(attempt).await;
        attempted.inspect_err(|_| self.unit_of_work.statement_failed())?
    }

    /// Reads how the outbox is divided, unless it is known.
    async fn look(&self) -> Result<Known, Error> {
        let (settings, session) = (Arc::clone(&self.settings), self.session.clone());
        let known = self
            .complete(async move { settings.writer.look(&session).await })
            .await?;
        self.unit_of_work.set_clock(known.clock());
        Ok(known)
    }

    /// Brings the connection to where `frame` expects it.
    async fn settle(&self, frame: FrameId) -> Result<(), Error> {
        self.undo().await?;
        self.look_after_failure().await?;
        self.check_open(frame)
    }

    async fn undo(&self) -> Result<(), Error> {
        // A cancelled statement that has yet to run belongs to what is undone.
        self.background.finished().await;
        // If this future is dropped before the answer is there, the next one asks again.
        while let Some(savepoint) = self.to_undo() {
            let answer = self.ask(format!("ROLLBACK TO SAVEPOINT {savepoint}")).await;
            let undone = self.health().undone(savepoint, answer);
            undone.map_err(|source| Error::ended(self.backend(), source))?;
        }
        Ok(())
    }

    fn to_undo(&self) -> Option<Savepoint> {
        self.health().to_undo()
    }

    async fn look_after_failure(&self) -> Result<(), Error> {
        if !self.health().uncertain {
            return Ok(());
        }
        let ended_by = match backend::of(self.backend())?.look() {
            Look::BeforeNext(_) if self.health().ended_by.is_some() => None,
            Look::BeforeNext(sql) => self
                .ask(sql.to_owned())
                .await
                .is_ok()
                .then(rolled_back_silently),
            Look::BeforeCommit(_) | Look::Needless => None,
        };
        let mut health = self.health();
        health.uncertain = false;
        health.ended_by = health.ended_by.take().or(ended_by);
        Ok(())
    }

    async fn look_before_commit(&self) -> Result<(), Error> {
        if let Look::BeforeCommit(sql) = backend::of(self.backend())?.look() {
            let looked = self.ask(sql.to_owned()).await;
            looked.map_err(|error| Error::from_statement(self.backend(), error))?;
        }
        Ok(())
    }

    /// Runs a statement of Bento's own to its end.
    async fn ask(&self, sql: String) -> Result<(), DbErr> {
        let session = self.session.clone();
        to_the_end(async move { session.execute_unprepared(&sql).await.map(|_| ()) }).await
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.session.get_database_backend()
    }

    fn check_open(&self, frame: FrameId) -> Result<(), Error> {
        if let Some(error) = &self.health().ended_by {
            return Err(Error::ended(self.backend(), error.clone()));
        }
        if self.unit_of_work.contains(frame) {
            Ok(())
        } else {
            Err(FrameError::Ended.into())
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        lock(&self.health)
    }
}

fn count(name: &'static str, aggregate_type: &'static str) {
    telemetry::count_by(name, "aggregate_type", aggregate_type, 1);
}

fn left_unanswered() -> DbErr {
    DbErr::Custom("a stream was dropped while its next row was awaited".to_owned())
}

fn rolled_back_silently() -> DbErr {
    DbErr::Custom("the database rolled the transaction back when a statement failed".to_owned())
}

/// A statement whose answer has not come.
struct Running<'a, T: Send + 'static> {
    physical: &'a Physical,
    statement: Option<BoxFuture<'static, Result<T, Error>>>,
}

impl<T: Send + 'static> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let Some(statement) = self.statement.take() else {
            return;
        };
        self.physical.note_outcome(None);
        let Physical {
            health,
            session,
            background,
            ..
        } = self.physical;
        let (health, noting) = (Arc::clone(health), session.clone());
        background.finish(session.clone(), async move {
            if let Err(error) = statement.await {
                note(&health, &noting, error.database_source());
            }
        });
    }
}

/// Notes what a failure may have done to the transaction, or a cancelled statement if there is no
/// error.
fn note(health: &Mutex<Health>, session: &Session, error: Option<&DbErr>) {
    lock(health).note_outcome(session.get_database_backend(), error);
    if let Some(error) = error {
        session.note(error);
    }
}
