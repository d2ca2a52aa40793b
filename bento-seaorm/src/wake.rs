//! Waking relays in other processes, on PostgreSQL.
//!
//! A [`Wake`] reaches the relays of its own process; those of others find new events at their next
//! poll. [`PostgresWake`] passes wakes on with `NOTIFY` and receives those of others with `LISTEN`,
//! so that a relay anywhere may poll seldom and is quick all the same. Start one in each process
//! that writes events and in each that has a relay:
//!
//! ```no_run
//! # type Started = Result<(), Box<dyn std::error::Error>>;
//! # async fn start(db: sea_orm::DatabaseConnection, url: &str) -> Started {
//! use bento_relay::Wake;
//! use bento_seaorm::OutboxConnection;
//! use bento_seaorm::wake::PostgresWake;
//!
//! let wake = Wake::new();
//! let _passes_on = PostgresWake::start(url, &wake)?;
//! let db = OutboxConnection::builder(db).wake(&wake).build();
//! # drop(db);
//! # Ok(())
//! # }
//! ```
//!
//! Its properties:
//!
//! * A hint. A notification that is lost with its connection only costs time: until the next poll,
//!   or until the connection is back, when the relays of this process read all their shards.
//! * Outside of the business transaction. It is sent after the commit, on a connection of its own,
//!   at most 20 times a second: up to four at once, then one every 60 ms, and what is committed
//!   meanwhile goes along. `NOTIFY` inside the transaction would make all commits wait for one
//!   lock.
//! * Two connections for each process, besides the pools of the application. They connect again by
//!   themselves.
//! * Not for a pooler in transaction mode, which hands each statement to another session: `LISTEN`
//!   needs a session of its own. Use a URL that leads to the server directly; everything else may
//!   use the pooler.
//! * For one outbox. The channel is named for the table prefix and the schema of the tables, so
//!   that outboxes in two schemas do not wake each other. It is the same channel whether a process
//!   names the schema or its `search_path` leads there.
//!
//! Decision: docs/decisions/0020-wakes-travel-after-the-commit.md

mod pace;
mod payload;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bento_relay::Wake;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{DbErr, RuntimeErr, SqlxError};
use tokio::task::JoinSet;

use self::task::Bridge;
use crate::error::Error;
use crate::tables::{TablePrefix, Tables};

/// Passes wakes on to other processes and receives theirs, until it is dropped. See the
/// [module](self).
#[must_use = "it ends when it is dropped"]
pub struct PostgresWake {
    tasks: JoinSet<()>,
}

impl PostgresWake {
    /// Starts for the outbox with the default prefix. It connects in the background, and goes on
    /// trying.
    ///
    /// # Errors
    /// [`Error::Database`] if the URL is not one of PostgreSQL.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(url: &str, wake: &Wake) -> Result<Self, Error> {
        Self::start_with(url, TablePrefix::default(), wake)
    }

    /// Like [`start`](Self::start), for another table prefix or schema.
    ///
    /// # Errors
    /// [`Error::Database`] if the URL is none of PostgreSQL.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start_with(url: &str, prefix: TablePrefix, wake: &Wake) -> Result<Self, Error> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            let reason = "the address to wake relays through is none of PostgreSQL; it begins \
                          with `postgres://`";
            return Err(DbErr::Conn(RuntimeErr::Internal(reason.to_owned())).into());
        }
        let options: PgConnectOptions = url
            .parse()
            .map_err(|error: SqlxError| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        Ok(Self::run(options, Tables::new(prefix), wake))
    }

    fn run(options: PgConnectOptions, tables: Tables, wake: &Wake) -> Self {
        let bridge = Arc::new(Bridge::new(
            options.disable_statement_logging(),
            tables,
            wake.subscribe(),
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&bridge).send());
        tasks.spawn(bridge.receive());
        Self { tasks }
    }
}

impl fmt::Debug for PostgresWake {
    /// Leaves out the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWake")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}
