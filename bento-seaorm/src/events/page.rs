//! Stored events in pages.

use std::sync::Arc;

use bento_relay::event_store::{Cursor, EventStoreError, Page, Selection, StoredEvent};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use super::place::Place;
use crate::dialect::{self, Dialect, Sql, binds};
use crate::entity::envelope_at;
use crate::error::Error;
use crate::stream::{Difference, PageOf, is_stored};
use crate::tables::Tables;

/// The largest number of events in a page.
const LARGEST: usize = 10_000;

/// Reads a page of events.
///
/// # Errors
/// [`EventStoreError::Cursor`] for a place that is none of these events; else what the database
/// says.
pub(crate) async fn page<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
    of: &Selection,
    after: &Cursor,
    limit: usize,
) -> Result<Page, EventStoreError> {
    let dialect = dialect::of(connection.get_database_backend()).map_err(Error::from)?;
    let reader = Reader {
        connection,
        dialect,
        tables,
        limit: limit.clamp(1, LARGEST),
    };
    let event_type = match of {
        Selection::Aggregate {
            aggregate_type,
            aggregate_id,
        } => {
            if !is_stored(aggregate_type) || !is_stored(aggregate_id) {
                return Ok(nothing(after));
            }
            return reader
                .of_aggregate(aggregate_type, aggregate_id, after)
                .await;
        }
        Selection::EventType(event_type) if !is_stored(event_type) => return Ok(nothing(after)),
        Selection::EventType(event_type) => Some(event_type.as_str()),
        Selection::All => None,
    };
    match dialect.reads_differences() {
        true => reader.by_differences(event_type, after).await,
        false => reader.by_positions(event_type, after).await,
    }
}

/// The only page of a selection that no event is in.
fn nothing(after: &Cursor) -> Page {
    Page::new(Vec::new(), after.clone(), true)
}

struct Reader<'a, C> {
    connection: &'a C,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    limit: usize,
}

impl<C: ConnectionTrait> Reader<'_, C> {
    async fn of_aggregate(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: &Cursor,
    ) -> Result<Page, EventStoreError> {
        let sequence = plain(after)?;
        let select = Sql::new(
            self.dialect,
            self.tables,
            "SELECT {read_stored_event} FROM {events} WHERE aggregate_type = ? AND aggregate_id = \
             ? AND sequence > ? ORDER BY sequence LIMIT ?",
            binds![aggregate_type, aggregate_id, sequence, self.limit as u64],
        );
        let rows = self.rows(select.build()).await?;
        let events = rows.iter().map(|row| {
            let envelope = envelope_at(row, 0)?;
            let behind = Cursor::new(envelope.sequence.unwrap_or_default(), None);
            Ok(StoredEvent::new(envelope, behind))
        });
        self.page_of(
            events.collect::<Result<_, DbErr>>().map_err(Error::from)?,
            after,
        )
    }

    async fn by_positions(
        &self,
        event_type: Option<&str>,
        after: &Cursor,
    ) -> Result<Page, EventStoreError> {
        let position = plain(after)?;
        let select = self.dialect.page_of_events(PageOf {
            tables: self.tables,
            event_type,
            after: position,
            limit: self.limit as u64,
            difference: Difference::EVERYTHING,
        });
        let rows = self.rows(select).await?;
        let events = rows.iter().map(|row| {
            let position = row.try_get_by_index(0)?;
            Ok(StoredEvent::new(
                envelope_at(row, 1)?,
                Cursor::new(position, None),
            ))
        });
        self.page_of(
            events.collect::<Result<_, DbErr>>().map_err(Error::from)?,
            after,
        )
    }

    /// A page whose places are numbers.
    fn page_of(&self, events: Vec<StoredEvent>, after: &Cursor) -> Result<Page, EventStoreError> {
        let next = events.last().map_or(after, |last| &last.cursor).clone();
        let is_last = events.len() < self.limit;
        Ok(Page::new(events, next, is_last))
    }

    /// Reads the difference between two snapshots of the database, and then the next one, until
    /// there are events or nothing more is stored.
    async fn by_differences(
        &self,
        event_type: Option<&str>,
        after: &Cursor,
    ) -> Result<Page, EventStoreError> {
        let mut place = Place::of(after)?;
        loop {
            let (events, read) = self.difference(event_type, place, after).await?;
            let is_over = events.len() < self.limit;
            let next = if is_over { read.into_next() } else { read };
            let is_last = is_over && next.was_present;
            if is_last || !events.is_empty() {
                let next = match events.last() {
                    Some(last) if !is_over => last.cursor.clone(),
                    _ => next.cursor(),
                };
                return Ok(Page::new(events, next, is_last));
            }
            place = next;
        }
    }

    /// Reads a part of one difference, and returns the place behind it.
    async fn difference(
        &self,
        event_type: Option<&str>,
        mut place: Place,
        after: &Cursor,
    ) -> Result<(Vec<StoredEvent>, Place), EventStoreError> {
        let select = self.dialect.page_of_events(PageOf {
            tables: self.tables,
            event_type,
            after: place.position,
            limit: self.limit as u64,
            difference: place.difference(),
        });
        let rows = self.rows(select).await?;
        let first = rows.first().ok_or_else(|| {
            Error::from(DbErr::RecordNotFound(
                "the snapshot of the database".to_owned(),
            ))
        })?;
        self.refuse_foreign(first, after)?;
        place.read_up_to(first.try_get_by_index(0).map_err(Error::from)?);
        let basis = place.basis();
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let position: Option<i64> = row.try_get_by_index(2).map_err(Error::from)?;
            let Some(position) = position else { break };
            place.position = position;
            let behind = Cursor::new(position, Some(Arc::clone(&basis)));
            let envelope = envelope_at(row, 3).map_err(Error::from)?;
            events.push(StoredEvent::new(envelope, behind));
        }
        Ok((events, place))
    }

    /// Refuses to go on where numbers of transactions are those of another server.
    fn refuse_foreign(&self, row: &QueryResult, after: &Cursor) -> Result<(), EventStoreError> {
        let is_foreign: bool = row.try_get_by_index(1).map_err(Error::from)?;
        if !is_foreign {
            return Ok(());
        }
        let event = self.tables.event();
        Err(EventStoreError::Cursor {
            cursor: after.clone(),
            reason: format!(
                "the place, or the events in `{event}`, are of another database server, as after \
                 a restored dump; run `UPDATE {event} SET transaction = pg_current_xact_id()` once \
                 as the owner of the table, and read from `Cursor::START` again"
            ),
        })
    }

    async fn rows(&self, select: Statement) -> Result<Vec<QueryResult>, EventStoreError> {
        let rows = self.connection.query_all_raw(select).await;
        Ok(rows.map_err(|error| Error::from_statement(self.dialect.backend(), error))?)
    }
}

/// The number of a place without a basis.
fn plain(place: &Cursor) -> Result<i64, EventStoreError> {
    match place.basis() {
        None => Ok(place.position()),
        Some(_) => Err(EventStoreError::Cursor {
            cursor: place.clone(),
            reason: "it is a place in another selection, or of another store; begin with \
                     `Cursor::START`"
                .to_owned(),
        }),
    }
}
