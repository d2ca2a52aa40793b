//! The writer of events into the outbox, inside the business transaction.
//!
//! Decision: docs/decisions/0016-one-statement-per-flush.md

mod known;
pub(crate) mod meta;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bento_core::EventId;
use bento_core::envelope::Envelope;
use bento_core::outbox::{ClockOffset, OutboxEntry, Sharding, writer_now};
use bento_relay::telemetry::TARGET_FLUSH;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use self::meta::{Expected, Recorded};
use crate::columns::{self, PARAMETERS};
use crate::dialect::{self, Dialect, InsertLimits, rows_of_placeholders};
use crate::error::Error;
use crate::tables::Tables;

/// The time for which a writer relies on the record that it has read: the sharding may be changed
/// while a writer runs, the tables may be cleared, and clocks drift apart.
const RELIABLE: Duration = Duration::from_secs(30);

/// The bytes of a row beside those of its texts.
const BESIDE: usize = 256;

/// Writes events into the outbox: one INSERT for a unit of work, ⌈n / limit⌉ beyond the limit of
/// the back end.
///
/// Shared by all transactions of a connection.
#[derive(Debug)]
pub(crate) struct OutboxWriter {
    tables: Tables,
    expected: Expected,
    known: Mutex<Option<Known>>,
    reliable: Duration,
    /// The text of an INSERT of 1, 2, … rows; longer ones are rare enough to be built each time.
    inserts: [OnceLock<String>; 64],
}

/// The recorded sharding and the difference of the clocks, as a writer has read them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) sharding: Sharding,
    /// The difference of the clocks. It is unknown in a transaction that cannot see a record which
    /// another transaction has just written.
    clock: Option<ClockOffset>,
    read: Instant,
    /// The time of reading, by the clock of this process.
    read_at: DateTime<Utc>,
}

impl Known {
    fn new(recorded: &Recorded) -> Self {
        Self {
            sharding: recorded.sharding,
            clock: recorded.clock,
            read: Instant::now(),
            read_at: writer_now(),
        }
    }

    /// The difference of the database's clock to that of this process; zero until it is known.
    pub(crate) fn clock(&self) -> ClockOffset {
        self.clock.unwrap_or_default()
    }

    /// True if the record was read a short time ago, and the clock of this process was not set
    /// since, and the machine was not asleep.
    fn is_reliable(&self, reliable: Duration) -> bool {
        let elapsed = self.read.elapsed();
        let by_clock = writer_now() - self.read_at;
        let went_on = TimeDelta::from_std(elapsed)
            .is_ok_and(|elapsed| (by_clock - elapsed).abs() <= ClockOffset::TOLERANCE);
        self.clock.is_some() && elapsed < reliable && went_on
    }
}

