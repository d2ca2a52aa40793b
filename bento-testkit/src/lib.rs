//! What tests of a Bento application, and of an adapter to Bento, need. A dev-dependency only.
//!
//! * Testing what arrives: [`Ledger`].
//! * Testing a store for the relay: [`store`] and [`relay_store_conformance!`].

mod ledger;
pub mod store;

pub use self::ledger::{Account, Ledger};
