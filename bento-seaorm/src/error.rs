//! The errors between a raised event and its row, and their way through SeaORM's own traits.

mod transaction;

use std::fmt;
use std::sync::Arc;

use bento_core::EventId;
use bento_core::event_sourced::StreamFault;
use bento_core::outbox::Sharding;
use bento_core::saving::SavingError;
use bento_core::unit_of_work::{FlushError, FrameError};
use bento_relay::tenant::Refused;
use sea_orm::{DbBackend, DbErr};

pub use self::transaction::TransactionError;
use crate::backend::{self, Backend, MissingTable, UnsupportedBackend};
use crate::tables::Tables;

/// A transaction, its flush or its outbox failed. Unless a variant says otherwise nothing was
/// written and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused a statement.
    #[error(transparent)]
    Database(DbErr),
    /// An event could not be serialised into the outbox.
    #[error(transparent)]
    Flush(FlushError),
    /// The transaction may not do this now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The tenant policy refused the transaction. It did not begin.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A nested transaction was begun with options.
    #[error(
        "a nested transaction cannot have an isolation level or access mode of its own; set them \
         where the outermost transaction begins"
    )]
    NestedOptions,
    /// The row of an aggregate that was to be updated is not there.
    #[error(
        "{aggregate_type} `{id}` cannot be updated: its row is gone; load it again, or store it \
         with `insert`"
    )]
    Gone {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The primary key, its columns joined by `:`.
        id: String,
    },
    /// Another transaction has changed an aggregate with a version since it was loaded.
    #[error(
        "{aggregate_type} `{id}` was changed by another transaction: expected version {expected}, \
         found {}; load it again and repeat the transaction, as `transaction_retrying` does",
        Found(*.actual)
    )]
    Conflict {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The primary key, its columns joined by `:`; for an event-sourced aggregate its key.
        id: String,
        /// The version that it was loaded with.
        expected: i64,
        /// The version in the database, 0 for an aggregate without events; `None` where the
        /// database has refused the statement without telling it.
        actual: Option<i64>,
        /// The database's refusal, at a higher isolation level than READ COMMITTED.
        source: Option<Box<DbErr>>,
    },
    /// The stored events of an aggregate are not what it can be made of.
    #[error("{aggregate_type} `{id}` cannot be made of its stored events")]
    Stream {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The key of the aggregate.
        id: String,
        /// The fault, with the way out.
        #[source]
        fault: Box<StreamFault>,
    },
    /// An event that was to be stored has the id of a stored event. Nothing was written.
    #[error(
        "{aggregate_type} `{id}` cannot be saved: an event with the id of one of its new events \
         ({}) is stored already; if the caller chose the id, the command was carried out before",
        .event_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    AlreadyStored {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The key of the aggregate.
        id: String,
        /// The ids of the events that were to be stored.
        event_ids: Vec<EventId>,
        /// The database's refusal.
        source: Box<DbErr>,
    },
    /// An event-sourced aggregate has no id to store its events under.
    #[error(
        "{aggregate_type} cannot be saved: its id is empty; give it one before the first event, \
         like `Uuid::now_v7()`"
    )]
    NoKey {
        /// The type of the aggregate.
        aggregate_type: &'static str,
    },
    /// An event-sourced aggregate with a row of its own was to be stored without an event.
    #[error(
        "{aggregate_type} `{id}` cannot be stored: it has no event, and an event-sourced aggregate \
         begins with one; raise it before the first `save`"
    )]
    NoEvents {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The key of the aggregate.
        id: String,
    },
    /// The version field of an aggregate cannot hold the next version.
    #[error(
        "the version of {aggregate_type} would be {version}, which its field or column cannot \
         hold; use a larger integer"
    )]
    VersionTooLarge {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The version that comes next.
        version: i64,
    },
    /// A failure has ended the transaction in the database: a deadlock, a failed statement of
    /// PostgreSQL, a lost savepoint.
    #[error(
        "the database has ended the transaction after a failure; roll it back and run it again"
    )]
    Aborted {
        /// The error with which the database did so.
        source: DbErr,
    },
    /// The connection broke before the commit.
    #[error(
        "the database connection was lost before the commit; nothing was written and collected \
         events are back with their aggregates, so run the transaction again"
    )]
    ConnectionLost {
        /// The message of the driver.
        source: DbErr,
    },
    /// The connection broke during the commit. The events may be in the outbox.
    #[error(
        "the database connection was lost during the commit, so its outcome is unknown; check \
         if its rows exist before you run the transaction again"
    )]
    CommitUnclear {
        /// The message of the driver.
        source: DbErr,
    },
    /// A table of Bento is missing where the database has looked for it.
    #[error(
        "table `{table}` is missing {place}; run `bento::migrate(&db)`, or `migrate_with` for \
         another prefix or schema, or add `bento::migration::migrations()` to your migrator"
    )]
    NotMigrated {
        /// The table, without its schema.
        table: String,
        /// The place where the database looked for it, as the end of a sentence: a schema, the
        /// `search_path`, a database.
        place: String,
        /// The message of the driver.
        source: DbErr,
    },
    /// The schema that tables are to be created in is missing. Nothing was created.
    #[error("{}; {way_out}", match .schema {
        Some(schema) => format!("the database has no schema `{schema}`"),
        None => "no schema is named, and the session has none to create tables in".to_owned(),
    })]
    NoSchema {
        /// The schema that is named, if one is; on MySQL and MariaDB a database.
        schema: Option<String>,
        /// The way out.
        way_out: String,
        /// The message of the driver.
        source: DbErr,
    },
    /// The tables are in a schema, and this back end has none. Nothing was done.
    #[error(
        "{backend:?} has no schemas, so the tables cannot be in `{schema}`; leave the schema out, \
         and keep this outbox apart by a prefix of its own, \
         `TablePrefix::new(\"billing_bento_\")`, or by a file of its own"
    )]
    NoSchemas {
        /// The back end.
        backend: DbBackend,
        /// The schema that is named.
        schema: String,
    },
    /// The outbox is divided otherwise than this process was told.
    #[error(
        "the outbox is divided into {} shard(s) and {} lane(s), this process is configured for {} \
         and {}; use the recorded numbers, or drain the outbox and change them with the relays \
         stopped",
        recorded.shards, recorded.lanes, configured.shards, configured.lanes
    )]
    ShardingMismatch {
        /// The sharding that the database records.
        recorded: Sharding,
        /// The sharding that this process is configured with.
        configured: Sharding,
    },
    /// The id that a caller chose for an event is that of another one: of another tenant, event
    /// type or aggregate.
    #[error(
        "event id {event_id} belongs to another event: its tenant, event type or aggregate \
         differs; raise each event under an id of its own"
    )]
    EventIdTaken {
        /// The id.
        event_id: EventId,
    },
    /// The outbox belongs to another application. Nothing was written.
    #[error(
        "the outbox belongs to application `{recorded}`, and this process is `{configured}`: two \
         applications of one database need a `TablePrefix` each, with another prefix or schema"
    )]
    OtherApplication {
        /// The name that the database records.
        recorded: String,
        /// The name of this process.
        configured: String,
    },
    /// The record of the outbox cannot be used by this version.
    #[error(
        "`{table}` records {recorded}, which this version cannot use; upgrade, or drain the \
         outbox with the version that wrote it"
    )]
    UnknownSharding {
        /// The table.
        table: String,
        /// The recorded values.
        recorded: String,
    },
    /// A view of a projection is read by a transaction that does not end, and shows what it has
    /// shown before.
    #[error(
        "the view `{view}` could not be replaced within a second, because a transaction that reads \
         it has not ended: end that transaction, or wait for it; it is tried again"
    )]
    ViewInUse {
        /// The view.
        view: String,
        /// The message of the driver.
        source: DbErr,
    },
    /// Text was given to a transaction that would end it, or move it, behind its back.
    #[error(
        "`{statement}` cannot be sent as text through a transaction that collects events; {instead}"
    )]
    TransactionControl {
        /// The word that the text begins with.
        statement: &'static str,
        /// The way out.
        instead: &'static str,
    },
    /// This build does not support the database.
    #[error(transparent)]
    UnsupportedBackend(#[from] UnsupportedBackend),
}

