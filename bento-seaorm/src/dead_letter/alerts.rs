//! The record of the dead letters that operators were alerted to.
//!
//! Decision: docs/decisions/0022-an-alert-is-taken-for-a-while.md

use std::time::Duration;

use bento_relay::dead_letter::{AlertOutcome, AlertStore, DeadLetter, DeadLetterKey};
use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::select::UNREADABLE_TIME;
use super::{of_letters, own_key, select};
use crate::dialect::Sql;
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
        letters: &[DeadLetter],
        outcome: AlertOutcome,
    ) -> Result<(), StoreError> {
        if letters.is_empty() {
            return Ok(());
        }
        let dialect = self.dialect()?;
        let update = Sql::new(
            dialect,
            &format!("UPDATE {} SET ", self.tables().dead_letter()),
        );
        let update = match outcome {
            AlertOutcome::Told => update.push(&format!("alerted_at = {}", dialect.now())),
            AlertOutcome::Failed(wait) => update.push("alert_after = ").after(wait),
        };
        let mut update = update.push(" WHERE alerted_at IS NULL AND (");
        for (nth, letter) in letters.iter().enumerate() {
            update = update
                .push(if nth == 0 {
                    "event_id = "
                } else {
                    " OR event_id = "
                })
                .bind(Uuid::from(letter.envelope.event_id))
                .push(" AND route = ")
                .bind(&*letter.route)
                .when(letter.failed_at != UNREADABLE_TIME, |sql| {
                    sql.push(" AND failed_at = ")
                        .bind(dialect.time(letter.failed_at))
                });
        }
        let updated = self.db().execute_raw(update.push(")").build()).await;
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
    let letters: Vec<DeadLetter> = rows.iter().map(select::letter).collect();
    if letters.is_empty() {
        return Ok(letters);
    }
    let key =
        |letter: &DeadLetter| -> DeadLetterKey { (letter.envelope.event_id, letter.route.clone()) };
    let keys: Vec<_> = letters.iter().map(key).collect();
    own_key::settle_keys(&tx, dialect, store.tables(), &keys).await?;
    let update = Sql::new(
        dialect,
        &format!("UPDATE {} SET alert_after = ", store.tables().dead_letter()),
    );
    tx.execute_raw(of_letters(update.after(hold).push(" WHERE "), &keys).build())
        .await?;
    tx.commit().await?;
    Ok(letters)
}
