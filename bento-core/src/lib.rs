//! The journey of a domain event without a database or a broker.
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate self as bento_core;

pub mod aggregate;
pub mod codec;
pub mod dead_letter;
pub mod envelope;
pub mod event;
pub mod id;
pub mod inspect;
pub mod metadata;
pub mod outbox;
pub mod pending;
pub mod publish;
pub mod registry;
pub mod relay;
pub mod retry;
pub mod telemetry;
pub mod unit_of_work;
pub mod upcast;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bento_macros::{aggregate, domain_event};

pub use self::aggregate::Aggregate;
pub use self::envelope::Envelope;
pub use self::event::DomainEvent;
pub use self::id::{AggregateId, AggregateKey, EventId};
pub use self::metadata::Metadata;
pub use self::pending::PendingEvents;
pub use self::registry::Registry;
pub use self::unit_of_work::{raise, raise_with};
pub use self::upcast::UpcastFrom;

/// Compiles what the documents show.
#[cfg(doctest)]
#[doc = include_str!("../../docs/event-design.md")]
struct EventDesign;
