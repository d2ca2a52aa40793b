//! Statements outside of a transaction.

use std::future::Future;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, TransactionOptions,
};
use tokio::time::timeout;

use super::begin::begin;
use super::close::close;
use super::shield::to_the_end;
use crate::backend;

/// The longest time for which read-only sessions are searched.
const SWEEP: Duration = Duration::from_secs(1);

/// A connection whose statements run to their end, also if the future that waits for one is
/// dropped.
#[derive(Clone, Debug)]
pub(crate) struct Shielded(DatabaseConnection);

impl Shielded {
    pub(crate) fn new(db: DatabaseConnection) -> Self {
        Self(db)
    }

    /// The connection itself.
    pub(crate) fn inner(&self) -> &DatabaseConnection {
        &self.0
    }

    pub(super) async fn run<
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
    >(
        &self,
        statement: impl FnOnce(DatabaseConnection) -> F,
    ) -> Result<T, DbErr> {
        let statement = statement(self.0.clone());
        let answer = to_the_end(statement).await;
        if let Err(error) = &answer
            && backend::is_read_only(self.0.get_database_backend(), error)
        {
            let _ = timeout(SWEEP, close_read_only(&self.0)).await;
        }
        answer
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Shielded {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.run(|db| async move { db.execute_raw(stmt).await })
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = sql.to_owned();
        self.run(|db| async move { db.execute_unprepared(&sql).await })
            .await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.run(|db| async move { db.query_one_raw(stmt).await })
            .await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.run(|db| async move { db.query_all_raw(stmt).await })
            .await
    }

    fn support_returning(&self) -> bool {
        self.0.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.0.is_mock_connection()
    }
}

/// Closes the read-only sessions of the pool. SeaORM does not say on which session a statement ran,
/// so all of them are asked.
async fn close_read_only(db: &DatabaseConnection) {
    // They are kept until all are seen: the pool hands out the one that has been idle longest.
    let mut fit = Vec::new();
    for _ in 0..backend::pool_size(db) {
        let Ok(transaction) = begin(db, TransactionOptions::default(), None).await else {
            return;
        };
        match is_read_only(&transaction).await {
            true => close(transaction),
            false => fit.push(transaction),
        }
    }
}

async fn is_read_only(transaction: &DatabaseTransaction) -> bool {
    let backend = transaction.get_database_backend();
    let Some(ask) = backend::ask_read_only(backend) else {
        return false;
    };
    matches!(
        transaction
            .query_one_raw(Statement::from_string(backend, ask))
            .await,
        Ok(Some(_))
    )
}
