//! Domain events for services on [SeaORM](https://www.sea-ql.org/SeaORM/): the one crate that an
//! application names.
//!
//! ```toml
//! [dependencies]
//! bento-events = { version = "0.1", features = ["postgres", "nats"] }
//! ```
//!
//! ```text
//! annotate → raise → collect → flush → claim → route ─┬→ publish → settle → receive
//!                                                     └→ dispatch ─┬→ handle
//!                                                                  └→ project
//! ```
//!
//! - [`#[domain_event]`](macro@domain_event) and [`#[aggregate]`](macro@aggregate) declare events
//!   and the aggregates that raise them; the macros write registration, upcasters and helpers.
//! - [`#[integration_event]`](macro@integration_event) declares what other contexts get of an
//!   event: a contract with versions of its own, made where the event is written.
//! - [`OutboxConnection`] wraps SeaORM's connection: events raised inside a transaction are in the
//!   outbox when it commits, and nowhere when it does not.
//! - `#[aggregate(event_sourced, …)]` makes the state of an aggregate of its events, which
//!   [`OutboxTransaction::load`] reads and [`event_store`] reads in pages and streams.
//! - [`Relay`] takes them to a [`Publisher`](publish::Publisher), by the rules of a
//!   [`Router`](route::Router), in order per aggregate, at least once.
//! - [`#[event_handler]`](macro@event_handler) declares a function of this service that gets each
//!   event once; [`Handlers`] hands them to the relay.
//! - [`#[projection]`](macro@projection) declares a read model that is made of events, in versions;
//!   [`Projections`] is for operating it.
//! - [`Consumer`] brings the events of other services to such functions, from a broker through the
//!   [`Inbox`].
//! - [`dead_letter`], [`handler_control`], [`inspect`] and [`tenant`] are for operating it.
//!
//! ```
//! use bento::prelude::*;
//!
//! #[domain_event(schema = "order.created", version = 2)]
//! #[derive(Clone, Debug)]
//! pub struct OrderCreated {
//!     pub order_id: u64,
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
//! let mut order = Order { id: 7, events: PendingEvents::default() };
//! order.raise(OrderCreated { order_id: 7, currency: "EUR".into() });
//! assert_eq!(order.pending().len(), 1);
//! ```
//!
//! Events are gathered by a [`UnitOfWork`](unit_of_work::UnitOfWork), and operated through the
//! store:
//!
//! ```
//! use bento::dead_letter::{DeadLetterFilter, Operator, ReplayMode};
//! use bento::inspect::{Inspect, Monitor, MonitorSettings};
//! use bento::unit_of_work::UnitOfWork;
//! use bento::{MemoryStore, Report};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Report> {
//! assert!(UnitOfWork::current().is_none(), "no transaction is open");
//!
//! let store = MemoryStore::default(); // an `OutboxStore` in an application
//! assert_eq!(store.counts().await?.pending, 0);
//! let monitor = Monitor::start(store.clone(), MonitorSettings::default());
//!
//! let alice = Operator::new(&store, "alice");
//! alice.replay_all(&DeadLetterFilter::default(), ReplayMode::Replay).await?;
//! monitor.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `postgres`, `mysql`, `sqlite` | the outbox on PostgreSQL, on MySQL and MariaDB, on SQLite |
//! | `nats`, `rabbitmq`, `redis`, `kafka`, `http` | the publisher of the same name; `kafka` compiles librdkafka |
//! | `handlers` | [`handlers`]: async functions that get each event once. On by default |
//! | `settings` | [`Settings`]: publishers, router, relay and settings of handlers out of a file and the environment. On by default |
//! | `opentelemetry` | events carry the trace of the span that raised them on to the broker |
//!
//! # Crates
//!
//! This crate exports five others: [`bento_core`], on which a crate with nothing but a domain model
//! may depend alone, [`bento_relay`], [`bento_seaorm`], [`bento_handlers`] and [`bento_brokers`].
//! The macros find Bento through this crate or `bento-core`, also where `Cargo.toml` renames it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento;

pub mod prelude;
#[cfg(feature = "settings")]
pub mod settings;

