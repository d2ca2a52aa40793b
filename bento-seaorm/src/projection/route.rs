//! The route of a version, as relays record it beside their handlers.

use sea_orm::ConnectionTrait;

use super::ProjectionKey;
use crate::connection::OutboxConnection;
use crate::dialect::{self, Dialect, Sql, binds};
use crate::error::Error;
use crate::relay_store::living_relays;
use crate::tables::Tables;
use crate::transaction::OutboxTransaction;

impl OutboxConnection {
    /// Tells if relays of the outbox or of the inbox bring a version its events, and if it is
    /// paused; `None` until one has recorded it.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn projection_route(&self, key: &ProjectionKey) -> Result<Option<bool>, Error> {
        let of_outbox = self.is_paused_in(self.tables(), key).await?;
        let of_inbox = self.is_paused_in(&self.tables().inbox(), key).await?;
        Ok(match (of_outbox, of_inbox) {
            (Some(one), Some(other)) => Some(one || other),
            (one, other) => one.or(other),
        })
    }

    /// True if no living relay serves a version.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// It only reads.
    #[doc(hidden)]
    pub async fn is_unserved(&self, key: &ProjectionKey) -> Result<bool, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let route = key.route();
        for tables in [self.tables(), &self.tables().inbox()] {
            let relays = living_relays(self.shielded(), dialect, tables).await;
            let relays = relays.map_err(|error| Error::from_statement(backend, error))?;
            let mut served = relays.iter().flat_map(|(_, served)| served);
            if served.any(|served| *served.name == *route) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells if a version is paused; `None` if it is not recorded in these tables.
    async fn is_paused_in(
        &self,
        tables: &Tables,
        key: &ProjectionKey,
    ) -> Result<Option<bool>, Error> {
        let backend = self.get_database_backend();
        let dialect = dialect::of(backend)?;
        let select = select(dialect, tables, key).build();
        let row = self.shielded().query_one_raw(select).await;
        let row = row.map_err(|error| Error::from_statement(backend, error))?;
        let is_paused = row.map(|row| row.try_get_by_index(0)).transpose();
        is_paused.map_err(Error::Database)
    }
}

impl OutboxTransaction {
    /// True if relays of the outbox bring a version its events. Asked in the transaction of the
    /// build: a pool may have no second connection.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn is_routed(&self, key: &ProjectionKey) -> Result<bool, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let select = select(dialect, self.tables(), key).build();
        let row = self
            .run_own(move |session| async move { session.query_one_raw(select).await })
            .await?;
        Ok(row.is_some())
    }
}

/// Tells if the route of a version is paused; no row if it is not recorded.
fn select<'a>(dialect: &'static dyn Dialect, tables: &'a Tables, key: &ProjectionKey) -> Sql<'a> {
    Sql::new(
        dialect,
        tables,
        "SELECT paused_at IS NOT NULL FROM {handler} WHERE name = ?",
        binds![key.route()],
    )
}
