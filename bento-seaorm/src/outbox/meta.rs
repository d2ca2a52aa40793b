//! The record of how the outbox is divided.

use std::num::NonZeroU16;

use bento_core::outbox::Sharding;
use sea_orm::{ConnectionTrait, Statement, Value};

use crate::dialect;
use crate::error::Error;
use crate::tables::Tables;

/// Reads how the outbox is divided, and records it if nobody did.
///
/// # Errors
/// [`Error::ShardingMismatch`] if `configured` is not what is recorded.
pub(crate) async fn read_or_record<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
    configured: Option<Sharding>,
) -> Result<Sharding, Error> {
    let recorded = match read(connection, tables).await? {
        Some(recorded) => recorded,
        None => {
            record(connection, tables, configured.unwrap_or_default()).await?;
            // Another process may have been first; then its record counts.
            read(connection, tables).await?.unwrap_or(configured.unwrap_or_default())
        }
    };
    match configured {
        Some(configured) if configured != recorded => Err(Error::ShardingMismatch { recorded, configured }),
        _ => Ok(recorded),
    }
}

/// Reads how the outbox is divided; nothing before its first use.
pub(crate) async fn read<C: ConnectionTrait>(connection: &C, tables: &Tables) -> Result<Option<Sharding>, Error> {
    let backend = connection.get_database_backend();
    let sql = format!("SELECT shards, lanes, hash FROM {} WHERE id = 1", tables.meta());
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await;
    let Some(row) = row.map_err(|error| Error::from_statement(backend, error))? else { return Ok(None) };
    let (shards, lanes, hash): (i32, i32, String) =
        (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let number = |recorded: i32| u16::try_from(recorded).ok().filter(|n| *n <= Sharding::MAX).and_then(NonZeroU16::new);
    match (number(shards), number(lanes)) {
        (Some(shards), Some(lanes)) if hash == Sharding::HASH => Ok(Some(Sharding { shards, lanes })),
        _ => Err(Error::UnknownSharding {
            table: tables.meta().to_owned(),
            recorded: format!("{shards} shard(s), {lanes} lane(s) and hash `{hash}`"),
        }),
    }
}

async fn record<C: ConnectionTrait>(connection: &C, tables: &Tables, sharding: Sharding) -> Result<(), Error> {
    let backend = connection.get_database_backend();
    let dialect = dialect::of(backend)?;
    let sql = format!(
        "INSERT INTO {} (id, shards, lanes, hash) VALUES {}{}",
        tables.meta(),
        dialect::rows_of_placeholders(dialect, 1, 4),
        dialect.or_leave(tables.meta(), &["id"]),
    );
    let values: [Value; 4] = [
        1.into(),
        i32::from(sharding.shards.get()).into(),
        i32::from(sharding.lanes.get()).into(),
        Sharding::HASH.into(),
    ];
    let recorded = connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await;
    recorded.map_err(|error| Error::from_statement(backend, error))?;
    Ok(())
}
