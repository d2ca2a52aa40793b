//! Integration events: what other contexts read, made from domain events where these are flushed.
//!
//! Decision: docs/decisions/0039-integration-events-are-made-at-the-flush.md
//!
//! A domain event speaks the language of its own context and changes with it. An integration event
//! is a contract: declared with `#[integration_event(from = …)]` and made by a `From` of the user.
//! A flush writes it right behind its domain event, in the same INSERT and the same shard.
//!
//! ```
//! use bento_core::integration::IntegrationEvent;
//! use bento_core::{DomainEvent, domain_event, integration_event};
//!
//! #[domain_event(schema = "order.confirmed", version = 1)]
//! #[derive(Debug)]
//! pub struct OrderConfirmed {
//!     pub order_id: u64,
//!     pub margin_in_cents: i64,
//! }
//!
//! /// The contract with the other contexts, which learn nothing of the margin.
//! #[integration_event(from = OrderConfirmed, schema = "ecommerce.order.confirmed", version = 1)]
//! #[derive(Debug)]
//! pub struct OrderConfirmedV1 {
//!     pub order: String,
//! }
//!
//! impl From<&OrderConfirmed> for OrderConfirmedV1 {
//!     fn from(event: &OrderConfirmed) -> Self {
//!         Self { order: format!("order-{}", event.order_id) }
//!     }
//! }
//!
//! assert_eq!(OrderConfirmedV1::DESCRIPTOR.made_from.unwrap().schema, "order.confirmed");
//! ```

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use uuid::Uuid;

use crate::event::{AnyEvent, DomainEvent, EventDescriptor, Raisable};
use crate::id::EventId;
use crate::registry::panic_text;
use crate::telemetry;

/// A struct declared with `#[integration_event(from = …, schema = "…", version = N)]`.
///
/// It is an event like any other for whoever reads it. No aggregate raises it: it is made from each
/// event of its source.
///
/// Not meant to be implemented by hand.
pub trait IntegrationEvent: DomainEvent + MadeFrom<Self::Source> {
    /// The domain event that it is made from.
    type Source: IntegrationSource;
}

/// A domain event that integration events are made from. Not public API: every event that can be
/// raised is one.
///
/// It has no supertrait that could fail, so that the compiler reports this condition alone.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no integration event can be made from `{Self}`",
    label = "not a domain event that can be raised",
    note = "`from` names a struct with `#[domain_event]` at its current version: not one marked \
            `superseded` or `consumes`, and not another integration event"
)]
pub trait IntegrationSource: Sized + 'static {
    const DESCRIPTOR: &'static EventDescriptor;
}

#[diagnostic::do_not_recommend]
impl<E: Raisable> IntegrationSource for E {
    const DESCRIPTOR: &'static EventDescriptor = <E as DomainEvent>::DESCRIPTOR;
}

/// An event with the conversion of the user. Not public API: everything with a `From<&S>` has it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not made from `{S}`",
    label = "`impl From<&{S}> for {Self}` is missing",
    note = "write `impl From<&{S}> for {Self}`: it is called for each `{S}` that is flushed"
)]
pub trait MadeFrom<S>: Sized {
    fn made_from(source: &S) -> Self;
}

#[diagnostic::do_not_recommend]
impl<S, E: for<'s> From<&'s S>> MadeFrom<S> for E {
    fn made_from(source: &S) -> Self {
        Self::from(source)
    }
}

/// The registration that `#[integration_event]` submits. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct IntegrationRegistration {
    source: fn() -> TypeId,
    mapping: Mapping,
}

inventory::collect!(IntegrationRegistration);

impl IntegrationRegistration {
    #[must_use]
    pub const fn of<E: IntegrationEvent>() -> Self {
        Self {
            source: TypeId::of::<E::Source>,
            mapping: Mapping {
                event: E::DESCRIPTOR,
                make: make::<E>,
            },
        }
    }
}

/// The descriptor of the event that `E` is made from. Not public API: called by the macro.
#[doc(hidden)]
#[must_use]
pub const fn source_descriptor<E: IntegrationEvent>() -> &'static EventDescriptor {
    <E::Source as IntegrationSource>::DESCRIPTOR
}

