//! A raised event, before it is serialised.

use std::borrow::Cow;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};

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
    /// The time at which the event was raised, by the clock of this process.
    pub(crate) raised: DateTime<Utc>,
    pub(crate) metadata: Arc<Metadata>,
    /// The trace of the caller's span, unless the metadata name one.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) raised_at: &'static Location<'static>,
    pub(crate) ordinal: Ordinal,
    pub(crate) numbering: Numbering,
    /// True if an earlier flush had the event: where its outcome is unclear, the event may be in
    /// the outbox already.
    pub(crate) offered: bool,
}

/// The place of an event among all that this process has raised. A unit of work is ordered by it,
/// whichever way its events came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ordinal(pub(super) u64);

static LAST_ORDINAL: AtomicU64 = AtomicU64::new(0);

impl Ordinal {
    /// The ordinal before every event.
    pub(crate) const FIRST: Self = Self(0);
    /// The ordinal after every event.
    pub(crate) const LAST: Self = Self(u64::MAX);

    fn next() -> Self {
        Self(LAST_ORDINAL.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The ordinal of the last event raised so far.
    pub(crate) fn latest() -> Self {
        Self(LAST_ORDINAL.load(Ordering::Relaxed))
    }
}

/// The number of an event among those of its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// No number: the aggregate has no version.
    Unversioned,
    /// No number yet: the aggregate has a version, and was not saved since.
    Awaited,
    /// The number that a save gave, and the frame in which the aggregate was saved.
    Given { sequence: i64, within: u64 },
}

/// The content of an event: a typed event, or bytes that were enqueued without a Rust type.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Typed(Arc<dyn AnyEvent>),
    Raw { topic: String, payload: Bytes },
}

/// The events that an event is ordered with.
#[derive(Clone, Debug)]
pub(crate) enum Stream {
    /// The events of one aggregate; without an id while the database has yet to generate it.
    Aggregate {
        aggregate_type: &'static str,
        aggregate_id: Option<String>,
    },
    /// The bytes enqueued under one key.
    Key(String),
    /// No other event.
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

    /// The time at which the event happened: that of its metadata, else that of its raising, by the
    /// clock of the database.
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

    /// Removes the number that a save gave, after the save was undone.
    pub(crate) fn forget_sequence(&mut self) {
        if let Numbering::Given { .. } = self.numbering {
            self.numbering = Numbering::Awaited;
        }
    }

    pub(super) fn count_forgotten(&self) {
        let event_type = self.event().map_or("", |event| event.descriptor().schema);
        telemetry::count_by(telemetry::FORGOTTEN_EVENTS, "event_type", event_type, 1);
    }

    /// Logs that the event is in the outbox for good, as an event of the transaction's tenant
    /// unless it has its own.
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

    /// Logs that the id is known already, and the event was not written again.
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
