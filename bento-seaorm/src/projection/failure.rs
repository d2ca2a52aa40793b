//! Failures, and the stop of a version that cannot go on.

use bento_core::EventId;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::ProjectionKey;
use crate::connection::OutboxConnection;
use crate::dialect::{self, Sql, binds};
use crate::error::Error;

/// The failures of one event in a row after which a version stops.
const FAILURES: u32 = 5;

/// The most characters of a reason that are kept.
const REASON: usize = 16_000;

impl OutboxConnection {
    /// Notes that a version failed, and stops it if the failure is final, or the event has failed
    /// five times in a row. Returns true if it has stopped now.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all.
    #[doc(hidden)]
    pub async fn note_projection_failure(
        &self,
        key: &ProjectionKey,
        event: Option<EventId>,
        reason: &str,
        is_final: bool,
    ) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let tx = self.begin().await?;
        let row = tx.lock_projection(key).await?;
        let Some(row) = row.filter(|row| row.stop.is_none()) else {
            tx.rollback().await?;
            return Ok(false);
        };
        let is_same = event.is_some() && row.failed_event == event;
        let failures = if is_same { row.failures + 1 } else { 1 };
        let stops = is_final || failures >= FAILURES;
        let stopped_at = if stops { "{now}" } else { "NULL" };
        let reason: String = reason.chars().filter(|&c| c != '\0').take(REASON).collect();
        let update = Sql::new(
            dialect,
            self.tables(),
            &format!(
                "UPDATE {{projection}} SET failures = ?, failed_event = ?, reason = ?, stopped_at \
                 = {stopped_at}, builder = NULL, builder_expires_at = NULL WHERE name = ? AND \
                 version = ?"
            ),
            binds![
                failures.cast_signed(),
                event.map(Uuid::from),
                reason,
                &*key.name,
                key.number()
            ],
        )
        .build();
        tx.run_own(move |session| async move { session.execute_raw(update).await })
            .await?;
        tx.commit().await?;
        Ok(stops)
    }
}
