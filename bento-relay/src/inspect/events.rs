//! The state of a store of events.

use std::future::Future;

use crate::event_store::EventStoreError;

/// The stored aggregates of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredAggregates {
    /// The type.
    pub aggregate_type: String,
    /// The number of aggregates that have events.
    pub aggregates: u64,
    /// The number of their events: the sum of the numbers of the last ones.
    pub events: u64,
    /// The number of kept snapshots, those of other releases too.
    pub snapshots: u64,
}

/// Counts of a store of events, for operators. No event is read.
///
/// ```
/// use bento_core::Envelope;
/// use bento_relay::MemoryEvents;
/// use bento_relay::inspect::InspectEvents;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::event_store::EventStoreError> {
/// let events = MemoryEvents::default();
/// let mut opened = Envelope::new("account.opened", 1, chrono::Utc::now(), "{}");
/// opened.aggregate_type = "account".into();
/// opened.aggregate_id = "A-1".into();
/// opened.sequence = Some(1);
/// events.restore([opened]);
/// let [accounts] = &events.stored_aggregates().await?[..] else {
///     panic!("one type");
/// };
/// assert_eq!((accounts.aggregates, accounts.events, accounts.snapshots), (1, 1, 0));
/// assert_eq!(events.last_position().await?, Some(1));
/// # Ok(())
/// # }
/// ```
pub trait InspectEvents: Send + Sync {
    /// Returns the counts by type of aggregate, ordered by type. A type without aggregates and
    /// snapshots is left out.
    ///
    /// In a database it reads a short row for each aggregate and the key of each snapshot: with
    /// millions of aggregates ask now and then, not every few seconds.
    ///
    /// # Errors
    /// [`EventStoreError::Database`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn stored_aggregates(
        &self,
    ) -> impl Future<Output = Result<Vec<StoredAggregates>, EventStoreError>> + Send;

    /// Returns the position of the last event among all that are stored; `None` without one.
    ///
    /// In a database it reads the end of an index, however many events there are. On MySQL and
    /// MariaDB events get their positions when all events, or those of one type, are read the next
    /// time: it is the last one that has been given.
    ///
    /// # Errors
    /// [`EventStoreError::Database`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn last_position(&self) -> impl Future<Output = Result<Option<i64>, EventStoreError>> + Send;
}
