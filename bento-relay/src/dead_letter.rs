//! Events that were given up, and what an operator can do about them.
//!
//! * [`DeadLetters`] lists, amends, replays and discards them; [`DeadLetters::replay_all`] tries it
//!   first, if asked to.
//! * [`Operator`] does the same in somebody's name, and asks a
//!   [`TenantPolicy`](crate::tenant::TenantPolicy) before.
//! * [`Alerts`] tells somebody of each through an [`AlertHook`].

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
pub use self::discard::{BlankReason, DiscardedLetter, Discarding};
pub use self::operator::{Operator, OperatorError};
pub use self::query::{DeadLetterCursor, DeadLetterFilter, DeadLetterQuery, InvalidCursor};
pub use self::replay::{Problem, ReplayMode, ReplayProblem, ReplayReport, Replayed, ShardCursor};
use crate::store::StoreError;

/// An event that was given up for one route, kept whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The route that did not get it: the name of its route.
    pub route: Arc<str>,
    /// Its shard.
    pub shard: ShardId,
    /// Its original position.
    pub position: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// Why nobody tries again, one of the causes of [`Burial`](crate::store::Burial).
    pub cause: String,
    /// What the last attempt said, with every cause behind it, joined by `: `.
    pub error: String,
    /// When it failed for the first time, by the store's clock.
    pub first_failed_at: DateTime<Utc>,
    /// When it was given up, by the store's clock.
    pub failed_at: DateTime<Utc>,
    /// Whether its aggregate waits for it.
    pub parks: bool,
    /// Those of an all-or-nothing route that got it nevertheless.
    pub delivered: Vec<Arc<str>>,
    /// The event; of a row that could not be read what could be, with other values for the rest.
    pub envelope: Arc<Envelope>,
    /// The columns, as the database showed them, of a row that could not be read, or could not be
    /// stored as it was, as a JSON object; bytes are hexadecimal. A letter with it cannot be
    /// replayed.
    pub raw: Option<String>,
}

impl DeadLetter {
    /// A dead letter as a store reads it, that failed once and reached nobody: set
    /// [`first_failed_at`](Self::first_failed_at), [`delivered`](Self::delivered) and
    /// [`raw`](Self::raw) if it was otherwise.
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

    /// Where a list goes on behind it, for [`DeadLetterQuery::after`].
    pub fn cursor(&self) -> DeadLetterCursor {
        DeadLetterCursor {
            at: self.failed_at,
            event_id: self.envelope.event_id,
            route: Arc::clone(&self.route),
        }
    }

    /// Whether later events of its aggregate may be out already: it did not park its aggregate.
    /// Never for an event without order.
    pub fn later_ones_out(&self) -> bool {
        !self.parks && self.envelope.is_ordered()
    }
}

/// One dead letter: its event and its route.
pub type LetterKey = (EventId, Arc<str>);

/// The dead letters of a store.
///
/// ```
/// # use bento_relay::dead_letter::{DeadLetterFilter, DeadLetterQuery, DeadLetters, ReplayMode};
/// # use bento_relay::{MemoryStore, StoreError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// # let store = MemoryStore::default();
/// let orders = DeadLetterFilter::default().event_type("order.placed").tenant("acme");
/// for letter in store.list(&DeadLetterQuery::of(orders.clone())).await? {
///     println!("{} {}: {}", letter.envelope.event_id, letter.cause, letter.error);
/// }
/// let would_be = store.replay_all(&orders, ReplayMode::DryRun).await?;
/// if would_be.problems.is_empty() {
///     store.replay_all(&orders, ReplayMode::Replay).await?;
/// }
/// # Ok(())
/// # }
/// ```
pub trait DeadLetters: Send + Sync {
    /// Lists dead letters, oldest failure first, then by event id and route.
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

    /// The dead letter of one event for one route.
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

    /// Lists dead letters in the order in which they can be replayed: by shard, position and route.
    /// At most `limit`.
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

    /// Changes the headers of a dead letter, so that its replay is not refused again. The letters
    /// of the event for other routes keep theirs. A replay at the same time has either the old
    /// headers, and then this is [`StoreError::NoDeadLetter`], or the new ones.
    ///
    /// ```
    /// # use bento_relay::dead_letter::{Amendment, DeadLetterQuery, DeadLetters};
    /// # use bento_relay::{MemoryStore, StoreError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
    /// # let store = MemoryStore::default();
    /// for letter in store.list(&DeadLetterQuery::default()).await? {
    ///     let amendment = Amendment::default().without_header("authorization");
    ///     store.amend(letter.envelope.event_id, &letter.route, &amendment).await?;
    ///     store.replay(letter.envelope.event_id, &letter.route).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError::NoDeadLetter`] if it is not there (any more), [`StoreError::Unsendable`] if a
    /// header cannot be sent, [`StoreError::UnreadableHeaders`], [`StoreError::NotReplayable`] for
    /// a letter with [`raw`](DeadLetter::raw), and [`StoreError::Unavailable`]. Nothing was changed
    /// then, except perhaps by the last one.
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn amend(
        &self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes a dead letter due again at once, with its original id and position and no attempts
    /// counted, before the held events of its aggregate. The aggregate goes on when its last dead
    /// letter that parks is replayed or discarded. Those of an all-or-nothing route that have it
    /// already do not get it again.
    ///
    /// # Errors
    /// [`StoreError::NotReplayable`] for a letter with [`raw`](DeadLetter::raw),
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
    /// Those that are gone, or cannot be replayed, are left out. Returns how many it replayed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn replay_together(
        &self,
        shard: ShardId,
        letters: &[LetterKey],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Drops a dead letter for good; its aggregate goes on. What it was and why it was dropped is
    /// [kept](Self::discarded), without the payload. Returns whether it was there.
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

    /// Drops several dead letters of one shard in one transaction, like
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
        letters: &[LetterKey],
        discarding: &Discarding,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Lists what was discarded, the earliest first, then by event id and route. The times of the
    /// filter are those of the failure; a cursor is that of a [`DiscardedLetter`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn discarded(
        &self,
        query: &DeadLetterQuery,
    ) -> impl Future<Output = Result<Vec<DiscardedLetter>, StoreError>> + Send;

    /// Replays all that match, or only says what would happen.
    ///
    /// Dead letters of one aggregate keep their order: none becomes due before an earlier one that
    /// is replayed by the same call. It is done in transactions of at most 100 within a shard, so a
    /// failure may leave it half done: call it again. What dies again meanwhile is not taken twice.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// Some of the letters may be done. Calling it again goes on with the others.
    fn replay_all(
        &self,
        filter: &DeadLetterFilter,
        mode: ReplayMode,
    ) -> impl Future<Output = Result<ReplayReport, StoreError>> + Send {
        replay::replay_all(self, filter, mode)
    }

    /// Drops all that match for good, each like [`discard`](Self::discard), in transactions of at
    /// most 100. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may be half done.
    ///
    /// # Cancel safety
    /// Some of the letters may be done. Calling it again goes on with the others.
    fn discard_all(
        &self,
        filter: &DeadLetterFilter,
        discarding: &Discarding,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        discard::discard_all(self, filter, discarding)
    }
}
