//! A transaction that is shared with the statements that run on it.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
};
use tokio::runtime::Handle;

use super::close::close;
use super::ending::roll_back;
use super::shield::to_the_end;
use crate::backend;

/// A statement failed: the rollback may hang.
const DOUBTFUL: u8 = 1;
/// No other transaction may use the session.
const UNFIT: u8 = 2;

/// A transaction and each statement that runs on it have one of these. The last one that is dropped
/// ends the transaction: by a rollback, or by closing the connection if the session is unfit.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    transaction: Option<Arc<DatabaseTransaction>>,
    state: Arc<AtomicU8>,
}

impl Session {
    pub(crate) fn new(transaction: DatabaseTransaction) -> Self {
        Self {
            transaction: Some(Arc::new(transaction)),
            state: Arc::default(),
        }
    }

    /// Notes a failure for the end of the transaction.
    pub(crate) fn note(&self, error: &DbErr) {
        let unfit = backend::is_unfit(self.get_database_backend(), error);
        self.state
            .fetch_max(if unfit { UNFIT } else { DOUBTFUL }, Ordering::Relaxed);
    }

    /// Lets the connection be closed at the end of the transaction.
    pub(crate) fn give_up(&self) {
        self.state.store(UNFIT, Ordering::Relaxed);
    }

    /// The transaction itself; `None` if a statement or another owner still has it.
    pub(crate) fn into_transaction(mut self) -> Option<DatabaseTransaction> {
        Arc::into_inner(self.transaction.take()?)
    }

    /// Rolls back. If a statement still runs, the transaction is rolled back at its end.
    ///
    /// # Errors
    /// As [`roll_back`].
    pub(crate) async fn roll_back(mut self) -> Result<(), DbErr> {
        let Some(transaction) = self.transaction.take().and_then(Arc::into_inner) else {
            return Ok(());
        };
        match self.is_unfit() {
            true => {
                close(transaction);
                Ok(())
            }
            false => roll_back(transaction).await,
        }
    }

    /// True if no other transaction may use the session.
    pub(crate) fn is_unfit(&self) -> bool {
        self.state.load(Ordering::Relaxed) == UNFIT
    }
}

impl Deref for Session {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        self.transaction
            .as_ref()
            .expect("it is taken at the end only")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(transaction) = self.transaction.take().and_then(Arc::into_inner) else {
            return;
        };
        match (self.state.load(Ordering::Relaxed), Handle::try_current()) {
            (UNFIT, _) => close(transaction),
            (DOUBTFUL, Ok(runtime)) => drop(runtime.spawn(roll_back(transaction))),
            // sqlx rolls back before it gives the connection back.
            _ => drop(transaction),
        }
    }
}

/// A transaction of the relay's store: each of its statements runs to its end, also if the call
/// that waits for it is dropped.
#[derive(Debug)]
pub(crate) struct StoreTransaction(Session);

impl StoreTransaction {
    pub(crate) fn new(transaction: DatabaseTransaction) -> Self {
        Self(Session::new(transaction))
    }

    /// Commits, also if this future is dropped before the answer.
    ///
    /// # Errors
    /// The failure of the commit.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let transaction = self.0.into_transaction();
        let transaction = transaction
            .ok_or_else(|| DbErr::Custom("a statement of the transaction still runs".into()))?;
        to_the_end(transaction.commit()).await
    }

    /// Rolls back, also if this future is dropped before the answer.
    ///
    /// # Errors
    /// The failure of the rollback. The transaction is rolled back nevertheless.
    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        self.0.roll_back().await
    }

    async fn run<
        T: Send + 'static,
        F: Future<Output = (Session, Result<T, DbErr>)> + Send + 'static,
    >(
        &self,
        statement: impl FnOnce(Session) -> F,
    ) -> Result<T, DbErr> {
        let statement = statement(self.0.clone());
        to_the_end(async move {
            let (session, answer) = statement.await;
            answer.inspect_err(|error| session.note(error))
        })
        .await
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for StoreTransaction {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.run(|session| async move {
            let answer = session.execute_raw(stmt).await;
            (session, answer)
        })
        .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = sql.to_owned();
        self.run(|session| async move {
            let answer = session.execute_unprepared(&sql).await;
            (session, answer)
        })
        .await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.run(|session| async move {
            let answer = session.query_one_raw(stmt).await;
            (session, answer)
        })
        .await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.run(|session| async move {
            let answer = session.query_all_raw(stmt).await;
            (session, answer)
        })
        .await
    }

    fn support_returning(&self) -> bool {
        self.0.support_returning()
    }
}
