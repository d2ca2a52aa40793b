//! Given an aggregate, when something is done to it, then it raises these events.

use std::fmt::Debug;

use bento_core::aggregate::AggregateEvents as _;
use bento_core::event::{AnyEvent, DomainEvent, RaisedBy};
use bento_core::event_sourced::InitialState;
use bento_core::unit_of_work::{FrameId, UnitOfWork};
use bento_core::{Aggregate, Envelope};

use crate::raised;

/// Starts a test of an aggregate without a database. What it has raised so far, by being made, does
/// not count.
///
/// ```
/// # use bento_core::{Aggregate, PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
/// # #[aggregate(events(OrderPaid))]
/// # pub struct Order { id: u32, is_paid: bool, events: PendingEvents }
/// # impl Order {
/// #     fn placed(id: u32) -> Self {
/// #         Self { id, is_paid: false, events: PendingEvents::default() }
/// #     }
/// #     fn pay(&mut self) -> Result<(), &'static str> {
/// #         if self.is_paid { return Err("it is paid already"); }
/// #         self.is_paid = true;
/// #         self.raise(OrderPaid { order_id: self.id });
/// #         Ok(())
/// #     }
/// # }
/// use bento_testkit::given;
///
/// given(Order::placed(7))
///     .when(|order| order.pay())
///     .raises(OrderPaid { order_id: 7 })
///     .and_nothing_else();
///
/// let again = given(Order::placed(7)).and(|order| order.pay().unwrap()).when(|order| order.pay());
/// assert_eq!(again.result, Err("it is paid already"));
/// again.and_nothing_else();
/// ```
///
/// An event-sourced aggregate can be given by its events:
///
/// ```
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "account.credited", version = 1)]
/// # #[derive(Debug)]
/// # pub struct Credited { pub cents: i64 }
/// # #[domain_event(schema = "account.withdrawn", version = 1)]
/// # #[derive(Debug)]
/// # pub struct Withdrawn { pub cents: i64 }
/// # #[aggregate(event_sourced, events(Credited, Withdrawn))]
/// # #[derive(Default)]
/// # pub struct Account {
/// #     id: u32,
/// #     #[aggregate(version)]
/// #     version: i64,
/// #     balance: i64,
/// #     events: PendingEvents,
/// # }
/// # impl Account {
/// #     fn apply(&mut self, event: &AccountEvent) {
/// #         match event {
/// #             AccountEvent::Credited(credited) => self.balance += credited.cents,
/// #             AccountEvent::Withdrawn(withdrawn) => self.balance -= withdrawn.cents,
/// #         }
/// #     }
/// #     fn withdraw(&mut self, cents: i64) -> Result<(), &'static str> {
/// #         if cents > self.balance { return Err("there is not enough"); }
/// #         self.raise(Withdrawn { cents });
/// #         Ok(())
/// #     }
/// # }
/// use bento_testkit::given;
///
/// given([AccountEvent::from(Credited { cents: 100 })])
///     .when(|account| account.withdraw(30))
///     .then_raised([Withdrawn { cents: 30 }]);
///
/// given([AccountEvent::from(Credited { cents: 100 })])
///     .when(|account| account.withdraw(200))
///     .then_error("there is not enough");
/// ```
pub fn given<S: InitialState>(state: S) -> Given<S::Aggregate> {
    let mut aggregate = state.into_aggregate();
    aggregate.discard();
    Given { aggregate }
}

/// An aggregate before something is done to it.
#[derive(Debug)]
#[must_use = "say what happens with `when`"]
pub struct Given<A> {
    aggregate: A,
}

impl<A: Aggregate> Given<A> {
    /// More that happened before; what it raises does not count.
    pub fn and(mut self, earlier: impl FnOnce(&mut A)) -> Self {
        earlier(&mut self.aggregate);
        self.aggregate.discard();
        self
    }

