//! Handling an event: a handler runs through the dispatcher, again, and after a crash.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use bento_core::Envelope;
use bento_core::unit_of_work::ReturnedEvents;
use bento_handlers::__private::Undecided;
use bento_handlers::{Handler, HandlerDescriptor, Handlers};
use bento_seaorm::OutboxConnection;
use chrono::Utc;

use crate::raised::raised_by;
use crate::watched::Watched;

mod handled;
mod once;

pub use self::handled::Handled;

/// Starts a test of a handler with an event; several in an array or a `Vec` are for a handler of a
/// `Batch`.
///
/// The handler runs as in production: the dispatcher begins the transaction, records the event,
/// calls the function and commits. [`once`](By::once) shows that its effect is there once, and
/// [`run`](By::run) makes one call.
///
/// ```
/// use bento_core::domain_event;
/// use bento_handlers::{HandleError, event_handler};
/// use bento_testkit::handling;
/// # #[derive(Clone, Debug)]
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # pub struct OrderConfirmed { pub order_id: u64, pub quantity: u32 }
///
/// #[domain_event(schema = "refill.requested", version = 1)]
/// #[derive(Clone, Debug)]
/// pub struct RefillRequested {
///     pub order_id: u64,
/// }
///
/// #[event_handler(name = "stock.refill")]
/// async fn refill(event: OrderConfirmed) -> Result<Option<RefillRequested>, HandleError> {
///     let is_large = event.quantity >= 100;
///     Ok(is_large.then_some(RefillRequested { order_id: event.order_id }))
/// }
///
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let db = bento_testkit::database_in_memory().await;
/// handling(OrderConfirmed { order_id: 7, quantity: 100 })
///     .by(refill::handler(), &db)
///     .once(async || ())
///     .await
///     .raises(RefillRequested { order_id: 7 })
///     .and_nothing_else();
/// # }
/// ```
///
/// # Panics
/// If an event cannot be written, or there is none.
#[track_caller]
pub fn handling(events: impl Events) -> Handling {
    handling_envelopes(raised_by(|| events.raise_all()))
}

/// An event, or several of one type in a `Vec` or an array.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be handled",
    label = "not an event",
    note = "`handling` takes a struct with `#[domain_event]`, or several in an array or a `Vec`; \
            `handling_envelopes` takes what an aggregate has raised"
)]
pub trait Events {
    /// Raises each event. Not public API.
    #[doc(hidden)]
    fn raise_all(self);
}

#[diagnostic::do_not_recommend]
impl<E: ReturnedEvents> Events for E {
    fn raise_all(self) {
        let raised = ReturnedEvents::raise_all(self);
        raised.expect("the scope is open");
    }
}

/// Starts a test of a handler with a payload as it was stored, of an earlier version for example:
/// it is brought forward as in production.
///
/// ```
/// use bento_core::domain_event;
/// use bento_handlers::{HandleError, event_handler};
/// use bento_testkit::handling_stored;
/// use serde_json::json;
///
/// #[domain_event(schema = "order.confirmed", version = 2)]
/// #[derive(Clone, Debug)]
/// pub struct OrderConfirmed {
///     pub order_id: u64,
///     #[event(since = 2, default = 1u32)]
///     pub quantity: u32,
/// }
///
/// # #[domain_event(schema = "stock.reserved", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct StockReserved { pub quantity: u32 }
/// #[event_handler(name = "stock.reserve")]
/// async fn reserve(event: OrderConfirmed) -> Result<StockReserved, HandleError> {
///     Ok(StockReserved { quantity: event.quantity })
/// }
///
/// # #[cfg(not(feature = "sqlite"))]
/// # fn main() {}
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let db = bento_testkit::database_in_memory().await;
/// handling_stored("order.confirmed", 1, json!({ "order_id": 7 }))
///     .by(reserve::handler(), &db)
///     .run()
///     .await
///     .raises(StockReserved { quantity: 1 });
/// # }
/// ```
pub fn handling_stored(
    event_type: impl Into<String>,
    version: u32,
    payload: serde_json::Value,
) -> Handling {
    let event = Envelope::new(event_type.into(), version, Utc::now(), payload.to_string());
    handling_envelopes([event])
}

