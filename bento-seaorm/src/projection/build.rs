//! The build: stored events in pages, each in the transaction that projects it.

use std::time::Duration;

use bento_relay::event_store::{Cursor, EventStoreError, Page, Selection};
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::{ProjectionKey, ProjectionStatus};
use crate::connection::OutboxConnection;
use crate::dialect::{self, Sql, after, binds};
use crate::error::Error;
use crate::event_store::sequencer;
use crate::events::page;
use crate::transaction::OutboxTransaction;

/// The progress that a page has made.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Built {
    /// The place behind the page.
    pub place: Cursor,
    /// The stored events that it held.
    pub read: u64,
    /// The time for which it was worked on.
    pub worked: Duration,
    /// The process that builds.
    pub builder: Uuid,
    /// The time for which no other process builds.
    pub lease: Duration,
}

impl OutboxTransaction {
    /// Reads the stored events behind a place of a build. An event that is committed when this
    /// begins, and is not in this page, is in a later one.
    ///
    /// # Errors
    /// [`EventStoreError::Cursor`] for a place that is none of this store.
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped.
    #[doc(hidden)]
    pub async fn build_page(
        &self,
        db: &OutboxConnection,
        of: &Selection,
        place: &Cursor,
        limit: usize,
    ) -> Result<Page, EventStoreError> {
        sequencer::run(db).await?;
        page::page(self, self.tables(), of, place, limit).await
    }

    /// Notes the progress of a build, which goes on.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn note_built(&self, key: &ProjectionKey, built: &Built) -> Result<(), Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let update = Sql::new(
            dialect,
            self.tables(),
            "UPDATE {projection} SET place = ?, built = built + ?, build_seconds = build_seconds \
             + ?, builder = ?, builder_expires_at = ?, failures = 0, failed_event = NULL, reason = \
             NULL WHERE name = ? AND version = ?",
            binds![
                built.place.to_string(),
                built.read.cast_signed(),
                built.worked.as_secs_f64(),
                built.builder,
                after(built.lease),
                &*key.name,
                key.number(),
            ],
        )
        .build();
        self.run_own(move |session| async move { session.execute_raw(update).await })
            .await?;
        Ok(())
    }

    /// Forgets the failures of a version.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn forget_failures(&self, key: &ProjectionKey) -> Result<(), Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let update = Sql::new(
            dialect,
            self.tables(),
            "UPDATE {projection} SET failures = 0, failed_event = NULL, reason = NULL \
             WHERE name = ? AND version = ?",
            binds![&*key.name, key.number()],
        )
        .build();
        self.run_own(move |session| async move { session.execute_raw(update).await })
            .await?;
        Ok(())
    }
}

impl OutboxConnection {
    /// Begins a build, or goes on with one: counts the stored events.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    #[doc(hidden)]
    pub async fn begin_build(&self, key: &ProjectionKey) -> Result<(), Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let refused = |error| Error::from_statement(backend, error);
        // By itself: within an UPDATE it would wait for every writer on MySQL, and they for it.
        let sum = dialect.sum("sequence");
        let select = format!("SELECT COALESCE({sum}, 0) FROM {{event_stream}}");
        let select = Sql::new(dialect, self.tables(), &select, binds![]).build();
        let row = self.shielded().query_one_raw(select).await;
        let total = row.map_err(refused)?;
        let total = total.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0));
        let total = total.map_err(Error::Database)?;
        let update = Sql::new(
            dialect,
            self.tables(),
            "UPDATE {projection} SET status = ?, total = ? WHERE name = ? AND version = ? AND \
             status IN (?, ?)",
            binds![
                ProjectionStatus::Building.as_str(),
                total,
                &*key.name,
                key.number(),
                ProjectionStatus::Building.as_str(),
                ProjectionStatus::Retired.as_str(),
            ],
        );
        let updated = self.shielded().execute_raw(update.build()).await;
        updated.map_err(refused)?;
        Ok(())
    }

    /// Returns aggregates whose checkpoint is ahead of the event store, with the numbers of their
    /// last events there: at most this many.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn checkpoints_ahead(
        &self,
        key: &ProjectionKey,
        limit: u64,
    ) -> Result<Vec<(String, i64, i64)>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT c.aggregate_id, c.sequence, s.sequence FROM {projection_checkpoint} c JOIN \
             {event_stream} s ON s.aggregate_type = c.aggregate_type AND s.aggregate_id = \
             c.aggregate_id WHERE c.projection = ? AND c.version = ? AND c.sequence > s.sequence \
             LIMIT ?",
            binds![&*key.name, key.number(), limit],
        );
        let rows = self.shielded().query_all_raw(select.build()).await;
        let rows = rows.map_err(|error| Error::from_statement(backend, error))?;
        let read = rows.iter().map(|row| {
            Ok((
                row.try_get_by_index(0)?,
                row.try_get_by_index(1)?,
                row.try_get_by_index(2)?,
            ))
        });
        read.collect::<Result<_, DbErr>>().map_err(Error::Database)
    }
}
