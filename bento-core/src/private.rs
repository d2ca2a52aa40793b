//! Not public API: everything that an expansion may name.
//!
//! The macros are pinned to exactly this version, so anything here may change in a patch release.

use std::any::Any;

pub use std::boxed::Box;
pub use std::clone::Clone;
pub use std::cmp::PartialEq;
pub use std::convert::{From, Into};
pub use std::fmt;
pub use std::iter::IntoIterator;
pub use std::ops::FnOnce;
pub use std::option::Option::{self, None, Some};
pub use std::primitive::{bool, i64, str, u8, u32, u64};
pub use std::result::Result::{self, Err, Ok};
pub use std::sync::{Arc, OnceLock};
pub use std::vec::Vec;
pub use std::{assert, file, line, module_path, panic, unreachable};

pub use inventory;
pub use serde;
pub use serde_json::value::RawValue;

pub use crate::aggregate::{
    Aggregate, AggregateDescriptor, AggregateEvents, VersionNumber, Versioned, raise,
};
pub use crate::codec::DecodeError;
pub use crate::envelope::{Envelope, FromEnvelope, one_of};
pub use crate::event::unraisable::{
    RaisesConsumed, RaisesIntegration, RaisesSuperseded, RaisesVariants,
};
pub use crate::event::{
    AnyEvent, Declaration, DomainEvent, EventDescriptor, EventRole, FieldChange, FieldDescriptor,
    Listable, ListedBy, Raisable, RaisedBy, RemovedField, Superseded,
};
pub use crate::event_sourced::{
    Blank, EventSourced, InitialState, MissingApply, Snapshots, StoredEvents, apply_by,
    apply_raised, from_events, storage,
};
pub use crate::id::{AggregateId, AggregateKey};
pub use crate::integration::{IntegrationEvent, IntegrationRegistration, source_descriptor};
pub use crate::metadata::Metadata;
pub use crate::payload::{Addition, Step, UpcastFault};
pub use crate::pending::{PendingEvents, PendingField};
pub use crate::registry::{AggregateRegistration, EventRegistration};
pub use crate::shape;
pub use crate::upcast::{
    FromText, TypedStep, check_typed_step, decode_by_history, decode_by_typed_step,
    older_descriptor, oldest_through_typed_step, raw_default, raw_default_within, reads,
    reads_within, typed_step_from,
};

/// The error of serde_json when a default cannot be written.
pub type JsonError = serde_json::Error;

/// The descriptor of an event without its optional parts. An expansion writes the differences from
/// it.
pub const EVENT: EventDescriptor = EventDescriptor {
    schema: "",
    version: 1,
    oldest: 1,
    role: EventRole::Current,
    rust_name: "",
    declared: Declaration {
        module_path: "",
        package: "",
        package_version: "",
        file: "",
        line: 0,
    },
    docs: "",
    fields: &[],
    removed: &[],
    upcast_from: None,
    made_from: None,
    deprecated: None,
    fingerprint: 0,
    topic: None,
    routing_key: None,
    allow: &[],
};

/// The descriptor of a field without a history.
#[must_use]
pub const fn field(
    name: &'static str,
    rust_type: &'static str,
    docs: &'static str,
) -> FieldDescriptor {
    FieldDescriptor {
        name,
        rust_type,
        docs,
        is_flattened: false,
        history: &[],
    }
}

/// The descriptor of an event that aggregate `A` lists.
///
/// Bounded by what the expansion has just implemented, so that a type that is not an event is
/// reported once, in the list.
#[must_use]
pub const fn descriptor_of<A: ?Sized, E: ListedBy<A, POSITION>, const POSITION: usize>()
-> &'static EventDescriptor {
    <E as Listable>::DESCRIPTOR
}

/// An event that aggregate `A` lists, to be kept beside others.
pub fn into_any<A: ?Sized, E: ListedBy<A, POSITION>, const POSITION: usize>(
    event: E,
) -> Arc<dyn AnyEvent> {
    event.share()
}

/// An event that aggregate `A` lists, without its type.
pub fn share_again<A: ?Sized, E: ListedBy<A, POSITION>, const POSITION: usize>(
    event: Arc<E>,
) -> Arc<dyn AnyEvent> {
    E::share_again(event)
}

/// The event, to be taken for one listed event after the other.
pub fn any(event: Arc<dyn AnyEvent>) -> Arc<dyn Any + Send + Sync> {
    event
}

/// The event as an `E`, or back as it was.
///
/// # Errors
/// The event itself, if it is not an `E`.
pub fn downcast<A: ?Sized, E: ListedBy<A, POSITION>, const POSITION: usize>(
    event: Arc<dyn Any + Send + Sync>,
) -> Result<Arc<E>, Arc<dyn Any + Send + Sync>> {
    E::downcast(event)
}

/// The variant of an event that aggregate `A` raises.
///
/// # Panics
/// If a hand-written `RaisedBy` stands for an event that `A` does not list.
pub fn variant<A: Aggregate, E: RaisedBy<A>>(event: E) -> A::Event {
    A::Event::from_any(event.into_any()).expect("an aggregate raises only the events it lists")
}

/// True if two events of one type are equal.
pub fn is_same_event<E>(left: &Arc<E>, right: &Arc<E>) -> bool
where
    for<'a> &'a E: PartialEq<&'a E>,
{
    &**left == &**right
}

/// Shows an event of the aggregate's enum as the event itself.
///
/// # Errors
/// The error of the formatter, if it has one.
pub fn debug<A: ?Sized, E: ListedBy<A, POSITION>, const POSITION: usize>(
    event: &E,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    event.debug(f)
}