/// Starts a test of a handler with events as they are stored: those that
/// [`given`](crate::given)`(…).when(…).raised` or [`raised_by`] returns.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn handling_envelopes(events: impl IntoIterator<Item = Envelope>) -> Handling {
    let events: Vec<_> = events.into_iter().collect();
    assert!(!events.is_empty(), "there is no event to handle");
    Handling {
        events,
        attempts: 0,
        states: Vec::new(),
    }
}

/// An event before it is handled.
#[must_use = "say which handler takes it with `by`"]
pub struct Handling {
    events: Vec<Envelope>,
    attempts: u32,
    states: Vec<GiveState>,
}

/// Gives a state to a set of handlers.
type GiveState = Box<dyn FnOnce(Handlers) -> Handlers>;

impl Handling {
    /// Makes the events those of an aggregate.
    pub fn of(mut self, aggregate_type: impl Into<String>, id: impl ToString) -> Self {
        let aggregate_type = aggregate_type.into();
        for event in &mut self.events {
            event.aggregate_type = aggregate_type.clone().into();
            event.aggregate_id = id.to_string();
        }
        self
    }

    /// Makes the events those of a tenant.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        let tenant = tenant.into();
        for event in &mut self.events {
            event.tenant_id = Some(tenant.clone());
        }
        self
    }

    /// Sets the number of attempts that were made before; 0 by default.
    pub fn after_attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// Adds a value that the handler takes as `State<T>`, as
    /// [`Handlers::state`](bento_handlers::Handlers::state) does.
    pub fn with_state<T: Any + Clone + Send + Sync>(mut self, state: T) -> Self {
        self.states.push(Box::new(|handlers| handlers.state(state)));
        self
    }

    /// Names the handler, `reserve::handler()`, and the database of its transaction, with Bento's
    /// tables.
    ///
    /// # Panics
    /// If a state is missing, the handler does not take the events, or it takes one and there are
    /// several.
    #[track_caller]
    pub fn by(mut self, handler: Handler<Undecided>, db: &OutboxConnection) -> By {
        let states = std::mem::take(&mut self.states).into_iter();
        let handlers = states.fold(Handlers::registered(), |handlers, give| give(handlers));
        let way_out = "; in this test that is `with_state`";
        self.by_one_of(handlers, handler.descriptor().name, db, way_out)
    }

    /// Names the handler as one of a set, with the states and the settings that the application
    /// gives to it.
    ///
    /// # Panics
    /// If the set cannot be built, lacks the handler, or the handler does not take the events; if
    /// there are states of [`with_state`](Self::with_state), which belong to the set.
    #[track_caller]
    pub fn by_named<S>(self, handlers: Handlers<S>, name: &str, db: &OutboxConnection) -> By {
        assert!(
            self.states.is_empty(),
            "`by_named` takes the states of its set: give `{name}` its state there, in place of \
             `with_state`"
        );
        self.by_one_of(handlers, name, db, "")
    }

    #[track_caller]
    fn by_one_of<S>(
        self,
        handlers: Handlers<S>,
        name: &str,
        db: &OutboxConnection,
        way_out: &str,
    ) -> By {
        let only = handlers.retain(|handler| handler.name == name);
        let watched = match Watched::build(only, db) {
            Ok(watched) => watched,
            Err(error) => panic!("{error}{way_out}"),
        };
        let Some(handler) = watched.handlers().next() else {
            panic!("no handler of the set is named `{name}`");
        };
        for event in &self.events {
            let event_type = &event.event_type;
            let taken: Vec<_> = handler
                .event_types()
                .chain(handler.patterns.iter().copied())
                .collect();
            assert!(
                handler.takes_event_type(event_type),
                "`{name}` does not take `{event_type}`: it takes `{}`",
                taken.join("`, `")
            );
        }
        assert!(
            handler.is_batch || self.events.len() == 1,
            "`{name}` takes one event in each call, and there are {}: test it with one after the \
             other, or take a `Batch`",
            self.events.len()
        );
        By {
            watched,
            handler,
            events: self.events.into_iter().map(Arc::new).collect(),
            attempts: self.attempts,
            asked_at: Location::caller(),
        }
    }
}

impl fmt::Debug for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handling")
            .field("events", &self.events)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An event and its handler, before it is called.
#[derive(Debug)]
#[must_use = "call the handler with `once` or `run`"]
pub struct By {
    watched: Watched,
    handler: &'static HandlerDescriptor,
    events: Vec<Arc<Envelope>>,
    attempts: u32,
    asked_at: &'static Location<'static>,
}
