//! Bento's tables as SeaORM migrations, to add to your own migrator or to run on their own.
//!
//! ```
//! use sea_orm_migration::prelude::*;
//!
//! struct Migrator;
//!
//! impl MigratorTrait for Migrator {
//!     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
//!         let mut migrations: Vec<Box<dyn MigrationTrait>> = vec![/* yours */];
//!         migrations.extend(bento_seaorm::migration::migrations());
//!         migrations
//!     }
//! }
//! ```
//!
//! Each migration of Bento creates only the objects that are missing, so it can be run again after
//! it was interrupted, and after some of its tables, indexes or functions were dropped (SeaORM's
//! `fresh` leaves functions and views behind).
//!
//! # Several processes at once
//!
//! [`migrate`] and [`up_alone`] let one process of a database migrate at a time, and the others
//! wait. SeaORM's own `Migrator::up` does not: it creates its table, reads what is pending, and
//! records each migration without a lock, so of six processes that start together five fail with an
//! error of the database, mostly a duplicate key in `seaql_migrations`. The database is consistent
//! then, and a second call succeeds. Run a migrator of your own through [`up_alone`].
//!
//! # Schemas
//!
//! A [`TablePrefix`] with a schema puts every object into that schema, whatever the `search_path`
//! of the session is. The schema has to be there: a migration creates none, and says which one is
//! missing ([`Error::NoSchema`]). [`migrate_with`] records what it has applied in the same schema.
//! SeaORM's migrators cannot name a schema for their record, so [`PrefixedMigrator`] keeps it where
//! the connection leads to: run it for one schema with a connection to that schema, as
//! `sea-orm-cli migrate -s billing` does.
//!
//! Decision: docs/decisions/0028-migrations-can-be-run-again.md

use std::future::Future;
use std::pin::Pin;

use sea_orm::sea_query::{Alias, IntoIden};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, DynIden, Statement,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait, MigratorTraitSelf};

use self::create_tables::CreateTables;
use crate::backend::{self, MissingSchema};
use crate::dialect::{self, Dialect};
use crate::error::Error;
use crate::session::{self, Shielded};
use crate::tables::{TablePrefix, Tables};

mod create_tables;
mod record;
#[cfg(test)]
mod tests;

/// Bento's migrations, in order, for the default prefix.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    migrations_with(TablePrefix::default())
}

/// Bento's migrations, in order, for a prefix of your own. Their names contain it with its schema,
/// so several outboxes fit into one database, and into one migrator.
pub fn migrations_with(prefix: TablePrefix) -> Vec<Box<dyn MigrationTrait>> {
    let tables = Tables::new(prefix);
    let sides = [
        tables.clone(),
        tables.inbox(),
        tables.events(),
        tables.projections(),
    ];
    let create = |tables| Box::new(CreateTables::new(tables)) as Box<dyn MigrationTrait>;
    sides.map(create).into()
}

/// Brings Bento's tables up to date, for an application without migrations of its own.
///
/// Several processes may call it at start; one of them migrates, the others wait for it. What was
/// applied is recorded in `bento_migration`, apart from your own migrations. A table that is
/// recorded and was dropped since is created again.
///
/// # Errors
/// [`Error::Database`] when a statement fails, [`Error::NoSchema`] if the session has no schema or
/// database to create tables in.
///
/// # Cancel safety
/// The migration goes on in the background when the future is dropped.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), Error> {
    migrate_with(db, TablePrefix::default()).await
}

/// Like [`migrate`], with a prefix of your own, recorded in `{prefix}migration`. With a schema the
/// record is there, too:
///
/// ```no_run
/// # use bento_seaorm::TablePrefix;
/// # async fn start(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
/// // The schema has to be there: `CREATE SCHEMA billing`, on MySQL and MariaDB
/// // `CREATE DATABASE billing`.
/// bento_seaorm::migrate_with(&db, TablePrefix::default().in_schema("billing")?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Database`] when a statement fails, [`Error::NoSchema`] if the schema is missing,
/// [`Error::NoSchemas`] if one is named on SQLite.
///
/// # Cancel safety
/// The migration goes on in the background when the future is dropped.
pub async fn migrate_with(db: &DatabaseConnection, prefix: TablePrefix) -> Result<(), Error> {
    let backend = db.get_database_backend();
    let tables = Tables::new(prefix.clone()).on(backend);
    dialect::for_tables(backend, &tables)?;
    let schema = prefix.schema().map(str::to_owned);
    if schema.is_some() {
        let tables = tables.clone();
        in_turn(db, schema.clone(), move |connection| {
            Box::pin(record::up(connection, tables))
        })
        .await?;
    } else {
        up_alone(db, PrefixedMigrator(prefix)).await?;
    }
    if is_whole(db, &tables).await? {
        return Ok(());
    }
    in_turn(db, schema, move |connection| {
        Box::pin(async move {
            create_tables::create(connection, &tables).await?;
            create_tables::create(connection, &tables.inbox()).await?;
            create_tables::create(connection, &tables.events()).await?;
            create_tables::create(connection, &tables.projections()).await
        })
    })
    .await
}

