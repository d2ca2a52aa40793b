//! Bento's tables as SeaORM migrations: to splice into your own migrator, or to run as they are.
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

use sea_orm::sea_query::{Alias, IntoIden};
use sea_orm::{ConnectionTrait, DatabaseConnection, DynIden, TransactionTrait};
use sea_orm_migration::{MigrationTrait, MigratorTrait, MigratorTraitSelf};

use crate::dialect;
use crate::error::Error;
use crate::tables::{TablePrefix, Tables};

mod create_outbox;

/// Bento's migrations, in order, for the default prefix.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    migrations_with(TablePrefix::default())
}

/// Bento's migrations, in order, for a prefix of your own. Their names contain it, so several outboxes fit into one database.
pub fn migrations_with(prefix: TablePrefix) -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(create_outbox::CreateOutbox::new(Tables::new(prefix)))]
}

/// Brings Bento's tables up to date, for an application without migrations of its own.
///
/// Several processes may call it at start; one of them migrates, the others wait for it. What was applied is recorded in
/// `bento_migration`, apart from your own migrations.
///
/// # Errors
/// [`Error::Database`] when a statement fails.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), Error> {
    migrate_with(db, TablePrefix::default()).await
}

/// Like [`migrate`], with a prefix of your own, recorded in `{prefix}migration`.
///
/// # Errors
/// [`Error::Database`] when a statement fails.
pub async fn migrate_with(db: &DatabaseConnection, prefix: TablePrefix) -> Result<(), Error> {
    let dialect = dialect::of(db.get_database_backend())?;
    let migrator = PrefixedMigrator(prefix);
    let Some(lock) = dialect.lock_migrations() else { return migrate_repeatably(db, &migrator).await };
    let tx = db.begin_with_options(dialect.relay_transaction()).await?;
    tx.execute_unprepared(lock).await?;
    migrator.up(&tx, None).await?;
    tx.commit().await?;
    Ok(())
}

/// Without transactional DDL two processes may migrate at once. The tables are created if they do not exist, so all that can fail
/// for the second one is the record; then the migration is done.
async fn migrate_repeatably(db: &DatabaseConnection, migrator: &PrefixedMigrator) -> Result<(), Error> {
    if migrator.up(db, None).await.is_err() {
        migrator.up(db, None).await?;
    }
    Ok(())
}

/// Runs Bento's migrations for the default prefix: a migrator for the impatient and for `sea-orm-cli`.
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

/// Runs Bento's migrations for any prefix.
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

/// Not SeaORM's default table: a migrator refuses a table that records what it does not know.
fn migration_table(prefix: &TablePrefix) -> DynIden {
    Alias::new(format!("{prefix}migration")).into_iden()
}
