//! Domain events: declared once on structs, checked by the compiler, raised by aggregates, decoded
//! at whatever version they were stored.
//!
//! This is the crate of a domain model. It has the macros, the traits behind them and the unit of
//! work that gathers raised events, and knows no database, no broker and no relay. A crate with
//! nothing but a domain model depends on it alone:
//!
//! ```toml
//! [dependencies]
//! bento-core = "0.1"
//!
//! [dev-dependencies]
//! bento-testkit = "0.1"
//! ```
//!
//! A service names `bento-events` instead, which exports this crate as `bento`, with the
//! transactions of SeaORM, the relay and the brokers.
//!
//! ```text
//! annotate → raise → collect → flush → claim → route → publish → settle
//! └────────── this crate ──────────┘   └───────── bento-relay ────────┘
//! ```
//!
//! # Annotate
//!
//! [`#[domain_event]`](macro@domain_event) makes a struct a [`DomainEvent`],
//! [`#[aggregate]`](macro@aggregate) makes a struct an [`Aggregate`] that may raise the events it
//! lists.
//!
//! ```
//! use bento_core::{PendingEvents, aggregate, domain_event};
//!
//! #[domain_event(schema = "order.created", version = 2)]
//! #[derive(Clone, Debug)]
//! pub struct OrderCreated {
//!     pub order_id: u64,
//!     pub cents: i64,
//!     #[event(since = 2, default = "USD")]
//!     pub currency: String,
//! }
//!
//! #[aggregate(events(OrderCreated))]
//! pub struct Order {
//!     id: u64,
//!     events: PendingEvents,
//! }
//!
//! impl Order {
//!     pub fn create(id: u64, cents: i64) -> Self {
//!         let mut order = Self { id, events: PendingEvents::default() };
//!         order.raise(OrderCreated { order_id: id, cents, currency: "EUR".into() });
//!         order
//!     }
//! }
//!
//! // The raised events can be matched without a database, exhaustively.
//! let mut order = Order::create(7, 4200);
//! let [OrderEvent::OrderCreated(created)] = &order.take()[..] else { panic!("one event") };
//! assert_eq!(created.currency, "EUR");
//! ```
//!
//! `bento_testkit::given` tests an aggregate in this way: given an order, when it is paid, it
//! raises these events.
//!
//! # Raise and collect
//!
//! In the scope of a transaction a raised event belongs to it: to its
//! [`UnitOfWork`](unit_of_work::UnitOfWork), which a commit flushes and a rollback empties. Outside
//! any scope it waits in the aggregate's [`PendingEvents`] until a transaction collects it.
//! [`raise`] is for events without an aggregate. [`Metadata`] holds tenant, correlation, actor and
//! the like, set once around a request.
//!
//! # Flush
//!
//! A flush makes [`Envelope`]s of the gathered events and assigns each to a shard of the
//! [`outbox`]. The transaction writes them beside its own rows; a relay publishes them later.
//!
//! # Decode
//!
//! [`Envelope::decode`] returns the current struct, whatever version was stored. The [`Registry`]
//! knows every event of the binary: validate it at start, print it as a catalogue.
//!
//! # Feature
//!
//! `opentelemetry`: an event carries the trace context of the `tracing` span in which it is raised,
//! so that the relay and the consumers continue that trace. Off by default.
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento_core;

pub mod aggregate;
pub mod codec;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod event_sourced;
pub mod id;
pub mod integration;
pub mod limits;
pub mod metadata;
#[doc(hidden)]
pub mod names;
pub mod outbox;
#[doc(hidden)]
pub mod payload;
pub mod pending;
pub mod registry;
pub mod report;
pub mod saving;
pub mod shape;
pub mod telemetry;
#[doc(hidden)]
pub mod trace;
pub mod unit_of_work;
pub mod upcast;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bento_macros::{AggregateId, WireShape, aggregate, domain_event, integration_event};

pub use self::aggregate::Aggregate;
pub use self::envelope::Envelope;
pub use self::event::DomainEvent;
pub use self::event_sourced::EventSourced;
pub use self::id::{AggregateId, AggregateKey, EventId};
pub use self::integration::IntegrationEvent;
pub use self::metadata::Metadata;
pub use self::pending::{ForgottenEvents, PendingEvents};
pub use self::registry::Registry;
pub use self::report::Report;
pub use self::shape::WireShape;
pub use self::unit_of_work::{raise, raise_with};
pub use self::upcast::UpcastFrom;
