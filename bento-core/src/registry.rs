//! Every event and aggregate this binary knows.
//!
//! Built once from what the macros registered. The order of registration is unspecified, so
//! everything here is sorted.
//!
//! A crate that the program does not name is not linked and registers nothing:
//! [`Registry::require`] names it, and [`Registry::check_stored`] compares the stored events with
//! those that this binary reads.
//!
//! Decision: docs/decisions/0005-the-registry-reads-one-type-per-schema.md

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use self::catalogue::{
    Catalogue, CatalogueAggregate, CatalogueEvent, CatalogueField, CatalogueVersion,
};
pub(crate) use self::fault::panic_text;
pub use self::fault::{RegistryErrors, RegistryFault};
pub use self::lint::{Lint, LintName};
pub use self::stored::{StoredError, StoredErrors, StoredReport, StoredSchema};
use crate::codec::{self, DecodeError};
use crate::event::{AggregateDescriptor, AnyEvent, DomainEvent, EventDescriptor, EventRole};
use crate::payload::Step;

mod catalogue;
mod fault;
mod lint;
mod stored;

type Decode = fn(u32, &[u8]) -> Result<Arc<dyn AnyEvent>, DecodeError>;

/// The registration that `#[domain_event]` submits. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct EventRegistration {
    descriptor: &'static EventDescriptor,
    history: &'static [Step],
    decode: Decode,
}

impl EventRegistration {
    #[must_use]
    pub const fn of<E: DomainEvent>() -> Self {
        Self {
            descriptor: E::DESCRIPTOR,
            history: E::HISTORY,
            decode: codec::decode_any::<E>,
        }
    }
}

/// The registration that `#[aggregate]` submits. Not public API: written by the macro.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct AggregateRegistration(pub &'static AggregateDescriptor);

inventory::collect!(EventRegistration);
inventory::collect!(AggregateRegistration);

/// The events and aggregates of this binary.
///
/// ```
/// use bento_core::Registry;
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
///
/// let registry = Registry::global();
/// registry.validate()?;
/// assert_eq!(registry.event("order.paid").map(|event| event.version), Some(1));
/// println!("{}", registry.catalogue().to_markdown());
/// # Ok::<_, bento_core::Report>(())
/// ```
#[derive(Debug)]
pub struct Registry {
    /// Sorted by schema, version and place; a declaration that was linked twice is here once.
    events: Vec<EventRegistration>,
    aggregates: Vec<&'static AggregateDescriptor>,
    readers: BTreeMap<&'static str, EventRegistration>,
}

