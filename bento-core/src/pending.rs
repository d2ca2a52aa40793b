//! Raised events that no unit of work has collected yet.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::AnyEvent;
use crate::id::EventId;
use crate::metadata::Metadata;
use crate::outbox::{ClockOffset, writer_now};
use crate::telemetry;
use crate::trace::TraceContext;

/// One raised event: immutable, typed until it is flushed.
#[derive(Clone, Debug)]
pub struct RaisedEvent {
    pub(crate) event_id: EventId,
    pub(crate) content: Content,
    pub(crate) stream: Stream,
    /// The time of its raising, by the clock of this process.
    pub(crate) raised: DateTime<Utc>,
    pub(crate) metadata: Arc<Metadata>,
    /// The trace of the caller's span, unless the metadata name one.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) raised_at: &'static Location<'static>,
    pub(crate) ordinal: Ordinal,
    pub(crate) numbering: Numbering,
    /// Whether a flush had it before: if that had no clear outcome, the event may be in the outbox
    /// already.
    pub(crate) offered: bool,
}

/// The place of an event among all that this process has raised: it orders a unit of work however
/// its events got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ordinal(u64);

static LAST_ORDINAL: AtomicU64 = AtomicU64::new(0);

impl Ordinal {
    /// Before every event.
    pub(crate) const FIRST: Self = Self(0);
    /// After every event.
    pub(crate) const LAST: Self = Self(u64::MAX);

    fn next() -> Self {
        Self(LAST_ORDINAL.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// That of the last event raised so far.
    pub(crate) fn latest() -> Self {
        Self(LAST_ORDINAL.load(Ordering::Relaxed))
    }
}

/// The number of an event among those of its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// None: its aggregate has no version.
    Unversioned,
    /// None yet: its aggregate has a version, and was not saved since.
    Awaited,
    /// Given when the aggregate was saved within a frame, by the frame's number.
    Given { sequence: i64, within: u64 },
}

/// What happened: a typed event, or bytes that were enqueued without a Rust type.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Typed(Arc<dyn AnyEvent>),
    Raw { topic: String, payload: Bytes },
}

/// What an event is ordered with.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    /// The events of one aggregate; without an id while the database has yet to generate it.
    Aggregate {
        aggregate_type: &'static str,
        aggregate_id: Option<String>,
    },
    /// The bytes enqueued under one key.
    Key(String),
    /// Nothing.
    None,
}

impl Stream {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Aggregate { aggregate_id, .. } => aggregate_id.as_deref(),
            Self::Key(key) => Some(key),
            Self::None => None,
        }
    }
}

impl RaisedEvent {
    #[track_caller]
    pub(crate) fn new(content: Content, stream: Stream, metadata: Arc<Metadata>) -> Self {
        Self {
            event_id: metadata.event_id.unwrap_or_else(EventId::new),
            content,
            stream,
            raised: writer_now().trunc_subsecs(6),
            trace: TraceContext::of_caller(&metadata.headers),
            metadata,
            raised_at: Location::caller(),
            ordinal: Ordinal::next(),
            numbering: Numbering::Unversioned,
            offered: false,
        }
    }

    /// The event's identity.
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// The event type of the event, or the topic of enqueued bytes.
    pub fn event_type(&self) -> Cow<'static, str> {
        match &self.content {
            Content::Typed(event) => Cow::Borrowed(event.descriptor().schema),
            Content::Raw { topic, .. } => Cow::Owned(topic.clone()),
        }
    }

    /// The typed event; `None` for enqueued bytes.
    pub fn event(&self) -> Option<&Arc<dyn AnyEvent>> {
        match &self.content {
            Content::Typed(event) => Some(event),
            Content::Raw { .. } => None,
        }
    }

    /// The facts beside the payload.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The line that raised it.
    pub fn raised_at(&self) -> &'static Location<'static> {
        self.raised_at
    }

    /// The time at which it happened: that of its metadata, else that of its raising, by the clock
    /// of the database.
    pub(crate) fn occurred_at(&self, clock: ClockOffset) -> DateTime<Utc> {
        self.metadata
            .occurred_at
            .map_or_else(|| clock.apply(self.raised), |said| said.trunc_subsecs(6))
    }

    /// The number of the event in its aggregate; `None` for an aggregate without a version, and
    /// until it is saved.
    pub fn sequence(&self) -> Option<i64> {
        match self.numbering {
            Numbering::Given { sequence, .. } => Some(sequence),
            Numbering::Unversioned | Numbering::Awaited => None,
        }
    }

    /// Takes the number back that a save gave, which is undone.
    pub(crate) fn forget_sequence(&mut self) {
        if let Numbering::Given { .. } = self.numbering {
            self.numbering = Numbering::Awaited;
        }
    }

    fn count_forgotten(&self) {
        let event_type = self.event().map_or("", |event| event.descriptor().schema);
        telemetry::count_by(telemetry::FORGOTTEN_EVENTS, "event_type", event_type, 1);
    }

    /// Logs that it is in the outbox for good, as an event of the transaction's tenant unless it
    /// has its own.
    pub(crate) fn log_flushed(&self, tenant_id: Option<&str>) {
        tracing::debug!(
            target: telemetry::TARGET_FLUSH,
            event_id = %self.event_id,
            event_type = %self.event_type(),
            aggregate_id = self.stream.id(),
            correlation_id = self.metadata.correlation_id,
            tenant_id = self.metadata.tenant_id.as_deref().or(tenant_id),
            "flushed",
        );
    }

    /// Logs that its id is known already, so that it was not written again.
    pub(crate) fn log_repeated(&self, tenant_id: Option<&str>) {
        tracing::warn!(
            target: telemetry::TARGET_FLUSH,
            event_id = %self.event_id,
            event_type = %self.event_type(),
            aggregate_id = self.stream.id(),
            correlation_id = self.metadata.correlation_id,
            tenant_id = self.metadata.tenant_id.as_deref().or(tenant_id),
            raised_at = %self.raised_at,
            "the event is known already and was not written again",
        );
    }
}

