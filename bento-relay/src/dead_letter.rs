//! Dead letters: events that were given up, and the commands of an operator for them.
//!
//! * [`DeadLetters`] lists, amends, replays and discards them; [`DeadLetters::replay_all`] makes a
//!   dry run first on request.
//! * [`Operator`] does the same under the name of an actor, and asks a
//!   [`TenantPolicy`](crate::tenant::TenantPolicy) first.
//! * [`Alerts`] reports each of them through an [`AlertHook`].

mod alert;
mod amendment;
mod discard;
mod operator;
mod query;
mod replay;

use std::future::Future;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use chrono::{DateTime, Utc};

pub use self::alert::{
    AlertError, AlertHook, AlertOutcome, AlertSettings, AlertStore, Alerts, AlertsHandle, LogAlert,
};
pub use self::amendment::Amendment;
pub use self::discard::{BlankReason, DiscardedDeadLetter, Discarding};
pub use self::operator::{Operator, OperatorError};
pub use self::query::{DeadLetterCursor, DeadLetterFilter, DeadLetterQuery, InvalidCursor};
pub use self::replay::{Problem, ReplayMode, ReplayProblem, ReplayReport, Replayed, ShardCursor};
use crate::store::StoreError;

/// An event that was given up for one route, stored whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The name of the route that did not get the event.
    pub route: Arc<str>,
    /// The shard of the event.
    pub shard: ShardId,
    /// The original position of the event.
    pub position: i64,
    /// The number of attempts.
    pub attempts: u32,
    /// The reason for giving up: one of the causes of
    /// [`NewDeadLetter`](crate::store::NewDeadLetter).
    pub cause: String,
    /// The error of the last attempt, with every cause behind it, joined by `: `.
    pub error: String,
    /// The time of the first failure, by the store's clock.
    pub first_failed_at: DateTime<Utc>,
    /// The time of giving up, by the store's clock.
    pub failed_at: DateTime<Utc>,
    /// True if the aggregate waits for this dead letter.
    pub parks: bool,
    /// The destinations of an all-or-nothing route that did get the event.
    pub delivered: Vec<Arc<str>>,
    /// The event. If the row could not be read: its readable parts, with other values for the rest.
    pub envelope: Arc<Envelope>,
    /// The columns of a row that could not be read, or could not be stored unchanged, as the
    /// database showed them: a JSON object with bytes in hexadecimal. Such a dead letter cannot be
    /// replayed.
    pub raw: Option<String>,
}

impl DeadLetter {
    /// A dead letter as a store reads it, with a single failure and without a delivery. Set
    /// [`first_failed_at`](Self::first_failed_at), [`delivered`](Self::delivered) and
    /// [`raw`](Self::raw) where these differ.
    #[expect(clippy::too_many_arguments, reason = "one per column")]
    pub fn new(
        route: Arc<str>,
        shard: ShardId,
        position: i64,
        attempts: u32,
        cause: String,
        error: String,
        failed_at: DateTime<Utc>,
        parks: bool,
        envelope: Arc<Envelope>,
    ) -> Self {
        Self {
            route,
            shard,
            position,
            attempts,
            cause,
            error,
            first_failed_at: failed_at,
            failed_at,
            parks,
            delivered: Vec::new(),
            envelope,
            raw: None,
        }
    }

    /// The cursor behind this dead letter, for [`DeadLetterQuery::after`].
    pub fn cursor(&self) -> DeadLetterCursor {
        DeadLetterCursor {
            at: self.failed_at,
            event_id: self.envelope.event_id,
            route: Arc::clone(&self.route),
        }
    }

    /// True if later events of the aggregate may have been published already, because this dead
    /// letter did not park its aggregate. Always false for an event without order.
    pub fn later_ones_out(&self) -> bool {
        !self.parks && self.envelope.is_ordered()
    }
}

/// The key of a dead letter: its event and its route.
pub type DeadLetterKey = (EventId, Arc<str>);

