//! Failures, and the stop of a version that cannot go on.

use std::time::Duration;

use bento_core::EventId;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::ProjectionKey;
use crate::backend;
use crate::connection::OutboxConnection;
use crate::dialect::{self, Sql, binds};
use crate::error::Error;
use crate::transaction::OutboxTransaction;

/// The failures after which a version stops.
const FAILURES: u32 = 5;

/// The time between two failures at different events that both count: one reason may fail the
/// batches of many shards at the same time.
const APART: Duration = Duration::from_secs(5);

/// The most characters of a reason that are kept.
const REASON: usize = 16_000;

/// The reason for which a version has stopped now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Stopped {
    /// The event; `None` if the reason is not one of the events.
    pub event: Option<EventId>,
    /// The error, with its causes.
    pub reason: String,
}

impl OutboxConnection {
    /// Notes that a version failed, and stops it if the failure is final or the fifth one. The
    /// event at which it failed first stays noted until it is projected, and so do its failures.
    /// Returns the reason if it has stopped now.
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
    ) -> Result<Option<Stopped>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let tx = self.begin().await?;
        let row = tx.lock_projection(key).await?;
        let Some(row) = row.filter(|row| row.stop.is_none()) else {
            tx.rollback().await?;
            return Ok(None);
        };
        let is_another = row.failures > 0 && row.failed_event != event;
        if is_another && !is_final && row.failed_ago < APART {
            tx.rollback().await?;
            return Ok(None);
        }
        let reason: String = reason.chars().filter(|&c| c != '\0').take(REASON).collect();
        let noted = match row.failed_event {
            Some(noted) if is_another && !is_final => Stopped {
                event: Some(noted),
                reason: row.reason.unwrap_or_default(),
            },
            _ => Stopped { event, reason },
        };
        let failures = row.failures + 1;
        let stops = is_final || failures >= FAILURES;
        let stopped_at = if stops { "{now}" } else { "NULL" };
        let update = Sql::new(
            dialect,
            self.tables(),
            &format!(
                "UPDATE {{projection}} SET failures = ?, failed_event = ?, failed_at = {{now}}, \
                 reason = ?, stopped_at = {stopped_at}, builder = NULL, builder_expires_at = NULL \
                 WHERE name = ? AND version = ?"
            ),
            binds![
                failures.cast_signed(),
                noted.event.map(Uuid::from),
                &*noted.reason,
                &*key.name,
                key.number()
            ],
        )
        .build();
        tx.run_own(move |session| async move { session.execute_raw(update).await })
            .await?;
        tx.commit().await?;
        Ok(stops.then_some(noted))
    }

    /// True if an error says nothing of a projection and its events: another transaction was in the
    /// way, no connection was free in time, or the database is away.
    #[doc(hidden)]
    pub fn is_of_the_database(&self, error: &Error) -> bool {
        let backend = self.get_database_backend();
        let is_away =
            |source: &DbErr| matches!(source, DbErr::Conn(_)) || backend::is_unfit(backend, source);
        self.may_succeed_later(error) || error.database_source().is_some_and(is_away)
    }
}

impl OutboxTransaction {
    /// True if its session takes no statement any more, because the database is away.
    #[doc(hidden)]
    pub fn was_lost(&self) -> bool {
        self.is_unfit()
    }
}
