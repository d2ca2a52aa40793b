//! The name of a version of a projection, and how far it has seen the events of an aggregate.

use std::fmt;
use std::sync::Arc;

use crate::tables::Tables;

/// A version of a projection.
///
/// ```
/// use bento_seaorm::ProjectionKey;
///
/// let balances = ProjectionKey::new("balances", 2);
/// assert_eq!(balances.route(), "balances@2");
/// assert_eq!(ProjectionKey::of_route("balances@2"), Some(balances));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectionKey {
    /// The name.
    pub name: Arc<str>,
    /// The version, from 1.
    pub version: u32,
}

impl ProjectionKey {
    /// A version of the projection with this name.
    pub fn new(name: impl Into<Arc<str>>, version: u32) -> Self {
        Self {
            name: name.into(),
            version,
        }
    }

    /// The route under which relays keep its progress: `balances@2`.
    pub fn route(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The version whose route this is; `None` for the route of a handler or a destination.
    pub fn of_route(route: &str) -> Option<Self> {
        let (name, version) = route.rsplit_once('@')?;
        Some(Self::new(name, version.parse().ok()?))
    }

    /// The version as it is stored.
    pub(crate) fn number(&self) -> i32 {
        self.version.cast_signed()
    }
}

impl fmt::Display for ProjectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "projection `{}` version {}", self.name, self.version)
    }
}

/// The last event of an aggregate that a version has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Checkpoint {
    /// The type of the aggregate.
    pub aggregate_type: String,
    /// The key of the aggregate.
    pub aggregate_id: String,
    /// The number of the event.
    pub sequence: i64,
}

/// The checkpoints of aggregates of one type, to be read.
pub(crate) struct Checkpoints<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) key: &'a ProjectionKey,
    pub(crate) aggregate_type: &'a str,
    /// The keys of the aggregates.
    pub(crate) ids: Vec<String>,
}

/// Events of an aggregate that a version has not seen: those between two that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Gap {
    /// The type of the aggregate.
    pub aggregate_type: String,
    /// The key of the aggregate.
    pub aggregate_id: String,
    /// The number of the last event before the gap.
    pub after: i64,
    /// The number of the first event behind it.
    pub before: i64,
}