/// The events an aggregate has raised outside any scope and nobody has collected: a field of every
/// aggregate.
///
/// It allocates nothing while empty, serialises as nothing, is equal to every other, and a clone of
/// it is empty: an event belongs to one place only. Dropping it with events inside is logged as a
/// warning with the event type and the line that raised it, because those events are lost;
/// [`ForgottenEvents::Panic`] makes that a panic.
#[derive(Default)]
pub struct PendingEvents {
    list: Option<Arc<PendingList>>,
}

impl PendingEvents {
    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.list.as_ref().map_or(0, |list| list.lock().len())
    }

    /// Whether no event is pending.
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

    /// Takes over what another has.
    #[doc(hidden)]
    pub fn absorb(&mut self, other: &mut Self) {
        let events = other.take();
        if !events.is_empty() {
            self.shared().give_back(events);
        }
    }

    pub(crate) fn list(&self) -> Option<&Arc<PendingList>> {
        self.list.as_ref()
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
}

impl PendingList {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<RaisedEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a unit of work has seen these events: dropping them later is no oversight.
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
            forgotten(first, unseen.len());
        }
    }
}

fn forgotten(first: &RaisedEvent, count: usize) {
    tracing::warn!(
        target: telemetry::TARGET_RAISE,
        event_id = %first.event_id,
        event_type = %first.event_type(),
        raised_at = %first.raised_at,
        count,
        "pending events were dropped and are lost; save the aggregate with `tx.insert`, \
         `tx.update` or `tx.save`, raise in a transaction's scope, or call `tx.collect(&mut \
         aggregate)`",
    );
    if ForgottenEvents::current() == ForgottenEvents::Panic && !std::thread::panicking() {
        panic!(
            "{count} pending event(s) were dropped, the first is `{}` raised at {}",
            first.event_type(),
            first.raised_at
        );
    }
}

/// The policy for an aggregate that is dropped with events that no transaction has collected. Those
/// events are lost either way.
///
/// The policy holds for the whole process; set it once, at the start of the program. An aggregate
/// that is consumed before the commit, as `into_active_model` does, is dropped inside the
/// transaction: with [`Panic`](Self::Panic) the panic unwinds through the transaction, which is
/// rolled back, so that no row is committed without its event. An aggregate that outlives the
/// commit is too late for that; the panic then tells of the loss and does not undo it. While a
/// panic unwinds already, the loss is only logged.
///
/// ```
/// use bento_core::ForgottenEvents;
///
/// ForgottenEvents::Panic.install();
/// # ForgottenEvents::Log.install();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForgottenEvents {
    /// A warning with the event type and the line that raised the first event, and the counter
    /// `bento_forgotten_events_total`.
    #[default]
    Log,
    /// The same, and then a panic.
    Panic,
}

static PANIC_WHEN_FORGOTTEN: AtomicBool = AtomicBool::new(false);

impl ForgottenEvents {
    /// Makes this the policy of the process.
    pub fn install(self) {
        PANIC_WHEN_FORGOTTEN.store(self == Self::Panic, Ordering::Relaxed);
    }

    /// The policy of the process.
    pub fn current() -> Self {
        if PANIC_WHEN_FORGOTTEN.load(Ordering::Relaxed) {
            Self::Panic
        } else {
            Self::Log
        }
    }
}

static STRICT: AtomicBool = AtomicBool::new(false);

/// Makes oversights that are only logged in production panic, in the whole process. For tests.
#[doc(hidden)]
pub fn set_strict(strict: bool) {
    STRICT.store(strict, Ordering::Relaxed);
    if strict {
        ForgottenEvents::Panic
    } else {
        ForgottenEvents::Log
    }
    .install();
}

/// Whether oversights panic.
#[doc(hidden)]
pub fn is_strict() -> bool {
    STRICT.load(Ordering::Relaxed)
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
    use super::*;

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