/// Bento's error inside one that came through SeaORM's traits, which can only return [`DbErr`].
///
/// A generic `fn place<C: TransactionTrait>(db: &C)` commits through `TransactionSession`; when
/// Bento refuses, its reason is found here:
///
/// ```
/// # use bento_seaorm::{Error, bento_error};
/// # use sea_orm::DbErr;
/// fn is_refused(error: &DbErr) -> bool {
///     matches!(bento_error(error), Some(Error::Frame(_)))
/// }
/// ```
pub fn bento_error(error: &DbErr) -> Option<&Error> {
    match error {
        DbErr::TryIntoErr { source, .. } => source.downcast_ref(),
        _ => None,
    }
}

impl Error {
    /// The error behind a statement of ours that failed before the commit.
    pub(crate) fn from_statement(backend: DbBackend, source: DbErr) -> Self {
        if let Some(MissingTable { table, place }) = backend::missing_table(backend, &source) {
            Self::NotMigrated {
                table,
                place,
                source,
            }
        } else if backend::is_disconnection(backend, &source) {
            Self::ConnectionLost { source }
        } else if backend::is_aborted(backend, &source) {
            Self::Aborted { source }
        } else {
            Self::Database(source)
        }
    }

    /// The error of a migration into a schema that is missing.
    pub(crate) fn no_schema(
        backend: &dyn Backend,
        tables: &Tables,
        missing: String,
        source: DbErr,
    ) -> Self {
        let create =
            backend.create_named_schema(&tables.schema_in_sql().unwrap_or_else(|| missing.clone()));
        let schema = tables.prefix().schema().map_or(missing, str::to_owned);
        let way_out = format!(
            "create it before you migrate, with `{create}`, or name another one with \
             `TablePrefix::in_schema`"
        );
        Self::NoSchema {
            schema: Some(schema),
            way_out,
            source,
        }
    }

