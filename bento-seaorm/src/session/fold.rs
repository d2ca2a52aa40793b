//! Rows that are read one by one within one call.
//!
//! A row is worked on while the database sends the next one, and dropped before it. A stream could
//! do the same, but one that is dropped in a transaction ends it on MySQL; a call runs to its end.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Weak};

use futures_util::TryStreamExt as _;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, QueryResult, Statement, StreamTrait};

use super::connection::Shielded;

/// A connection that reads the rows of a statement one by one.
pub(crate) trait FoldRows: ConnectionTrait {
    /// Calls `step` with each row as it comes, and returns the state after the last one, or the
    /// first error of `step`. A panic of `step` goes on in the caller; rows that were not read do
    /// not disturb the next statement.
    ///
    /// # Errors
    /// The failure of the statement.
    ///
    /// # Cancel safety
    /// No row is worked on after this future is dropped; the answer is read to its end.
    fn fold_rows<S, E, F>(
        &self,
        select: Statement,
        state: S,
        step: F,
    ) -> impl Future<Output = Result<Result<S, E>, DbErr>> + Send
    where
        S: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut S, &QueryResult) -> Result<(), E> + Send + 'static;
}

impl FoldRows for DatabaseTransaction {
    async fn fold_rows<S, E, F>(
        &self,
        select: Statement,
        state: S,
        step: F,
    ) -> Result<Result<S, E>, DbErr>
    where
        S: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut S, &QueryResult) -> Result<(), E> + Send + 'static,
    {
        let caller = Caller::new();
        let folded = Fold::new(state, step, &caller).over(self, select).await?;
        Ok(folded.resume())
    }
}

impl FoldRows for Shielded {
    async fn fold_rows<S, E, F>(
        &self,
        select: Statement,
        state: S,
        step: F,
    ) -> Result<Result<S, E>, DbErr>
    where
        S: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut S, &QueryResult) -> Result<(), E> + Send + 'static,
    {
        let caller = Caller::new();
        let fold = Fold::new(state, step, &caller);
        let folded = self
            .run(|db| async move { fold.over(&db, select).await })
            .await?;
        Ok(folded.resume())
    }
}

/// The one who waits for the state. A call that has none stops at its next row.
pub(crate) struct Caller(Arc<()>);

impl Caller {
    pub(crate) fn new() -> Self {
        Self(Arc::new(()))
    }
}

/// A state and what changes it.
pub(crate) struct Fold<S, F> {
    state: S,
    step: F,
    caller: Weak<()>,
}

impl<S, F> Fold<S, F> {
    pub(crate) fn new(state: S, step: F, caller: &Caller) -> Self {
        Self {
            state,
            step,
            caller: Arc::downgrade(&caller.0),
        }
    }

    /// Runs the statement and calls the step with each of its rows.
    ///
    /// # Errors
    /// The failure of the statement.
    pub(crate) async fn over<E, C>(
        mut self,
        connection: &C,
        select: Statement,
    ) -> Result<Folded<S, E>, DbErr>
    where
        F: FnMut(&mut S, &QueryResult) -> Result<(), E>,
        C: StreamTrait,
    {
        let mut rows = pin!(connection.stream_raw(select).await?);
        while let Some(row) = rows.try_next().await? {
            if self.caller.strong_count() == 0 {
                break;
            }
            // The state is not used after a panic.
            let step = catch_unwind(AssertUnwindSafe(|| (self.step)(&mut self.state, &row)));
            match step {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ok(Folded::Refused(error)),
                Err(panic) => return Ok(Folded::Panicked(panic)),
            }
        }
        Ok(Folded::State(self.state))
    }
}

/// The end of a fold.
pub(crate) enum Folded<S, E> {
    State(S),
    Refused(E),
    /// The step panicked. The panic is carried to the caller: the call itself is to end.
    Panicked(Box<dyn Any + Send>),
}

impl<S, E> Folded<S, E> {
    /// Returns what the fold came to, or goes on with its panic.
    pub(crate) fn resume(self) -> Result<S, E> {
        match self {
            Self::State(state) => Ok(state),
            Self::Refused(error) => Err(error),
            Self::Panicked(panic) => resume_unwind(panic),
        }
    }
}
