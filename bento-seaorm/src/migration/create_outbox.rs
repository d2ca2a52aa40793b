//! The first migration: every table, index and the view.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::dialect::{self, Dialect};
use crate::tables::Tables;

pub(super) struct CreateOutbox {
    name: String,
    tables: Tables,
}

impl CreateOutbox {
    pub(super) fn new(tables: Tables) -> Self {
        Self { name: format!("m20260101_000001_{}create_outbox", tables.prefix()), tables }
    }
}

impl MigrationName for CreateOutbox {
    fn name(&self) -> &str {
        &self.name
    }
}

/// On PostgreSQL SeaORM runs it in a transaction. Elsewhere it runs statement by statement: each can be repeated, and a transaction would
/// end with the first one on MySQL, and could not wait for its turn on SQLite.
#[async_trait]
impl MigrationTrait for CreateOutbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager.get_connection(), &self.tables).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let dialect = dialect_of(connection)?;
        run(connection, dialect, dialect.drop_schema(&self.tables)).await
    }
}

/// Creates what is missing. On PostgreSQL one transaction at a time does so.
pub(super) async fn create<C: ConnectionTrait>(connection: &C, tables: &Tables) -> Result<(), DbErr> {
    let dialect = dialect_of(connection)?;
    if dialect.unlock_migrations().is_none() {
        connection.execute_unprepared(dialect.lock_migrations()).await?;
    }
    run(connection, dialect, dialect.create_schema(tables)).await
}

async fn run<C: ConnectionTrait>(
    connection: &C,
    dialect: &'static dyn Dialect,
    statements: Vec<String>,
) -> Result<(), DbErr> {
    for statement in statements {
        if let Err(error) = connection.execute_unprepared(&statement).await {
            let is_there = dialect::database_error(&error).is_some_and(|error| dialect.is_already_there(error));
            if !is_there {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn dialect_of<C: ConnectionTrait>(connection: &C) -> Result<&'static dyn Dialect, DbErr> {
    dialect::of(connection.get_database_backend()).map_err(|error| DbErr::Migration(error.to_string()))
}