    /// The error of a migration that names no schema, in a session that leads to none.
    pub(crate) fn no_schema_of_the_session(source: DbErr) -> Self {
        let way_out = "name one with `TablePrefix::in_schema`, or let the `search_path` or the \
                       URL of the connection lead to one that is there";
        Self::NoSchema {
            schema: None,
            way_out: way_out.to_owned(),
            source,
        }
    }

    /// The error of a transaction that the database has ended.
    pub(crate) fn ended(backend: DbBackend, source: DbErr) -> Self {
        if backend::is_disconnection(backend, &source) {
            Self::ConnectionLost { source }
        } else {
            Self::Aborted { source }
        }
    }

    /// The error behind a commit that failed.
    pub(crate) fn from_commit(backend: DbBackend, source: DbErr) -> Self {
        if backend::is_disconnection(backend, &source) {
            Self::CommitUnclear { source }
        } else {
            Self::Database(source)
        }
    }

    /// The error of the driver, if the database was asked.
    pub(crate) fn database_source(&self) -> Option<&DbErr> {
        match self {
            Self::Database(source)
            | Self::NotMigrated { source, .. }
            | Self::NoSchema { source, .. }
            | Self::Aborted { source }
            | Self::ConnectionLost { source }
            | Self::CommitUnclear { source }
            | Self::ViewInUse { source, .. } => Some(source),
            Self::AlreadyStored { source, .. }
            | Self::Conflict {
                source: Some(source),
                ..
            } => Some(source),
            _ => None,
        }
    }
}

/// A version as a text reads it.
struct Found(Option<i64>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(version) => version.fmt(f),
            None => f.write_str("another one"),
        }
    }
}

impl From<DbErr> for Error {
    /// [`Error::ConnectionLost`] for a connection that broke, and the error itself where one of
    /// these came through SeaORM.
    fn from(source: DbErr) -> Self {
        match bento_error(&source) {
            Some(Self::Aborted { source }) => Self::Aborted {
                source: source.clone(),
            },
            Some(Self::ConnectionLost { source }) => Self::ConnectionLost {
                source: source.clone(),
            },
            Some(Self::CommitUnclear { source }) => Self::CommitUnclear {
                source: source.clone(),
            },
            Some(Self::NoSchema {
                schema,
                way_out,
                source,
            }) => Self::NoSchema {
                schema: schema.clone(),
                way_out: way_out.clone(),
                source: source.clone(),
            },
            Some(Self::NoSchemas { backend, schema }) => Self::NoSchemas {
                backend: *backend,
                schema: schema.clone(),
            },
            None if backend::is_lost(&source) => Self::ConnectionLost { source },
            _ => Self::Database(source),
        }
    }
}

impl From<SavingError> for Error {
    fn from(error: SavingError) -> Self {
        match error {
            SavingError::VersionTooLarge {
                aggregate_type,
                version,
            } => Self::VersionTooLarge {
                aggregate_type,
                version,
            },
            SavingError::Frame(error) => Self::Frame(error),
        }
    }
}

impl From<FlushError> for Error {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::Frame(frame) => Self::Frame(frame),
            other => Self::Flush(other),
        }
    }
}

impl From<Error> for DbErr {
    /// Keeps the error inside, for [`bento_error`].
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error,
            other => carry(other),
        }
    }
}

/// `DbErr` has one variant that keeps a typed source; it reads "Error converting `events` into
/// `outbox rows`: …".
fn carry(error: Error) -> DbErr {
    let (from, into) = match &error {
        Error::NoSchema { .. } | Error::NoSchemas { .. } => ("table prefix", "tables"),
        _ => ("events", "outbox rows"),
    };
    DbErr::TryIntoErr {
        from,
        into,
        source: Arc::new(error),
    }
}
