//! Handlers in a simulation: one that both relays have, and one that is recorded on the way and
//! that only the first relay has.

use super::*;
use crate::publish::HandlerRoute;

/// The handler that both relays have, from the beginning.
pub(super) const KEEN: &str = "keen";

/// The handler that only the first relay has.
pub(super) const NEW: &str = "new";

pub(super) const ALL: [&str; 2] = [KEEN, NEW];

/// The record of the handler that is new.
#[derive(Debug, Default)]
pub(super) struct Record {
    is_made: bool,
    /// The events that were committed before.
    before: HashSet<EventId>,
    /// The event whose transaction was open.
    open: Option<EventId>,
}

impl Record {
    /// True if the handler must not miss an event.
    pub(super) fn wants(&self, event: EventId) -> bool {
        self.is_made && !self.before.contains(&event) && self.open != Some(event)
    }
}

/// A handler takes events by a pattern: another release may have rules for them.
pub(super) fn route(name: &str) -> HandlerRoute {
    HandlerRoute::new(name, ["thing.*"])
}

impl Simulation {
    pub(super) fn record(&self, name: &str) {
        now(self.store.record_handlers(&[route(name)])).unwrap();
    }

    /// Records the new handler, if it is not recorded yet.
    pub(super) fn record_new(&mut self) {
        if self.record.is_made {
            return;
        }
        self.record(NEW);
        let open = self.staged.as_ref().map(|(event, _)| *event);
        let committed = self.committed.keys().copied();
        self.record = Record {
            is_made: true,
            before: committed.filter(|event| open != Some(*event)).collect(),
            open,
        };
    }

    /// True if nothing is left but events for the handler that only the first relay has.
    pub(super) fn waits_for_new_alone(&self) -> bool {
        let leftovers = now(self.store.leftovers()).unwrap();
        let pending = now(self.store.counts()).unwrap().pending;
        pending == 0 && leftovers.iter().all(|(name, _)| **name == *NEW)
    }

    /// The events that the new handler has got although they were there before it.
    pub(super) fn handled_early(&self) -> Vec<EventId> {
        let is_early = |(event, to): &&(EventId, Arc<str>)| {
            **to == *NEW && (!self.record.is_made || self.record.before.contains(event))
        };
        let early = self.delivered.iter().filter(is_early);
        early.map(|(event, _)| *event).collect()
    }
}
