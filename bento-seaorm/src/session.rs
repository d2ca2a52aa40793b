//! Sessions of the pool: the begin of a transaction, dropped futures, and sessions that must not be
//! used again.
//!
//! 1. **A call runs to its end.** sqlx counts the answers that it waits for, and notes that a
//!    transaction is open when the answer to BEGIN has come. A future that is dropped before leaves
//!    a session in the pool with an open transaction, or one (MySQL) that takes one statement's
//!    answer for that of another. So a call whose future is dropped goes on in the background.
//! 2. **Only here does a transaction begin**, for services and for the relay's store.
//! 3. **A session that is unfit is closed**: one whose connection is broken, or that is read-only
//!    since a failover.
//!
//! Decision: docs/decisions/0027-a-call-runs-to-its-end.md

mod begin;
mod close;
mod connection;
mod ending;
mod fold;
mod shield;
mod stream;
mod transaction;

pub(crate) use self::begin::begin;
pub(crate) use self::connection::Shielded;
pub(crate) use self::ending::ROLLBACK_LIMIT;
pub(crate) use self::fold::{Caller, Fold, FoldRows};
pub(crate) use self::shield::{UNATTENDED, to_the_end};
pub use self::stream::ConnectionStream;
pub(crate) use self::transaction::{Session, StoreTransaction};
