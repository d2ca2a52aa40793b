//! The memory of the events that handlers have handled, so that none is handled twice.
//!
//! Not public API: used by `bento-handlers`.

use std::collections::HashSet;
use std::time::Duration;

use bento_core::EventId;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use uuid::Uuid;

use crate::connection::OutboxConnection;
use crate::dialect::{self, Dialect, Sql, before, binds};
use crate::error::Error;
use crate::session;
use crate::tables::Tables;
use crate::transaction::OutboxTransaction;

/// The outcome of an event for a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Handled,
    Skipped,
}

impl Outcome {
    /// The text in the column.
    fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Skipped => "skipped",
        }
    }
}

impl OutboxTransaction {
    /// True if another transaction was in the way of this one.
    #[doc(hidden)]
    pub fn was_contended(&self) -> bool {
        self.contention().is_noted()
    }

    /// Records that a handler has handled an event, if this transaction commits. Returns false if
    /// it is recorded already. Waits for another transaction that is recording the same.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_handled(&self, handler: &str, event: EventId) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let record = record(dialect, self.tables(), handler, event, Outcome::Handled);
        self.run_own(move |session| async move { insert(&*session, dialect, record).await })
            .await
    }

    /// Records that a handler has handled several events, if this transaction commits, in one
    /// statement, two on MySQL. Returns those that were not recorded already.
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
    ) -> Result<HashSet<EventId>, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let mut new: HashSet<_> = events.iter().copied().collect();
        let returning = dialect.returning("event_id");
        if returning.is_none() {
            let known = known(dialect, self.tables(), handler, events);
            let known = self
                .run_own(move |session| async move { session.query_all_raw(known).await })
                .await?;
            for row in &known {
                new.remove(&event_id(row)?);
            }
        }
        let rest: Vec<_> = events.iter().filter(|event| new.contains(event)).collect();
        if rest.is_empty() {
            return Ok(new);
        }
        let rows = vec!["(?, ?, ?, {now})"; rest.len()].join(", ");
        let insert = format!(
            "INSERT INTO {{handled_event}} (handler, event_id, outcome, handled_at) VALUES {rows}"
        );
        let outcome = Outcome::Handled.as_str();
        let binds = rest
            .iter()
            .flat_map(|event| binds![handler, *event.as_uuid(), outcome]);
        let key = ["handler", "event_id"];
        let end = dialect.or_tell(self.tables().handled_event(), &key);
        let insert = Sql::new(dialect, self.tables(), &insert, binds).then(&end, []);
        let Some(returning) = returning else {
            let insert = insert.build();
            self.run_own(move |session| async move { session.execute_raw(insert).await })
                .await?;
            return Ok(new);
        };
        let insert = insert.then(&returning, []).build();
        let inserted = self
            .run_own(move |session| async move { session.query_all_raw(insert).await })
            .await?;
        inserted.iter().map(event_id).collect()
    }
}

fn event_id(row: &QueryResult) -> Result<EventId, Error> {
    let id: Uuid = row.try_get_by_index(0).map_err(Error::Database)?;
    Ok(id.into())
}

/// The query for those of the events that are recorded.
fn known(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    handler: &str,
    events: &[EventId],
) -> Statement {
    let places = vec!["?"; events.len()].join(", ");
    let select = format!(
        "SELECT event_id FROM {{handled_event}} WHERE handler = ? AND event_id IN ({places})"
    );
    let events = events.iter().flat_map(|event| binds![*event.as_uuid()]);
    let binds = binds![handler].into_iter().chain(events);
    Sql::new(dialect, tables, &select, binds).build()
}

impl OutboxConnection {
    /// True if an error says nothing of the work itself: another transaction was in the way, or no
    /// connection was free in time.
    #[doc(hidden)]
    pub fn may_succeed_later(&self, error: &Error) -> bool {
        let has_no_connection =
            matches!(error.database_source(), Some(DbErr::ConnectionAcquire(_)));
        has_no_connection || self.is_contention(error)
    }

    /// Records that a handler has handled an event. Returns false if it is recorded already.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_handled(&self, handler: &str, event: EventId) -> Result<bool, Error> {
        self.record(handler, event, Outcome::Handled).await
    }

    /// Records that a handler has skipped an event. Returns false if it is recorded already.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn record_skipped(&self, handler: &str, event: EventId) -> Result<bool, Error> {
        self.record(handler, event, Outcome::Skipped).await
    }

    /// True if it is recorded that a handler has handled or skipped an event.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn is_handled(&self, handler: &str, event: EventId) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT 1 FROM {handled_event} WHERE handler = ? AND event_id = ?",
            binds![handler, *event.as_uuid()],
        );
        let select = select.build();
        let db = self.inner().clone();
        let found = session::to_the_end(async move { db.query_one_raw(select).await }).await;
        found
            .map(|row| row.is_some())
            .map_err(|error| Error::from_statement(dialect.backend(), error))
    }

    /// Removes records that are older than `age`, up to `rows` of them, and returns their number. A
    /// record stays as long as its event is in the outbox, held or a dead letter.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn prune_handled(&self, age: Duration, rows: u32) -> Result<u64, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let is_elsewhere = ["{outbox}", "{held}", "{dead_letter}"].map(|table| {
            format!(
                "AND NOT EXISTS (SELECT 1 FROM {table} kept WHERE kept.event_id = \
                 {{handled_event}}.event_id)"
            )
        });
        let old = format!(
            "WHERE handled_at <= (SELECT ?) {} ORDER BY handled_at LIMIT ?",
            is_elsewhere.join(" ")
        );
        let delete = dialect.delete_some("{handled_event}", "handler, event_id", &old);
        let binds = binds![before(age), i64::from(rows)];
        let delete = Sql::new(dialect, self.tables(), &delete, binds).build();
        let db = self.inner().clone();
        let deleted = session::to_the_end(async move { db.execute_raw(delete).await }).await;
        deleted
            .map(|done| done.rows_affected())
            .map_err(|error| Error::from_statement(dialect.backend(), error))
    }

    async fn record(&self, handler: &str, event: EventId, outcome: Outcome) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let record = record(dialect, self.tables(), handler, event, outcome);
        let db = self.inner().clone();
        let inserted = session::to_the_end(async move { insert(&db, dialect, record).await }).await;
        inserted.map_err(|error| Error::from_statement(dialect.backend(), error))
    }
}

fn record(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    handler: &str,
    event: EventId,
    outcome: Outcome,
) -> Statement {
    let insert = "INSERT INTO {handled_event} (handler, event_id, outcome, handled_at) \
                  VALUES (?, ?, ?, {now})";
    let end = dialect.or_tell(tables.handled_event(), &["handler", "event_id"]);
    Sql::new(
        dialect,
        tables,
        insert,
        binds![handler, *event.as_uuid(), outcome.as_str()],
    )
    .then(&end, [])
    .build()
}

/// Runs the INSERT of a record. Returns false if the record is there already.
async fn insert<C: ConnectionTrait>(
    connection: &C,
    dialect: &'static dyn Dialect,
    record: Statement,
) -> Result<bool, DbErr> {
    match connection.execute_raw(record).await {
        Ok(done) => Ok(done.rows_affected() > 0),
        Err(error) if dialect.is_duplicate(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
