//! Given an aggregate, when something is done to it, then it raises these events.

use std::fmt;

use bento_core::codec::DecodeError;
use bento_core::event::{AnyEvent, DomainEvent, EventDescriptor, RaisedBy};
use bento_core::outbox::Sharding;
use bento_core::unit_of_work::{FrameId, UnitOfWork};
use bento_core::{Aggregate, Envelope, Registry};

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
pub fn given<A: Aggregate>(mut aggregate: A) -> Given<A> {
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
        given(self.aggregate)
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
    let mut flush = match unit_of_work.flush(frame, &Sharding::default()) {
        Ok(flush) => flush,
        Err(error) => panic!("a raised event could not be written: {error}"),
    };
    let raised: Vec<_> = std::mem::take(&mut flush.entries)
        .into_iter()
        .map(|entry| entry.envelope)
        .collect();
    flush.done();
    unit_of_work.seal(frame).expect("everything is written");
    unit_of_work.committed();
    assert_read_back(&raised);
    Then {
        aggregate,
        result,
        raised,
        seen: 0,
    }
}

/// A build with debug assertions has looked when it wrote them.
#[track_caller]
fn assert_read_back(raised: &[Envelope]) {
    for event in raised.iter().filter(|_| !cfg!(debug_assertions)) {
        let read =
            Registry::global().decode(&event.event_type, event.schema_version, &event.payload);
        if let Err(error @ DecodeError::Malformed { .. }) = read {
            panic!("a raised event can be written and not read: {error}");
        }
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
        assert!(
            self.seen == self.raised.len(),
            "nothing else was expected, {}",
            Raised(&self.raised, self.seen)
        );
        self
    }

    #[track_caller]
    fn next_is(mut self, expected: &dyn AnyEvent) -> Self {
        let EventDescriptor {
            schema: event_type,
            version,
            ..
        } = *expected.descriptor();
        let mut payload = Vec::new();
        expected
            .encode(&mut payload)
            .expect("an expected event can be written");
        let is_it = |event: &Envelope| {
            event.event_type == event_type
                && event.schema_version == version
                && same(&event.payload, &payload)
        };
        assert!(
            self.raised.get(self.seen).is_some_and(is_it),
            "`{event_type}` v{version} {} was expected, {}",
            String::from_utf8_lossy(&payload),
            Raised(&self.raised, self.seen),
        );
        self.seen += 1;
        self
    }
}

/// Equal as JSON: the order of a map's keys may differ from one encoding to the next.
fn same(left: &[u8], right: &[u8]) -> bool {
    let parsed = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    left == right || parsed(left).is_some_and(|left| Some(left) == parsed(right))
}

/// The events from the `1`-th on, for a message.
struct Raised<'a>(&'a [Envelope], usize);

impl fmt::Display for Raised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, rest) = self.0.split_at(self.1);
        match (rest, seen.len()) {
            ([], 0) => return f.write_str("but no event was raised"),
            ([], seen) => return write!(f, "but no event was raised after the first {seen}"),
            (_, 0) => f.write_str("but what was raised is:")?,
            (_, seen) => write!(f, "but what was raised after the first {seen} is:")?,
        }
        rest.iter().try_for_each(|event| {
            let payload = String::from_utf8_lossy(&event.payload);
            write!(
                f,
                "\n  `{}` v{} {payload}",
                event.event_type, event.schema_version
            )
        })
    }
}