/// The dead letters of a store.
///
/// ```
/// # use bento_relay::dead_letter::{DeadLetterFilter, DeadLetterQuery, DeadLetters, ReplayMode};
/// # use bento_relay::{MemoryStore, StoreError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// # let store = MemoryStore::default();
/// let orders = DeadLetterFilter::default().event_type("order.placed").tenant("acme");
/// for dead_letter in store.list(&DeadLetterQuery::of(orders.clone())).await? {
///     println!("{} {}: {}", dead_letter.envelope.event_id, dead_letter.cause, dead_letter.error);
/// }
/// let would_be = store.replay_all(&orders, ReplayMode::DryRun).await?;
/// if would_be.problems.is_empty() {
///     store.replay_all(&orders, ReplayMode::Replay).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub trait DeadLetters: Send + Sync {
    /// Lists dead letters, the oldest failure first, then by event id and route.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn list(
        &self,
        query: &DeadLetterQuery,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Returns the dead letter of one event for one route.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn find(
        &self,
        event_id: EventId,
        route: &str,
    ) -> impl Future<Output = Result<Option<DeadLetter>, StoreError>> + Send;

    /// Lists at most `limit` dead letters in the order of replay: by shard, position and route.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn list_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Changes the headers of a dead letter that could not be sent, so that its replay can succeed.
    /// The event's dead letters for other routes keep theirs. A concurrent replay takes either the
    /// old headers, and then this call fails with [`StoreError::NoDeadLetter`], or the new ones.
    ///
    /// ```
    /// # use bento_relay::dead_letter::{Amendment, DeadLetterQuery, DeadLetters};
    /// # use bento_relay::{MemoryStore, StoreError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
    /// # let store = MemoryStore::default();
    /// for dead_letter in store.list(&DeadLetterQuery::default()).await? {
    ///     let amendment = Amendment::default().without_header("authorization");
    ///     store.amend(dead_letter.envelope.event_id, &dead_letter.route, &amendment).await?;
    ///     store.replay(dead_letter.envelope.event_id, &dead_letter.route).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::NoDeadLetter`] if the dead letter does not exist (any more),
    /// [`StoreError::Unsendable`] if a header cannot be sent, [`StoreError::UnreadableHeaders`],
    /// [`StoreError::NotReplayable`] for a dead letter with [`raw`](DeadLetter::raw), and
    /// [`StoreError::Unavailable`]. After any of them but the last one nothing was changed.
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes a dead letter due again at once, before the held events of its aggregate. It keeps its
    /// id and position; its attempts start at 0. The aggregate goes on when its last parking dead
    /// letter is replayed or discarded. Destinations of an all-or-nothing route that have confirmed
    /// the event do not get it again.
    ///
    /// # Errors
    /// [`StoreError::NotReplayable`] for a dead letter with [`raw`](DeadLetter::raw),
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn replay(
        &self,
        event_id: EventId,
        route: &str,
    ) -> impl Future<Output = Result<Replayed, StoreError>> + Send;

    /// Replays several dead letters of one shard in one transaction: either all become due or none.
    /// Missing dead letters, and those that cannot be replayed, are left out. Returns the number of
    /// replayed ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn replay_together(
        &self,
        shard: ShardId,
        dead_letters: &[DeadLetterKey],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Deletes a dead letter for good; its aggregate goes on. A [record](Self::discarded) of it
    /// stays, with the reason and without the payload. Returns true if the dead letter existed.
    ///
    /// # Errors
    /// [`StoreError::Unstorable`] for a reason or actor that is too long or holds U+0000,
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn discard(
        &self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes several dead letters of one shard in one transaction, like
    /// [`replay_together`](Self::replay_together).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn discard_together(
        &self,
        shard: ShardId,
        dead_letters: &[DeadLetterKey],
        discarding: &Discarding,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Lists discarded dead letters, the earliest first, then by event id and route. The times in
    /// the filter are those of the failure; a cursor is the one of a [`DiscardedDeadLetter`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> impl Future<Output = Result<Vec<DiscardedDeadLetter>, StoreError>> + Send;

    /// Replays all matching dead letters, or reports the problems of a replay.
    ///
    /// Dead letters of one aggregate keep their order: none becomes due before an earlier one that
    /// the same call replays. A transaction holds at most 100 of one shard, so a failure may leave
    /// the call half done; call it again. A dead letter that fails again meanwhile is not taken
    /// twice.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// Some of the dead letters may be done. Calling it again goes on with the others.
    fn replay_all(
        &self,
        filter: &DeadLetterFilter,
        mode: ReplayMode,
    ) -> impl Future<Output = Result<ReplayReport, StoreError>> + Send {
        replay::replay_all(self, filter, mode)
    }

    /// Deletes all matching dead letters for good, each like [`discard`](Self::discard), in
    /// transactions of at most 100. Returns the number of deleted ones.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the call may be half done.
    ///
    /// # Cancel safety
    /// Some of the dead letters may be done. Calling it again goes on with the others.
    fn discard_all(
        &self,
        filter: &DeadLetterFilter,
        discarding: &Discarding,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        discard::discard_all(self, filter, discarding)
    }
}
