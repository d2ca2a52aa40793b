//! SeaORM's statement traits: every statement is forwarded, and its failure noted.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    StreamTrait,
};

use super::physical::Physical;
use super::{OutboxTransaction, control};
use crate::error::Error;
use crate::session::{Caller, Fold, FoldRows, Session};

impl OutboxTransaction {
    async fn forward<T: Send + 'static>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>> + Send + 'static,
    ) -> Result<T, DbErr> {
        self.physical.ready(self.frame).await?;
        Ok(self.physical.watch(statement).await?)
    }

    fn session(&self) -> Session {
        self.physical.session().clone()
    }

    fn check(&self, sql: &str) -> Result<(), Error> {
        control::check(self.physical.backend(), sql)
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for OutboxTransaction {
    fn get_database_backend(&self) -> DbBackend {
        self.physical.backend()
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        self.check(&stmt.sql)?;
        let session = self.session();
        self.forward(async move { session.execute_raw(stmt).await })
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.check(sql)?;
        let (session, sql) = (self.session(), sql.to_owned());
        self.forward(async move { session.execute_unprepared(&sql).await })
            .await
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.check(&stmt.sql)?;
        let session = self.session();
        self.forward(async move { session.query_one_raw(stmt).await })
            .await
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.check(&stmt.sql)?;
        let session = self.session();
        self.forward(async move { session.query_all_raw(stmt).await })
            .await
    }

    fn support_returning(&self) -> bool {
        self.physical.session().support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.physical.session().is_mock_connection()
    }
}

impl FoldRows for OutboxTransaction {
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
        let (session, caller) = (self.session(), Caller::new());
        let fold = Fold::new(state, step, &caller);
        let folded = self
            .forward(async move { fold.over(&*session, select).await })
            .await?;
        Ok(folded.resume())
    }
}

impl StreamTrait for OutboxTransaction {
    type Stream<'a> = TransactionStream<'a>;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(self)
    }

    fn stream_raw<'a>(
        &'a self,
        stmt: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move {
            self.check(&stmt.sql)?;
            self.physical.ready(self.frame).await?;
            let rows = self.physical.session().stream_raw(stmt).await?;
            Ok(TransactionStream {
                rows,
                physical: &self.physical,
                is_pending: false,
            })
        })
    }
}

/// The rows of a statement, one by one. Dropping it before its end does not count as a failure.
///
/// On MySQL a stream that is dropped while its next row is awaited ends the transaction: the answer
/// that is on its way would be taken for that of the next statement.
pub struct TransactionStream<'a> {
    rows: <DatabaseTransaction as StreamTrait>::Stream<'a>,
    physical: &'a Physical,
    /// True while the next row is awaited.
    is_pending: bool,
}

impl Stream for TransactionStream<'_> {
    type Item = Result<QueryResult, DbErr>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = Pin::new(&mut self.rows).poll_next(cx);
        self.is_pending = item.is_pending();
        if let Poll::Ready(Some(Err(error))) = &item {
            self.physical.note_failure(error);
        }
        item
    }
}

impl Drop for TransactionStream<'_> {
    fn drop(&mut self) {
        if self.is_pending {
            self.physical.leave_unanswered();
        }
    }
}

impl fmt::Debug for TransactionStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionStream").finish_non_exhaustive()
    }
}