/// One way from a domain event to an integration event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// The integration event.
    pub(crate) event: &'static EventDescriptor,
    make: fn(&dyn AnyEvent) -> Box<dyn AnyEvent>,
}

fn make<E: IntegrationEvent>(source: &dyn AnyEvent) -> Box<dyn AnyEvent> {
    let source: &dyn Any = source;
    let source = source
        .downcast_ref::<E::Source>()
        .expect("a mapping is found by the type of its source");
    Box::new(E::made_from(source))
}

impl Mapping {
    /// The integration event of a domain event.
    ///
    /// # Errors
    /// The text of the panic, if the conversion panics.
    pub(crate) fn make(&self, source: &dyn AnyEvent) -> Result<Box<dyn AnyEvent>, String> {
        let _mapping = InMapping::begin();
        catch_unwind(AssertUnwindSafe(|| (self.make)(source)))
            .map_err(|panic| panic_text(&*panic).to_owned())
    }
}

/// The mappings of a domain event, sorted by event type and version.
///
/// They are looked up by the type of the event and not by its descriptor, of which every crate may
/// have a copy.
pub(crate) fn mappings_of(source: &dyn AnyEvent) -> &'static [Mapping] {
    static MAPPINGS: LazyLock<HashMap<TypeId, Vec<Mapping>>> = LazyLock::new(|| {
        let mut all: HashMap<TypeId, Vec<Mapping>> = HashMap::new();
        for registration in inventory::iter::<IntegrationRegistration>() {
            let of_source = all.entry((registration.source)()).or_default();
            of_source.push(registration.mapping);
        }
        for mappings in all.values_mut() {
            mappings.sort_by_key(|mapping| (mapping.event.schema, mapping.event.version));
        }
        all
    });
    let any: &dyn Any = source;
    MAPPINGS.get(&any.type_id()).map_or(&[], Vec::as_slice)
}

/// An integration event of this binary, if it has one: the first by event type and version. The
/// relay asks, because its rules then have to say which kind of events they take.
#[must_use]
pub fn any_declared() -> Option<&'static EventDescriptor> {
    inventory::iter::<IntegrationRegistration>()
        .map(|registration| registration.mapping.event)
        .min_by_key(|event| (event.schema, event.version))
}

/// The id of an integration event: a UUIDv5 of the domain event's id, the event type and the
/// version. It is the same whenever the domain event is flushed again.
///
/// ```
/// use bento_core::EventId;
/// use bento_core::integration::event_id;
///
/// let confirmed = EventId::new();
/// let first = event_id(confirmed, "ecommerce.order.confirmed", 1);
/// assert_eq!(first, event_id(confirmed, "ecommerce.order.confirmed", 1));
/// assert_ne!(first, event_id(confirmed, "ecommerce.order.confirmed", 2));
/// ```
#[must_use]
pub fn event_id(source: EventId, event_type: &str, version: u32) -> EventId {
    let name = format!("integration:{event_type}:{version}");
    Uuid::new_v5(source.as_uuid(), name.as_bytes()).into()
}

/// Counts the deprecated integration events of a domain event whose transaction has committed, and
/// returns how many integration events it has.
pub(crate) fn count_flushed(source: &dyn AnyEvent) -> u64 {
    let mappings = mappings_of(source);
    for Mapping { event, .. } in mappings {
        if event.deprecated.is_some() {
            metrics::counter!(
                telemetry::DEPRECATED_EVENTS,
                "event_type" => event.schema,
                "version" => event.version.to_string(),
            )
            .increment(1);
        }
    }
    mappings.len() as u64
}

thread_local! {
    static IN_MAPPING: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread makes an integration event. The flush holds its unit of work, so nothing
/// is raised into it meanwhile.
pub(crate) fn is_mapping() -> bool {
    IN_MAPPING.get()
}

/// The time of one conversion.
struct InMapping;

impl InMapping {
    fn begin() -> Self {
        IN_MAPPING.set(true);
        Self
    }
}

impl Drop for InMapping {
    fn drop(&mut self) {
        IN_MAPPING.set(false);
    }
}
