//! Bento on SeaORM.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dialect;
mod entity;
mod error;
pub mod migration;
mod outbox;
pub mod tables;
#[cfg(test)]
mod test_database;

pub use self::dialect::UnsupportedBackend;
pub use self::error::Error;
pub use self::migration::{migrate, migrate_with};
pub use self::tables::{TablePrefix, Tables};
