//! The memory of the events that handlers have handled, so that none is handled twice unless an
//! operator says so.
//!
//! A record is made once for a handler and an event. *Handle again* marks it, and raises its
//! generation; the next call takes it over as it would make a new one.
//!
//! Not public API: used by `bento-handlers`.

use std::collections::HashMap;
use std::time::Duration;

use bento_core::EventId;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use uuid::Uuid;

use crate::connection::OutboxConnection;
use crate::dialect::{self, Bind, Dialect, Sql, before, binds};
use crate::error::Error;
use crate::session;
use crate::tables::Tables;
use crate::transaction::OutboxTransaction;

/// The outcome of an event for a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Handled,
    Skipped,
    /// An operator has discarded its dead letter.
    Discarded,
    /// An operator wants it handled once more.
    Again,
}

impl Outcome {
    /// The text in the column.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Skipped => "skipped",
            Self::Discarded => "discarded",
            Self::Again => "again",
        }
    }
}

/// The key of a record.
pub(crate) const KEY: [&str; 2] = ["handler", "event_id"];

/// The condition that a record is to be handled again.
pub(crate) const IS_AGAIN: &str = "{handled_event}.outcome = 'again'";

/// The record of an event for a handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct HandledRecord {
    /// True if the event was handled, skipped or discarded, and is not to be handled again.
    pub is_done: bool,
    /// The number of times that an operator has asked to handle it again.
    pub generation: u32,
}

impl OutboxTransaction {
    /// True if another transaction was in the way of this one. A save that met another version does
    /// not count: it may meet it each time.
    #[doc(hidden)]
    pub fn was_contended(&self) -> bool {
        self.contention().is_noted()
    }

    /// Records that a handler has handled an event, if this transaction commits. Returns its
    /// generation; `None` if it is recorded already. Waits for another transaction that is
    /// recording the same.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_handled(
        &self,
        handler: &str,
        event: EventId,
    ) -> Result<Option<u32>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let claim = Claim::new(
            dialect,
            self.tables(),
            handler,
            event,
            Outcome::Handled,
            None,
        );
        self.run_own(move |session| async move { claim.run(&*session).await })
            .await
    }

    /// Records that a handler has handled several events, if this transaction commits, in one
    /// statement, two on MySQL. Returns those that were not recorded already, each with its
    /// generation.
    ///
    /// # Errors
    /// [`Error`]; on MySQL a contention if another transaction records one of them meanwhile.
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_batch_handled(
        &self,
        handler: &str,
        events: &[EventId],
    ) -> Result<HashMap<EventId, u32>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let (tables, outcome) = (self.tables(), Outcome::Handled);
        let mut new = HashMap::new();
        let mut rest: HashMap<_, _> = events.iter().map(|&event| (event, 0)).collect();
        let returning = dialect.returning("event_id, generation");
        if returning.is_none() {
            let known = known(dialect, tables, handler, events);
            let known = self
                .run_own(move |session| async move { session.query_all_raw(known).await })
                .await?;
            for row in &known {
                let read = || Ok((event_at(row)?, record_at(row, 1)?));
                let (event, record) = read().map_err(Error::Database)?;
                rest.remove(&event);
                if !record.is_done {
                    let generation = Some(record.generation);
                    let claim = Claim::new(dialect, tables, handler, event, outcome, generation);
                    let claimed = self
                        .run_own(move |session| async move { claim.run(&*session).await })
                        .await?;
                    new.extend(claimed.map(|generation| (event, generation)));
                }
            }
        }
        if rest.is_empty() {
            return Ok(new);
        }
        let row = "(?, ?, ?, 0, {now})";
        let rows = vec![row; rest.len()].join(", ");
        let insert = format!("{INSERT} {rows}");
        let binds = rest
            .keys()
            .flat_map(|event| binds![handler, *event.as_uuid(), outcome.as_str()]);
        let insert = Sql::new(dialect, tables, &insert, binds);
        let Some(returning) = returning else {
            let insert = insert.build();
            self.run_own(move |session| async move { session.execute_raw(insert).await })
                .await?;
            new.extend(rest);
            return Ok(new);
        };
        let insert = insert
            .then(&replaces(dialect, IS_AGAIN), [])
            .then(&returning, [])
            .build();
        let inserted = self
            .run_own(move |session| async move { session.query_all_raw(insert).await })
            .await?;
        let inserted = inserted
            .iter()
            .map(|row| Ok((event_at(row)?, generation_at(row, 1)?)));
        inserted
            .collect::<Result<_, DbErr>>()
            .map_err(Error::Database)
    }
}

