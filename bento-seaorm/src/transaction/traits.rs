//! SeaORM's transaction traits.

use std::future::Future;
use std::pin::Pin;

use bento_core::unit_of_work::Opener;
use sea_orm::{
    AccessMode, DbErr, IsolationLevel, TransactionOptions, TransactionSession, TransactionTrait,
};

use super::{OutboxTransaction, refuse_options, run};
use crate::error::TransactionError;

/// A savepoint that a library opens for one operation: see [`Opener::Library`].
#[async_trait::async_trait]
impl TransactionTrait for OutboxTransaction {
    type Transaction = Self;

    async fn begin(&self) -> Result<Self, DbErr> {
        Ok(self.nest(Opener::Library).await?)
    }

    async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<Self, DbErr> {
        refuse_options(isolation_level, access_mode)?;
        Ok(self.nest(Opener::Library).await?)
    }

    async fn begin_with_options(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        TransactionTrait::begin_with_config(self, options.isolation_level, options.access_mode)
            .await
    }

    async fn transaction<F, T, E>(&self, callback: F) -> Result<T, sea_orm::TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        let nested = self
            .nest(Opener::Library)
            .await
            .map_err(TransactionError::Connection)?;
        Ok(run(nested, callback).await?)
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, sea_orm::TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        refuse_options(isolation_level, access_mode).map_err(TransactionError::Connection)?;
        TransactionTrait::transaction(self, callback).await
    }
}

#[async_trait::async_trait]
impl TransactionSession for OutboxTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        Ok(self.commit().await?)
    }

    async fn rollback(self) -> Result<(), DbErr> {
        Ok(self.rollback().await?)
    }
}
