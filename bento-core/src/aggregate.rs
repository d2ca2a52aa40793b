//! Aggregates: the consistency boundaries that raise events.

use std::sync::Arc;

pub use crate::event::AggregateDescriptor;
use crate::event::{AnyEvent, RaisedBy};
use crate::id::AggregateKey;
use crate::metadata::Metadata;
use crate::pending::{Content, Numbering, PendingEvents, RaisedEvent, Stream};
use crate::unit_of_work::UnitOfWork;

/// A struct declared with `#[aggregate(events(…))]`. Not meant to be implemented by hand.
///
/// Inside the scope of a transaction a raised event goes to that transaction; outside any scope it
/// stays in the aggregate's [`PendingEvents`] until a transaction collects it. Either way the
/// aggregate knows nothing of transactions.
///
/// An aggregate with a version, and one whose key the database has yet to generate, keeps what it
/// raises until it is saved, also inside the scope: the save numbers its events and gives them the
/// key. A commit without that save is refused.
///
/// ```
/// use bento_core::{Aggregate, PendingEvents, aggregate, domain_event};
///
/// #[domain_event(schema = "order.paid", version = 1)]
/// #[derive(Debug)]
/// pub struct OrderPaid {
///     pub order_id: u32,
/// }
///
/// #[aggregate(events(OrderPaid))]
/// pub struct Order {
///     id: u32,
///     events: PendingEvents,
/// }
///
/// fn raised<A: Aggregate>(aggregate: &A) -> usize {
///     aggregate.pending_events().len()
/// }
///
/// let mut order = Order { id: 7, events: PendingEvents::default() };
/// order.raise(OrderPaid { order_id: order.id });
/// assert_eq!((Order::TYPE, raised(&order)), ("order", 1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "this type has no `#[aggregate]`",
    note = "add `#[aggregate(events(…))]` above the derives of `{Self}`"
)]
pub trait Aggregate: Sized {
    /// The enum of the events that the aggregate raises, for exhaustive matching.
    type Event: AggregateEvents;

    /// The declaration of this aggregate, as the macro read it.
    const DESCRIPTOR: &'static AggregateDescriptor;

    /// The stable name of the aggregate, which is stored beside every event.
    const TYPE: &'static str = Self::DESCRIPTOR.aggregate_type;

    /// True if one of its fields is marked `#[aggregate(version)]`.
    const IS_VERSIONED: bool = false;

    /// True if it is declared `event_sourced`.
    const IS_EVENT_SOURCED: bool = false;

    /// The place of its state. Not public API.
    #[doc(hidden)]
    type Storage;

    /// Applies an event that is being raised, if the aggregate is event-sourced. Not public API.
    #[doc(hidden)]
    fn apply_raised(&mut self, _event: &Arc<dyn AnyEvent>) {}

    /// The version: the number of the aggregate's last event in the database, 0 before it is
    /// stored. `None` without such a field.
    fn version(&self) -> Option<i64> {
        None
    }

    /// Sets the version. Returns `false`, and changes nothing, if the field cannot hold the version
    /// or there is no such field.
    fn set_version(&mut self, _version: i64) -> bool {
        false
    }

    /// The identity of the aggregate.
    fn aggregate_key(&self) -> AggregateKey;

    /// The pending events.
    fn pending_events(&self) -> &PendingEvents;

    /// The pending events, to be collected.
    fn pending_events_mut(&mut self) -> &mut PendingEvents;

    /// Raises `event`.
    #[track_caller]
    fn raise<E: RaisedBy<Self>>(&mut self, event: E) {
        raise(self, event.into_any());
    }

    /// Raises `event` with metadata of its own: `adjust` gets the metadata of the scope around the
    /// caller.
    #[track_caller]
    fn raise_with<E: RaisedBy<Self>>(
        &mut self,
        event: E,
        adjust: impl FnOnce(Metadata) -> Metadata,
    ) {
        raise_with(self, event.into_any(), Metadata::current_with(adjust));
    }

    /// The pending events, oldest first.
    fn pending(&self) -> Vec<Self::Event> {
        typed::<Self>(&self.pending_events().snapshot())
    }

