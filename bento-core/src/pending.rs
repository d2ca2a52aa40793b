//! Raised events that no unit of work has collected yet.

mod forgotten;
mod raised;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::forgotten::ForgottenEvents;
#[doc(hidden)]
pub use self::forgotten::{is_strict, set_strict};
pub use self::raised::RaisedEvent;
pub(crate) use self::raised::{Content, Numbering, Ordinal, Stream};

/// The events that an aggregate has raised outside any scope, until a transaction collects them: a
/// field of every aggregate.
///
/// It allocates nothing while empty, serialises as nothing, is equal to every other, and a clone of
/// it is empty: an event belongs to one place only. Dropping it with events inside is logged as a
/// warning with the event type and the line that raised it, because those events are lost;
/// [`ForgottenEvents::Panic`] makes that a panic.
///
/// ```
/// use bento_core::PendingEvents;
/// # use bento_core::{aggregate, domain_event};
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Clone, Debug)]
/// # pub struct OrderPaid { pub order_id: u32 }
///
/// #[aggregate(events(OrderPaid))]
/// pub struct Order {
///     id: u32,
///     events: PendingEvents,
/// }
///
/// let mut order = Order { id: 7, events: PendingEvents::default() };
/// order.raise(OrderPaid { order_id: 7 });
/// assert_eq!(order.events.len(), 1);
///
/// order.discard();
/// assert!(order.events.is_empty());
/// ```
#[derive(Default)]
pub struct PendingEvents {
    list: Option<Arc<PendingList>>,
}

impl PendingEvents {
    /// The number of pending events.
    pub fn len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.lock().len())
    }

    /// True if no event is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, event: RaisedEvent) {
        self.list.get_or_insert_default().lock().push(event);
    }

    pub(crate) fn take(&mut self) -> Vec<RaisedEvent> {
        self.list
            .as_ref()
            .map(|list| std::mem::take(&mut *list.lock()))
            .unwrap_or_default()
    }

    pub(crate) fn snapshot(&self) -> Vec<RaisedEvent> {
        self.list
            .as_ref()
            .map(|list| list.lock().clone())
            .unwrap_or_default()
    }

    /// Takes over the events of another list.
    #[doc(hidden)]
    pub fn absorb(&mut self, other: &mut Self) {
        let events = other.take();
        if !events.is_empty() {
            self.shared().give_back(events);
        }
    }

    /// Notes that the next save of the aggregate is to keep a snapshot of it. For the crates of
    /// Bento.
    #[doc(hidden)]
    pub fn ask_for_snapshot(&mut self) {
        let list = self.list.get_or_insert_default();
        list.wants_snapshot.store(true, Ordering::Relaxed);
    }

    /// True if a snapshot was asked for since the last call. For the crates of Bento.
    #[doc(hidden)]
    pub fn take_snapshot_request(&self) -> bool {
        self.list
            .as_ref()
            .is_some_and(|list| list.wants_snapshot.swap(false, Ordering::Relaxed))
    }

    pub(crate) fn list(&self) -> Option<&Arc<PendingList>> {
        self.list.as_ref()
    }

    /// Goes on with the list that was here before, if another one has taken its place.
    pub(crate) fn keep(&mut self, before: Option<Arc<PendingList>>) {
        let Some(before) = before else { return };
        let is_same = |list: &Arc<PendingList>| Arc::ptr_eq(list, &before);
        if self.list.as_ref().is_some_and(is_same) {
            return;
        }
        let list = self.list.replace(before);
        self.absorb(&mut Self { list });
    }

    pub(crate) fn shared(&mut self) -> Arc<PendingList> {
        Arc::clone(self.list.get_or_insert_default())
    }
}

/// The field in which an aggregate keeps its pending events. Not public API: named by the macro,
/// which reports another type at the field.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no pending events",
    label = "the pending events of the aggregate would be kept here",
    note = "the field is of the type `PendingEvents`, or of an alias of it and marked \
            `#[aggregate(events)]`"
)]
pub trait PendingField {
    fn pending_events(&self) -> &PendingEvents;
    fn pending_events_mut(&mut self) -> &mut PendingEvents;
}

impl PendingField for PendingEvents {
    fn pending_events(&self) -> &PendingEvents {
        self
    }

    fn pending_events_mut(&mut self) -> &mut PendingEvents {
        self
    }
}

/// The list behind [`PendingEvents`], shared with the unit of work that collects it; in the order
/// of raising.
#[derive(Default)]
pub(crate) struct PendingList {
    events: Mutex<Vec<RaisedEvent>>,
    /// The ordinal of the last event that a unit of work has seen.
    seen: AtomicU64,
    /// The version in the database, where a rollback has made it differ from that of the aggregate
    /// in memory.
    stored_version: Mutex<Option<i64>>,
    /// True if the next save is to keep a snapshot.
    wants_snapshot: AtomicBool,
}

impl PendingList {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<RaisedEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a unit of work has seen these events: dropping them later loses nothing.
    pub(crate) fn mark_seen(&self) {
        if let Some(last) = self.lock().last() {
            self.seen.fetch_max(last.ordinal.0, Ordering::Relaxed);
        }
    }

    /// The version that the next save goes by, if it is not that of the aggregate in memory.
    pub(crate) fn stored_version(&self) -> Option<i64> {
        *self
            .stored_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the version in the database after a rollback, or that the aggregate in memory has it.
    pub(crate) fn set_stored_version(&self, version: Option<i64>) {
        *self
            .stored_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Puts events back where they were.
    pub(crate) fn give_back(&self, events: Vec<RaisedEvent>) {
        let mut list = self.lock();
        list.extend(events);
        list.iter_mut().for_each(RaisedEvent::forget_sequence);
        list.sort_by_key(|event| event.ordinal);
    }
}

impl fmt::Debug for PendingList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter()).finish()
    }
}

impl Drop for PendingList {
    fn drop(&mut self) {
        let seen = *self.seen.get_mut();
        let events = self
            .events
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let unseen: Vec<_> = events
            .iter()
            .filter(|event| event.ordinal.0 > seen)
            .collect();
        if let Some(first) = unseen.first() {
            unseen.iter().for_each(|event| event.count_forgotten());
            forgotten::report(first, unseen.len());
        }
    }
}

impl fmt::Debug for PendingEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingEvents")
            .field("len", &self.len())
            .finish()
    }
}

impl Clone for PendingEvents {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for PendingEvents {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for PendingEvents {}

impl PartialOrd for PendingEvents {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PendingEvents {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl Hash for PendingEvents {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Serialize for PendingEvents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for PendingEvents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self::default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Metadata;

    #[test]
    fn nothing_is_allocated_while_nothing_was_raised() {
        let mut pending = PendingEvents::default();
        assert!(pending.take().is_empty() && pending.snapshot().is_empty() && pending.is_empty());
        assert!(pending.list().is_none());
        assert!(pending.clone().list().is_none());
        let read: PendingEvents = serde_json::from_str("null").expect("it is stored as nothing");
        assert!(read.list().is_none());
    }

    #[test]
    fn a_clone_of_what_has_events_is_empty_and_allocates_nothing() {
        let mut pending = PendingEvents::default();
        let content = Content::Raw {
            topic: "topic".to_owned(),
            payload: Bytes::new(),
        };
        pending.push(RaisedEvent::new(content, Stream::None, Metadata::current()));
        assert!(pending.clone().list().is_none());
        assert_eq!(pending.take().len(), 1);
    }
}