    /// Does it, in a scope as inside a transaction.
    ///
    /// # Panics
    /// If an event that is raised cannot be written, because the aggregate has no id or serde
    /// refuses it, or cannot be read again.
    #[track_caller]
    #[must_use = "check what was raised, at least with `and_nothing_else`"]
    pub fn when<R>(mut self, action: impl FnOnce(&mut A) -> R) -> Then<A, R> {
        let (unit_of_work, frame) = UnitOfWork::open();
        let result = unit_of_work.scope_sync(|| action(&mut self.aggregate));
        then(&unit_of_work, frame, self.aggregate, result)
    }

    /// Does something that waits.
    ///
    /// # Panics
    /// See [`when`](Self::when).
    ///
    /// # Cancel safety
    /// It is as cancel safe as `action`.
    #[must_use = "check what was raised, at least with `and_nothing_else`"]
    pub async fn when_async<R>(mut self, action: impl AsyncFnOnce(&mut A) -> R) -> Then<A, R> {
        let (unit_of_work, frame) = UnitOfWork::open();
        let result = unit_of_work.scope(action(&mut self.aggregate)).await;
        then(&unit_of_work, frame, self.aggregate, result)
    }
}

#[track_caller]
fn then<A: Aggregate, R>(
    unit_of_work: &UnitOfWork,
    frame: FrameId,
    mut aggregate: A,
    result: R,
) -> Then<A, R> {
    let saving = unit_of_work
        .save(frame, &mut aggregate)
        .expect("the frame is open");
    saving
        .done(&mut aggregate)
        .expect("the version of an aggregate fits its field");
    Then {
        aggregate,
        result,
        raised: raised::written(unit_of_work, frame),
        seen: 0,
    }
}

/// The result of an action. Check the events one by one, in order.
#[derive(Debug)]
pub struct Then<A, R = ()> {
    /// The aggregate afterwards.
    pub aggregate: A,
    /// The value that the action returned.
    pub result: R,
    /// Every event that was raised, as it would be stored.
    pub raised: Vec<Envelope>,
    seen: usize,
}

impl<A: Aggregate, R> Then<A, R> {
    /// The next event is `expected`: its event type, version and payload.
    ///
    /// # Panics
    /// If it is another one, or there is none.
    #[track_caller]
    pub fn raises<E: RaisedBy<A>>(self, expected: E) -> Self {
        self.next_is(&*expected.into_any())
    }

    /// The next event is `expected`, which belongs to no aggregate.
    ///
    /// # Panics
    /// If it is another one, or there is none.
    #[track_caller]
    pub fn raises_free<E: DomainEvent>(self, expected: E) -> Self {
        self.next_is(&expected)
    }

    /// No further event was raised.
    ///
    /// # Panics
    /// If one was.
    #[track_caller]
    pub fn and_nothing_else(self) -> Self {
        raised::assert_nothing_from(&self.raised, self.seen);
        self
    }

    /// These events were raised, and no other.
    ///
    /// # Panics
    /// If others were.
    #[track_caller]
    pub fn then_raised<I>(mut self, expected: I) -> Self
    where
        I: IntoIterator<Item: Into<A::Event>>,
    {
        for event in expected {
            self = self.next_is(&*event.into().into_any());
        }
        self.and_nothing_else()
    }

    #[track_caller]
    fn next_is(mut self, expected: &dyn AnyEvent) -> Self {
        raised::assert_next(&self.raised, &mut self.seen, expected);
        self
    }
}

impl<A: Aggregate, T: Debug, E: Debug> Then<A, Result<T, E>> {
    /// The action has failed with this error, and no event was raised.
    ///
    /// # Panics
    /// If it has succeeded or failed with another error, or an event was raised.
    #[track_caller]
    pub fn then_error<X: Debug>(self, expected: X) -> Self
    where
        E: PartialEq<X>,
    {
        match &self.result {
            Err(error) if *error == expected => {}
            other => panic!("the error {expected:?} was expected, but the result is {other:?}"),
        }
        self.and_nothing_else()
    }
}
