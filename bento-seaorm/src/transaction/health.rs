//! The state of a transaction in the database, as far as it is known.
//!
//! Decision: docs/decisions/0010-what-a-failed-statement-does.md

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_core::EventId;
use bento_core::outbox::ShardId;
use bento_core::unit_of_work::UnitOfWork;
use sea_orm::{DbBackend, DbErr};

use crate::backend;
use crate::outbox::Known;

/// A savepoint, by the number in its name. A later one has a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Savepoint(u64);

impl fmt::Display for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bento_savepoint_{}", self.0)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Health {
    savepoints: u64,
    /// Savepoints to roll back to before anything else happens, the innermost last.
    abandoned: Vec<Savepoint>,
    /// Shards that have new rows.
    shards: Vec<ShardId>,
    /// The record of the outbox that the writer has read, once something was written.
    known: Option<Known>,
    /// The events that were written, if they are noted.
    pub(super) events: Option<Vec<EventId>>,
    /// True if a statement failed or was cancelled.
    pub(super) failed: bool,
    /// True if another transaction was in the way: a deadlock, a serialization failure, a timeout
    /// of a lock.
    pub(super) contended: bool,
    /// True if a save met another version. It may do so each time, unlike a transaction that was in
    /// the way.
    pub(super) conflicted: bool,
    /// True if such a statement may have ended the transaction, and this was not checked since.
    pub(super) uncertain: bool,
    /// The error that ended the transaction.
    pub(super) ended_by: Option<DbErr>,
}

impl Health {
    /// True if a statement may run without any preparation.
    pub(super) fn is_quiet(&self) -> bool {
        self.abandoned.is_empty() && !self.uncertain
    }

    pub(super) fn next_savepoint(&mut self) -> Savepoint {
        self.savepoints += 1;
        Savepoint(self.savepoints)
    }

    /// Notes that a savepoint is to be rolled back to, which ends those that were opened after it.
    pub(super) fn abandon(&mut self, savepoint: Savepoint) {
        self.abandoned.retain(|earlier| *earlier < savepoint);
        self.abandoned.push(savepoint);
    }

    /// The next savepoint to roll back to. It stays until [`undone`](Self::undone).
    pub(super) fn to_undo(&self) -> Option<Savepoint> {
        self.abandoned.last().copied()
    }

    /// Notes the answer of a rollback to a savepoint. If it failed, the whole transaction has to be
    /// rolled back.
    pub(super) fn undone(
        &mut self,
        savepoint: Savepoint,
        result: Result<(), DbErr>,
    ) -> Result<(), DbErr> {
        match &result {
            Ok(()) => self.abandoned.retain(|other| *other != savepoint),
            Err(error) => {
                self.abandoned.clear();
                self.ended_by.get_or_insert_with(|| error.clone());
            }
        }
        result
    }

    /// Notes a statement that failed, or was cancelled if there is no error.
    pub(super) fn note_outcome(&mut self, backend: DbBackend, error: Option<&DbErr>) {
        self.failed = true;
        self.uncertain = true;
        self.contended |= error.is_some_and(|error| backend::is_transient(backend, error));
        if let Some(error) = error.filter(|error| backend::is_rolled_back(backend, error)) {
            self.ended_by.get_or_insert_with(|| error.clone());
        }
    }

    /// Notes that the transaction cannot go on.
    pub(super) fn end(&mut self, error: DbErr) {
        self.failed = true;
        self.ended_by.get_or_insert(error);
    }

    /// Notes that events were written.
    pub(super) fn add_written(&mut self, known: Known, shards: impl IntoIterator<Item = ShardId>) {
        self.known = Some(known);
        self.shards.extend(shards);
        self.shards.sort_unstable();
        self.shards.dedup();
    }

    /// The result of a write: the record of the outbox that the writer has read, and the shards
    /// that have new rows.
    pub(super) fn written(&self) -> Option<(Known, Vec<ShardId>)> {
        self.known.map(|known| (known, self.shards.clone()))
    }
}

/// See [`Physical::contention`](super::physical::Physical::contention).
#[derive(Debug)]
pub(crate) struct Contention(Arc<Mutex<Health>>);

impl Contention {
    pub(super) fn of(health: &Arc<Mutex<Health>>) -> Self {
        Self(Arc::clone(health))
    }

    /// True if another transaction was in the way.
    pub(crate) fn is_noted(&self) -> bool {
        lock(&self.0).contended
    }

    /// True if another transaction was in the way, or a save met another version.
    pub(crate) fn is_noted_or_conflict(&self) -> bool {
        let health = lock(&self.0);
        health.contended || health.conflicted
    }
}

pub(super) fn lock(health: &Mutex<Health>) -> MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The doubt about the events raised before a statement, until its answer says that it succeeded.
pub(super) struct Doubt<'a> {
    unit_of_work: &'a UnitOfWork,
    pub(super) is_dispelled: bool,
}

impl<'a> Doubt<'a> {
    pub(super) fn about(unit_of_work: &'a UnitOfWork) -> Self {
        Self {
            unit_of_work,
            is_dispelled: false,
        }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.is_dispelled {
            self.unit_of_work.statement_failed();
        }
    }
}
