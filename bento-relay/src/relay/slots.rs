//! The calls that destinations which answer one by one may run at the same time, in all shards.
//!
//! Decision: docs/decisions/0034-each-event-has-a-call-of-its-own.md

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::publish::Answering;

/// The slots of a relay, by destination; shared by its workers.
#[derive(Debug, Default)]
pub(super) struct Slots {
    destinations: Mutex<BTreeMap<Arc<str>, Destination>>,
    freed: Arc<Freed>,
}

/// The slots of one destination.
#[derive(Debug)]
struct Destination {
    free: Arc<Semaphore>,
    /// True after a batch could not begin all of its calls, until a slot is free again.
    is_behind: bool,
}

/// The signals that a slot is free again.
#[derive(Debug, Default)]
struct Freed {
    /// Told to workers, which wait for any slot.
    any: Notify,
    /// Told to the supervisor: rows were left in the store because their destination had no slot.
    left: Notify,
    is_left: AtomicBool,
}

/// The place of one call, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// Given back before the signal.
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Freed>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permit = None;
        self.freed.any.notify_waiters();
        if self.freed.is_left.swap(false, Ordering::AcqRel) {
            self.freed.left.notify_one();
        }
    }
}

impl Slots {
    /// Notes a destination with the way in which it answers.
    pub(super) fn note(&self, destination: &Arc<str>, answering: Answering) {
        let Answering::OneByOne { at_once, .. } = answering else {
            return;
        };
        let mut destinations = self.destinations();
        if !destinations.contains_key(destination) {
            let free = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
            let slots = Destination {
                free,
                is_behind: false,
            };
            destinations.insert(Arc::clone(destination), slots);
        }
    }

    /// Takes a slot of a destination, if one is free.
    pub(super) fn take(&self, destination: &Arc<str>) -> Option<Slot> {
        let mut destinations = self.destinations();
        let slots = destinations.get_mut(destination)?;
        let permit = Arc::clone(&slots.free).try_acquire_owned().ok()?;
        slots.is_behind = false;
        Some(Slot {
            permit: Some(permit),
            freed: Arc::clone(&self.freed),
        })
    }

    /// Notes that a batch ends with events of the destination that had no slot.
    pub(super) fn fall_behind(&self, destination: &Arc<str>) {
        if let Some(slots) = self.destinations().get_mut(destination) {
            slots.is_behind = true;
        }
    }

    /// True if the destination has no free slot, and had none for an earlier batch.
    pub(super) fn is_behind(&self, destination: &Arc<str>) -> bool {
        let destinations = self.destinations();
        destinations
            .get(destination)
            .is_some_and(|slots| slots.is_behind && slots.free.available_permits() == 0)
    }

    /// The destinations without a free slot, whose rows are left in the store. When one has a slot
    /// again, [`freed_for_rows`](Self::freed_for_rows) returns.
    pub(super) fn full(&self) -> Vec<Arc<str>> {
        let destinations = self.destinations();
        let is_full = |slots: &Destination| slots.free.available_permits() == 0;
        if !destinations.values().any(is_full) {
            return Vec::new();
        }
        // A slot that is given back after this line is told of.
        self.freed.is_left.store(true, Ordering::Release);
        let full = destinations.iter().filter(|(_, slots)| is_full(slots));
        full.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Waits until a slot of any destination is given back, from this call on.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.any.notified()
    }

    /// Waits until a slot is given back for which rows were left in the store.
    pub(super) async fn freed_for_rows(&self) {
        self.freed.left.notified().await;
    }

    fn destinations(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Destination>> {
        self.destinations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
