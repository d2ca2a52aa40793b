//! The seam to a store of events: event-sourced aggregates are loaded and saved, and stored events
//! are read in pages or as a stream.

mod cursor;
mod error;
mod view;

use std::future::Future;

use bento_core::event_sourced::storage;
use bento_core::{Envelope, EventSourced};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _, stream};

pub use self::cursor::{Cursor, InvalidCursor};
pub use self::error::EventStoreError;
pub use self::view::View;

/// A moment in the history of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// After the event with this number.
    Sequence(i64),
    /// After the last event that occurred at this time or earlier, and all before it in the
    /// sequence.
    Time(DateTime<Utc>),
}

/// The stored events that are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    /// The events of one aggregate, in the order of their sequence.
    Aggregate {
        /// The type of the aggregate.
        aggregate_type: String,
        /// Its key, as the envelope has it.
        aggregate_id: String,
    },
    /// The events of one event type, those of one aggregate in the order of their sequence.
    EventType(String),
    /// All events, those of one aggregate in the order of their sequence.
    All,
}

impl Selection {
    /// The events of one aggregate.
    pub fn of<A: EventSourced>(id: impl Into<A::Id>) -> Self {
        Self::Aggregate {
            aggregate_type: A::TYPE.to_owned(),
            aggregate_id: A::key_of(&id.into()).into_text().unwrap_or_default(),
        }
    }
}

/// A stored event and the place behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// The event, with its sequence.
    pub envelope: Envelope,
    /// The place from which reading goes on after this event.
    pub cursor: Cursor,
}

impl StoredEvent {
    /// A stored event and the place behind it.
    pub fn new(envelope: Envelope, cursor: Cursor) -> Self {
        Self { envelope, cursor }
    }
}

/// Some stored events, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// The place from which reading goes on: behind the last event, or where nothing more was
    /// stored when the page was read.
    pub next: Cursor,
    /// True if nothing more was stored when the page was read.
    pub is_last: bool,
}

impl Page {
    /// A page.
    pub fn new(events: Vec<StoredEvent>, next: Cursor, is_last: bool) -> Self {
        Self {
            events,
            next,
            is_last,
        }
    }
}

/// A store of the events of event-sourced aggregates.
///
/// It is for code that is to run on a database and, in tests, in memory. Each call is a transaction
/// of its own. Inside a transaction of SeaORM use that one: it has `load` and `save` too.
///
/// No event is missed: one that is committed after a page was read is read later, also if its
/// transaction began before. Two events of different aggregates may be read in another order than
/// that of their times.
pub trait EventStore: Sync {
    /// Loads an aggregate. Returns `None` if it has no events.
    ///
    /// # Errors
    /// [`EventStoreError::Stream`] if the stored events are not what the aggregate can be made of.
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped.
    fn load<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
    ) -> impl Future<Output = Result<Option<A>, EventStoreError>> + Send;

    /// Loads an aggregate as it was at a moment. Returns `None` if it had no event then.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    /// As [`load`](Self::load).
    fn load_at<A: EventSourced>(
        &self,
        id: impl Into<A::Id> + Send,
        moment: Moment,
    ) -> impl Future<Output = Result<Option<A>, EventStoreError>> + Send;

    /// Saves the pending events of an aggregate: appends them to the stored ones, and writes them
    /// to the outbox, in one transaction.
    ///
    /// # Errors
    /// [`EventStoreError::Conflict`] if another transaction has saved the aggregate since it was
    /// loaded. The events are back with the aggregate.
    ///
    /// # Cancel safety
    /// If the future is dropped, the events may be stored. Load the aggregate again.
    fn save<A: EventSourced<Storage = storage::Events>>(
        &self,
        aggregate: &mut A,
    ) -> impl Future<Output = Result<(), EventStoreError>> + Send;

    /// Reads up to `limit` events behind a place.
    ///
    /// # Errors
    /// [`EventStoreError::Cursor`] for a place that is none of this store.
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped.
    fn page(
        &self,
        of: &Selection,
        after: &Cursor,
        limit: usize,
    ) -> impl Future<Output = Result<Page, EventStoreError>> + Send;

    /// Makes a [`View`] of the stored events of an aggregate. Returns `None` if it has none.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    /// Nothing is changed if the future is dropped.
    fn project<V: View>(
        &self,
        id: impl Into<<V::Aggregate as EventSourced>::Id> + Send,
    ) -> impl Future<Output = Result<Option<V>, EventStoreError>> + Send
    where
        Self: Sized,
    {
        view::project(self, id.into())
    }

    /// The events behind a place, up to those that are stored when the last page is read.
    fn stream(
        &self,
        of: Selection,
        after: Cursor,
    ) -> impl Stream<Item = Result<StoredEvent, EventStoreError>> + Send {
        let pages = stream::try_unfold(Some((of, after)), async move |place| {
            let Some((of, after)) = place else {
                return Ok::<_, EventStoreError>(None);
            };
            let page = self.page(&of, &after, PAGE).await?;
            let next = (!page.is_last).then_some((of, page.next));
            let events = page.events.into_iter().map(Ok);
            Ok(Some((stream::iter(events), next)))
        });
        pages.try_flatten()
    }
}

/// The number of events that a stream reads at once.
const PAGE: usize = 512;
