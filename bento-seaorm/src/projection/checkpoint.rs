//! Checkpoints: the number of the last event of each aggregate that a version has seen; and the
//! stored events that one has not seen.

use std::collections::{BTreeMap, HashMap, HashSet};

use bento_core::{Envelope, EventId};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, Checkpoints, Gap, ProjectionKey};
use crate::dialect::{self, Bind, Sql, any_of_ids, binds};
use crate::entity::envelope_at;
use crate::error::Error;
use crate::transaction::OutboxTransaction;

/// The most rows of one statement.
const ROWS: usize = 1_000;

/// The most gaps of one query.
const GAPS: usize = 200;

impl OutboxTransaction {
    /// Reads the checkpoints of these aggregates, each a type and a key. Returns the numbers by
    /// type and key; an aggregate without a checkpoint is left out.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn checkpoints(
        &self,
        key: &ProjectionKey,
        aggregates: impl IntoIterator<Item = (&str, &str)> + Send,
    ) -> Result<HashMap<String, HashMap<String, i64>>, Error> {
        let mut by_type: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (aggregate_type, id) in aggregates {
            by_type
                .entry(aggregate_type)
                .or_default()
                .push(id.to_owned());
        }
        let mut found = HashMap::new();
        for (aggregate_type, ids) in by_type {
            let of_type: &mut HashMap<_, _> = found.entry(aggregate_type.to_owned()).or_default();
            for ids in ids.chunks(ROWS) {
                let rows = self
                    .checkpoints_of(key, aggregate_type, ids.to_vec())
                    .await?;
                for row in &rows {
                    let read = || Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
                    let (id, sequence): (String, i64) = read().map_err(Error::Database)?;
                    of_type.insert(id, sequence);
                }
            }
        }
        Ok(found)
    }

    async fn checkpoints_of(
        &self,
        key: &ProjectionKey,
        aggregate_type: &str,
        ids: Vec<String>,
    ) -> Result<Vec<QueryResult>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = dialect.read_checkpoints(Checkpoints {
            tables: self.tables(),
            key,
            aggregate_type,
            ids,
        });
        self.run_own(move |session| async move { session.query_all_raw(select).await })
            .await
    }

    /// Writes these checkpoints, each of another aggregate.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn write_checkpoints(
        &self,
        key: &ProjectionKey,
        checkpoints: Vec<Checkpoint>,
    ) -> Result<(), Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let mut rest = checkpoints;
        while !rest.is_empty() {
            let more = rest.split_off(rest.len().min(ROWS));
            let write = dialect.write_checkpoints(self.tables(), key, rest);
            self.run_own(move |session| async move { session.execute_raw(write).await })
                .await?;
            rest = more;
        }
        Ok(())
    }

    /// Returns those of these events that are in the event store.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn stored_among(&self, events: &[EventId]) -> Result<HashSet<EventId>, Error> {
        let select = "SELECT event_id FROM {events} WHERE event_id IN (?)";
        self.among(select, binds![], events).await
    }

    /// Returns those of these events that an operator has said to leave out.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn skipped_among(
        &self,
        key: &ProjectionKey,
        events: &[EventId],
    ) -> Result<HashSet<EventId>, Error> {
        let select = "SELECT event_id FROM {projection_skip} WHERE projection = ? AND version = ? \
                      AND event_id IN (?)";
        self.among(select, binds![&*key.name, key.number()], events)
            .await
    }

    async fn among(
        &self,
        select: &str,
        binds: impl IntoIterator<Item = Bind>,
        events: &[EventId],
    ) -> Result<HashSet<EventId>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let ids: Vec<Uuid> = events.iter().map(|event| *event.as_uuid()).collect();
        let binds = binds.into_iter().chain([any_of_ids(ids)]);
        let select = Sql::new(dialect, self.tables(), select, binds).build();
        let rows = self
            .run_own(move |session| async move { session.query_all_raw(select).await })
            .await?;
        let ids = rows
            .iter()
            .map(|row| row.try_get_by_index::<Uuid>(0).map(EventId::from));
        ids.collect::<Result<_, DbErr>>().map_err(Error::Database)
    }

    /// Reads the stored events in these gaps, of these types where some are given: at most this
    /// many, those of an aggregate in their order.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn events_in(
        &self,
        gaps: &[Gap],
        types: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<Envelope>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let mut events: Vec<Envelope> = Vec::new();
        for gaps in gaps.chunks(GAPS) {
            let limit = limit.saturating_sub(events.len());
            if limit == 0 {
                break;
            }
            let select = dialect.events_in(self.tables(), gaps, types, limit as u64);
            let rows = self
                .run_own(move |session| async move { session.query_all_raw(select).await })
                .await?;
            let read = rows.iter().map(|row| envelope_at(row, 0));
            events.extend(
                read.collect::<Result<Vec<_>, DbErr>>()
                    .map_err(Error::Database)?,
            );
        }
        Ok(events)
    }
}
