//! The one place that begins a transaction.

use std::borrow::Cow;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, TransactionOptions,
    TransactionTrait,
};

use super::shield::to_the_end;

/// Begins a transaction and runs its `first` statements, in one round trip.
///
/// If this future is dropped before, both are done in the background, and the transaction is rolled
/// back.
pub(crate) async fn begin(
    db: &DatabaseConnection,
    options: TransactionOptions,
    first: Option<Cow<'static, str>>,
) -> Result<DatabaseTransaction, DbErr> {
    let db = db.clone();
    to_the_end(async move {
        let transaction = db.begin_with_options(options).await?;
        if let Some(first) = first {
            transaction.execute_unprepared(&first).await?;
        }
        Ok(transaction)
    })
    .await
}
