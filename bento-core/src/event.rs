//! The traits that `#[domain_event]` implements, and the descriptor that it registers.
//!
//! Three traits, from wide to narrow:
//!
//! * [`DomainEvent`]: a declared event struct. It can be decoded and handled.
//! * [`Raisable`]: an event this crate may raise. Missing on a version marked `superseded` and on a
//!   foreign event declared `consumes`.
//! * [`RaisedBy<A>`]: an event that aggregate `A` lists in `#[aggregate(events(…))]`, to be raised
//!   by value.
//!
//! None of them is meant to be implemented by hand.
//!
//! Decision: docs/decisions/0001-event-traits-and-superseded.md

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::descriptor::{
    AggregateDescriptor, Declaration, EventDescriptor, EventRole, FieldChange, FieldDescriptor,
    RemovedField,
};
pub use self::kind::EventKind;
use crate::payload::{DecodeError, Step, UpcastFault};

mod descriptor;
mod kind;
#[doc(hidden)]
pub mod unraisable;

/// A struct declared with `#[domain_event(schema = "…", version = N)]`: a fact of the business, in
/// the past tense.
///
/// ```
/// use bento_core::{DomainEvent, domain_event};
///
/// #[domain_event(schema = "order.paid", version = 1)]
/// #[derive(Debug)]
/// pub struct OrderPaid {
///     pub order_id: u32,
/// }
///
/// assert_eq!((OrderPaid::SCHEMA, OrderPaid::VERSION), ("order.paid", 1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a domain event",
    label = "this type has no `#[domain_event]`",
    note = "add `#[domain_event(schema = \"lower.dotted_snake\", version = 1)]` above the derives \
            of `{Self}`"
)]
pub trait DomainEvent: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The declaration of this event, as the macro read it.
    const DESCRIPTOR: &'static EventDescriptor;

    /// The stable name of the event, `order.created`.
    const SCHEMA: &'static str = Self::DESCRIPTOR.schema;

    /// The version of the payload that this struct is.
    const VERSION: u32 = Self::DESCRIPTOR.version;

    /// The history of the fields, oldest first. Not public API: read by [`crate::codec`] and the
    /// registry.
    #[doc(hidden)]
    const HISTORY: &'static [Step] = &[];

    /// Brings a payload of an earlier, not retired version to this one. Not public API: called by
    /// [`crate::codec`].
    #[doc(hidden)]
    fn decode_older(version: u32, _payload: &[u8]) -> Result<Self, UpcastFault> {
        Err(UpcastFault::without_history(version))
    }
}

/// An event that may be raised: declared here, at its current version.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be raised",
    label = "not an event that can be raised",
    note = "only a struct with `#[domain_event]` can be raised, and not one marked `superseded` \
            or `consumes`: raise the current version"
)]
pub trait Raisable: DomainEvent {}

/// An event that aggregate `A` lists in `#[aggregate(events(…))]`, and can raise by value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event of `{A}`",
    label = "`{A}` does not raise this",
    note = "list it: `#[aggregate(events(…, {Self}))]` on `{A}`"
)]
pub trait RaisedBy<A: ?Sized>: Sized {
    /// The event, to be kept beside others.
    fn into_any(self) -> Arc<dyn AnyEvent>;
}

/// An event at one position of the list of aggregate `A`. Not public API: implemented by the macro,
/// which names a listed type nowhere else without this bound.
#[doc(hidden)]
pub trait ListedBy<A: ?Sized, const POSITION: usize>: Listable {}

/// The operations of an aggregate on each event that it lists. Not public API: every [`Raisable`]
/// event has it.
///
/// It has no supertrait that could fail: an event that lacks `Debug` is reported where it is
/// declared, and not once more in each list.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be raised",
    label = "not an event that can be raised",
    note = "only a struct with `#[domain_event]` can be raised, and not one marked `superseded` \
            or `consumes`: raise the current version"
)]
pub trait Listable: Sized {
    const DESCRIPTOR: &'static EventDescriptor;

    fn share(self) -> Arc<dyn AnyEvent>;

    fn share_again(event: Arc<Self>) -> Arc<dyn AnyEvent>;

    /// The event as a `Self`, or back as it was.
    ///
    /// # Errors
    /// The event itself, if it is another one.
    fn downcast(event: Arc<dyn Any + Send + Sync>)
    -> Result<Arc<Self>, Arc<dyn Any + Send + Sync>>;

    /// # Errors
    /// The error of the formatter, if it has one.
    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

#[diagnostic::do_not_recommend]
impl<E: Raisable> Listable for E {
    const DESCRIPTOR: &'static EventDescriptor = <E as DomainEvent>::DESCRIPTOR;

    fn share(self) -> Arc<dyn AnyEvent> {
        Arc::new(self)
    }

    fn share_again(event: Arc<Self>) -> Arc<dyn AnyEvent> {
        event
    }

    fn downcast(
        event: Arc<dyn Any + Send + Sync>,
    ) -> Result<Arc<Self>, Arc<dyn Any + Send + Sync>> {
        event.downcast()
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An earlier version of an event, kept as a Rust type for a hand-written upcaster.
#[doc(hidden)]
pub trait Superseded: DomainEvent {}

/// A domain event whose type is known only at run time, to be downcast.
///
/// Implemented for every [`DomainEvent`].
pub trait AnyEvent: Any + fmt::Debug + Send + Sync {
    /// The descriptor that the macro registered for this event's type.
    fn descriptor(&self) -> &'static EventDescriptor;

    /// Appends the payload, as JSON in the current version.
    ///
    /// # Errors
    /// If serde refuses a value, or a float is not finite (JSON would store `null`).
    fn encode(&self, payload: &mut Vec<u8>) -> Result<(), serde_json::Error>;

    /// Reads what [`encode`](Self::encode) has written.
    ///
    /// Debug builds do so for each event that is raised: serde can write some values that it cannot
    /// read, such as a `u128` in a tagged enum or in a flattened field.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] with the field, if serde cannot read it.
    fn reads_back(&self, payload: &[u8]) -> Result<(), DecodeError>;
}

impl dyn AnyEvent {
    /// True if the event is an `E`.
    #[must_use]
    pub fn is<E: DomainEvent>(&self) -> bool {
        let any: &dyn Any = self;
        any.is::<E>()
    }

    /// The event as an `E`, if it is one.
    #[must_use]
    pub fn downcast_ref<E: DomainEvent>(&self) -> Option<&E> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }

    /// The event as a shared `E`.
    ///
    /// # Errors
    /// The event itself, if it is not an `E`.
    pub fn downcast_arc<E: DomainEvent>(self: Arc<Self>) -> Result<Arc<E>, Arc<dyn AnyEvent>> {
        if !self.is::<E>() {
            return Err(self);
        }
        let any: Arc<dyn Any + Send + Sync> = self;
        Ok(any.downcast().expect("the type was just checked"))
    }
}
