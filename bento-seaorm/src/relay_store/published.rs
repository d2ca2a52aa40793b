//! Published rows that are kept for a while.
//!
//! Decision: docs/decisions/0017-published-rows-are-deleted.md

use bento_relay::store::{Prune, StoreError};
use sea_orm::ConnectionTrait;

use super::OutboxStore;
use super::errors::{StoreFailure, Tries};
use crate::dialect::{Sql, after, before, binds};

/// Removes old published rows, batch by batch, each in a transaction of its own, so that others
/// wait for one batch at most.
pub(super) async fn prune(store: &OutboxStore, prune: Prune) -> Result<Option<u64>, StoreError> {
    let mut tries = Tries::new(store.db.get_database_backend());
    let is_due = loop {
        match take_turn(store, prune).await {
            Ok(is_due) => break is_due,
            Err(failure) => tries.again(failure)?,
        }
    };
    if !is_due {
        return Ok(None);
    }
    let mut pruned = 0;
    loop {
        match prune_batch(store, prune).await {
            Ok(0) => return Ok(Some(pruned)),
            Ok(batch) => pruned += batch,
            Err(failure) => tries.again(failure)?,
        }
    }
}

/// Returns true if this relay takes the turn, which is then taken for a while.
async fn take_turn(store: &OutboxStore, prune: Prune) -> Result<bool, StoreFailure> {
    let dialect = store.dialect()?;
    let turn = Sql::new(
        dialect,
        &store.tables,
        "UPDATE {meta} SET prune_after = ? \
         WHERE id = 1 AND (prune_after IS NULL OR prune_after <= {now})",
        binds![after(prune.every)],
    );
    Ok(store.db.execute_raw(turn.build()).await?.rows_affected() > 0)
}

async fn prune_batch(store: &OutboxStore, prune: Prune) -> Result<u64, StoreFailure> {
    let dialect = store.dialect()?;
    let old = "WHERE published_at <= (SELECT ?) ORDER BY published_at LIMIT ?";
    let delete = Sql::new(
        dialect,
        &store.tables,
        &dialect.delete_some("{published}", "event_id", old),
        binds![before(prune.older_than), i64::from(prune.batch.max(1))],
    );
    Ok(store.db.execute_raw(delete.build()).await?.rows_affected())
}
