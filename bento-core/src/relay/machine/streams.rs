//! The streams that are held back or parked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::publish::Delivery;
use crate::relay::store::StreamKey;

/// A set of streams that can be asked without making a key: a fresh row costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Streams(HashMap<Arc<str>, HashMap<String, HashSet<String>>>);

impl Streams {
    /// Whether no stream waits, as is usual.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the stream of `delivery` is one of them.
    pub(super) fn contains(&self, delivery: &Delivery) -> bool {
        let types = self.0.get(&delivery.destination.name);
        let ids = types.and_then(|types| types.get(&*delivery.envelope.aggregate_type));
        ids.is_some_and(|ids| ids.contains(&delivery.envelope.aggregate_id))
    }
}

impl FromIterator<StreamKey> for Streams {
    fn from_iter<I: IntoIterator<Item = StreamKey>>(streams: I) -> Self {
        let mut set = Self::default();
        for stream in streams {
            let types = set.0.entry(stream.destination).or_default();
            types.entry(stream.aggregate_type).or_default().insert(stream.aggregate_id);
        }
        set
    }
}
