//! Aggregates: the consistency boundaries that raise events.

use std::sync::Arc;

pub use crate::event::AggregateDescriptor;
use crate::event::{AnyEvent, RaisedBy};
use crate::id::AggregateKey;
use crate::metadata::Metadata;
use crate::pending::{Content, PendingEvents, RaisedEvent, Stream};
use crate::unit_of_work::UnitOfWork;

/// A struct declared with `#[aggregate(events(…))]`. Not meant to be implemented by hand.
///
/// Inside the scope of a transaction a raised event goes to that transaction; outside any scope it stays in the
/// aggregate's [`PendingEvents`] until somebody collects it. Either way the aggregate knows nothing of transactions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "this type has no `#[aggregate]`",
    note = "add `#[aggregate(events(…))]` above the derives of `{Self}`"
)]
pub trait Aggregate: Sized {
    /// The events it raises, for exhaustive matching.
    type Event: AggregateEvents;

    /// What the macro knows about this aggregate.
    const DESCRIPTOR: &'static AggregateDescriptor;

    /// Its stable name, which is stored beside every event.
    const TYPE: &'static str = Self::DESCRIPTOR.aggregate_type;

    /// Its identity.
    fn aggregate_key(&self) -> AggregateKey;

    /// Its pending events.
    fn pending_events(&self) -> &PendingEvents;

    /// Its pending events, to be collected.
    fn pending_events_mut(&mut self) -> &mut PendingEvents;

    /// Says that `event` happened.
    #[track_caller]
    fn raise<E: RaisedBy<Self>>(&mut self, event: E) {
        raise(self, Arc::new(event), Metadata::current());
    }

    /// Says that `event` happened, with metadata of its own: an id, a topic, a header.
    #[track_caller]
    fn raise_with<E: RaisedBy<Self>>(&mut self, event: E, adjust: impl FnOnce(&mut Metadata)) {
        let mut metadata = Metadata::current();
        adjust(Arc::make_mut(&mut metadata));
        raise(self, Arc::new(event), metadata);
    }

    /// The pending events, oldest first.
    fn pending(&self) -> Vec<Self::Event> {
        typed::<Self>(&self.pending_events().snapshot())
    }

    /// The pending events, oldest first, which are then no longer pending.
    fn take(&mut self) -> Vec<Self::Event> {
        typed::<Self>(&self.pending_events_mut().take())
    }

    /// Drops the pending events: they did not happen after all.
    fn discard(&mut self) {
        self.pending_events_mut().take();
    }
}

/// The exhaustive enum of an aggregate's events. Not meant to be implemented by hand.
pub trait AggregateEvents: Sized {
    /// The variant for `event`; `None` if the aggregate does not list its type.
    fn from_any(event: Arc<dyn AnyEvent>) -> Option<Self>;
}

#[track_caller]
fn raise<A: Aggregate>(aggregate: &mut A, event: Arc<dyn AnyEvent>, metadata: Arc<Metadata>) {
    let stream = Stream::Aggregate { aggregate_type: A::TYPE, aggregate_id: aggregate.aggregate_key().into_text() };
    let event = RaisedEvent::new(Content::Typed(event), stream, metadata);
    let pending = aggregate.pending_events_mut();
    let unheard = match UnitOfWork::current() {
        Some(unit_of_work) => unit_of_work.raise_after(pending, event),
        None => Some(event),
    };
    if let Some(event) = unheard {
        pending.push(event);
    }
}

fn typed<A: Aggregate>(events: &[RaisedEvent]) -> Vec<A::Event> {
    let typed = |event: &RaisedEvent| event.event().cloned().and_then(A::Event::from_any);
    events.iter().map(|event| typed(event).expect("an aggregate raises only the events it lists")).collect()
}
