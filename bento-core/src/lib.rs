//! Bento: domain events that are declared once, checked by the compiler, and brought to the broker.
//!
//! This crate is the journey of an event without a database or a broker; `bento-seaorm` adds the
//! transaction hook, the tables and the relay's store.
//!
//! ```text
//! annotate → raise → collect → flush → claim → route → publish → settle
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
//! // Without a database: what was raised can be matched, exhaustively.
//! let mut order = Order::create(7, 4200);
//! let [OrderEvent::OrderCreated(created)] = &order.take()[..] else { panic!("one event") };
//! assert_eq!(created.currency, "EUR");
//! ```
//!
//! # Raise and collect
//!
//! In the scope of a transaction a raised event belongs to it: to its
//! [`UnitOfWork`](unit_of_work::UnitOfWork), which a commit flushes and a rollback empties. Outside
//! any scope it waits in the aggregate's [`PendingEvents`] until somebody collects it. [`raise`] is
//! for events without an aggregate, [`Metadata`] for tenant, correlation, actor and the like, set
//! once around a request.
//!
//! # Flush, publish, settle
//!
//! Flushing makes [`Envelope`]s of events and divides them over shards ([`outbox`]). A [`relay`]
//! reads the shards it has leased through a [`RelayStore`](relay::RelayStore), hands batches to a
//! [`Publisher`](publish::Publisher), and settles what was confirmed. What keeps failing is a [dead
//! letter](dead_letter).
//!
//! # Decode
//!
//! [`Envelope::decode`] gives the current struct, whatever version was stored. [`Registry`] knows
//! every event of the binary: validate it at start, print it as a catalogue.
//!
//! # Feature
//!
//! `opentelemetry`: an event takes the trace context of the `tracing` span in which it is raised
//! along, the relay's span [`bento.publish`](telemetry::SPAN_PUBLISH) continues that trace, and the
//! broker gets the context of this span. Off by default.
//!
//! # What this crate is not
//!
//! It is no message broker, no job queue, and no bus for calls between modules: an event says what
//! has happened, and whoever raises it does not wait for anybody.
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento_core;

pub mod aggregate;
pub mod codec;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod id;
pub mod limits;
pub mod metadata;
pub mod outbox;
#[doc(hidden)]
pub mod payload;
pub mod pending;
pub mod registry;
pub mod report;
pub mod saving;
pub mod telemetry;
#[doc(hidden)]
pub mod trace;
pub mod unit_of_work;
pub mod upcast;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bento_macros::{AggregateId, aggregate, domain_event};

pub use self::aggregate::Aggregate;
pub use self::envelope::Envelope;
pub use self::event::DomainEvent;
pub use self::id::{AggregateId, AggregateKey, EventId};
pub use self::metadata::Metadata;
pub use self::pending::{ForgottenEvents, PendingEvents};
pub use self::registry::Registry;
pub use self::report::Report;
pub use self::unit_of_work::{raise, raise_with};
pub use self::upcast::UpcastFrom;
