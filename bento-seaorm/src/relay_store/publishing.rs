//! The record that relays publish from the outbox, and do not only call handlers.

use bento_relay::store::StoreError;
use sea_orm::{ConnectionTrait, DbErr};

use super::OutboxStore;
use super::errors::{StoreFailure, store_error};
use crate::dialect::{Sql, binds};

/// True if a relay has published from the outbox.
pub(super) async fn is_recorded(store: &OutboxStore) -> Result<bool, StoreError> {
    let dialect = store.dialect()?;
    let select = "SELECT publishes FROM {meta} WHERE id = 1";
    let select = Sql::new(dialect, &store.tables, select, []);
    let row = store.db.query_one_raw(select.build()).await;
    let recorded = row.and_then(|row| row.map_or(Ok(false), |row| row.try_get_by_index(0)));
    recorded.map_err(|error| store_error(dialect.backend(), error))
}

/// Checks a relay against the record, or records it.
///
/// # Errors
/// [`StoreError::MissingPublishers`] for a relay with handlers alone.
pub(super) async fn check(
    store: &OutboxStore,
    is_recorded: bool,
    publishes: bool,
) -> Result<(), StoreFailure> {
    match (is_recorded, publishes) {
        (true, false) => Err(StoreError::MissingPublishers.into()),
        (false, true) => Ok(set(store, true).await?),
        _ => Ok(()),
    }
}

/// Removes the record.
pub(crate) async fn forget(store: &OutboxStore) -> Result<(), StoreError> {
    let dialect = store.dialect()?;
    let forgotten = set(store, false).await;
    forgotten.map_err(|error| store_error(dialect.backend(), error))
}

async fn set(store: &OutboxStore, publishes: bool) -> Result<(), DbErr> {
    let dialect = store
        .dialect()
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    let update = "UPDATE {meta} SET publishes = ? WHERE id = 1";
    let update = Sql::new(dialect, &store.tables, update, binds![publishes]);
    store.db.execute_raw(update.build()).await?;
    Ok(())
}