impl Registry {
    /// The events and aggregates that the macros registered in this binary, sorted at the first
    /// call.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            Self::of(
                inventory::iter::<EventRegistration>().copied(),
                inventory::iter::<AggregateRegistration>().copied(),
            )
        })
    }

    /// A registry of these alone. Not public API: for tests of the registry itself.
    #[doc(hidden)]
    pub fn of(
        events: impl IntoIterator<Item = EventRegistration>,
        aggregates: impl IntoIterator<Item = AggregateRegistration>,
    ) -> Self {
        let mut events: Vec<_> = events.into_iter().collect();
        events.sort_by_key(|event| event_key(event.descriptor));
        events.dedup_by_key(|event| event_key(event.descriptor));
        let mut aggregates: Vec<_> = aggregates
            .into_iter()
            .map(|registration| registration.0)
            .collect();
        aggregates.sort_by_key(|aggregate| (aggregate.aggregate_type, aggregate.declared));
        aggregates.dedup_by_key(|aggregate| (aggregate.aggregate_type, aggregate.declared));
        let readers = readers(&events);
        Self {
            events,
            aggregates,
            readers,
        }
    }

    /// Checks the declarations against each other across crates, which the compiler cannot do, and
    /// evaluates each default of a field once.
    ///
    /// A default that panics is a fault like any other; the panic hook runs for it. Call it before
    /// serving, and in a unit test of the binary.
    ///
    /// # Errors
    /// Every fault at once, each with the places of the declarations.
    pub fn validate(&self) -> Result<(), RegistryErrors> {
        RegistryErrors::from_faults(fault::find(self))
    }

    /// Makes sure that the crate of `E` is linked, by naming it.
    ///
    /// # Errors
    /// If `E` is named but not registered: the platform did not run the registration (see the
    /// documentation of `inventory`).
    pub fn require<E: DomainEvent>(&self) -> Result<&Self, RegistryErrors> {
        if self.has(E::DESCRIPTOR) {
            Ok(self)
        } else {
            Err(RegistryErrors::one(RegistryFault::NotRegistered {
                event: E::DESCRIPTOR,
            }))
        }
    }

    /// True if this declaration is registered.
    fn has(&self, event: &EventDescriptor) -> bool {
        let wanted = event_key(event);
        self.events().any(|event| event_key(event) == wanted)
    }

    /// Reads a stored payload as the type this binary has for its schema.
    ///
    /// The type is the current version; without one the newest superseded version; without one the
    /// newest view declared `consumes` (among equals the first by module path: where several
    /// contexts have a view, each decodes its own with [`codec::decode`]). An integration event of
    /// several versions is read as the struct of its version.
    ///
    /// # Errors
    /// [`DecodeError`], which tells four causes apart.
    pub fn decode(
        &self,
        schema: &str,
        version: u32,
        payload: &[u8],
    ) -> Result<Arc<dyn AnyEvent>, DecodeError> {
        match self.reader(schema, version) {
            Some(reader) => (reader.decode)(version, payload),
            None => Err(DecodeError::UnknownEventType {
                event_type: schema.to_owned(),
                wanted: None,
            }),
        }
    }

    /// The declaration that reads this version.
    fn reader(&self, schema: &str, version: u32) -> Option<&EventRegistration> {
        let is_of_version = |event: &&EventRegistration| {
            let EventDescriptor { role, .. } = event.descriptor;
            *role == EventRole::Integration && event.descriptor.version == version
        };
        let newest = self.readers.get(schema)?;
        if newest.descriptor.role != EventRole::Integration {
            return Some(newest);
        }
        let first = self
            .events
            .partition_point(|event| event.descriptor.schema < newest.descriptor.schema);
        let versions = self.events[first..]
            .iter()
            .take_while(|event| event.descriptor.schema == schema);
        Some(versions.clone().find(is_of_version).unwrap_or(newest))
    }

    /// The event that this binary reads a schema as.
    #[must_use]
    pub fn event(&self, schema: &str) -> Option<&'static EventDescriptor> {
        self.readers.get(schema).map(|reader| reader.descriptor)
    }

    /// Every declaration, sorted by schema and version.
    pub fn events(&self) -> impl Iterator<Item = &'static EventDescriptor> {
        self.events.iter().map(|event| event.descriptor)
    }

    /// Every aggregate, sorted by its type name.
    pub fn aggregates(&self) -> impl Iterator<Item = &'static AggregateDescriptor> {
        self.aggregates.iter().copied()
    }

    /// The catalogue of the events, for people and programs.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::of(self)
    }

    /// Schemas that name no fact of the business in the past tense. Advice: nothing fails because
    /// of it.
    ///
    /// `#[domain_event(…, allow(name))]` silences one for an event.
    #[must_use]
    pub fn lints(&self) -> Vec<Lint> {
        self.events()
            .filter(|event| matches!(event.role, EventRole::Current | EventRole::Integration))
            .filter_map(lint::look_at)
            .collect()
    }

    /// Compares the stored events with those that this binary can decode. The report tells events
    /// of another release from events that this release has retired.
    pub fn check_stored(&self, stored: impl IntoIterator<Item = StoredSchema>) -> StoredReport {
        StoredReport::new(
            stored
                .into_iter()
                .filter_map(|stored| stored::check(self, stored))
                .collect(),
        )
    }
}

/// The key that two registrations of one declaration share.
fn event_key(event: &EventDescriptor) -> impl Ord + use<> {
    (
        event.schema,
        event.version,
        event.declared,
        event.fingerprint,
    )
}

fn readers(events: &[EventRegistration]) -> BTreeMap<&'static str, EventRegistration> {
    let rank = |event: &EventDescriptor| match event.role {
        EventRole::Current => (3, event.version),
        EventRole::Integration => (2, event.version),
        EventRole::Superseded => (1, event.version),
        EventRole::Consumes => (0, event.version),
    };
    let mut readers: BTreeMap<&'static str, EventRegistration> = BTreeMap::new();
    for event in events {
        let reader = readers.entry(event.descriptor.schema).or_insert(*event);
        if rank(event.descriptor) > rank(reader.descriptor) {
            *reader = *event;
        }
    }
    readers
}

/// The lines of an error that lists several things.
fn listed<T: std::fmt::Display>(things: &[T]) -> String {
    things.iter().map(|thing| format!("\n- {thing}")).collect()
}
