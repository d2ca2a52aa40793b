//! The relay of Bento: it takes committed events out of the outbox and hands them to brokers.
//!
//! ```text
//! claim → route → publish → settle
//! ```
//!
//! A [`Relay`] owns shards of the outbox by lease, reads them through a [`RelayStore`], asks a
//! [`Router`](route::Router) for the destinations of each event, hands the event to a
//! [`Publisher`](publish::Publisher) and settles confirmed events. An event that keeps failing
//! becomes a [dead letter](dead_letter). `bento-seaorm` has the store of real databases,
//! `bento-brokers` the publishers of real brokers; [`MemoryStore`] and
//! [`MemoryPublisher`](publish::MemoryPublisher) need neither.
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento_relay;

pub mod dead_letter;
pub mod event_store;
pub mod handler_control;
pub mod held;
pub mod inspect;
mod machine;
mod memory;
pub mod publish;
#[doc(hidden)]
pub mod reading;
mod relay;
pub mod retry;
pub mod route;
pub mod source;
pub mod store;
mod task;
pub mod telemetry;
pub mod tenant;

pub use self::memory::{ManualClock, MemoryEvents, MemoryStore, Staged};
pub use self::relay::{
    CircuitSettings, Degradation, Health, MissingKind, PassReport, Relay, RelayBuilder, RelayError,
    RelayHandle, RelayProbe, RelaySettings, RouteNameError, SettingsError, StartError, Tally,
    UnknownDestination, Wake, WakeSubscription,
};
pub use self::store::{RelayId, RelayStore, StoreError};
