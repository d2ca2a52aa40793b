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
    /// begins, and is not in this page, is in a later one. Before it
    /// [`order_events`](OutboxConnection::order_events) has given most of them their places.
    ///
    /// # Errors
    /// [`EventStoreError::Cursor`] for a place that is none of this store.
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped.
    #[doc(hidden)]
    pub async fn build_page(
        &self,
        of: &Selection,
        place: &Cursor,
        limit: usize,
    ) -> Result<Page, EventStoreError> {
        let dialect = dialect::of(self.get_database_backend()).map_err(Error::from)?;
        let page = page::page(self, self.tables(), of, place, limit).await?;
        if !page.is_last || !dialect.logs_events() {
            return Ok(page);
        }
        // What was committed since then has no place yet, and only a page that is read behind it is
        // known to be the last one.
        sequencer::run_within(self).await?;
        page::page(self, self.tables(), of, place, limit).await
    }

    /// True if the version has projected an event that is stored.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn has_stored(&self, key: &ProjectionKey) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT 1 FROM {projection_checkpoint} c JOIN {event_stream} s ON s.aggregate_type = \
             c.aggregate_type AND s.aggregate_id = c.aggregate_id WHERE c.projection = ? AND \
             c.version = ? LIMIT 1",
            binds![&*key.name, key.number()],
        )
        .build();
        let row = self
            .run_own(move |session| async move { session.query_one_raw(select).await })
            .await?;
        Ok(row.is_some())
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
             + ?, builder = ?, builder_expires_at = ? WHERE name = ? AND version = ?",
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
    /// Gives stored events their places in the order of all events, where the database does not.
    /// Before the transaction of a page: one that waited here for a second connection could have
    /// the last one of the pool.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call goes on in the background.
    #[doc(hidden)]
    pub async fn order_events(&self) -> Result<(), Error> {
        sequencer::run(self).await
    }

    /// Begins a build, or goes on with one: counts the stored events that it reads.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    #[doc(hidden)]
    pub async fn begin_build(&self, key: &ProjectionKey, of: &Selection) -> Result<(), Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let refused = |error| Error::from_statement(backend, error);
        // By itself: within an UPDATE it would wait for every writer on MySQL, and they for it.
        let (count, binds) = match of {
            Selection::EventType(event_type) => (
                "SELECT COUNT(*) FROM {events} WHERE event_type = ?",
                binds![&**event_type].into(),
            ),
            _ => (
                "SELECT COALESCE({sum sequence}, 0) FROM {event_stream}",
                Vec::new(),
            ),
        };
        let count = Sql::new(dialect, self.tables(), count, binds).build();
        let total = self.shielded().query_one_raw(count).await;
        let total = total.map_err(refused)?;
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
