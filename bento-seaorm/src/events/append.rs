//! An append: the head of the aggregate is raised, then the events follow, in the store and in the
//! outbox.
//!
//! The head is raised by compare-and-set, which locks it until the transaction ends. So the events
//! of an aggregate get their positions in the order of their numbers.

use bento_core::EventId;
use bento_core::event::EventKind;
use bento_core::outbox::OutboxEntry;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, SqlErr, Statement};
use tracing::Instrument as _;

use super::span;
use crate::backend;
use crate::columns::{STORED, stored_list, stored_values};
use crate::dialect::{self, Dialect, Sql, binds, rows_of_placeholders};
use crate::error::Error;
use crate::outbox::{Chunks, OutboxWriter};
use crate::stream::{Head, StreamId};
use crate::tables::Tables;

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Appended {
    Done,
    /// The head is another one; nothing was written.
    Conflict,
}

impl OutboxWriter {
    /// Raises the head and writes the entries to the outbox in their order, and those that are
    /// events of the aggregate to the store: one statement on PostgreSQL, otherwise three and on
    /// MySQL four.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the head is another one: nothing was written. [`Error::NotMigrated`]
    /// without the tables, [`Error::AlreadyStored`] for an event whose id is that of a stored one,
    /// else what the database says.
    pub(crate) async fn append(
        &self,
        tx: &DatabaseTransaction,
        head: &Head,
        entries: Vec<OutboxEntry>,
    ) -> Result<(), Error> {
        let span = span::of_append(head);
        let append = async {
            match self.try_append(tx, head, entries).await? {
                Appended::Done => Ok(()),
                Appended::Conflict => {
                    let actual = self.head(tx, &head.stream).await?;
                    Err(head.conflict(Some(actual.unwrap_or(0)), None))
                }
            }
        };
        let answer = append.instrument(span.clone()).await;
        span::appended(&span, answer.as_ref().copied());
        answer
    }

    async fn try_append(
        &self,
        tx: &DatabaseTransaction,
        head: &Head,
        entries: Vec<OutboxEntry>,
    ) -> Result<Appended, Error> {
        let backend = tx.get_database_backend();
        let dialect = dialect::of(backend)?;
        let ids = ids(&entries);
        let append = Append {
            tx,
            dialect,
            tables: self.tables(),
            head,
        };
        let refused = |error| failure(dialect, head, ids, error);
        match dialect.append(self.tables(), head, entries) {
            Ok(statement) => append.at_once(statement).await.map_err(refused),
            Err(entries) => {
                let appended = append.store(&entries).await.map_err(refused)?;
                if appended == Appended::Done {
                    self.write(tx, entries).await?;
                }
                Ok(appended)
            }
        }
    }

    /// Reads the head of an aggregate as it is committed; `None` without one.
    ///
    /// # Errors
    /// An error of the database.
    pub(crate) async fn head(
        &self,
        tx: &DatabaseTransaction,
        stream: &StreamId,
    ) -> Result<Option<i64>, Error> {
        let dialect = dialect::of(tx.get_database_backend())?;
        // A locking read sees what was committed since this transaction began.
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT sequence FROM {event_stream} WHERE aggregate_type = ? AND aggregate_id = \
             ?{lock_rows}",
            binds![stream.aggregate_type, stream.aggregate_id.as_str()],
        );
        let row = tx.query_one_raw(select.build()).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
    }
}

struct Append<'a> {
    tx: &'a DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    head: &'a Head,
}

