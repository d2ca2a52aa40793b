//! Events that were given up, and what an operator can do about them.

use std::future::Future;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::envelope::Envelope;
use crate::id::EventId;
use crate::outbox::ShardId;
use crate::relay::store::StoreError;

/// An event that was given up for one destination, kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The destination that did not get it.
    pub destination: Arc<str>,
    /// Its shard.
    pub shard: ShardId,
    /// Its original position.
    pub position: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why nobody tries again.
    pub cause: String,
    /// What the last attempt said, with every cause.
    pub error: String,
    /// When it was given up, by the store's clock.
    pub failed_at: DateTime<Utc>,
    /// Whether its aggregate waits for it.
    pub parks: bool,
    /// Those of an all-or-nothing route that got it nevertheless; a replay leaves them out. Empty unless it is set.
    pub delivered: Vec<Arc<str>>,
    /// The event.
    pub envelope: Arc<Envelope>,
}

impl DeadLetter {
    /// A dead letter as a store reads it.
    #[expect(clippy::too_many_arguments, reason = "one per column")]
    pub fn new(
        destination: Arc<str>,
        shard: ShardId,
        position: i64,
        attempts: u32,
        cause: String,
        error: String,
        failed_at: DateTime<Utc>,
        parks: bool,
        envelope: Arc<Envelope>,
    ) -> Self {
        Self { destination, shard, position, attempts, cause, error, failed_at, parks, delivered: Vec::new(), envelope }
    }
}

/// Which dead letters to list: oldest first, paged by the last one seen.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeadLetterQuery {
    /// Only this schema.
    pub event_type: Option<String>,
    /// Only this tenant.
    pub tenant_id: Option<String>,
    /// Only this destination.
    pub destination: Option<String>,
    /// Only this aggregate, by type and id.
    pub aggregate: Option<(String, String)>,
    /// Only what comes after this failure time and event.
    pub after: Option<(DateTime<Utc>, EventId)>,
    /// At most so many; 100 if 0.
    pub limit: u64,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whether the dead letter was there and is now due again.
    pub replayed: bool,
    /// Whether later events of its aggregate may be out already, so that it arrives late: it did not park its aggregate.
    /// Never for an event without order.
    pub later_ones_out: bool,
}

/// The dead letters of a store.
pub trait DeadLetters: Send + Sync {
    /// Lists dead letters, oldest failure first, then by event id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn list(&self, query: &DeadLetterQuery) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Makes a dead letter due again at once, with its original id and position and no attempts counted, before the held events
    /// of its aggregate. The aggregate goes on when its last dead letter that parks is replayed or discarded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn replay(&self, event_id: EventId, destination: &str)
    -> impl Future<Output = Result<Replayed, StoreError>> + Send;

    /// Drops a dead letter for good; its aggregate goes on. Returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn discard(&self, event_id: EventId, destination: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
