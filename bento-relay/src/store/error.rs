//! The errors of a store.

use std::sync::Arc;

use bento_core::id::EventId;
use bento_core::limits::Unstorable;
use bento_core::metadata::UnsendableHeader;
use bento_core::outbox::{ShardId, Sharding};

/// The store could not do what the relay asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another relay owns the shard now. Stop working on it.
    #[error("the lease of shard {shard} at epoch {epoch} is lost; another relay owns the shard")]
    LeaseLost {
        /// The shard.
        shard: ShardId,
        /// The epoch that is no longer current.
        epoch: i64,
    },
    /// The database did not answer, or not in time. Try again later.
    #[error("the outbox store is unavailable")]
    Unavailable {
        /// The message of the driver.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table is missing where the store has looked for it. A running relay waits for it: a
    /// migration may come after it.
    #[error(
        "table `{table}` is missing {place}; run `bento::migrate(&db)`, or `migrate_with` for \
         another prefix or schema, or add `bento::migration::migrations()` to your migrator"
    )]
    NotMigrated {
        /// The table, without its schema.
        table: String,
        /// The place where the store looked for it, as the end of a sentence: a schema, the
        /// `search_path`, a database.
        place: String,
        /// The message of the driver.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The outbox is divided otherwise than this process was told.
    #[error(
        "the outbox is divided into {} shard(s) and {} lane(s), this process is configured for {} \
         and {}; use the recorded numbers, or drain the outbox and change them with the relays \
         stopped",
        recorded.shards, recorded.lanes, configured.shards, configured.lanes
    )]
    Mismatch {
        /// The recorded numbers.
        recorded: Sharding,
        /// The numbers that this process is configured for.
        configured: Sharding,
    },
    /// The outbox belongs to another application.
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
    /// The relay has handlers and no publisher, and other relays publish from the outbox.
    #[error(
        "this relay has handlers and no publisher, and other relays publish from this outbox: what \
         it takes would not be published; give it their publishers and rules too, or run the \
         handlers in those relays; if nothing is published any more, call \
         `HandlerControl::forget_publishers`"
    )]
    MissingPublishers,
    /// A row holds what this version cannot read. Its shard rests, and nothing is lost, until the
    /// row is mended.
    #[error("a stored row cannot be read: {reason}")]
    Corrupt {
        /// The place of the row, and what is wrong with it.
        reason: String,
        /// The message of the driver.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A dead letter holds a row that could not be read, so that there is no event to be delivered.
    /// Nothing was changed.
    #[error(
        "dead letter {event_id} for `{route}` holds a row that could not be read and cannot be \
         replayed; its field `raw` shows the row: write its event anew, and discard the dead letter"
    )]
    NotReplayable {
        /// The event, as far as its id is known.
        event_id: EventId,
        /// The route.
        route: Arc<str>,
    },
    /// There is no such dead letter. Nothing was changed.
    #[error(
        "there is no dead letter {event_id} for `{route}`: it was replayed or discarded, or never \
         was one; list the dead letters and take one of them"
    )]
    NoDeadLetter {
        /// The event.
        event_id: EventId,
        /// The route.
        route: Arc<str>,
    },
    /// No handler of this name is recorded. Nothing was changed.
    #[error(
        "no handler `{name}` is recorded: a relay that serves it records it when it starts; list \
         the handlers and take one of them"
    )]
    UnknownHandler {
        /// The name.
        name: String,
    },
    /// The handler does not take events of this type. Nothing was changed.
    #[error(
        "handler `{handler}` takes no event of type `{event_type}`; take one of the handlers that \
         are listed with this type"
    )]
    NotTaken {
        /// The name of the handler.
        handler: String,
        /// The event type.
        event_type: String,
    },
    /// The event is in no table of the outbox any more. Nothing was changed.
    #[error(
        "event {event_id} is in no table of the outbox: a published row is deleted unless the \
         relay keeps it; give its envelope, with `HandlerControl::handle_envelope_again`, and keep \
         published rows from now on, with `relay.retention`"
    )]
    NoEvent {
        /// The event.
        event_id: EventId,
    },
    /// The stored headers of a dead letter cannot be read, so that none of them can be changed
    /// alone. Nothing was changed.
    #[error(
        "the stored headers of dead letter {event_id} for `{route}` are not a JSON object of \
         texts; replace them as a whole, with `Amendment::without_other_headers`"
    )]
    UnreadableHeaders {
        /// The event.
        event_id: EventId,
        /// The route.
        route: Arc<str>,
        /// The fault and its rule.
        source: serde_json::Error,
    },
    /// A dead letter would have a header that not every broker carries. Nothing was changed.
    #[error("nothing was changed: {0}")]
    Unsendable(UnsendableHeader),
    /// The call contains a value that not every back end stores whole. Nothing was changed.
    #[error("nothing was changed: {0}")]
    Unstorable(Unstorable),
    /// The database answered, and refused what it was asked to record. Its shard rests, and nothing
    /// is lost.
    #[error("the database refuses what is to be recorded")]
    Refused {
        /// The message of the driver.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<Unstorable> for StoreError {
    fn from(rule: Unstorable) -> Self {
        Self::Unstorable(rule)
    }
}

impl From<UnsendableHeader> for StoreError {
    fn from(header: UnsendableHeader) -> Self {
        Self::Unsendable(header)
    }
}

impl StoreError {
    /// The database did not answer as it should.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// True for an error of one shard. The store itself answers, and the other shards can go on.
    pub fn is_of_one_shard(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Refused { .. })
    }
}
