//! The constant data that `#[domain_event]` and `#[aggregate]` leave in the binary.
//!
//! The macro of the same Bento version builds these values; fields may be added in a minor version.

/// The declaration of a `#[domain_event]`, as constant data.
#[derive(Debug)]
pub struct EventDescriptor {
    /// The stable name, `order.created`.
    pub schema: &'static str,
    /// The version of the payload that the struct is.
    pub version: u32,
    /// The oldest stored version that can still be decoded.
    pub oldest: u32,
    /// The role that the declaring crate has for the event.
    pub role: EventRole,
    /// The name of the struct.
    pub rust_name: &'static str,
    /// The place of the declaration.
    pub declared: Declaration,
    /// The doc comment of the struct, lines joined by `\n`.
    pub docs: &'static str,
    /// The fields in their order, with their history.
    pub fields: &'static [FieldDescriptor],
    /// Fields of earlier versions that are gone.
    pub removed: &'static [RemovedField],
    /// The earlier version that a hand-written upcaster starts from.
    pub upcast_from: Option<&'static EventDescriptor>,
    /// The domain event that an integration event is made from.
    pub made_from: Option<&'static EventDescriptor>,
    /// The way out for consumers of a deprecated integration event; `None` for one that is not
    /// deprecated.
    pub deprecated: Option<&'static str>,
    /// A hash of the declaration's tokens, for telling one declaration seen twice from two
    /// declarations.
    pub fingerprint: u64,
    /// The topic that the relay publishes the event under unless the row names another; `None`
    /// means the schema.
    pub topic: Option<&'static str>,
    /// The broker's routing key unless the row says otherwise; `None` means the schema.
    pub routing_key: Option<&'static str>,
    /// Names of the advisory lints that `allow(…)` silences.
    pub allow: &'static [&'static str],
}

/// The declaration of an `#[aggregate]`, as constant data.
#[derive(Debug)]
pub struct AggregateDescriptor {
    /// The stable name, stored beside every event.
    pub aggregate_type: &'static str,
    /// The name of the struct.
    pub rust_name: &'static str,
    /// The place of the declaration.
    pub declared: Declaration,
    /// The doc comment of the struct.
    pub docs: &'static str,
    /// The events it raises.
    pub events: &'static [&'static EventDescriptor],
    /// True if its events have a sequence: it has a version field.
    pub numbers_events: bool,
    /// True if it is declared `event_sourced`: its events are stored.
    pub is_event_sourced: bool,
}

/// The place where an event or an aggregate is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Declaration {
    /// `module_path!()` of the struct.
    pub module_path: &'static str,
    /// The package that declares it.
    pub package: &'static str,
    /// The version of that package.
    pub package_version: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line, counted from 1.
    pub line: u32,
}

impl std::fmt::Display for Declaration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            module_path,
            package,
            package_version,
            file,
            line,
        } = self;
        write!(
            f,
            "{file}:{line}, module {module_path}, package {package} {package_version}"
        )
    }
}

/// The role that the declaring crate has for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRole {
    /// It raises the event.
    Current,
    /// It keeps an earlier version, to upcast from.
    Superseded,
    /// It reads an event that another context owns.
    Consumes,
    /// It makes the event from a domain event, for other contexts.
    Integration,
}

/// A field of an event and what became of it over the versions.
#[derive(Debug)]
pub struct FieldDescriptor {
    /// The name in the JSON payload.
    pub name: &'static str,
    /// The Rust type as written.
    pub rust_type: &'static str,
    /// The doc comment.
    pub docs: &'static str,
    /// True if the payload holds the fields of the value (`#[serde(flatten)]`) in place of one
    /// field of this name.
    pub is_flattened: bool,
    /// The changes, oldest first.
    pub history: &'static [FieldChange],
}

/// One step in the history of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldChange {
    /// The field came with this version.
    Added {
        /// The version that added it.
        since: u32,
    },
    /// The field had another name before this version.
    Renamed {
        /// The version that renamed it.
        since: u32,
        /// The JSON name before.
        from: &'static str,
    },
}

impl FieldChange {
    /// The version this change came with.
    #[must_use]
    pub const fn since(&self) -> u32 {
        match *self {
            Self::Added { since } | Self::Renamed { since, .. } => since,
        }
    }
}

/// A field that earlier versions had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedField {
    /// Its name in the JSON payload.
    pub name: &'static str,
    /// The first version without it.
    pub since: u32,
}
