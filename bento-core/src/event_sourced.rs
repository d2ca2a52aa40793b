//! Event-sourced aggregates: their state is what their events say.

mod decider;
mod replay;
mod snapshots;

use std::sync::Arc;

pub use self::decider::Decider;
pub use self::replay::{Replay, StreamFault};
#[doc(hidden)]
pub use self::snapshots::{SnapshotState, Snapshots};
use crate::aggregate::{Aggregate, AggregateEvents};
use crate::event::AnyEvent;
use crate::id::AggregateKey;

/// A struct declared with `#[aggregate(event_sourced, events(…))]`. Not meant to be implemented by
/// hand.
///
/// The struct has a method `apply`, which changes the state by one event. It is called for each
/// event that is raised, at once, and for each stored event when the aggregate is loaded; so it
/// decides nothing, calls nothing and cannot fail. The state begins as `Default` with the id.
///
/// The version is the number of the events that are stored.
///
/// ```
/// use bento_core::{PendingEvents, aggregate, domain_event};
///
/// #[domain_event(schema = "account.opened", version = 1)]
/// #[derive(Debug)]
/// pub struct AccountOpened {
///     pub account_id: String,
/// }
///
/// #[domain_event(schema = "account.credited", version = 1)]
/// #[derive(Debug)]
/// pub struct AccountCredited {
///     pub cents: i64,
/// }
///
/// #[aggregate(event_sourced, events(AccountOpened, AccountCredited))]
/// #[derive(Default)]
/// pub struct Account {
///     id: String,
///     #[aggregate(version)]
///     version: i64,
///     balance: i64,
///     events: PendingEvents,
/// }
///
/// impl Account {
///     fn apply(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::AccountOpened(opened) => self.id = opened.account_id.clone(),
///             AccountEvent::AccountCredited(credited) => self.balance += credited.cents,
///         }
///     }
/// }
///
/// let mut account = Account::from_events([
///     AccountEvent::from(AccountOpened { account_id: "A-1".into() }),
///     AccountCredited { cents: 500 }.into(),
/// ]);
/// assert_eq!((account.version, account.balance), (2, 500));
///
/// account.raise(AccountCredited { cents: 70 });
/// assert_eq!((account.version, account.balance), (2, 570));
/// # account.discard();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not event-sourced",
    label = "this aggregate has no stored events to be loaded from",
    note = "write `#[aggregate(event_sourced, events(…))]` on `{Self}`"
)]
pub trait EventSourced: Aggregate + Send + 'static {
    /// The type of the id: that of its field, or a tuple of the types of its fields.
    type Id: Send;

    /// The way in which snapshots of the state are kept, if they are. Not public API.
    #[doc(hidden)]
    const SNAPSHOTS: Option<Snapshots<Self>> = None;

    /// The key under which the events of an id are stored.
    fn key_of(id: &Self::Id) -> AggregateKey;

    /// The aggregate without an id. Not public API.
    #[doc(hidden)]
    fn blank() -> Self;

    /// Gives the aggregate its id. Not public API.
    #[doc(hidden)]
    fn set_id(&mut self, id: Self::Id);

    /// The aggregate with this id before its first event.
    fn with_id(id: Self::Id) -> Self {
        let mut aggregate = Self::blank();
        aggregate.set_id(id);
        aggregate
    }

    /// Changes the state by one event, by the method `apply` of the aggregate.
    fn apply_event(&mut self, event: &Self::Event);

    /// The aggregate after these events, oldest first, which count as stored.
    ///
    /// # Panics
    /// If the version field cannot hold their number.
    fn from_events<I>(events: I) -> Self
    where
        I: IntoIterator<Item: Into<Self::Event>>,
    {
        let mut aggregate = Self::blank();
        let mut version = 0;
        for event in events {
            aggregate.apply_event(&event.into());
            version += 1;
        }
        assert!(
            aggregate.set_version(version),
            "the version field of `{}` cannot hold {version}; use a larger integer",
            Self::TYPE,
        );
        aggregate
    }
}

/// The enum of an event-sourced aggregate's events. Not meant to be implemented by hand.
pub trait StoredEvents: AggregateEvents {
    /// The aggregate that is made of them.
    type Aggregate: Aggregate<Event = Self>;

    /// The aggregate after these events, oldest first, which count as stored.
    fn into_aggregate(events: impl IntoIterator<Item = Self>) -> Self::Aggregate;
}

/// A state that a test of an aggregate begins with: the aggregate itself, or the events of an
/// event-sourced one.
///
/// Implemented for every aggregate, and for arrays and vectors of the enum of an event-sourced
/// aggregate's events.
#[diagnostic::on_unimplemented(
    message = "a test of an aggregate cannot begin with `{Self}`",
    label = "neither an aggregate nor events of an event-sourced one",
    note = "give an aggregate, or an array of its event enum, as in \
            `[AccountEvent::from(opened), credited.into()]`"
)]
pub trait InitialState {
    /// The aggregate.
    type Aggregate: Aggregate;