    /// Takes the pending events out of the aggregate, oldest first.
    fn take(&mut self) -> Vec<Self::Event> {
        typed::<Self>(&self.pending_events_mut().take())
    }

    /// Drops the pending events: they are not published.
    fn discard(&mut self) {
        self.pending_events_mut().take();
    }
}

/// An aggregate with a field marked `#[aggregate(version)]`. Not meant to be implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no version",
    label = "no field of this aggregate is marked `#[aggregate(version)]`",
    note = "mark an integer field of `{Self}` with `#[aggregate(version)]`, or write with \
            `insert` and `update`"
)]
pub trait Versioned: Aggregate {}

/// An integer that can count the versions of an aggregate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the version of an aggregate",
    label = "a version is an integer",
    note = "use an integer of 16 to 64 bits, as in `#[aggregate(version)] version: i64`"
)]
pub trait VersionNumber: Copy {
    /// The version as the number of an event.
    fn to_version(self) -> i64;

    /// The integer of this version; `None` if the type cannot hold it.
    fn from_version(version: i64) -> Option<Self>;

    /// Becomes this version. Returns `false`, and changes nothing, if the type cannot hold it.
    fn set_version(&mut self, version: i64) -> bool {
        Self::from_version(version)
            .map(|version| *self = version)
            .is_some()
    }
}

macro_rules! version_numbers {
    ($($integer:ty)*) => {$(
        impl VersionNumber for $integer {
            fn to_version(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }

            fn from_version(version: i64) -> Option<Self> {
                Self::try_from(version).ok()
            }
        }
    )*};
}
version_numbers!(i16 i32 i64 u16 u32 u64);

/// The exhaustive enum of an aggregate's events. Not meant to be implemented by hand.
pub trait AggregateEvents: Sized {
    /// The variant for `event`; `None` if the aggregate does not list its type.
    fn from_any(event: Arc<dyn AnyEvent>) -> Option<Self>;

    /// The event without its variant.
    fn into_any(self) -> Arc<dyn AnyEvent>;
}

/// Raises `event`. Not public API: called by the methods that the macro writes.
#[doc(hidden)]
#[track_caller]
pub fn raise<A: Aggregate>(aggregate: &mut A, event: Arc<dyn AnyEvent>) {
    raise_with(aggregate, event, Metadata::current());
}

#[track_caller]
fn raise_with<A: Aggregate>(aggregate: &mut A, event: Arc<dyn AnyEvent>, metadata: Arc<Metadata>) {
    aggregate.apply_raised(&event);
    let key = aggregate.aggregate_key();
    raise_into(
        aggregate.pending_events_mut(),
        key,
        A::DESCRIPTOR,
        A::IS_VERSIONED,
        event,
        metadata,
    );
}

#[track_caller]
fn raise_into(
    pending: &mut PendingEvents,
    key: AggregateKey,
    aggregate: &'static AggregateDescriptor,
    is_versioned: bool,
    event: Arc<dyn AnyEvent>,
    metadata: Arc<Metadata>,
) {
    let aggregate_id = key.into_text();
    let waits = is_versioned || aggregate_id.is_none();
    let stream = Stream::Aggregate {
        aggregate_type: aggregate.aggregate_type,
        aggregate_id,
    };
    let mut event = RaisedEvent::new(Content::Typed(event), stream, metadata);
    if is_versioned {
        event.numbering = Numbering::Awaited;
    }
    let unheard = match UnitOfWork::current() {
        Some(unit_of_work) if waits => unit_of_work.raise_at_home(pending, event),
        Some(unit_of_work) => unit_of_work.raise_after(pending, event),
        None => Some(event),
    };
    if let Some(event) = unheard {
        pending.push(event);
    }
}

fn typed<A: Aggregate>(events: &[RaisedEvent]) -> Vec<A::Event> {
    let typed = |event: &RaisedEvent| event.event().cloned().and_then(A::Event::from_any);
    events
        .iter()
        .map(|event| typed(event).expect("an aggregate raises only the events it lists"))
        .collect()
}
