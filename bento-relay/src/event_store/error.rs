//! The errors of a store of events.

use bento_core::EventId;
use bento_core::event_sourced::StreamFault;
use bento_core::saving::SavingError;
use bento_core::unit_of_work::FlushError;

use super::cursor::Cursor;

/// A store of events could not do what it was asked for. Nothing was stored and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventStoreError {
    /// Another transaction has saved the aggregate since it was loaded: load it again and repeat
    /// the change.
    #[error(
        "{aggregate_type} `{id}` was changed by another transaction: expected version {expected}, \
         found {}; load it again and repeat the change",
        .actual.map_or_else(|| "another one".to_owned(), |actual| actual.to_string())
    )]
    Conflict {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// Its key.
        id: String,
        /// The version that it was loaded with.
        expected: i64,
        /// The version in the store, 0 for an aggregate without events; `None` where it is not
        /// known.
        actual: Option<i64>,
        /// The refusal of the database, if it was one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The stored events of the aggregate are not what it can be made of: somebody has to repair
    /// the store, or to deploy a release that knows the events.
    #[error("{aggregate_type} `{id}` cannot be made of its stored events")]
    Stream {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// Its key.
        id: String,
        /// The fault, with the way out.
        #[source]
        fault: Box<StreamFault>,
    },
    /// A new event has the id of a stored one.
    #[error(
        "{aggregate_type} `{id}` cannot be saved: an event with the id of one of its new events \
         ({}) is stored already; if the caller chose the id, the command was carried out before",
        .event_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    AlreadyStored {
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// Its key.
        id: String,
        /// The ids of the events that were to be stored.
        event_ids: Vec<EventId>,
        /// The refusal of the database, if it was one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The aggregate has no id to store its events under.
    #[error(
        "{aggregate_type} cannot be saved: its id is empty; give it one before the first event, \
         like `Uuid::now_v7()`"
    )]
    NoKey {
        /// The type of the aggregate.
        aggregate_type: &'static str,
    },
    /// The events of the aggregate cannot be serialised.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// The aggregate cannot be saved now.
    #[error(transparent)]
    Saving(#[from] SavingError),
    /// The place to read from is none of this store.
    #[error("cannot read the stored events from `{cursor}`: {reason}")]
    Cursor {
        /// The place.
        cursor: Cursor,
        /// The rule that it breaks, and the way out.
        reason: String,
    },
    /// The database refused, or could not be asked.
    #[error("the database of the event store refused")]
    Database {
        /// The error of the database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
