//! The recorded handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::contents::Contents;
use super::leases::Record;
use crate::handler_control::{HandlerPause, HandlerState};
use crate::publish::{HandlerRoute, StartFrom};
use crate::store::{Leftovers, NewDeadLetter, RecordedHandler, ServedHandler, StoreError};

impl Contents {
    pub(super) fn record_handlers(
        &mut self,
        routes: &[HandlerRoute],
        now: Duration,
        wall: DateTime<Utc>,
    ) {
        let last = self.last_visible();
        let mut changed = self.handlers.clone();
        for route in routes {
            let takes = ServedHandler::takes_with(route, self.leases.served(now));
            let starts_after = match route.from {
                StartFrom::Now => last,
                StartFrom::Beginning | StartFrom::At(_) => 0,
            };
            let name = Arc::clone(&route.name);
            let record = changed.entry(name).or_insert_with_key(|name| Record {
                handler: RecordedHandler {
                    name: Arc::clone(name),
                    takes: Vec::new(),
                    ordered: true,
                    starts_after,
                    starts_at: route.from.time(),
                    is_paused: false,
                },
                recorded_at: wall,
                pause: None,
            });
            (record.handler.takes, record.handler.ordered) = (takes, route.ordered);
        }
        self.revision += i64::from(changed != self.handlers);
        self.handlers = changed;
    }

    /// Adds the event types that a relay serves and that are missing in the record.
    pub(super) fn widen_handlers(&mut self, served: &[ServedHandler]) {
        for Record { handler, .. } in self.handlers.values_mut() {
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

    /// Pauses a handler, or resumes it without a pause. Returns false if nothing changes.
    pub(super) fn pause_handler(
        &mut self,
        name: &str,
        pause: Option<HandlerPause>,
    ) -> Result<bool, StoreError> {
        let unknown = || StoreError::UnknownHandler { name: name.into() };
        let record = self.handlers.get_mut(name).ok_or_else(unknown)?;
        let changes = record.pause.is_some() != pause.is_some();
        if changes {
            (record.handler.is_paused, record.pause) = (pause.is_some(), pause);
            self.revision += 1;
        }
        Ok(changes)
    }

    pub(super) fn handler_states(&self, now: Duration) -> Vec<HandlerState> {
        let mut left = self.leftovers();
        let state = |record: &Record| {
            let RecordedHandler {
                name,
                takes,
                ordered,
                ..
            } = record.handler.clone();
            let waiting = left.remove(&name).unwrap_or_default();
            let mut state = HandlerState::new(name, takes, ordered, record.recorded_at);
            state.pause.clone_from(&record.pause);
            state.waiting = waiting;
            state.served_by = self.leases.serving(&record.handler, now);
            state
        };
        self.handlers.values().map(state).collect()
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
