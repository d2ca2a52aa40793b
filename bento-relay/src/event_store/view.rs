//! Read models of one aggregate that are made when they are asked for.

use bento_core::aggregate::AggregateEvents;
use bento_core::event_sourced::StreamFault;
use bento_core::{Aggregate, Envelope, EventSourced, Registry};

use super::{Cursor, EventStore, EventStoreError, PAGE, Selection};

/// A read model of one event-sourced aggregate, without a table: it is made of the stored events
/// each time it is asked for, by [`EventStore::project`].
///
/// It fits what is asked rarely, or of aggregates with few events: a statement, a history for
/// support. What is read often has a table of its own, which a projection keeps.
///
/// ```
/// # use bento_core::{Envelope, PendingEvents, aggregate, domain_event};
/// use bento_relay::MemoryEvents;
/// use bento_relay::event_store::{EventStore as _, View};
/// # #[domain_event(schema = "account.credited", version = 1)]
/// # #[derive(Debug)]
/// # pub struct AccountCredited { pub cents: i64 }
/// # #[aggregate(event_sourced, events(AccountCredited))]
/// # #[derive(Default)]
/// # pub struct Account {
/// #     id: String,
/// #     #[aggregate(version)]
/// #     version: i64,
/// #     balance: i64,
/// #     events: PendingEvents,
/// # }
/// # impl Account {
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             AccountEvent::AccountCredited(credited) => self.balance += credited.cents,
/// #         }
/// #     }
/// # }
///
/// /// The lines of an account's statement.
/// #[derive(Debug, Default)]
/// struct Statement(Vec<String>);
///
/// impl View for Statement {
///     type Aggregate = Account;
///
///     fn apply(&mut self, event: &AccountEvent, stored: &Envelope) {
///         let AccountEvent::AccountCredited(credited) = event;
///         let number = stored.sequence.unwrap_or_default();
///         self.0.push(format!("{number}: {} cents", credited.cents));
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::event_store::EventStoreError> {
/// let events = MemoryEvents::default();
/// let mut account = Account { id: "A-1".into(), ..Account::default() };
/// account.raise(AccountCredited { cents: 500 });
/// events.save(&mut account).await?;
///
/// let statement = events.project::<Statement>("A-1").await?;
/// assert_eq!(statement.map(|statement| statement.0), Some(vec!["1: 500 cents".to_owned()]));
/// assert!(events.project::<Statement>("A-2").await?.is_none());
/// # Ok(())
/// # }
/// ```
pub trait View: Default + Send {
    /// The aggregate whose events it is made of.
    type Aggregate: EventSourced;

    /// Adds an event, in the order of the sequence. `stored` has its number, its time and the rest
    /// of its metadata.
    fn apply(&mut self, event: &<Self::Aggregate as Aggregate>::Event, stored: &Envelope);
}

/// Makes a view of the stored events of an aggregate, page by page.
pub(super) async fn project<V: View>(
    store: &impl EventStore,
    id: <V::Aggregate as EventSourced>::Id,
) -> Result<Option<V>, EventStoreError> {
    let of = Selection::of::<V::Aggregate>(id);
    let (mut after, mut view, mut last) = (Cursor::START, V::default(), 0);
    loop {
        let page = store.page(&of, &after, PAGE).await?;
        for stored in &page.events {
            let event = read::<V::Aggregate>(&stored.envelope, last);
            let event = event.map_err(|fault| fault_of::<V::Aggregate>(&stored.envelope, fault))?;
            view.apply(&event, &stored.envelope);
            last += 1;
        }
        if page.is_last {
            return Ok((last > 0).then_some(view));
        }
        after = page.next;
    }
}

/// The event behind the one with this number.
fn read<A: EventSourced>(stored: &Envelope, last: i64) -> Result<A::Event, StreamFault> {
    let sequence = stored.sequence.unwrap_or_default();
    if sequence != last + 1 {
        let (expected, found) = (last + 1, sequence);
        return Err(StreamFault::Hole { expected, found });
    }
    let event = Registry::global()
        .decode(&stored.event_type, stored.schema_version, &stored.payload)
        .map_err(|source| StreamFault::Undecodable { sequence, source })?;
    A::Event::from_any(event).ok_or_else(|| StreamFault::NotListed {
        sequence,
        event_type: stored.event_type.to_string(),
        aggregate: A::DESCRIPTOR.rust_name,
    })
}

fn fault_of<A: EventSourced>(stored: &Envelope, fault: StreamFault) -> EventStoreError {
    EventStoreError::Stream {
        aggregate_type: A::TYPE,
        id: stored.aggregate_id.clone(),
        fault: Box::new(fault),
    }
}
