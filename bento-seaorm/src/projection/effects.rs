//! The events that a version raises while it is built: they are held until the swap.

use bento_core::EventId;
use sea_orm::ConnectionTrait;

use super::ProjectionKey;
use crate::dialect::{self, Sql, any_of_ids, binds};
use crate::error::Error;
use crate::transaction::OutboxTransaction;

impl OutboxTransaction {
    /// Flushes, and takes the events that were written since they are [noted](Self::note_events)
    /// out of the outbox again, until the swap. Returns their number. Three statements, none
    /// without an event.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn hold_effects(&self, key: &ProjectionKey) -> Result<u64, Error> {
        let held = self.flush_noted().await?;
        if held.is_empty() {
            return Ok(0);
        }
        let dialect = dialect::of(self.get_database_backend())?;
        let count = held.len() as u64;
        for ids in held.chunks(1_000) {
            let ids: Vec<_> = ids.iter().map(|event: &EventId| *event.as_uuid()).collect();
            let key = binds![&*key.name, key.number()];
            let copy = Sql::new(
                dialect,
                self.tables(),
                "INSERT INTO {projection_effect} (projection, version, position, shard, {event}) \
                 SELECT ?, ?, position, shard, {event} FROM {outbox} WHERE event_id IN (?)",
                key.into_iter().chain([any_of_ids(ids.clone())]),
            )
            .build();
            let delete = Sql::new(
                dialect,
                self.tables(),
                "DELETE FROM {outbox} WHERE event_id IN (?)",
                [any_of_ids(ids)],
            )
            .build();
            self.run_own(move |session| async move {
                session.execute_raw(copy).await?;
                session.execute_raw(delete).await
            })
            .await?;
        }
        Ok(count)
    }

    /// Puts the held events of a version into the outbox, in their order. Returns their number.
    pub(super) async fn release_effects(&self, key: &ProjectionKey) -> Result<u64, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let key = binds![&*key.name, key.number()];
        let of_version = "WHERE projection = ? AND version = ?";
        let copy = format!(
            "INSERT INTO {{outbox}} (shard, {{event}}) SELECT shard, {{event}} FROM \
             {{projection_effect}} {of_version} ORDER BY position"
        );
        let copy = Sql::new(dialect, self.tables(), &copy, key.clone()).build();
        let delete = format!("DELETE FROM {{projection_effect}} {of_version}");
        let delete = Sql::new(dialect, self.tables(), &delete, key).build();
        self.run_own(move |session| async move {
            let copied = session.execute_raw(copy).await?.rows_affected();
            if copied > 0 {
                session.execute_raw(delete).await?;
            }
            Ok(copied)
        })
        .await
    }
}
