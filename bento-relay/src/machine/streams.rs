//! The streams that are held back or parked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bento_core::envelope::Envelope;

use crate::store::{NewDeadLetter, StreamKey};

/// A set of streams that can be asked without making a key: a pending row costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Streams(HashMap<Arc<str>, HashMap<String, HashSet<String>>>);

impl Streams {
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

impl FromIterator<StreamKey> for Streams {
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
