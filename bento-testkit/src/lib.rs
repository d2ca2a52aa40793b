//! What tests of a Bento application, and of an adapter to Bento, need. A dev-dependency only.
//!
//! * Testing what arrives: [`Ledger`], [`RecordingPublisher`], [`FlakyPublisher`].
//! * Testing a store for the relay: [`store`] and [`relay_store_conformance!`]; [`FlakyStore`].

mod flaky_store;
mod ledger;
mod publishers;
pub mod store;

pub use self::flaky_store::{FlakyStore, Outage};
pub use self::ledger::{Account, Ledger};
pub use self::publishers::{Flakiness, FlakyPublisher, RecordingPublisher};
