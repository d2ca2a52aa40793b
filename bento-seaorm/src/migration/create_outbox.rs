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

#[async_trait]
impl MigrationTrait for CreateOutbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, |dialect| dialect.create_schema(&self.tables)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, |dialect| dialect.drop_schema(&self.tables)).await
    }

    /// All or nothing, where DDL is transactional.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn run(manager: &SchemaManager<'_>, statements: impl FnOnce(&dyn Dialect) -> Vec<String>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let dialect =
        dialect::of(connection.get_database_backend()).map_err(|error| DbErr::Migration(error.to_string()))?;
    for statement in statements(dialect) {
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}