impl Append<'_> {
    async fn at_once(&self, statement: Statement) -> Result<Appended, DbErr> {
        let written = self.tx.execute_raw(statement).await?.rows_affected();
        Ok(match written {
            0 => Appended::Conflict,
            _ => Appended::Done,
        })
    }

    async fn store(&self, entries: &[OutboxEntry]) -> Result<Appended, DbErr> {
        if !self.raise_head().await? {
            return Ok(Appended::Conflict);
        }
        let limits = self.dialect.insert_limits();
        let events = entries.iter().filter(|entry| is_stored(entry)).cloned();
        for chunk in Chunks::new(events.collect(), limits) {
            let log = self.dialect.logs_events().then(|| self.log(&chunk));
            self.tx.execute_raw(self.insert(chunk)).await?;
            if let Some(log) = log {
                self.tx.execute_raw(log).await?;
            }
        }
        Ok(Appended::Done)
    }

    /// Returns false if the head is another one.
    async fn raise_head(&self) -> Result<bool, DbErr> {
        let Head {
            stream,
            before,
            after,
        } = self.head;
        let (aggregate_type, aggregate_id) = (stream.aggregate_type, stream.aggregate_id.as_str());
        let raise = if *before == 0 {
            let insert = Sql::new(
                self.dialect,
                self.tables,
                "INSERT INTO {event_stream} (aggregate_type, aggregate_id, sequence) \
                 VALUES (?, ?, ?)",
                binds![aggregate_type, aggregate_id, *after],
            );
            // Without RETURNING the number of rows does not tell a skipped one.
            match self.dialect.returning("sequence") {
                Some(_) => insert.or_leave(
                    self.tables.event_stream(),
                    &["aggregate_type", "aggregate_id"],
                ),
                None => insert,
            }
        } else {
            Sql::new(
                self.dialect,
                self.tables,
                "UPDATE {event_stream} SET sequence = ? WHERE aggregate_type = ? AND \
                 aggregate_id = ? AND sequence = ?",
                binds![*after, aggregate_type, aggregate_id, *before],
            )
        };
        match self.tx.execute_raw(raise.build()).await {
            Ok(raised) => Ok(raised.rows_affected() == 1),
            Err(error) if *before == 0 && self.dialect.is_duplicate(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The statement that notes events in the log of all events, without a position.
    fn log(&self, events: &[OutboxEntry]) -> Statement {
        let row = |entry: &OutboxEntry| {
            let event = &entry.envelope;
            binds![
                &*event.aggregate_type,
                event.aggregate_id.as_str(),
                event.sequence,
                &*event.event_type
            ]
        };
        let marks = vec!["(?, ?, ?, ?)"; events.len()].join(", ");
        let columns = "(aggregate_type, aggregate_id, sequence, event_type)";
        Sql::new(
            self.dialect,
            self.tables,
            &format!("INSERT INTO {{event_log}} {columns} VALUES {marks}"),
            events.iter().flat_map(row),
        )
        .build()
    }

    fn insert(&self, events: Vec<OutboxEntry>) -> Statement {
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {}",
            self.tables.event(),
            stored_list(),
            rows_of_placeholders(self.dialect, events.len(), STORED),
        );
        let time = |at| self.dialect.event_time(at);
        let values = events
            .into_iter()
            .flat_map(|entry| stored_values(entry.envelope, time));
        Statement::from_sql_and_values(self.dialect.backend(), sql, values)
    }
}

/// True for an event of the aggregate itself: integration events that are made from it go to the
/// outbox alone.
pub(crate) fn is_stored(entry: &OutboxEntry) -> bool {
    entry.envelope.kind == EventKind::Domain
}

fn ids(entries: &[OutboxEntry]) -> Vec<EventId> {
    let stored = entries.iter().filter(|entry| is_stored(entry));
    stored.map(|entry| entry.envelope.event_id).collect()
}

/// The error for the caller: a repeated id and a lost race are told apart from other errors.
fn failure(dialect: &dyn Dialect, head: &Head, ids: Vec<EventId>, source: DbErr) -> Error {
    let is_of_id = matches!(
        source.sql_err(),
        Some(SqlErr::UniqueConstraintViolation(text)) if text.contains("event_id")
    );
    if is_of_id {
        return Error::AlreadyStored {
            aggregate_type: head.stream.aggregate_type,
            id: head.stream.aggregate_id.clone(),
            event_ids: ids,
            source: Box::new(source),
        };
    }
    if backend::is_serialization_failure(dialect.backend(), &source) {
        return head.conflict(None, Some(source));
    }
    Error::from_statement(dialect.backend(), source)
}