/// Applies the pending migrations of a migrator of your own while no other process of the database
/// does so.
///
/// ```no_run
/// # use sea_orm_migration::prelude::*;
/// # struct Migrator;
/// # impl MigratorTrait for Migrator {
/// #     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
/// #         bento_seaorm::migration::migrations()
/// #     }
/// # }
/// # async fn start(db: sea_orm::DatabaseConnection) -> Result<(), bento_seaorm::Error> {
/// bento_seaorm::migration::up_alone(&db, Migrator).await?;
/// # Ok(())
/// # }
/// ```
///
/// It waits for its turn, up to an hour on MySQL. All migrations run on one connection, and inside
/// one transaction on PostgreSQL and SQLite: either all that are pending are applied or none. So a
/// migration that cannot be part of a transaction, such as `CREATE INDEX CONCURRENTLY`, has to be
/// run by SeaORM's own `up`; and on MySQL, where DDL ends a transaction, a migration must not ask
/// for one.
///
/// # Errors
/// [`Error::Database`] when a statement fails, or the turn does not come.
///
/// # Cancel safety
/// The migration goes on in the background when the future is dropped.
pub async fn up_alone<M: MigratorTraitSelf + 'static>(
    db: &DatabaseConnection,
    migrator: M,
) -> Result<(), Error> {
    in_turn(db, None, move |connection| {
        Box::pin(async move { migrator.up(connection, None).await })
    })
    .await
}

type Migrating<'a> = Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

/// Migrates while no other process does, on a task of its own: a lock that belongs to the session
/// must not go back to the pool with it.
async fn in_turn(
    db: &DatabaseConnection,
    schema: Option<String>,
    work: impl FnOnce(&DatabaseTransaction) -> Migrating<'_> + Send + 'static,
) -> Result<(), Error> {
    let (db, dialect) = (db.clone(), dialect::of(db.get_database_backend())?);
    let migrated = tokio::spawn(async move {
        let tx = session::begin(&db, dialect.relay_transaction(), None).await?;
        lock(&tx, dialect, schema.as_deref()).await?;
        let worked = work(&tx).await;
        if let Some(unlock) = dialect.unlock_migrations(schema.as_deref()) {
            tx.execute_unprepared(&unlock).await?;
        }
        worked?;
        tx.commit().await
    });
    match migrated.await {
        Ok(migrated) => {
            migrated.map_err(
                |source| match backend::missing_schema(dialect.backend(), &source) {
                    Some(MissingSchema::OfTheSession) => Error::no_schema_of_the_session(source),
                    _ => source.into(),
                },
            )
        }
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Err(DbErr::Migration(stopped.to_string()).into()),
        },
    }
}

async fn lock(
    tx: &DatabaseTransaction,
    dialect: &dyn Dialect,
    schema: Option<&str>,
) -> Result<(), DbErr> {
    let asked = Statement::from_string(dialect.backend(), dialect.lock_migrations(schema));
    let row = tx.query_one_raw(asked).await?;
    let is_locked = row
        .map(|row| row.try_get_by_index::<Option<i64>>(0))
        .transpose()?
        .flatten()
        == Some(1);
    let reason = "another process has been migrating this database for an hour; look what it \
                  waits for, and start again";
    is_locked
        .then_some(())
        .ok_or_else(|| DbErr::Migration(reason.to_owned()))
}

/// True if every table and view exists. It costs one statement if they do.
async fn is_whole(db: &DatabaseConnection, tables: &Tables) -> Result<bool, Error> {
    let backend = db.get_database_backend();
    let dialect = dialect::of(backend)?;
    let (inbox, events) = (tables.inbox(), tables.events());
    let projections = tables.projections();
    let views = [tables.status(), inbox.status()];
    let all = [tables, &inbox, &events, &projections]
        .into_iter()
        .flat_map(|side| dialect.all_tables(side))
        .chain(views);
    let selects = all.map(|table| format!("SELECT 1 FROM {table} WHERE 1 = 0"));
    let selects: Vec<_> = selects.collect();
    match Shielded::new(db.clone())
        .query_all_raw(Statement::from_string(backend, selects.join(" UNION ALL ")))
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if backend::missing_table(backend, &error).is_some() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A migrator with Bento's migrations for the default prefix, for `sea-orm-cli` and for quick
/// starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        migrations()
    }

    fn migration_table_name() -> DynIden {
        migration_table(&TablePrefix::default())
    }
}

/// Runs Bento's migrations for any prefix. The record is `{prefix}migration` where the connection
/// leads to, also for a prefix with a schema: see [Schemas](self#schemas).
#[derive(Clone, Debug, Default)]
pub struct PrefixedMigrator(pub TablePrefix);

impl MigratorTraitSelf for PrefixedMigrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        migrations_with(self.0.clone())
    }

    fn migration_table_name(&self) -> DynIden {
        migration_table(&self.0)
    }
}

/// The table of the record. It is not SeaORM's default table, because a migrator refuses a record
/// with migrations that it does not have.
fn migration_table(prefix: &TablePrefix) -> DynIden {
    Alias::new(format!("{}migration", prefix.as_str())).into_iden()
}
