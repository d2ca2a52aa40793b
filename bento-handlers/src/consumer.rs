//! Consumers: from the messages of a broker to handlers.
//!
//! ```text
//! source → inbox → relay → dispatcher → handler
//! ```
//!
//! A [`Consumer`] reads each of its sources under a lease, so that one process at a time does, and
//! stores what it receives in the inbox: in one transaction with the lease and the place in the
//! source. Then it acknowledges. From there the events take the way of the outbox: a relay hands
//! them to the handlers, in the order of their aggregates, with retries and dead letters.
//!
//! Decision: docs/decisions/0040-the-inbox-is-an-outbox.md

mod admission;
mod builder;
mod error;
mod handle;
mod health;
mod intake;
mod patience;
mod reader;
mod settings;
mod supervisor;
mod watch;

pub use self::builder::{Consumer, ConsumerBuilder};
pub use self::error::{ConsumerError, ConsumerSettingsError};
pub use self::handle::{ConsumerHandle, ConsumerProbe};
pub use self::health::{ConsumerHealth, SourceHealth, SourceStatus};
pub use self::intake::InboxIntake;
pub use self::settings::{ConsumerSettings, SourceSettings};
