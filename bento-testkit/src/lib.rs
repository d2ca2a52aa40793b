//! Tools for the tests of a Bento application, and of an adapter to Bento. A dev-dependency only.
//!
//! * Testing an aggregate without a database: [`given`].
//! * Testing what is declared: [`assert_registry!`].
//! * Making oversights fail: [`strict`].
//! * Reading what is counted: [`Counters`].
//! * Testing what arrives: [`Ledger`], [`RecordingPublisher`], [`FlakyPublisher`].
//! * Testing a store for the relay: [`store`] and [`relay_store_conformance!`]; [`FlakyStore`].
//! * Testing a publisher: `publisher` and `publisher_conformance!`, with the feature `publishers`.

mod counters;
mod flaky_store;
mod given;
mod ledger;
#[cfg(feature = "publishers")]
pub mod publisher;
mod publishers;
mod registry;
pub mod store;

pub use self::counters::Counters;
pub use self::flaky_store::{FlakyStore, Outage};
pub use self::given::{Given, Then, given};
pub use self::ledger::{Account, Ledger};
pub use self::publishers::{Flakiness, FlakyPublisher, RecordingPublisher};
pub use self::registry::strict;

/// The items to which the macros expand.
#[doc(hidden)]
pub mod __private {
    pub use bento_core::Registry;

    pub use crate::registry::assert_sound;
}
