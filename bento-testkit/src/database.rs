//! A database for one test.

use std::time::Duration;

use bento_seaorm::{OutboxConnection, migrate};
use sea_orm::{ConnectOptions, Database};

/// The wait for the one connection. Whoever needs a second one waits for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens an SQLite database in memory, with Bento's tables and no others. It has one connection and
/// exists as long as it.
///
/// A handler with a transaction that takes another connection of this database gets none, and fails
/// after 5 seconds.
///
/// ```
/// use bento_seaorm::OutboxStore;
/// use bento_relay::inspect::Inspect;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let db = bento_testkit::database_in_memory().await;
/// let store = OutboxStore::new(db.inner().clone());
/// assert_eq!(store.counts().await.unwrap().pending, 0);
/// # }
/// ```
///
/// # Panics
/// If SQLite cannot be opened.
///
/// # Cancel safety
/// The database is gone.
pub async fn database_in_memory() -> OutboxConnection {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(PATIENCE)
        .sqlx_logging(false);
    let database = Database::connect(options).await;
    let database = database.unwrap_or_else(|error| panic!("SQLite cannot be opened: {error}"));
    let migrated = migrate(&database).await;
    migrated.unwrap_or_else(|error| panic!("Bento's tables cannot be created: {error}"));
    OutboxConnection::new(database)
}
