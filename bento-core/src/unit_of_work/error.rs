//! The errors of a unit of work.

use std::num::NonZeroU16;
use std::panic::Location;

use crate::codec::DecodeError;
use crate::id::EventId;
use crate::limits::Unstorable;
use crate::metadata::UnsendableHeader;

/// An event could not be raised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaiseError {
    /// There is no transaction around the caller.
    #[error(
        "`{event_type}` was raised outside any transaction; raise it inside `transaction`, \
         `transaction_async` or `tx.scope`"
    )]
    NoScope {
        /// The event type of the event.
        event_type: &'static str,
    },
}

/// A transaction may not do this now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A nested transaction is open.
    #[error("a nested transaction is still open; commit it or roll it back first")]
    ChildOpen,
    /// The transaction has ended.
    #[error("the transaction has ended; raise, collect and flush before commit or rollback")]
    Ended,
    /// A statement failed or was cancelled after events were raised, and the caller went on.
    #[error(
        "a statement failed or was cancelled after {events} event(s) were raised, the first is \
         `{event_type}` raised at {raised_at}; put what may fail in a nested transaction, or say \
         `keep_pending()` or `discard_pending()`"
    )]
    Doubtful {
        /// The number of doubtful events.
        events: usize,
        /// The event type of the first.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
    },
    /// The transaction belongs to another tenant.
    #[error(
        "the transaction is bound to tenant `{bound}` and cannot be bound to `{wanted}`; begin a \
         transaction for each tenant"
    )]
    OtherTenant {
        /// The tenant that it is bound to.
        bound: String,
        /// The tenant that it was to be bound to.
        wanted: String,
    },
    /// The events are in the outbox already.
    #[error("{events} event(s) are flushed already; only a rollback takes them back")]
    AlreadyFlushed {
        /// The number of flushed events.
        events: usize,
    },
}

