//! What is stored against what this binary can decode.

use std::fmt;

use super::{Registry, listed};
use crate::event::EventDescriptor;

/// A schema and version found in storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSchema {
    /// The stored schema.
    pub schema: String,
    /// The stored schema version.
    pub version: u32,
    /// How many events there are of it.
    pub count: u64,
    /// Where they are, as an operator calls it: `outbox`, `dead letters`.
    pub place: String,
}

impl fmt::Display for StoredSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, version, count, place } = self;
        write!(f, "{count} × `{schema}` version {version} in {place}")
    }
}

/// Something stored that this binary cannot decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// No event in this binary has the schema.
    #[error("{0}: no event in this binary has this schema, link the crate that declares it")]
    UnknownSchema(StoredSchema),
    /// A later release wrote it.
    #[error("{stored}: this binary knows version {newest}, upgrade it")]
    NewerVersion {
        /// What is stored.
        stored: StoredSchema,
        /// The newest version this binary knows.
        newest: u32,
    },
    /// The declaration gave the version up.
    #[error("{stored}: versions before {oldest} are retired, migrate them or lower `oldest`")]
    Retired {
        /// What is stored.
        stored: StoredSchema,
        /// The oldest version that can still be read.
        oldest: u32,
    },
}

/// Everything stored that this binary cannot decode.
#[derive(Debug, thiserror::Error)]
#[error("this binary cannot decode everything that is stored{}", listed(.0))]
pub struct StoredErrors(Vec<StoredError>);

impl StoredErrors {
    pub(super) fn from_errors(errors: Vec<StoredError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The errors, in the order the stored schemas were given; never empty.
    #[must_use]
    pub fn errors(&self) -> &[StoredError] {
        &self.0
    }
}

pub(super) fn check(registry: &Registry, stored: StoredSchema) -> Option<StoredError> {
    match registry.event(&stored.schema) {
        None => Some(StoredError::UnknownSchema(stored)),
        Some(&EventDescriptor { version: newest, .. }) if stored.version > newest => {
            Some(StoredError::NewerVersion { stored, newest })
        }
        Some(&EventDescriptor { oldest, .. }) if stored.version < oldest => {
            Some(StoredError::Retired { stored, oldest })
        }
        Some(_) => None,
    }
}
