//! Faults of a registry as a whole.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use super::{Registry, listed};
use crate::event::{AggregateDescriptor, EventDescriptor, EventRole};
use crate::payload::Addition;

/// A fault that the compiler cannot see, because the declarations may be spread over crates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RegistryFault {
    /// Two declarations have one schema and version.
    DeclaredTwice {
        /// One of them.
        first: &'static EventDescriptor,
        /// The other.
        second: &'static EventDescriptor,
    },
    /// Two versions of a schema both claim to be the current one.
    TwoCurrentVersions {
        /// The older one.
        older: &'static EventDescriptor,
        /// The newer one.
        newer: &'static EventDescriptor,
    },
    /// A superseded version that the current one, or without one the newest superseded one, does
    /// not upcast from.
    Unreached {
        /// The superseded version.
        superseded: &'static EventDescriptor,
        /// The version that is read.
        current: &'static EventDescriptor,
    },
    /// Two aggregates have one type name.
    AggregateDeclaredTwice {
        /// One of them.
        first: &'static AggregateDescriptor,
        /// The other.
        second: &'static AggregateDescriptor,
    },
    /// An integration event has the schema of a domain event, so that readers would take the one
    /// for the other.
    SchemaOfDomainEvent {
        /// The integration event.
        integration: &'static EventDescriptor,
        /// The domain event.
        domain: &'static EventDescriptor,
    },
    /// The `default` of a field cannot be taken, so that no payload of before can be read.
    FaultyDefault {
        /// The event.
        event: &'static EventDescriptor,
        /// The name of the field in the payload, when it was added.
        field: &'static str,
        /// The version that added it.
        since: u32,
        /// The failure: it panics, JSON cannot hold it, or the field cannot be read from it.
        reason: String,
    },
    /// An event is named in the program but was not registered.
    NotRegistered {
        /// The event.
        event: &'static EventDescriptor,
    },
}

impl fmt::Display for RegistryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeclaredTwice { first, second } => write!(
                f,
                "`{}` version {} is declared twice: rename one, raise its version, or mark a view \
                 of a foreign event `consumes`\n  {}\n  {}",
                first.schema,
                first.version,
                Place(first),
                Place(second),
            ),
            Self::TwoCurrentVersions { older, newer } => write!(
                f,
                "`{}` has two current versions, {} and {}: mark the older one \
                 `superseded`\n  {}\n  {}",
                older.schema,
                older.version,
                newer.version,
                Place(older),
                Place(newer),
            ),
            Self::Unreached {
                superseded,
                current,
            } => write!(
                f,
                "`{}` version {} is superseded, but version {} does not upcast from it: add it to \
                 the chain of `upcast_from`, or delete it\n  {}\n  {}",
                superseded.schema,
                superseded.version,
                current.version,
                Place(superseded),
                Place(current),
            ),
            Self::SchemaOfDomainEvent {
                integration,
                domain,
            } => write!(
                f,
                "the integration event `{}` version {} has the schema of a domain event: give it \
                 one of its own, as in `shop.{}`\n  {}\n  {}",
                integration.schema,
                integration.version,
                integration.schema,
                Place(integration),
                Place(domain),
            ),
            Self::AggregateDeclaredTwice { first, second } => write!(
                f,
                "the aggregate type `{}` is declared twice, so their ids would share one order: \
                 give one another `name = \"…\"`\n  {} at {}\n  {} at {}",
                first.aggregate_type,
                first.rust_name,
                first.declared,
                second.rust_name,
                second.declared,
            ),
            Self::FaultyDefault {
                event,
                field,
                since,
                reason,
            } => write!(
                f,
                "the default of `{field}`, which version {since} of `{}` adds, cannot be taken \
                 ({reason}), so no earlier payload can be read: give it another\n  {}",
                event.schema,
                Place(event),
            ),
            Self::NotRegistered { event } => write!(
                f,
                "`{}` version {} is named but not registered: this platform did not run the \
                 registrations of the crate\n  {}",
                event.schema,
                event.version,
                Place(event),
            ),
        }
    }
}

/// The struct and its place, for a message.
struct Place(&'static EventDescriptor);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.0.rust_name, self.0.declared)
    }
}

/// Every fault of a registry.
#[derive(Debug, thiserror::Error)]
#[error(
    "the declared events and aggregates do not fit together, {} fault(s){}",
    .0.len(),
    listed(.0)
)]
pub struct RegistryErrors(Vec<RegistryFault>);

impl RegistryErrors {
    pub(super) fn from_faults(faults: Vec<RegistryFault>) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self(faults))
        }
    }

    pub(super) fn one(fault: RegistryFault) -> Self {
        Self(vec![fault])
    }

    /// The faults, sorted by schema; never empty.
    #[must_use]
    pub fn faults(&self) -> &[RegistryFault] {
        &self.0
    }
}