fn event_at(row: &QueryResult) -> Result<EventId, DbErr> {
    row.try_get_by_index::<Uuid>(0).map(EventId::from)
}

fn generation_at(row: &QueryResult, column: usize) -> Result<u32, DbErr> {
    row.try_get_by_index::<i32>(column).map(i32::cast_unsigned)
}

/// Reads the outcome and the generation from a column and the one behind it.
pub(crate) fn record_at(row: &QueryResult, column: usize) -> Result<HandledRecord, DbErr> {
    let outcome: String = row.try_get_by_index(column)?;
    Ok(HandledRecord {
        is_done: outcome != Outcome::Again.as_str(),
        generation: generation_at(row, column + 1)?,
    })
}

/// The query for the records of these events.
fn known(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    handler: &str,
    events: &[EventId],
) -> Statement {
    let places = vec!["?"; events.len()].join(", ");
    let select = format!(
        "SELECT event_id, outcome, generation FROM {{handled_event}} \
         WHERE handler = ? AND event_id IN ({places})"
    );
    let events = events.iter().flat_map(|event| binds![*event.as_uuid()]);
    let binds = binds![handler].into_iter().chain(events);
    Sql::new(dialect, tables, &select, binds).build()
}

/// The beginning of an INSERT of records.
pub(crate) const INSERT: &str = "INSERT INTO {handled_event} \
    (handler, event_id, outcome, generation, handled_at) VALUES";

/// The end of an INSERT that takes a record over for which the condition holds, and leaves others.
pub(crate) fn replaces(dialect: &dyn Dialect, condition: &str) -> String {
    let columns = ["handled_at", "outcome"];
    dialect.or_replace_if("{handled_event}", &KEY, &columns, condition)
}

/// The making of a record, or the taking over of one that is to be handled again.
struct Claim {
    dialect: &'static dyn Dialect,
    insert: Statement,
    generation: u32,
    /// The statements for a record that exists, on a back end whose INSERT does not do it.
    known: Option<Known>,
}

struct Known {
    take: Statement,
    select: Statement,
}

impl Claim {
    /// A claim; only of a record of this generation, if one is named.
    fn new(
        dialect: &'static dyn Dialect,
        tables: &Tables,
        handler: &str,
        event: EventId,
        outcome: Outcome,
        generation: Option<u32>,
    ) -> Self {
        let (id, number) = (
            *event.as_uuid(),
            generation.unwrap_or_default().cast_signed(),
        );
        let sql = |text: &str, binds: Vec<Bind>| Sql::new(dialect, tables, text, binds);
        let insert = sql(
            &format!("{INSERT} (?, ?, ?, ?, {{now}})"),
            binds![handler, id, outcome.as_str(), number].into(),
        );
        let (insert, known) = match dialect.returning("generation") {
            Some(returning) => {
                let of_generation =
                    format!("{IS_AGAIN} AND {{handled_event}}.generation = excluded.generation");
                let condition = generation.map_or(IS_AGAIN, |_| &of_generation);
                let insert = insert.then(&replaces(dialect, condition), []);
                (insert.then(&returning, []), None)
            }
            None => {
                let take = sql(
                    "UPDATE {handled_event} SET outcome = ?, handled_at = {now} \
                     WHERE handler = ? AND event_id = ? AND outcome = 'again'",
                    binds![outcome.as_str(), handler, id].into(),
                );
                let take = match generation {
                    Some(_) => take.then(" AND generation = ?", binds![number]),
                    None => take,
                };
                let select = sql(
                    "SELECT generation FROM {handled_event} WHERE handler = ? AND event_id = ?",
                    binds![handler, id].into(),
                );
                let (take, select) = (take.build(), select.build());
                (insert, Some(Known { take, select }))
            }
        };
        Self {
            dialect,
            insert: insert.build(),
            generation: number.cast_unsigned(),
            known,
        }
    }

    /// Returns the generation; `None` if the record is there already.
    async fn run(self, connection: &impl ConnectionTrait) -> Result<Option<u32>, DbErr> {
        let generation_of =
            |rows: Vec<QueryResult>| rows.first().map(|row| generation_at(row, 0)).transpose();
        let Some(Known { take, select }) = self.known else {
            return generation_of(connection.query_all_raw(self.insert).await?);
        };
        match connection.execute_raw(self.insert).await {
            Ok(_) => return Ok(Some(self.generation)),
            Err(error) if self.dialect.is_duplicate(&error) => {}
            Err(error) => return Err(error),
        }
        if connection.execute_raw(take).await?.rows_affected() == 0 {
            return Ok(None);
        }
        generation_of(connection.query_all_raw(select).await?)
    }
}