    /// The aggregate in this state.
    fn into_aggregate(self) -> Self::Aggregate;
}

impl<E: StoredEvents, const N: usize> InitialState for [E; N] {
    type Aggregate = E::Aggregate;

    fn into_aggregate(self) -> E::Aggregate {
        E::into_aggregate(self)
    }
}

impl<E: StoredEvents> InitialState for Vec<E> {
    type Aggregate = E::Aggregate;

    fn into_aggregate(self) -> E::Aggregate {
        E::into_aggregate(self)
    }
}

/// The place of an aggregate's state. Not public API: the macro names one for each
/// aggregate, and a transaction saves by it.
#[doc(hidden)]
pub mod storage {
    /// A row of the application's own.
    #[derive(Debug)]
    pub enum Row {}
    /// The events.
    #[derive(Debug)]
    pub enum Events {}
    /// The events, and beside them a row of the application's own.
    #[derive(Debug)]
    pub enum RowAndEvents {}
}

/// Applies an event that is being raised. Not public API: called by the method that the macro
/// writes.
#[doc(hidden)]
pub fn apply_raised<A: EventSourced>(aggregate: &mut A, event: &Arc<dyn AnyEvent>) {
    let event = A::Event::from_any(Arc::clone(event));
    let event = event.expect("an aggregate raises only the events it lists");
    // An `apply` may put a new struct in the place of the old one, which would lose both.
    let pending = aggregate.pending_events().list().cloned();
    let version = aggregate.version();
    aggregate.apply_event(&event);
    aggregate.pending_events_mut().keep(pending);
    if let Some(version) = version.filter(|version| aggregate.version() != Some(*version)) {
        aggregate.set_version(version);
    }
}

/// Applies an event by the method `apply` of the aggregate. Not public API: called by the
/// implementation that the macro writes.
#[doc(hidden)]
pub fn apply_by<'a, E, A, Receiver, Event, Returned>(
    apply: impl FnOnce(Receiver, Event) -> Returned,
    aggregate: &'a mut A,
    event: &'a E,
) where
    A: AppliedBy<'a, E, Receiver, Event, Returned>,
{
    let (receiver, event) = aggregate.arguments(event);
    apply(receiver, event);
}

/// Implemented for the signature that `apply` has to have. Reported where it has another one.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the method `apply` of the event-sourced aggregate `{Self}` has another signature",
    label = "its `apply` is `fn({Receiver}, {Event}) -> {Returned}`",
    note = "write `fn apply(&mut self, event: &{E})`: it changes the state by an event that has \
            happened, so it cannot fail"
)]
pub trait AppliedBy<'a, E, Receiver, Event, Returned> {
    fn arguments(&'a mut self, event: &'a E) -> (Receiver, Event);
}

impl<'a, A, E> AppliedBy<'a, E, &'a mut A, &'a E, ()> for A {
    fn arguments(&'a mut self, event: &'a E) -> (&'a mut A, &'a E) {
        (self, event)
    }
}

/// Makes an event-sourced aggregate of its events. Not public API: called by the method that the
/// macro writes.
#[doc(hidden)]
pub fn from_events<A: EventSourced>(events: impl IntoIterator<Item: Into<A::Event>>) -> A {
    A::from_events(events)
}

/// The method `apply` of an aggregate that has none. A method of the aggregate itself goes before
/// this one.
#[doc(hidden)]
pub trait MissingApply: Aggregate {
    fn apply(&mut self, event: &Self::Event)
    where
        Self: HasApply<Self::Event>,
    {
        let _ = event;
    }
}

impl<A: Aggregate> MissingApply for A {}

/// Implemented by nothing: reported where an event-sourced aggregate has no method `apply`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the event-sourced aggregate `{Self}` has no method `apply`",
    label = "the state of `{Self}` is made by its `apply`",
    note = "write `fn apply(&mut self, event: &{E})` in an `impl` of `{Self}`: a `match` that \
            changes the state by each event; in another module than `{Self}` it is `pub(crate)`"
)]
pub trait HasApply<E> {}

/// The state that an event-sourced aggregate begins with. Reported where it is missing.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the event-sourced aggregate `{Self}` has no `Default`",
    label = "its state begins as `Default`, with the id",
    note = "add `#[derive(Default)]` to `{Self}`"
)]
pub trait Blank {
    fn blank() -> Self;
}

#[diagnostic::do_not_recommend]
impl<A: Default> Blank for A {
    fn blank() -> Self {
        Self::default()
    }
}
