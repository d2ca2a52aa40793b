//! The stored events, compared with those that this binary can decode.

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
    /// The number of events; `None` where too many are stored to be counted.
    pub count: Option<u64>,
    /// The place of the events, as an operator calls it: `outbox`, `dead letters`, `event store`.
    pub place: String,
}

impl fmt::Display for StoredSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schema,
            version,
            count,
            place,
        } = self;
        // Whoever may write to the outbox chose it, and it may stand in a log.
        let schema = schema.escape_debug();
        if let Some(count) = count {
            write!(f, "{count} × ")?;
        }
        write!(f, "`{schema}` version {version} in {place}")
    }
}

/// A stored schema that this binary cannot decode, by the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// No event in this binary has the schema: another binary or another release declares it, or
    /// its crate is not linked.
    #[error("{0}: no event in this binary has this schema, link the crate that declares it")]
    UnknownEventType(StoredSchema),
    /// A later release wrote it.
    #[error("{stored}: this binary knows version {newest}, upgrade it")]
    NewerVersion {
        /// The stored form.
        stored: StoredSchema,
        /// The newest version this binary knows.
        newest: u32,
    },
    /// The declaration gave the version up.
    #[error("{stored}: versions before {oldest} are retired, migrate them or lower `oldest`")]
    Retired {
        /// The stored form.
        stored: StoredSchema,
        /// The oldest version that can still be read.
        oldest: u32,
    },
}

impl StoredError {
    /// The stored form.
    #[must_use]
    pub fn stored(&self) -> &StoredSchema {
        match self {
            Self::UnknownEventType(stored)
            | Self::NewerVersion { stored, .. }
            | Self::Retired { stored, .. } => stored,
        }
    }

    /// True if another binary or a later release may decode it, as after the rollback of a release:
    /// an unknown schema, a newer version. The relay publishes it as it is.
    #[must_use]
    pub fn is_of_another_release(&self) -> bool {
        matches!(self, Self::UnknownEventType(_) | Self::NewerVersion { .. })
    }
}

/// The stored events, compared with those that this binary can decode.
///
/// It tells events of another release from events that this release has retired, so that a service
/// still starts after a rollback to an earlier release:
///
/// | what is stored | [`into_result`](Self::into_result) | [`into_strict_result`](Self::into_strict_result) |
/// |---|---|---|
/// | [`StoredError::UnknownEventType`] | passes | fails |
/// | [`StoredError::NewerVersion`] | passes | fails |
/// | [`StoredError::Retired`] | fails | fails |
///
/// ```
/// # use bento_core::Registry;
/// # use bento_core::registry::StoredSchema;
/// let stored = StoredSchema {
///     schema: "order.placed".into(),
///     version: 1,
///     count: Some(3),
///     place: "outbox".into(),
/// };
/// let report = Registry::global().check_stored([stored]);
/// assert!(report.is_ok() && !report.is_complete(), "another release declares it");
/// assert_eq!(report.findings()[0].stored().count, Some(3));
/// report.into_result()?;
/// # Ok::<_, bento_core::registry::StoredErrors>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it may say that this binary gave up what is stored; `into_result` makes an error of \
              that"]
pub struct StoredReport(Vec<StoredError>);

impl StoredReport {
    pub(super) fn new(findings: Vec<StoredError>) -> Self {
        Self(findings)
    }

    /// Everything that this binary cannot decode, in the order in which the stored schemas were
    /// given.
    #[must_use]
    pub fn findings(&self) -> &[StoredError] {
        &self.0
    }

    /// Events that another binary or a later release may decode.
    pub fn of_another_release(&self) -> impl Iterator<Item = &StoredError> {
        self.0
            .iter()
            .filter(|finding| finding.is_of_another_release())
    }

    /// True if this binary can decode everything.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.is_empty()
    }

    /// True if [`into_result`](Self::into_result) accepts the stored events: those that this binary
    /// cannot decode are of another release.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.0.iter().all(StoredError::is_of_another_release)
    }

    /// Accepts events of another release.
    ///
    /// # Errors
    /// Every stored version that this binary has retired.
    pub fn into_result(self) -> Result<(), StoredErrors> {
        StoredErrors::from_errors(
            self.0
                .into_iter()
                .filter(|finding| !finding.is_of_another_release())
                .collect(),
        )
    }

    /// Accepts decodable events only: for a check before a release, or of a binary that has to
    /// decode all that it keeps.
    ///
    /// # Errors
    /// Everything that this binary cannot decode.
    pub fn into_strict_result(self) -> Result<(), StoredErrors> {
        StoredErrors::from_errors(self.0)
    }
}

/// One line for each finding, or the sentence that there is none.
impl fmt::Display for StoredReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("this binary can decode everything that is stored");
        }
        write!(
            f,
            "this binary cannot decode everything that is stored{}",
            listed(&self.0)
        )
    }
}

/// The stored events that cannot be decoded, as an error.
#[derive(Debug, thiserror::Error)]
#[error("this binary cannot decode everything that is stored{}", listed(.0))]
pub struct StoredErrors(Vec<StoredError>);

impl StoredErrors {
    fn from_errors(errors: Vec<StoredError>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self(errors))
        }
    }

    /// The errors, in the order the stored schemas were given; never empty.
    #[must_use]
    pub fn errors(&self) -> &[StoredError] {
        &self.0
    }
}

pub(super) fn check(registry: &Registry, stored: StoredSchema) -> Option<StoredError> {
    let reader = registry.reader(&stored.schema, stored.version);
    match reader.map(|reader| reader.descriptor) {
        None => Some(StoredError::UnknownEventType(stored)),
        Some(&EventDescriptor {
            version: newest, ..
        }) if stored.version > newest => Some(StoredError::NewerVersion { stored, newest }),
        Some(&EventDescriptor { oldest, .. }) if stored.version < oldest => {
            Some(StoredError::Retired { stored, oldest })
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_with_a_line_break_begins_no_line() {
        let stored = StoredSchema {
            schema: "a\n ERROR forged".into(),
            version: 1,
            count: Some(2),
            place: "outbox".into(),
        };
        assert_eq!(
            stored.to_string(),
            r"2 × `a\n ERROR forged` version 1 in outbox"
        );
        assert_eq!(
            StoredError::UnknownEventType(stored)
                .to_string()
                .lines()
                .count(),
            1
        );
    }
}
