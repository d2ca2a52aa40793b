//! Event handlers: an async fn that gets each event once.
//!
//! A handler is a plain async fn that takes an event. [`macro@event_handler`] gives it a stable
//! name, which is stored beside what waits for it, and registers it. The relay brings it the events
//! of this service in the order of their aggregates, with retries and dead letters, as it brings
//! them to a broker: the [`Dispatcher`] is a publisher, and a handler is a route of its own.
//!
//! ```
//! use bento_core::{DomainEvent, domain_event};
//! use bento_handlers::{HandleError, State, event_handler};
//! use bento_seaorm::OutboxTransaction;
//! # #[derive(Clone)] pub struct Stock;
//! # impl Stock {
//! #     async fn reserve(&self, _: &OutboxTransaction, _: u64) -> Result<(), HandleError> {
//! #         Ok(())
//! #     }
//! # }
//!
//! #[domain_event(schema = "order.confirmed", version = 1)]
//! #[derive(Debug)]
//! pub struct OrderConfirmed {
//!     pub order_id: u64,
//! }
//!
//! #[event_handler(name = "stock.reserve")]
//! async fn reserve(
//!     event: OrderConfirmed,
//!     tx: &OutboxTransaction,
//!     State(stock): State<Stock>,
//! ) -> Result<(), HandleError> {
//!     stock.reserve(tx, event.order_id).await
//! }
//! ```
//!
//! # Once
//!
//! Each handler names one effect among its parameters, and the compiler checks it:
//!
//! | the handler takes or returns | its effect | the promise |
//! |---|---|---|
//! | `tx: &OutboxTransaction` | rows and events of this database | once: the record that the event was handled commits with them |
//! | `key: IdempotencyKey` | a call to another system | at least once, with the same key each time |
//! | `Result<E, _>` with an event `E` | the events that it raises | once, as with a transaction |
//!
//! # Results
//!
//! `Ok` is done. Any error that is not a [`HandleError`] becomes a transient one, and the event is
//! tried again; [`HandleError::permanent`] makes it a dead letter at once. A panic is an attempt.
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento_handlers;

mod batch;
mod call;
mod configured;
pub mod consumer;
mod descriptor;
mod dispatcher;
mod effect;
mod error;
mod extract;
mod handlers;
mod input;
mod key;
mod projection;
mod projection_settings;
mod settings;
mod state;
pub mod telemetry;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bento_macros::{event_handler, projection};

#[doc(no_inline)]
pub use bento_relay::source;

pub use self::batch::Batch;
pub use self::call::{Call, EventContext};
pub use self::consumer::{
    Consumer, ConsumerError, ConsumerHandle, ConsumerProbe, ConsumerSettings, SourceSettings,
};
pub use self::descriptor::{HandlerDescriptor, HandlerRegistration, StartFrom};
pub use self::dispatcher::Dispatcher;
pub use self::effect::Effect;
pub use self::error::{BuildError, BuildFault, HandleError, ProjectionFault};
pub use self::extract::{FromCall, State};
pub use self::handlers::{Handler, Handlers};
pub use self::input::HandlerInput;
pub use self::key::IdempotencyKey;
pub use self::projection::{Projection, ProjectionDescriptor, ProjectionRegistration};
pub use self::projection_settings::ProjectionSettings;
pub use self::settings::{HandlerSettings, SettingFault};
pub use self::state::FromRef;
pub use tokio_util::sync::CancellationToken;