// Declaring and raising.
#[doc(hidden)]
pub use bento_core::__private;
pub use bento_core::{
    Aggregate, AggregateId, AggregateKey, DomainEvent, Envelope, EventId, EventSourced,
    ForgottenEvents, IntegrationEvent, Metadata, PendingEvents, Registry, Report, UpcastFrom,
    WireShape, aggregate, domain_event, integration_event, raise, raise_with,
};
pub use bento_core::{
    codec, duration, envelope, event, event_sourced, id, integration, limits, metadata, outbox,
    pending, registry, report, shape, unit_of_work, upcast,
};
// The transaction and the tables.
#[cfg(feature = "postgres")]
pub use bento_seaorm::wake;
pub use bento_seaorm::{
    DatabaseEvents, Error, OutboxConnection, OutboxConnectionBuilder, OutboxStore,
    OutboxTransaction, TablePrefix, Tables, TransactionError, UnsupportedBackend, bento_error,
    migrate, migrate_with, validate_stored, validate_stored_with,
};
pub use bento_seaorm::{connection, migration, tables, transaction};
// The relay.
pub use bento_relay::{
    CircuitSettings, Degradation, Health, ManualClock, MemoryEvents, MemoryStore, MissingKind,
    PassReport, Relay, RelayBuilder, RelayError, RelayHandle, RelayId, RelayProbe, RelaySettings,
    RelayStore, RouteNameError, SettingsError, Staged, StartError, StoreError, Tally,
    UnknownDestination, Wake, WakeSubscription,
};
pub use bento_relay::{
    dead_letter, event_store, handler_control, held, inspect, publish, retry, route, store,
    telemetry, tenant,
};
// Handlers, of events of this service and of others.
#[cfg(feature = "handlers")]
pub use bento_handlers as handlers;
#[cfg(feature = "handlers")]
pub use bento_handlers::{
    Consumer, ConsumerError, ConsumerHandle, ConsumerProbe, ConsumerSettings, HandleError,
    Handlers, Projection, ProjectionFault, ProjectionSettings, SourceSettings, consumer,
    event_handler, projection,
};
pub use bento_relay::source;
pub use bento_seaorm::{
    BuildProgress, ProjectionError, ProjectionKey, ProjectionState, ProjectionStatus,
    ProjectionStop, Projections,
};
pub use bento_seaorm::{Inbox, inbox};
// Brokers.
#[cfg(feature = "http")]
pub use bento_brokers::http;
#[cfg(feature = "kafka")]
pub use bento_brokers::kafka;
#[cfg(feature = "nats")]
pub use bento_brokers::nats;
#[cfg(feature = "rabbitmq")]
pub use bento_brokers::rabbitmq;
#[cfg(feature = "redis")]
pub use bento_brokers::redis;
pub use bento_brokers::{
    ConnectError, FanOut, Secret, ServerUrl, Timeout, TlsSettings, Traced, message,
};

#[cfg(feature = "settings")]
pub use self::settings::Settings;

/// Compiles what the documents show.
#[cfg(all(doctest, feature = "settings", feature = "sqlite"))]
mod documents {
    #[doc = include_str!("../../docs/adopting.md")]
    struct Adopting;
    #[cfg(all(feature = "handlers", feature = "nats", feature = "http"))]
    #[doc = include_str!("../../docs/consuming.md")]
    struct Consuming;
    #[doc = include_str!("../../docs/deploying.md")]
    struct Deploying;
    #[doc = include_str!("../../docs/event-design.md")]
    struct EventDesign;
    #[doc = include_str!("../../docs/event-sourcing.md")]
    struct EventSourcing;
    #[cfg(feature = "handlers")]
    #[doc = include_str!("../../docs/handlers.md")]
    struct Handlers;
    #[cfg(feature = "handlers")]
    #[doc = include_str!("../../docs/projections.md")]
    struct Projections;
    #[doc = include_str!("../../docs/routing.md")]
    struct Routing;
    #[doc = include_str!("../../docs/service.md")]
    struct Service;
    #[doc = include_str!("../../docs/troubleshooting.md")]
    struct Troubleshooting;
}