/// Raised events could not be serialised into the outbox. Nothing was written and nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The transaction may not flush now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Serde refused the event.
    #[error("`{event_type}` raised at {raised_at} cannot be serialised")]
    Unserialisable {
        /// The event type of the event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The error of serde.
        source: serde_json::Error,
    },
    /// The event can be written and not read. Debug builds check it; in a release build decoding
    /// the event fails.
    #[error(
        "`{event_type}` raised at {raised_at} can be written and not read, so it was not written: \
         give the field another type, or a form of its own with `#[serde(with = \"…\")]`"
    )]
    Unreadable {
        /// The event type of the event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The field, and the error of serde.
        source: Box<DecodeError>,
    },
    /// The conversion into an integration event panicked.
    #[error(
        "`{rust_name}` (`{integration_event}` version {version}) cannot be made from \
         `{event_type}` raised at {raised_at}: its `From` panicked with \"{panic}\", and nothing \
         was written; let the conversion take every `{event_type}`"
    )]
    Unmappable {
        /// The event type of the domain event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The event type of the integration event.
        integration_event: &'static str,
        /// The version of the integration event.
        version: u32,
        /// The struct of the integration event.
        rust_name: &'static str,
        /// The text of the panic.
        panic: String,
    },
    /// The aggregate had no id when it raised the event.
    #[error(
        "`{event_type}` was raised at {raised_at} before `{aggregate_type}` had an id; insert it \
         first or give it an id that the application makes, like `Uuid::now_v7()`"
    )]
    UnsetAggregateId {
        /// The event type of the event.
        event_type: String,
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
    },
    /// The id of an event-sourced aggregate is another one than when it raised the event.
    #[error(
        "`{event_type}` was raised at {raised_at} when the id of `{aggregate_type}` was \
         `{raised_as}`, and it is saved as `{saved_as}`; give it its id before the first event, \
         and never another one"
    )]
    OtherAggregateId {
        /// The event type of the event.
        event_type: String,
        /// The type of the aggregate.
        aggregate_type: String,
        /// The key that the aggregate had.
        raised_as: String,
        /// The key that it has.
        saved_as: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
    },
    /// The aggregate has a version and was not saved after it raised the event.
    #[error(
        "`{event_type}` was raised at {raised_at} and `{aggregate_type}`, which has a version, \
         was not saved after that; call `tx.save(&mut aggregate)` before the commit, or \
         `aggregate.discard()` if it did not happen, and load the aggregate again if it is \
         event-sourced"
    )]
    Unsaved {
        /// The event type of the event.
        event_type: String,
        /// The type of the aggregate.
        aggregate_type: &'static str,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
    },
    /// The event belongs to another tenant than the transaction.
    #[error(
        "`{event_type}` raised at {raised_at} is of tenant `{event_tenant}`, the transaction is \
         bound to `{bound_tenant}`"
    )]
    OtherTenant {
        /// The event type of the event.
        event_type: String,
        /// The tenant of the event.
        event_tenant: String,
        /// The tenant of the transaction.
        bound_tenant: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
    },
    /// A value of the event is one that some back end would not store whole, which would keep the
    /// event from being delivered later.
    #[error("event {event_id} (`{event_type}`), raised at {raised_at}, cannot be stored: {rule}")]
    Unstorable {
        /// The id of the event.
        event_id: EventId,
        /// The event type of the event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The column, its limit and the way out.
        rule: Unstorable,
    },
    /// A header of the event is one that some broker would not carry, which would make a dead
    /// letter of the event later.
    #[error(
        "event {event_id} (`{event_type}`), raised at {raised_at}, cannot be delivered: {header}"
    )]
    Unsendable {
        /// The id of the event.
        event_id: EventId,
        /// The event type of the event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The header, the rule that it breaks and the way out.
        header: Box<UnsendableHeader>,
    },
    /// The outbox has several lanes, and the tenant of the event would move its aggregate to
    /// another one.
    #[error(
        "event {event_id} (`{event_type}`), raised at {raised_at}, cannot be kept in order: {rule}"
    )]
    TenantOfAggregate {
        /// The id of the event.
        event_id: EventId,
        /// The event type of the event.
        event_type: String,
        /// The line that raised it.
        raised_at: &'static Location<'static>,
        /// The aggregate, the rule and the way out.
        rule: Box<TenantOfAggregate>,
    },
    /// Two events with one id and different content.
    #[error(
        "event id {event_id} stands for two different events in one transaction, the second \
         raised at {raised_at}"
    )]
    ConflictingId {
        /// The id.
        event_id: EventId,
        /// The line that raised the second one.
        raised_at: &'static Location<'static>,
    },
}

/// The rule of several lanes that an event breaks. The tenant chooses the lane, and two lanes have
/// no order between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantOfAggregate {
    /// The event belongs to an aggregate or a stream, and to no tenant.
    #[error(
        "aggregate `{aggregate_type}` `{aggregate_id}` has no tenant, and with {lanes} lanes each \
         event of an aggregate needs one; bind the transaction with `bind_tenant`, put \
         `tenant_id` in the metadata, or keep one lane"
    )]
    Missing {
        /// The type of the aggregate; empty for a stream that only has a key.
        aggregate_type: String,
        /// The id of the aggregate or the key of the stream.
        aggregate_id: String,
        /// The number of lanes.
        lanes: NonZeroU16,
    },
    /// Another event of the aggregate in this unit of work has another tenant.
    #[error(
        "aggregate `{aggregate_type}` `{aggregate_id}` has an event of tenant `{first}` in the \
         same transaction, this one is of `{second}`, and with {lanes} lanes an aggregate keeps \
         its tenant; give both the same, or keep one lane"
    )]
    Changed {
        /// The type of the aggregate; empty for a stream that only has a key.
        aggregate_type: String,
        /// The id of the aggregate or the key of the stream.
        aggregate_id: String,
        /// The tenant of the event before.
        first: String,
        /// The tenant of this event.
        second: String,
        /// The number of lanes.
        lanes: NonZeroU16,
    },
}
