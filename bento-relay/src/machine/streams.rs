//! Streams: the identity of one, and the set of those that are held back or parked.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bento_core::envelope::Envelope;

use crate::store::{NewDeadLetter, StreamKey};

/// The identity of a stream, borrowed from one of its events, so that telling streams apart
/// allocates nothing.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    name: Arc<str>,
    envelope: Arc<Envelope>,
}

impl Stream {
    pub(super) fn of(name: &Arc<str>, envelope: &Arc<Envelope>) -> Self {
        Self {
            name: Arc::clone(name),
            envelope: Arc::clone(envelope),
        }
    }

    fn key(&self) -> (&str, &str, &str) {
        (
            &self.envelope.aggregate_id,
            &self.envelope.aggregate_type,
            &self.name,
        )
    }
}

impl Hash for Stream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Stream {}

/// The streams that are held back or parked. The set is asked without making a key, so that a
/// pending row costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Blocked(HashMap<Arc<str>, HashMap<String, HashSet<String>>>);

impl Blocked {
    /// True if the stream of an event on a route is one of them. An aggregate that waits on the
    /// route `unreadable` waits on every route.
    pub(super) fn contains(&self, route: &str, envelope: &Envelope) -> bool {
        // Usually no stream waits.
        if self.0.is_empty() {
            return false;
        }
        self.lists(route, envelope) || self.lists(NewDeadLetter::UNREADABLE, envelope)
    }

    fn lists(&self, route: &str, envelope: &Envelope) -> bool {
        let types = self.0.get(route);
        let ids = types.and_then(|types| types.get(&*envelope.aggregate_type));
        ids.is_some_and(|ids| ids.contains(&envelope.aggregate_id))
    }

    /// Adds the stream of an event on a route.
    pub(super) fn insert(&mut self, route: &Arc<str>, envelope: &Envelope) {
        if envelope.is_ordered() && !self.contains(route, envelope) {
            let types = self.0.entry(Arc::clone(route)).or_default();
            let ids = types
                .entry(envelope.aggregate_type.clone().into_owned())
                .or_default();
            ids.insert(envelope.aggregate_id.clone());
        }
    }
}

impl FromIterator<StreamKey> for Blocked {
    fn from_iter<I: IntoIterator<Item = StreamKey>>(streams: I) -> Self {
        let mut set = Self::default();
        for stream in streams {
            let types = set.0.entry(stream.route).or_default();
            types
                .entry(stream.aggregate_type)
                .or_default()
                .insert(stream.aggregate_id);
        }
        set
    }
}
