//! SeaORM's traits on the connection.

use std::future::Future;
use std::pin::Pin;

use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, StreamTrait, TransactionOptions, TransactionTrait,
};

use super::OutboxConnection;
use crate::session::{ConnectionStream, FoldRows};
use crate::transaction::OutboxTransaction;

#[async_trait::async_trait]
impl ConnectionTrait for OutboxConnection {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.warn_inside_own_scope();
        self.inner.execute_raw(stmt).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.warn_inside_own_scope();
        self.inner.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.warn_inside_own_scope();
        self.inner.query_one_raw(stmt).await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.warn_inside_own_scope();
        self.inner.query_all_raw(stmt).await
    }

    fn support_returning(&self) -> bool {
        self.inner.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.inner.is_mock_connection()
    }
}

impl StreamTrait for OutboxConnection {
    type Stream<'a> = ConnectionStream;

    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    fn stream_raw<'a>(
        &'a self,
        stmt: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        self.warn_inside_own_scope();
        Box::pin(async move { Ok(ConnectionStream::new(self.inner().stream_raw(stmt).await?)) })
    }
}

impl FoldRows for OutboxConnection {
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
        self.warn_inside_own_scope();
        self.inner.fold_rows(select, state, step).await
    }
}

#[async_trait::async_trait]
impl TransactionTrait for OutboxConnection {
    type Transaction = OutboxTransaction;

    async fn begin(&self) -> Result<OutboxTransaction, DbErr> {
        Ok(self.begin().await?)
    }

    async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<OutboxTransaction, DbErr> {
        Ok(self.begin_with_config(isolation_level, access_mode).await?)
    }

    async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<OutboxTransaction, DbErr> {
        Ok(self.begin_with_options(options).await?)
    }

    async fn transaction<F, T, E>(&self, callback: F) -> Result<T, sea_orm::TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c OutboxTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        Ok(self.transaction(callback).await?)
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, sea_orm::TransactionError<E>>
    where
        F: for<'c> FnOnce(
                &'c OutboxTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        Ok(self
            .transaction_with_config(callback, isolation_level, access_mode)
            .await?)
    }
}
