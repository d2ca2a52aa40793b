//! The record of applied migrations in a schema that is named: SeaORM's own cannot name one.
//!
//! Decision: docs/decisions/0015-migrations-record-themselves-apart.md

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};
use sea_orm_migration::SchemaManager;

use super::{create_tables, migrations_with};
use crate::dialect::{self, Dialect};
use crate::tables::Tables;

/// Applies the migrations that are not recorded, and records them, in a table of the same columns
/// as SeaORM's.
///
/// The record is in the schema, so that the names in it are those without a schema: tables that
/// were migrated along the `search_path` of a connection are known, and the other way round.
/// [`PrefixedMigrator`](super::PrefixedMigrator) records names with the schema.
pub(super) async fn up(connection: &DatabaseTransaction, tables: Tables) -> Result<(), DbErr> {
    let dialect = dialect::for_tables(connection.get_database_backend(), &tables)?;
    let record = tables.named("migration");
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {record} (version varchar(255) NOT NULL PRIMARY KEY, \
         applied_at bigint NOT NULL)"
    );
    create_tables::run(connection, dialect, &tables, vec![create]).await?;
    let mut applied = applied(connection, dialect, &record).await?;
    let manager = SchemaManager::new(connection);
    let named = migrations_with(tables.prefix().clone());
    for (migration, found) in named
        .into_iter()
        .zip(migrations_with(tables.prefix().without_schema()))
    {
        let is_applied = [migration.name(), found.name()].map(|name| applied.remove(name));
        if !is_applied.contains(&true) {
            migration.up(&manager).await?;
            write(connection, dialect, &record, found.name()).await?;
        }
    }
    let unknown = applied.into_iter().min();
    let refused = |version| {
        DbErr::Migration(format!(
            "{record} records the migration `{version}`, which this version does not know; start \
             a version that knows it"
        ))
    };
    unknown.map_or(Ok(()), |version| Err(refused(version)))
}

async fn applied(
    connection: &DatabaseTransaction,
    dialect: &dyn Dialect,
    record: &str,
) -> Result<HashSet<String>, DbErr> {
    let select = Statement::from_string(dialect.backend(), format!("SELECT version FROM {record}"));
    connection
        .query_all_raw(select)
        .await?
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect()
}

async fn write(
    connection: &DatabaseTransaction,
    dialect: &dyn Dialect,
    record: &str,
    version: &str,
) -> Result<(), DbErr> {
    let placeholders = dialect::rows_of_placeholders(dialect, 1, 2);
    let insert = format!("INSERT INTO {record} (version, applied_at) VALUES {placeholders}");
    let values = [version.into(), chrono::Utc::now().timestamp().into()];
    connection
        .execute_raw(Statement::from_sql_and_values(
            dialect.backend(),
            insert,
            values,
        ))
        .await?;
    Ok(())
}
