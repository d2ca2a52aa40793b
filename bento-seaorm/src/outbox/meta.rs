//! The record of the outbox: its sharding, and the application that owns it.
//!
//! Decision: docs/decisions/0029-an-outbox-takes-the-first-name.md

use std::num::NonZeroU16;

use bento_core::outbox::{ClockOffset, Sharding, writer_now};
use sea_orm::{ConnectionTrait, QueryResult};

use crate::dialect::{self, Sql, binds};
use crate::error::Error;
use crate::tables::Tables;

/// The sharding and the application that a process is configured with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// The sharding; `None` accepts the recorded one.
    pub(crate) sharding: Option<Sharding>,
    /// The name of the application; `None` accepts the recorded one.
    pub(crate) application: Option<String>,
}

/// The record in the database.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) sharding: Sharding,
    pub(crate) application: Option<String>,
    /// The difference of the database's clock to this process's, if the same statement has read it.
    pub(crate) clock: Option<ClockOffset>,
}

impl Expected {
    /// Compares with the record.
    ///
    /// # Errors
    /// [`Error::ShardingMismatch`], [`Error::OtherApplication`].
    pub(crate) fn check(&self, recorded: &Recorded) -> Result<(), Error> {
        match (&self.application, &recorded.application) {
            (Some(configured), Some(recorded)) if configured != recorded => {
                let (recorded, configured) = (recorded.clone(), configured.clone());
                return Err(Error::OtherApplication {
                    recorded,
                    configured,
                });
            }
            _ => {}
        }
        match self.sharding {
            Some(configured) if configured != recorded.sharding => Err(Error::ShardingMismatch {
                recorded: recorded.sharding,
                configured,
            }),
            _ => Ok(()),
        }
    }

    /// True if the record lacks a value that this process is configured with.
    fn adds_to(&self, recorded: &Recorded) -> bool {
        self.application.is_some() && recorded.application.is_none()
    }
}

/// Reads the record, and writes it where there is none: one statement, once it is written.
///
/// # Errors
/// [`Error::ShardingMismatch`], [`Error::OtherApplication`] if `expected` differs from the record.
pub(crate) async fn read_or_record<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
    expected: &Expected,
) -> Result<Recorded, Error> {
    let recorded = match read(connection, tables).await? {
        Some(recorded) if expected.adds_to(&recorded) => {
            expected.check(&recorded)?;
            name(connection, tables, expected).await?;
            read(connection, tables).await?.unwrap_or(recorded)
        }
        Some(recorded) => recorded,
        None => {
            let sharding = expected.sharding.unwrap_or_default();
            record(connection, tables, sharding, expected).await?;
            // Another process may have been first; then its record counts.
            let own = Recorded {
                sharding,
                application: expected.application.clone(),
                clock: None,
            };
            read(connection, tables).await?.unwrap_or(own)
        }
    };
    expected.check(&recorded)?;
    Ok(recorded)
}

/// Reads the record and the clock of the database; nothing before the first use.
pub(crate) async fn read<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
) -> Result<Option<Recorded>, Error> {
    let backend = connection.get_database_backend();
    let select = format!("SELECT {COLUMNS}, {{now}} FROM {{meta}} WHERE id = 1");
    let dialect = dialect::for_tables(backend, tables)?;
    let select = Sql::new(dialect, tables, &select, []).build();
    let asked = writer_now();
    let row = connection.query_one_raw(select).await;
    let answered = writer_now();
    let Some(row) = row.map_err(|error| Error::from_statement(backend, error))? else {
        return Ok(None);
    };
    let clock = ClockOffset::between(asked, answered, row.try_get_by_index(4)?);
    Ok(Some(Recorded {
        clock: Some(clock),
        ..recorded_at(&row, tables)?
    }))
}

/// The columns that [`recorded_at`] reads.
pub(crate) const COLUMNS: &str = "shards, lanes, hash, application";

/// Reads the record from the first columns.
///
/// # Errors
/// [`Error::UnknownSharding`].
pub(crate) fn recorded_at(row: &QueryResult, tables: &Tables) -> Result<Recorded, Error> {
    let (shards, lanes, hash): (i32, i32, String) = (
        row.try_get_by_index(0)?,
        row.try_get_by_index(1)?,
        row.try_get_by_index(2)?,
    );
    let number = |recorded: i32| {
        u16::try_from(recorded)
            .ok()
            .filter(|n| *n <= Sharding::MAX)
            .and_then(NonZeroU16::new)
    };
    match (number(shards), number(lanes)) {
        (Some(shards), Some(lanes)) if hash == Sharding::HASH => {
            let (sharding, application) = (Sharding { shards, lanes }, row.try_get_by_index(3)?);
            Ok(Recorded {
                sharding,
                application,
                clock: None,
            })
        }
        _ => Err(Error::UnknownSharding {
            table: tables.meta().to_owned(),
            recorded: format!("{shards} shard(s), {lanes} lane(s) and hash `{hash}`"),
        }),
    }
}

async fn record<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
    sharding: Sharding,
    expected: &Expected,
) -> Result<(), Error> {
    let dialect = dialect::of(connection.get_database_backend())?;
    let insert = format!("INSERT INTO {{meta}} (id, {COLUMNS}) VALUES (1, ?, ?, ?, ?)");
    let insert = Sql::new(
        dialect,
        tables,
        &insert,
        binds![
            i32::from(sharding.shards.get()),
            i32::from(sharding.lanes.get()),
            Sharding::HASH,
            expected.application.clone(),
        ],
    );
    execute(connection, insert.or_leave(tables.meta(), &["id"])).await
}

/// Names an outbox that has no name; the first process wins.
async fn name<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
    expected: &Expected,
) -> Result<(), Error> {
    let dialect = dialect::of(connection.get_database_backend())?;
    let update = Sql::new(
        dialect,
        tables,
        "UPDATE {meta} SET application = ? WHERE id = 1 AND application IS NULL",
        binds![expected.application.clone()],
    );
    execute(connection, update).await
}

async fn execute<C: ConnectionTrait>(connection: &C, sql: Sql<'_>) -> Result<(), Error> {
    let backend = connection.get_database_backend();
    let done = connection.execute_raw(sql.build()).await;
    done.map_err(|error| Error::from_statement(backend, error))?;
    Ok(())
}
