//! The names that most files of an application use: `use bento::prelude::*`.
//!
//! The macros, the traits whose methods are called, and the types of declaring, saving and
//! relaying.

#[cfg(feature = "settings")]
pub use crate::Settings;
#[cfg(feature = "handlers")]
pub use crate::handlers::{
    Batch, Consumer, HandleError, Handlers, IdempotencyKey, event_handler, projection,
};
pub use crate::publish::{Destination, Publisher, Publishers};
pub use crate::retry::RetryPolicy;
pub use crate::route::{Router, Rule};
pub use crate::{
    Aggregate, AggregateId, DomainEvent, Envelope, EventId, Inbox, IntegrationEvent, Metadata,
    OutboxConnection, OutboxStore, OutboxTransaction, PendingEvents, Registry, Relay, RelayHandle,
    Report, UpcastFrom, WireShape, aggregate, domain_event, integration_event, migrate, raise,
    raise_with,
};
