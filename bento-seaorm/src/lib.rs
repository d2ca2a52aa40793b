//! Bento on SeaORM: use SeaORM as always, and every event raised inside a transaction is in the
//! outbox when that transaction commits, and nowhere if it does not.
//!
//! * [`OutboxConnection`] wraps a `DatabaseConnection`, [`OutboxTransaction`] a
//!   `DatabaseTransaction`. Both implement SeaORM's own traits, so entities, `ActiveModelEx`,
//!   loaders and raw SQL keep working.
//! * [`migrate`] creates the tables; [`migration::migrations`] gives them to your own migrator.
//! * [`Error`] says why a transaction was refused; through SeaORM's traits it travels inside
//!   `DbErr`, see [`bento_error`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backend;
mod checkpoint;
mod columns;
pub mod connection;
mod dead_letter;
mod dialect;
mod entity;
mod error;
mod event_store;
mod events;
mod handled;
mod handler_control;
pub mod inbox;
mod inspect;
pub mod migration;
mod outbox;
mod projection;
mod relay_store;
mod session;
mod settings;
mod stream;
pub mod tables;
#[cfg(test)]
mod test_database;
#[doc(hidden)]
pub mod testing;
pub mod transaction;
mod validate;
#[cfg(feature = "postgres")]
pub mod wake;

pub use self::backend::UnsupportedBackend;
pub use self::checkpoint::ProjectionKey;
#[doc(hidden)]
pub use self::checkpoint::{Checkpoint, Gap};
pub use self::connection::{OutboxConnection, OutboxConnectionBuilder};
pub use self::error::{Error, TransactionError, bento_error};
pub use self::event_store::DatabaseEvents;
#[doc(hidden)]
pub use self::handled::HandledRecord;
pub use self::inbox::Inbox;
pub use self::migration::{migrate, migrate_with};
pub use self::projection::{
    BuildProgress, ProjectionError, ProjectionState, ProjectionStatus, ProjectionStop, Projections,
};
#[doc(hidden)]
pub use self::projection::{Built, ProjectionRow, Stopped, Swapped};
pub use self::relay_store::OutboxStore;
pub use self::tables::{TablePrefix, Tables};
pub use self::transaction::OutboxTransaction;
pub use self::validate::{validate_stored, validate_stored_with};
