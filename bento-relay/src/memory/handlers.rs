//! The recorded handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::contents::Contents;
use crate::publish::{HandlerRoute, StartFrom};
use crate::store::{Leftovers, NewDeadLetter, RecordedHandler, ServedHandler};

impl Contents {
    pub(super) fn record_handlers(&mut self, routes: &[HandlerRoute], now: Duration) {
        let last = self.last_visible();
        let mut changed = self.handlers.clone();
        for route in routes {
            let takes = ServedHandler::takes_with(route, self.leases.served(now));
            let starts_after = match route.from {
                StartFrom::Now => last,
                StartFrom::Beginning => 0,
            };
            let known = changed.get(&route.name);
            let recorded = RecordedHandler {
                name: Arc::clone(&route.name),
                takes,
                ordered: route.ordered,
                starts_after: known.map_or(starts_after, |known| known.starts_after),
            };
            changed.insert(Arc::clone(&route.name), recorded);
        }
        self.revision += i64::from(changed != self.handlers);
        self.handlers = changed;
    }

    /// Adds the event types that a relay serves and that are missing in the record.
    pub(super) fn widen_handlers(&mut self, served: &[ServedHandler]) {
        for handler in self.handlers.values_mut() {
            let own = served.iter().filter(|own| own.name == handler.name);
            let missing: Vec<_> = own
                .flat_map(|own| &own.takes)
                .filter(|takes| !handler.takes.contains(takes))
                .cloned()
                .collect();
            if !missing.is_empty() {
                handler.takes.extend(missing);
                handler.takes.sort();
                handler.takes.dedup();
                self.revision += 1;
            }
        }
    }

    pub(super) fn retire_handler(&mut self, name: &str) -> Option<Leftovers> {
        self.handlers.remove(name)?;
        self.revision += 1;
        Some(self.leftovers().remove(name).unwrap_or_default())
    }

    /// The held rows and the dead letters, by route.
    pub(super) fn leftovers(&self) -> BTreeMap<Arc<str>, Leftovers> {
        let mut found: BTreeMap<Arc<str>, Leftovers> = BTreeMap::new();
        for shard in self.shards.values() {
            for (route, _) in shard.held.keys() {
                found.entry(Arc::clone(route)).or_default().held += 1;
            }
            for (route, _) in shard.dead.keys() {
                found.entry(Arc::clone(route)).or_default().dead += 1;
            }
        }
        found
    }

    /// The last position of a row whose routes are still to be found.
    fn last_visible(&self) -> i64 {
        let positions = self.shards.values().flat_map(|shard| {
            let queued = shard
                .held
                .keys()
                .filter(|(route, _)| **route == *NewDeadLetter::UNROUTABLE)
                .map(|(_, position)| position);
            shard.pending.keys().chain(queued)
        });
        positions.copied().max().unwrap_or_default()
    }
}