impl OutboxConnection {
    /// Begins the transaction of a handler, at READ COMMITTED. The database ends it when its
    /// session is idle for longer than this, so that a frozen process does not keep the event from
    /// others; SQLite and MySQL have no such limit, MariaDB has.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Refused`].
    ///
    /// # Cancel safety
    /// A transaction that has begun is rolled back in the background.
    #[doc(hidden)]
    pub async fn begin_handling(&self, idle: Duration) -> Result<OutboxTransaction, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let first = dialect.prepare_handler_transaction(idle);
        if dialect.lift_idle_limit().is_some() {
            self.settings.note_idle_limit();
        }
        let options = dialect.handler_transaction();
        self.begin_first(options, first.map(Into::into)).await
    }

    /// True if an error says nothing of the work itself: another transaction was in the way, or no
    /// connection was free in time.
    #[doc(hidden)]
    pub fn may_succeed_later(&self, error: &Error) -> bool {
        let has_no_connection =
            matches!(error.database_source(), Some(DbErr::ConnectionAcquire(_)));
        has_no_connection || self.is_contention(error)
    }

    /// Records that a handler has handled an event in this generation. Returns false if it is
    /// recorded already, or in a later one.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_handled(
        &self,
        handler: &str,
        event: EventId,
        generation: u32,
    ) -> Result<bool, Error> {
        self.record(handler, event, Outcome::Handled, generation)
            .await
    }

    /// Records that a handler has skipped an event in this generation. Returns false if it is
    /// recorded already, or in a later one.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_skipped(
        &self,
        handler: &str,
        event: EventId,
        generation: u32,
    ) -> Result<bool, Error> {
        self.record(handler, event, Outcome::Skipped, generation)
            .await
    }

    /// Reads the record of an event; the default if there is none.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn handled_record(
        &self,
        handler: &str,
        event: EventId,
    ) -> Result<HandledRecord, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = known(dialect, self.tables(), handler, &[event]);
        let db = self.inner().clone();
        let found = session::to_the_end(async move { db.query_one_raw(select).await }).await;
        let row = found.map_err(|error| Error::from_statement(dialect.backend(), error))?;
        let record = row.map(|row| record_at(&row, 1)).transpose();
        record
            .map(Option::unwrap_or_default)
            .map_err(Error::Database)
    }

    /// Removes records that are older than `age`, up to `rows` of them, and returns their number. A
    /// record stays as long as its event is in the outbox or the inbox, held or a dead letter. One
    /// that an operator has marked stays for good: its generation must not come again.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn prune_handled(&self, age: Duration, rows: u32) -> Result<u64, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let (outbox, inbox) = (self.tables().outbox_side(), self.tables().inbox());
        let kept = [&outbox, &inbox]
            .map(|tables| [tables.outbox(), tables.held(), tables.dead_letter()])
            .concat();
        let is_elsewhere = kept.iter().map(|table| {
            format!(
                "AND NOT EXISTS (SELECT 1 FROM {table} kept WHERE kept.event_id = \
                 {{handled_event}}.event_id)"
            )
        });
        let is_elsewhere: Vec<_> = is_elsewhere.collect();
        let old = format!(
            "WHERE handled_at <= (SELECT ?) AND generation = 0 {} ORDER BY handled_at LIMIT ?",
            is_elsewhere.join(" ")
        );
        let delete = dialect.delete_some("{handled_event}", "handler, event_id", &old);
        let binds = binds![before(age), i64::from(rows)];
        let delete = Sql::new(dialect, self.tables(), &delete, binds).build();
        // Above READ COMMITTED MySQL locks the gaps that the subqueries find empty: nothing could
        // be written to the outbox and the inbox meanwhile.
        let (db, options) = (self.inner().clone(), dialect.relay_transaction());
        let deleted = session::to_the_end(async move {
            let tx = session::begin(&db, options, None).await?;
            let done = tx.execute_raw(delete).await?;
            tx.commit().await?;
            Ok(done.rows_affected())
        });
        let deleted = deleted.await;
        deleted.map_err(|error| Error::from_statement(dialect.backend(), error))
    }

    async fn record(
        &self,
        handler: &str,
        event: EventId,
        outcome: Outcome,
        generation: u32,
    ) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let (tables, generation) = (self.tables(), Some(generation));
        let claim = Claim::new(dialect, tables, handler, event, outcome, generation);
        let db = self.inner().clone();
        let claimed = session::to_the_end(async move { claim.run(&db).await }).await;
        let claimed = claimed.map_err(|error| Error::from_statement(dialect.backend(), error))?;
        Ok(claimed.is_some())
    }
}
