//! What can go wrong between a transaction and the outbox.

use bento_core::outbox::Sharding;
use sea_orm::DbErr;

use crate::dialect::UnsupportedBackend;

/// What can go wrong between a transaction and the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database said no.
    #[error("the database refused a statement")]
    Database(#[from] DbErr),
    /// A table of Bento is missing.
    #[error(
        "table `{table}` is missing; run `bento_seaorm::migrate(&db)` or add `bento_seaorm::migration::migrations()` to your migrator"
    )]
    NotMigrated {
        /// The table.
        table: String,
        /// What the driver said.
        source: DbErr,
    },
    /// The outbox is divided otherwise than this process was told.
    #[error(
        "the outbox is divided into {} shard(s) and {} lane(s), this process is configured for {} and {}; use the recorded numbers, or \
         drain the outbox and change them with the relays stopped",
        recorded.shards, recorded.lanes, configured.shards, configured.lanes
    )]
    ShardingMismatch {
        /// What the database says.
        recorded: Sharding,
        /// What this process was told.
        configured: Sharding,
    },
    /// What the database records about the outbox cannot be used by this version.
    #[error(
        "`{table}` records {recorded}, which this version cannot use; upgrade, or drain the outbox with the version that wrote it"
    )]
    UnknownSharding {
        /// The table.
        table: String,
        /// What it says.
        recorded: String,
    },
    /// This build does not support the database.
    #[error(transparent)]
    UnsupportedBackend(#[from] UnsupportedBackend),
    /// A column of MySQL is shorter than the text that is to go there.
    #[error("`{column}` of event {event_id} has more than the {limit} characters that its column holds; shorten it")]
    TooLong {
        /// The event.
        event_id: bento_core::EventId,
        /// The column.
        column: &'static str,
        /// How much fits.
        limit: usize,
    },
}

impl Error {
    /// The error behind a failed statement, recognising a missing table.
    pub(crate) fn from_statement(backend: sea_orm::DbBackend, source: DbErr) -> Self {
        match crate::dialect::missing_table(backend, &source) {
            Some(table) => Self::NotMigrated { table, source },
            None => Self::Database(source),
        }
    }
}