impl OutboxWriter {
    /// A writer to these tables. The expected values are recorded at the first use and compared
    /// later. Without an expected sharding the recorded one is used, or the default is recorded.
    pub(crate) fn new(tables: Tables, expected: Expected) -> Self {
        Self {
            tables,
            expected,
            known: Mutex::default(),
            reliable: RELIABLE,
            inserts: [const { OnceLock::new() }; 64],
        }
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Reads the sharding of the outbox and the clock of the database: one SELECT until
    /// [`confirm`](Self::confirm) was called, and one every 30 seconds after.
    ///
    /// # Errors
    /// [`Error::ShardingMismatch`] or [`Error::OtherApplication`] if the database says otherwise,
    /// [`Error::NotMigrated`] without the table.
    pub(crate) async fn look(&self, tx: &DatabaseTransaction) -> Result<Known, Error> {
        let known = *self.known();
        if let Some(known) = known.filter(|known| known.is_reliable(self.reliable)) {
            return Ok(known);
        }
        let read = Known::new(&meta::read_or_record(tx, &self.tables, &self.expected).await?);
        warn_of_clock(
            known.map(|known| known.clock()).unwrap_or_default(),
            read.clock(),
        );
        // At the first use this transaction may have made the record, and be rolled back.
        if known.is_some() {
            *self.known() = Some(read);
        }
        Ok(read)
    }

    /// Remembers the record after the commit: a record written in a transaction that is rolled back
    /// does not exist.
    pub(crate) fn confirm(&self, read: Known) {
        self.known().get_or_insert(read);
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the entries in their order, except those whose id is stored already; returns the ids
    /// of these.
    ///
    /// # Errors
    /// [`Error::NotMigrated`] without the table, else what the database says.
    pub(crate) async fn write(
        &self,
        tx: &DatabaseTransaction,
        mut entries: Vec<OutboxEntry>,
    ) -> Result<HashSet<EventId>, Error> {
        let backend = tx.get_database_backend();
        let dialect = dialect::of(backend)?;
        let values = |rows| self.insert_sql(dialect, rows);
        // To look for a known id costs PostgreSQL a sixth of the whole INSERT: it inserts each row
        // tentatively.
        let any_may_be_known = entries.iter().any(|entry| entry.may_be_known);
        let mut known = HashSet::new();
        // What is stored already leaves first; what another transaction writes at this moment is
        // seen by the INSERT itself.
        if any_may_be_known {
            known = known::leave_out(tx, dialect, &self.tables, &mut entries).await?;
        }
        for chunk in Chunks::new(entries, dialect.insert_limits()) {
            if any_may_be_known {
                known.extend(
                    known::insert_unless_there(tx, dialect, &self.tables, chunk, &values).await?,
                );
            } else {
                let statement = dialect.insert(&self.tables, chunk, "", &values);
                tx.execute_raw(statement)
                    .await
                    .map_err(|error| Error::from_statement(backend, error))?;
            }
        }
        Ok(known)
    }

    /// Writes the entries in their order, except those whose id is in the table: one INSERT, ⌈n /
    /// limit⌉ beyond the limit of the back end, and beyond `most` bytes. It does not look further.
    ///
    /// # Errors
    /// [`Error::NotMigrated`] without the table, else what the database says.
    pub(crate) async fn write_unless_there<C: ConnectionTrait>(
        &self,
        connection: &C,
        entries: Vec<OutboxEntry>,
        most: Option<usize>,
    ) -> Result<(), Error> {
        let backend = connection.get_database_backend();
        let dialect = dialect::of(backend)?;
        let values = |rows| self.insert_sql(dialect, rows);
        let end = dialect.or_leave(self.tables.outbox(), &["event_id"]);
        let mut limits = dialect.insert_limits();
        limits.bytes = limits.bytes.min(most.unwrap_or(usize::MAX));
        for chunk in Chunks::new(entries, limits) {
            let statement = dialect.insert(&self.tables, chunk, &end, &values);
            let written = connection.execute_raw(statement).await;
            written.map_err(|error| Error::from_statement(backend, error))?;
        }
        Ok(())
    }

    fn insert_sql(&self, dialect: &dyn Dialect, rows: usize) -> String {
        let build = || {
            format!(
                "INSERT INTO {} (shard, {}) VALUES {}",
                self.tables.outbox(),
                columns::list(),
                rows_of_placeholders(dialect, rows, PARAMETERS),
            )
        };
        match self.inserts.get(rows - 1) {
            Some(known) => known.get_or_init(build).clone(),
            None => build(),
        }
    }
}

/// Logs that the clocks differ, once for each new difference.
fn warn_of_clock(before: ClockOffset, now: ClockOffset) {
    let differs = now != ClockOffset::default();
    if differs && (now.as_delta() - before.as_delta()).abs() > ClockOffset::TOLERANCE {
        tracing::warn!(
            target: TARGET_FLUSH,
            seconds = now.as_delta().as_seconds_f64(),
            "the clock of this process differs from that of the database; events are written with \
             the time of the database",
        );
    }
}

/// Splits entries into parts that fit into one statement.
pub(crate) struct Chunks {
    rest: Vec<OutboxEntry>,
    limits: InsertLimits,
}

impl Chunks {
    pub(crate) fn new(entries: Vec<OutboxEntry>, limits: InsertLimits) -> Self {
        Self {
            rest: entries,
            limits,
        }
    }

    /// The number of the remaining entries that fit. It is at least one: the database refuses a
    /// single event that is too large for a statement.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let within = self.rest.iter().take(self.limits.rows).take_while(|entry| {
            bytes += bytes_of(&entry.envelope);
            bytes <= self.limits.bytes
        });
        within.count().max(1)
    }
}

impl Iterator for Chunks {
    type Item = Vec<OutboxEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let fitting = self.fitting();
        let rest = self.rest.split_off(fitting);
        Some(std::mem::replace(&mut self.rest, rest))
    }
}

/// The bytes of a row: its values of any length, and a little for the others.
fn bytes_of(envelope: &Envelope) -> usize {
    let texts = [
        &*envelope.event_type,
        &*envelope.aggregate_type,
        &*envelope.aggregate_id,
    ];
    let texts = texts.iter().map(|text| text.len()).sum::<usize>();
    let bodies = envelope.payload.len() + envelope.headers.len() + envelope.routing.len();
    texts + bodies + BESIDE
}
