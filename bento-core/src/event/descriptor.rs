//! The constant data that `#[domain_event]` leaves in the binary.

/// What a `#[domain_event]` declares, as constant data.
#[derive(Debug)]
#[non_exhaustive]
pub struct EventDescriptor {
    /// The stable name, `order.created`.
    pub schema: &'static str,
    /// The version of the payload that the struct is.
    pub version: u32,
    /// The oldest stored version that can still be decoded.
    pub oldest: u32,
    /// Whether the crate raises the event, keeps an earlier version of it, or only reads it.
    pub role: EventRole,
    /// The name of the struct.
    pub rust_name: &'static str,
    /// `module_path!()` of the struct.
    pub module_path: &'static str,
    /// The package that declares it.
    pub package: &'static str,
    /// The version of that package.
    pub package_version: &'static str,
    /// The source file of the declaration.
    pub file: &'static str,
    /// The line of the declaration.
    pub line: u32,
    /// The doc comment of the struct, lines joined by `\n`.
    pub docs: &'static str,
    /// The fields in their order, with their history.
    pub fields: &'static [FieldDescriptor],
    /// A hash of the declaration's tokens, for telling one declaration seen twice from two declarations.
    pub fingerprint: u64,
    /// Where the relay publishes it unless the row says otherwise; `None` means the schema.
    pub topic: Option<&'static str>,
    /// Names of the advisory lints that `allow(…)` silences.
    pub allow: &'static [&'static str],
}

/// What the declaring crate does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRole {
    /// It raises the event.
    Current,
    /// It keeps an earlier version, to upcast from.
    Superseded,
    /// It reads an event that another context owns.
    Consumes,
}

/// A field of an event and what became of it over the versions.
#[derive(Debug)]
#[non_exhaustive]
pub struct FieldDescriptor {
    /// The name in the JSON payload.
    pub name: &'static str,
    /// The Rust type as written.
    pub rust_type: &'static str,
    /// The doc comment.
    pub docs: &'static str,
    /// What changed, oldest first.
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
    /// The field is gone since this version.
    Removed {
        /// The version that removed it.
        since: u32,
    },
}
