//! The migrations: every table, index and view of the outbox, of the inbox, of the event store
//! and of the projections.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::backend::{self, MissingSchema};
use crate::dialect::{self, Dialect};
use crate::error::Error;
use crate::tables::Tables;

pub(super) struct CreateTables {
    name: String,
    tables: Tables,
}

impl CreateTables {
    /// The tables of the side that is given.
    pub(super) fn new(tables: Tables) -> Self {
        let prefix = tables.prefix();
        let name = if tables.is_projections() {
            format!("m20260104_000001_{prefix}create_projections")
        } else if tables.is_events() {
            format!("m20260103_000001_{prefix}create_event_store")
        } else if tables.is_inbox() {
            format!("m20260102_000001_{prefix}create_inbox")
        } else {
            format!("m20260101_000001_{prefix}create_outbox")
        };
        Self { name, tables }
    }
}

impl MigrationName for CreateTables {
    fn name(&self) -> &str {
        &self.name
    }
}

/// On PostgreSQL SeaORM runs it in a transaction. Elsewhere it runs statement by statement: each
/// can be repeated, and a transaction would end with the first one on MySQL, and could not wait for
/// its turn on SQLite.
#[async_trait]
impl MigrationTrait for CreateTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        create(
            connection,
            &self.tables.clone().on(connection.get_database_backend()),
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let tables = self.tables.clone().on(connection.get_database_backend());
        let dialect = dialect::for_tables(connection.get_database_backend(), &tables)?;
        run(connection, dialect, &tables, dialect.drop_schema(&tables)).await
    }
}

/// Creates what is missing of tables that are [on](Tables::on) the back end. On PostgreSQL one
/// transaction at a time does so.
pub(super) async fn create<C: ConnectionTrait>(
    connection: &C,
    tables: &Tables,
) -> Result<(), DbErr> {
    let dialect = dialect::for_tables(connection.get_database_backend(), tables)?;
    if dialect.unlock_migrations(None).is_none() {
        connection
            .execute_unprepared(&dialect.lock_migrations(tables.prefix().schema()))
            .await?;
    }
    run(connection, dialect, tables, dialect.create_schema(tables)).await
}

pub(super) async fn run<C: ConnectionTrait>(
    connection: &C,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    statements: Vec<String>,
) -> Result<(), DbErr> {
    for statement in statements {
        if let Err(error) = connection.execute_unprepared(&statement).await {
            let is_there = backend::database_error(&error)
                .is_some_and(|error| dialect.is_already_there(error));
            if !is_there {
                return Err(failure(dialect, tables, error));
            }
        }
    }
    Ok(())
}

/// The error of a statement that creates something, with the way out if its schema is missing.
fn failure(dialect: &'static dyn Dialect, tables: &Tables, source: DbErr) -> DbErr {
    match backend::missing_schema(dialect.backend(), &source) {
        Some(MissingSchema::Named(schema)) => {
            Error::no_schema(dialect, tables, schema, source).into()
        }
        Some(MissingSchema::OfTheSession) => Error::no_schema_of_the_session(source).into(),
        None => source,
    }
}