/// Every fault of `registry`, sorted by schema.
pub(super) fn find(registry: &Registry) -> Vec<RegistryFault> {
    let mut schemas: BTreeMap<&str, Vec<&'static EventDescriptor>> = BTreeMap::new();
    for event in registry
        .events()
        .filter(|event| event.role != EventRole::Consumes)
    {
        schemas.entry(event.schema).or_default().push(event);
    }
    let mut faults = Vec::new();
    for versions in schemas.values() {
        declared_twice(versions, &mut faults);
        let current: Vec<_> = versions
            .iter()
            .copied()
            .filter(|event| event.role == EventRole::Current)
            .collect();
        two_current_versions(&current, &mut faults);
        schema_of_domain_event(versions, &current, &mut faults);
        // Without a current version the newest superseded one is read.
        if let Some(newest) = current.last().or(versions.last()) {
            unreached(versions, newest, &mut faults);
        }
    }
    unregistered_sources(registry, &mut faults);
    faulty_defaults(registry, &mut faults);
    aggregates_declared_twice(registry, &mut faults);
    faults
}

fn declared_twice(versions: &[&'static EventDescriptor], faults: &mut Vec<RegistryFault>) {
    let same = versions
        .windows(2)
        .filter(|pair| pair[0].version == pair[1].version);
    faults.extend(same.map(|pair| RegistryFault::DeclaredTwice {
        first: pair[0],
        second: pair[1],
    }));
}

/// Versions declared twice are reported as that alone.
fn two_current_versions(current: &[&'static EventDescriptor], faults: &mut Vec<RegistryFault>) {
    let different = current
        .windows(2)
        .filter(|pair| pair[0].version != pair[1].version);
    faults.extend(different.map(|pair| RegistryFault::TwoCurrentVersions {
        older: pair[0],
        newer: pair[1],
    }));
}

/// A domain event and an integration event of one version are reported as declared twice.
fn schema_of_domain_event(
    versions: &[&'static EventDescriptor],
    current: &[&'static EventDescriptor],
    faults: &mut Vec<RegistryFault>,
) {
    let integration = versions
        .iter()
        .filter(|event| event.role == EventRole::Integration);
    for integration in integration {
        let same = current
            .iter()
            .find(|domain| domain.version != integration.version);
        faults.extend(same.map(|domain| RegistryFault::SchemaOfDomainEvent {
            integration,
            domain,
        }));
    }
}

/// A source is named by its integration event, and so linked, but a platform may not run the
/// registrations.
fn unregistered_sources(registry: &Registry, faults: &mut Vec<RegistryFault>) {
    let sources = registry.events().filter_map(|event| event.made_from);
    let missing = sources.filter(|source| !registry.has(source));
    faults.extend(missing.map(|event| RegistryFault::NotRegistered { event }));
}

fn unreached(
    versions: &[&'static EventDescriptor],
    current: &'static EventDescriptor,
    faults: &mut Vec<RegistryFault>,
) {
    let mut chain = Vec::new();
    let mut older = current.upcast_from;
    while let Some(event) = older {
        chain.push(event.version);
        older = event.upcast_from;
    }
    let superseded = versions
        .iter()
        .filter(|event| event.role == EventRole::Superseded && event.version != current.version);
    let left_out = superseded.filter(|event| !chain.contains(&event.version));
    faults.extend(left_out.map(|superseded| RegistryFault::Unreached {
        superseded,
        current,
    }));
}

fn faulty_defaults(registry: &Registry, faults: &mut Vec<RegistryFault>) {
    for registration in &registry.events {
        let event = registration.descriptor;
        let taken = registration
            .history
            .iter()
            .filter(|step| step.to > event.oldest);
        let additions =
            taken.flat_map(|step| step.added.iter().map(|addition| (step.to, addition)));
        faults.extend(additions.filter_map(|(since, addition)| {
            let reason = why_not(addition)?;
            Some(RegistryFault::FaultyDefault {
                event,
                field: addition.name,
                since,
                reason,
            })
        }));
    }
}

/// The reason that a default cannot be taken.
fn why_not(addition: &Addition) -> Option<String> {
    match std::panic::catch_unwind(addition.default) {
        Ok(Ok(value)) => (addition.reads)(&value)
            .err()
            .map(|error| format!("the field cannot be read from it: {error}")),
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(format!("it panics: {}", panic_text(&*panic))),
    }
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("with no text")
}

fn aggregates_declared_twice(registry: &Registry, faults: &mut Vec<RegistryFault>) {
    let same = registry
        .aggregates
        .windows(2)
        .filter(|pair| pair[0].aggregate_type == pair[1].aggregate_type);
    faults.extend(same.map(|pair| RegistryFault::AggregateDeclaredTwice {
        first: pair[0],
        second: pair[1],
    }));
}
