//! Writing events into the outbox, inside the business transaction.

mod known;
pub(crate) mod meta;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bento_core::EventId;
use bento_core::outbox::{OutboxEntry, Sharding};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use self::meta::Expected;
use crate::dialect::{self, Dialect, InsertLimits, PARAMETERS, rows_of_placeholders};
use crate::entity::written_columns;
use crate::error::Error;
use crate::tables::Tables;

/// How long a writer relies on the division that it has read. Somebody may change it while a writer runs, or clear the tables.
const RELIABLE: Duration = Duration::from_secs(30);

/// Writes events into the outbox: one INSERT for a unit of work, ⌈n / limit⌉ beyond the limit of the back end.
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

/// The recorded division, and when it was read.
#[derive(Clone, Copy, Debug)]
struct Known {
    sharding: Sharding,
    read: Instant,
}

impl OutboxWriter {
    /// A writer to these tables. What is expected is recorded at the first use and insisted on later; without a sharding, what is
    /// recorded is used, and the default is recorded.
    pub(crate) fn new(tables: Tables, expected: Expected) -> Self {
        Self { tables, expected, known: Mutex::default(), reliable: RELIABLE, inserts: [const { OnceLock::new() }; 64] }
    }

    /// How the outbox is divided: one SELECT until [`confirm`](Self::confirm) was called, and one every 30 seconds after.
    ///
    /// # Errors
    /// [`Error::ShardingMismatch`] or [`Error::OtherApplication`] if the database says otherwise, [`Error::NotMigrated`] without the table.
    pub(crate) async fn sharding(&self, tx: &DatabaseTransaction) -> Result<Sharding, Error> {
        let known = *self.known();
        if let Some(known) = known.filter(|known| known.read.elapsed() < self.reliable) {
            return Ok(known.sharding);
        }
        let read = Instant::now();
        let sharding = meta::read_or_record(tx, &self.tables, &self.expected).await?.sharding;
        // At the first use this transaction may have made the record, and be rolled back.
        if known.is_some() {
            *self.known() = Some(Known { sharding, read });
        }
        Ok(sharding)
    }

    /// Remembers the sharding. To be called after the commit: a record made in a transaction that is rolled back never was.
    pub(crate) fn confirm(&self, sharding: Sharding) {
        self.known().get_or_insert_with(|| Known { sharding, read: Instant::now() });
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the entries in their order. Those whose id is known already are left out; their ids are returned.
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
        // To look for a known id costs PostgreSQL a sixth of the whole INSERT: it inserts each row tentatively.
        let any_may_be_known = entries.iter().any(|entry| entry.may_be_known);
        let mut known = HashSet::new();
        if any_may_be_known {
            known = known::leave_out(tx, dialect, &self.tables, &mut entries).await?;
        }
        for chunk in Chunks::new(entries, dialect.insert_limits()) {
            if any_may_be_known {
                known.extend(known::insert_unless_there(tx, dialect, &self.tables, chunk, &values).await?);
            } else {
                let statement = dialect.insert(&self.tables, chunk, "", &values);
                tx.execute_raw(statement).await.map_err(|error| Error::from_statement(backend, error))?;
            }
        }
        Ok(known)
    }

    fn insert_sql(&self, dialect: &dyn Dialect, rows: usize) -> String {
        let build = || {
            format!(
                "INSERT INTO {} (shard, {}) VALUES {}",
                self.tables.outbox(),
                written_columns(),
                rows_of_placeholders(dialect, rows, PARAMETERS),
            )
        };
        match self.inserts.get(rows - 1) {
            Some(known) => known.get_or_init(build).clone(),
            None => build(),
        }
    }
}

/// Splits entries into what fits into one statement.
struct Chunks {
    rest: Vec<OutboxEntry>,
    limits: InsertLimits,
}

impl Chunks {
    fn new(entries: Vec<OutboxEntry>, limits: InsertLimits) -> Self {
        Self { rest: entries, limits }
    }

    /// How many of the rest fit; at least one, for a single event too large for a statement is the database's to refuse.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let within = self.rest.iter().take(self.limits.rows).take_while(|entry| {
            let envelope = &entry.envelope;
            bytes += envelope.payload.len() + envelope.headers.len() + envelope.routing.len();
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
