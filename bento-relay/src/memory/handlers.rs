//! The recorded handlers.

use std::sync::Arc;
use std::time::Duration;

use super::contents::Contents;
use crate::publish::{HandlerRoute, StartFrom};
use crate::store::{NewDeadLetter, RecordedHandler, RetiredHandler, ServedHandler};

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

    pub(super) fn retire_handler(&mut self, name: &str) -> Option<RetiredHandler> {
        self.handlers.remove(name)?;
        self.revision += 1;
        let mut retired = RetiredHandler::default();
        for shard in self.shards.values() {
            let of_it = |(route, _): &&(Arc<str>, i64)| **route == *name;
            retired.held += shard.held.keys().filter(of_it).count() as u64;
            retired.dead += shard.dead.keys().filter(of_it).count() as u64;
        }
        Some(retired)
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
