//! The record of the dead letters that operators were alerted to.
//!
//! Decision: docs/decisions/0022-an-alert-is-taken-for-a-while.md

use std::time::Duration;

use bento_relay::dead_letter::{AlertOutcome, AlertStore, DeadLetter, DeadLetterKey};
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::select::UNREADABLE_TIME;
use super::{of_keys, own_key, select};
use crate::dialect::{Sql, after, binds};
use crate::relay_store::{OutboxStore, StoreFailure, retrying, store_error};

impl AlertStore for OutboxStore {
    /// Reads before it writes: mostly there is nothing to write.
    async fn take_unalerted(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let look = select::any_unalerted(self.dialect()?, self.tables());
        if self.rows(look, |_| ()).await?.is_empty() {
            return Ok(Vec::new());
        }
        retrying(self.db().get_database_backend(), || take(self, limit, hold)).await
    }

    async fn settle_alerts(
        &self,
        dead_letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> Result<(), StoreError> {
        if dead_letters.is_empty() {
            return Ok(());
        }
        let dialect = self.dialect()?;
        let (set, binds) = match outcome {
            AlertOutcome::Told => ("alerted_at = {now}", vec![]),
            AlertOutcome::Failed(wait) => ("alert_after = ?", vec![after(wait)]),
        };
        let update = format!("UPDATE {{dead_letter}} SET {set} WHERE alerted_at IS NULL AND (");
        let mut update = Sql::new(dialect, self.tables(), &update, binds);
        for (nth, dead_letter) in dead_letters.iter().enumerate() {
            let or = if nth == 0 { "" } else { " OR " };
            update = update.then(
                &format!("{or}event_id = ? AND route = ?"),
                binds![
                    Uuid::from(dead_letter.envelope.event_id),
                    &*dead_letter.route
                ],
            );
            if dead_letter.failed_at != UNREADABLE_TIME {
                let failed_at = dialect.time(dead_letter.failed_at);
                update = update.then(" AND failed_at = ?", binds![failed_at]);
            }
        }
        let updated = self.db().execute_raw(update.then(")", []).build()).await;
        updated.map_err(|error| store_error(dialect.backend(), error))?;
        Ok(())
    }
}

async fn take(
    store: &OutboxStore,
    limit: u32,
    hold: Duration,
) -> Result<Vec<DeadLetter>, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let rows = tx
        .query_all_raw(select::unalerted(dialect, store.tables(), limit).build())
        .await?;
    let dead_letters: Vec<DeadLetter> = rows.iter().map(select::dead_letter_at).collect();
    if dead_letters.is_empty() {
        return Ok(dead_letters);
    }
    let key = |dead_letter: &DeadLetter| -> DeadLetterKey {
        (dead_letter.envelope.event_id, dead_letter.route.clone())
    };
    let keys: Vec<_> = dead_letters.iter().map(key).collect();
    own_key::settle_keys(&tx, dialect, store.tables(), &keys).await?;
    let update = Sql::new(
        dialect,
        store.tables(),
        "UPDATE {dead_letter} SET alert_after = ? WHERE ",
        binds![after(hold)],
    );
    tx.execute_raw(of_keys(update, &keys).build()).await?;
    tx.commit().await?;
    Ok(dead_letters)
}
