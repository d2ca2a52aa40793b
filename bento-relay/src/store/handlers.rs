//! The record of the handlers of every process.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::publish::HandlerRoute;
use crate::route::{Glob, covers};

/// A handler as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedHandler {
    /// The name.
    pub name: Arc<str>,
    /// The event types that it takes, or patterns of them, in order.
    pub takes: Vec<Arc<str>>,
    /// False if the events of an aggregate may be handled in any order.
    pub ordered: bool,
    /// The position behind which its events begin.
    pub starts_after: i64,
    /// The time before which an event that occurred is not one of its own; `None` for no such time.
    pub starts_at: Option<DateTime<Utc>>,
    /// True if an operator has paused it: its events are held untried.
    pub is_paused: bool,
}

impl RecordedHandler {
    /// True if an event at this position, which occurred at this time, is one of those with which
    /// the handler starts or of the later ones.
    pub fn has_started(&self, position: i64, occurred_at: DateTime<Utc>) -> bool {
        self.starts_after < position && self.starts_at.is_none_or(|at| at <= occurred_at)
    }

    /// True if it takes events of this type.
    pub fn takes(&self, event_type: &str) -> bool {
        let mut patterns = self.takes.iter();
        patterns.any(|pattern| Glob::new(pattern).matches(event_type))
    }

    /// True if one of these serves the handler, with every event type that it takes.
    pub fn is_served_by(&self, served: &[ServedHandler]) -> bool {
        let takes = |served: &ServedHandler, narrow: &Arc<str>| {
            served.takes.iter().any(|wide| covers(wide, narrow))
        };
        served.iter().any(|served| {
            served.name == self.name && self.takes.iter().all(|narrow| takes(served, narrow))
        })
    }
}

/// A handler that a process serves, with the event types that it takes in the release of that
/// process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedHandler {
    /// The name.
    pub name: Arc<str>,
    /// The event types, or patterns of them.
    pub takes: Vec<Arc<str>>,
}

impl From<&HandlerRoute> for ServedHandler {
    fn from(route: &HandlerRoute) -> Self {
        Self {
            name: Arc::clone(&route.name),
            takes: route.takes.clone(),
        }
    }
}

impl ServedHandler {
    /// The event types to record for a handler of a process that starts: its own, and those that
    /// `living` relays of other releases serve for it, each once and in order.
    pub fn takes_with<'a>(
        route: &HandlerRoute,
        living: impl IntoIterator<Item = &'a Self>,
    ) -> Vec<Arc<str>> {
        let others = living
            .into_iter()
            .filter(|served| served.name == route.name)
            .flat_map(|served| &served.takes);
        let all: BTreeSet<_> = route.takes.iter().chain(others).cloned().collect();
        all.into_iter().collect()
    }
}

/// The rows that belong to a route or a handler, beside those that are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// The number of events that are held.
    pub held: u64,
    /// The number of dead letters.
    pub dead: u64,
}
