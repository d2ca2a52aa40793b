//! Tools for the tests of a Bento application, and of an adapter to Bento. A dev-dependency only.
//!
//! * Testing an aggregate without a database: [`given`]; the events that a closure raises:
//!   [`raised_by`].
//! * Testing a handler, with the feature `handlers`: `handling` runs it twice, and cut off between
//!   its effect and the commit; `simulate` runs all handlers with crashes and repetitions, and in
//!   other orders. Testing a projection: `project_all` brings it every event. The feature `sqlite`
//!   adds `database_in_memory` to them.
//! * Testing what is declared: [`assert_registry!`].
//! * Making oversights fail: [`strict`].
//! * Reading what is counted: [`Counters`].
//! * Testing what arrives: [`Ledger`], [`RecordingPublisher`], [`FlakyPublisher`].
//! * Testing a store for the relay: [`store`] and [`relay_store_conformance!`]; [`FlakyStore`].
//! * Testing a publisher: `publisher` and `publisher_conformance!`, with the feature `publishers`.
//! * Testing a source of messages: [`source`] and [`source_conformance!`].
//! * Testing a store of events: `event_store` and `event_store_conformance!`, with the feature
//!   `event-stores`.

mod counters;
#[cfg(feature = "sqlite")]
mod database;
mod draws;
#[cfg(feature = "event-stores")]
pub mod event_store;
mod flaky_store;
mod given;
#[cfg(feature = "handlers")]
mod handling;
mod ledger;
#[cfg(feature = "handlers")]
mod projecting;
#[cfg(feature = "publishers")]
pub mod publisher;
mod publishers;
mod raised;
mod registry;
#[cfg(feature = "handlers")]
mod simulation;
pub mod source;
pub mod store;
#[cfg(feature = "handlers")]
mod watched;

pub use self::counters::Counters;
#[cfg(feature = "sqlite")]
pub use self::database::database_in_memory;
pub use self::flaky_store::{FlakyStore, Outage};
pub use self::given::{Given, Then, given};
#[cfg(feature = "handlers")]
pub use self::handling::{
    By, Events, Handled, Handling, handling, handling_envelopes, handling_stored,
};
pub use self::ledger::{Account, Ledger};
#[cfg(feature = "handlers")]
pub use self::projecting::project_all;
pub use self::publishers::{Flakiness, FlakyPublisher, RecordingPublisher};
pub use self::raised::raised_by;
pub use self::registry::strict;
#[cfg(feature = "handlers")]
pub use self::simulation::{Scene, Simulated, Simulation, simulate};

/// The items to which the macros expand.
#[doc(hidden)]
pub mod __private {
    pub use bento_core::Registry;

    pub use crate::registry::assert_sound;
}
