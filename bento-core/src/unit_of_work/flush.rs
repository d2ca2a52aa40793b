//! Serialising raised events into outbox entries.
//!
//! Decision: docs/decisions/0011-events-keep-the-order-of-raising.md

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::content::{content, integration_event};
use super::error::FlushError;
use super::lanes::TenantOfEach;
use super::{FrameId, State, UnitOfWork};
use crate::envelope::Envelope;
use crate::event::EventDescriptor;
use crate::id::EventId;
use crate::integration;
use crate::limits;
use crate::metadata::{Metadata, check_header};
use crate::outbox::{OutboxEntry, Sharding};
use crate::pending::{Content, Numbering, Ordinal, RaisedEvent, Stream};
use crate::telemetry;
use crate::trace::TraceContext;

/// Serialised events, to be written in one go and then confirmed with [`done`](Self::done).
///
/// Dropping it instead (a failed or cancelled statement) leaves the events unflushed: writing them
/// again is safe, because the outbox knows them by their ids.
#[derive(Debug)]
#[must_use = "write the entries, then call `done`"]
pub struct Flush {
    unit_of_work: UnitOfWork,
    within: FrameId,
    /// The ordinals of all events in `entries` and of those that only repeat one of them; sorted.
    ordinals: Vec<Ordinal>,
    /// The ordinals of events that only repeat another event of the unit of work.
    repeats: HashSet<Ordinal>,
    /// The entries to write, in the order in which the events were raised.
    pub entries: Vec<OutboxEntry>,
}

impl Flush {
    /// Notes that the entries are written.
    pub fn done(self) {
        self.done_except(&HashSet::new());
    }

    /// Notes that the entries are written, except those whose ids were `known` to the outbox
    /// already. What repeats an event is logged and counted.
    pub fn done_except(self, known: &HashSet<EventId>) {
        let outcome = Outcome {
            ordinals: &self.ordinals,
            repeats: &self.repeats,
            known,
        };
        let mut state = self.unit_of_work.state();
        let repeated = outcome.repeated(&state);
        state
            .frames
            .iter_mut()
            .for_each(|frame| frame.mark_written(&outcome, self.within));
        let tenant_id = state.tenant_id.clone();
        drop(state);
        repeated
            .iter()
            .for_each(|event| event.log_repeated(tenant_id.as_deref()));
        telemetry::count(telemetry::DUPLICATE_EVENTS, repeated.len() as u64);
    }
}

/// The outcome of a flush for its events.
pub(super) struct Outcome<'a> {
    ordinals: &'a [Ordinal],
    repeats: &'a HashSet<Ordinal>,
    known: &'a HashSet<EventId>,
}

impl Outcome<'_> {
    /// True if the flush had this event.
    pub(super) fn covers(&self, event: &RaisedEvent) -> bool {
        self.ordinals.binary_search(&event.ordinal).is_ok()
    }

    /// True if the event is in the outbox because of this unit of work.
    ///
    /// A generated id can be known only from an earlier flush of the same event whose answer was
    /// lost, so such an event counts as written now.
    pub(super) fn is_new(&self, event: &RaisedEvent) -> bool {
        let is_known = event.metadata.event_id.is_some() && self.known.contains(&event.event_id);
        !is_known && !self.repeats.contains(&event.ordinal)
    }

    fn repeated(&self, state: &State) -> Vec<RaisedEvent> {
        let mut repeated = Vec::new();
        if self.repeats.is_empty() && self.known.is_empty() {
            return repeated;
        }
        for frame in &state.frames {
            frame.for_each_unflushed(&mut |event| {
                if self.covers(event) && !self.is_new(event) {
                    repeated.push(event.clone());
                }
            });
        }
        repeated
    }
}

/// The events of one save and the number before theirs.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    /// Sorted.
    pub(crate) of: &'a [Ordinal],
    pub(crate) before: i64,
    /// The key under which they are stored; `None` for an aggregate that is not event-sourced.
    pub(crate) key: Option<&'a str>,
}

impl Numbers<'_> {
    /// The number of an event; `None` for one that is not saved now.
    fn number(&self, event: &RaisedEvent) -> Option<i64> {
        let index = self.of.binary_search(&event.ordinal).ok()?;
        Some(self.before + 1 + index as i64)
    }
}

/// Serialises the unflushed events, or those of one save.
pub(super) fn serialise(
    unit_of_work: UnitOfWork,
    state: &State,
    within: FrameId,
    sharding: &Sharding,
    saved: Option<Numbers<'_>>,
) -> Result<Flush, FlushError> {
    let mut serialiser = Serialiser::new(state, sharding, saved);
    let mut result = serialiser.note_written();
    let is_wanted = |event: &RaisedEvent| saved.is_none_or(|saved| saved.number(event).is_some());
    for frame in &state.frames {
        frame.for_each_unflushed(&mut |event| {
            if result.is_ok() && is_wanted(event) {
                result = serialiser.add(event);
            }
        });
    }
    result?;
    let (ordinals, repeats, entries) = serialiser.finish();
    Ok(Flush {
        unit_of_work,
        within,
        ordinals,
        repeats,
        entries,
    })
}

struct Serialiser<'a> {
    state: &'a State,
    sharding: &'a Sharding,
    saved: Option<Numbers<'a>>,
    ordinals: Vec<Ordinal>,
    repeats: HashSet<Ordinal>,
    entries: Vec<(Ordinal, OutboxEntry)>,
    /// The positions in `entries` of the events whose id the caller chose.
    supplied: HashMap<EventId, usize>,
    tenants: TenantOfEach,
    headers: Option<(Arc<Metadata>, Option<TraceContext>, Bytes)>,
}

impl<'a> Serialiser<'a> {
    fn new(state: &'a State, sharding: &'a Sharding, saved: Option<Numbers<'a>>) -> Self {
        Self {
            state,
            sharding,
            saved,
            ordinals: Vec::new(),
            repeats: HashSet::new(),
            entries: Vec::new(),
            supplied: HashMap::new(),
            tenants: TenantOfEach::new(sharding.lanes),
            headers: None,
        }
    }

    fn add(&mut self, event: &RaisedEvent) -> Result<(), FlushError> {
        self.ordinals.push(event.ordinal);
        let envelope = self.envelope(event)?;
        check(event, &envelope)?;
        self.keep_key(event, &envelope)?;
        self.keep_tenant(event, &envelope)?;
        // A stored event has a number: the store refuses an id that it knows.
        let is_stored = self.saved.is_some();
        let is_chosen = event.metadata.event_id.is_some() && !is_stored;
        if is_chosen && self.is_repeated(&envelope, event)? {
            self.repeats.insert(event.ordinal);
            return Ok(());
        }
        let may_be_known = !is_stored && (is_chosen || event.offered);
        let shard = self.sharding.shard(&envelope);
        // A repeated event is found by its position, so it stands before what is made from it.
        let position = self.entries.len();
        let entry = OutboxEntry {
            shard,
            may_be_known,
            envelope,
        };
        self.entries.push((event.ordinal, entry));
        let Some(source) = event.event() else {
            return Ok(());
        };
        for mapping in integration::mappings_of(&**source) {
            let entry = OutboxEntry {
                shard,
                may_be_known,
                envelope: integration_event(mapping, event, &self.entries[position].1.envelope)?,
            };
            self.entries.push((event.ordinal, entry));
        }
        Ok(())
    }

    /// Notes the tenants of what earlier flushes of this unit of work wrote, where a tenant chooses
    /// the lane.
    fn note_written(&mut self) -> Result<(), FlushError> {
        if !self.tenants.matters() {
            return Ok(());
        }
        let bound = self.state.tenant_id.as_deref();
        let mut result = Ok(());
        for frame in &self.state.frames {
            frame.for_each_written(&mut |event| match stream(event) {
                Ok((aggregate_type, aggregate_id)) if !aggregate_id.is_empty() => {
                    let tenant = event.metadata.tenant_id.as_deref().or(bound);
                    tenant.into_iter().for_each(|tenant| {
                        self.tenants.note(aggregate_type, &aggregate_id, tenant)
                    });
                }
                Ok(_) => {}
                Err(error) => result = Err(error),
            });
        }
        result
    }

    /// Refuses an event that was raised under another key than that of its stream.
    fn keep_key(&self, event: &RaisedEvent, envelope: &Envelope) -> Result<(), FlushError> {
        match self.saved.and_then(|saved| saved.key) {
            Some(key) if key != envelope.aggregate_id => Err(FlushError::OtherAggregateId {
                event_type: event.event_type().into_owned(),
                aggregate_type: envelope.aggregate_type.to_string(),
                raised_as: envelope.aggregate_id.clone(),
                saved_as: key.to_owned(),
                raised_at: event.raised_at,
            }),
            _ => Ok(()),
        }
    }

    fn keep_tenant(&mut self, event: &RaisedEvent, envelope: &Envelope) -> Result<(), FlushError> {
        self.tenants
            .add(envelope)
            .map_err(|rule| FlushError::TenantOfAggregate {
                event_id: event.event_id,
                event_type: event.event_type().into_owned(),
                raised_at: event.raised_at,
                rule,
            })
    }

    /// True if this unit of work holds the same event already, flushed or not. Another event with
    /// the same id is an error.
    fn is_repeated(
        &mut self,
        envelope: &Envelope,
        event: &RaisedEvent,
    ) -> Result<bool, FlushError> {
        let known = match self.supplied.get(&envelope.event_id) {
            Some(&first) => Some(self.entries[first].1.envelope.clone()),
            None => self.written_before(envelope.event_id)?,
        };
        let Some(first) = known else {
            self.supplied.insert(envelope.event_id, self.entries.len());
            return Ok(false);
        };
        let same = first.event_type == envelope.event_type
            && first.schema_version == envelope.schema_version
            && first.aggregate_type == envelope.aggregate_type
            && first.aggregate_id == envelope.aggregate_id
            && first.payload == envelope.payload;
        if same {
            Ok(true)
        } else {
            Err(FlushError::ConflictingId {
                event_id: envelope.event_id,
                raised_at: event.raised_at,
            })
        }
    }

    /// The event that an earlier flush of this unit of work wrote under an id which the caller
    /// chose.
    fn written_before(&mut self, event_id: EventId) -> Result<Option<Envelope>, FlushError> {
        let mut written = None;
        for frame in &self.state.frames {
            frame.for_each_written(&mut |event| {
                if event.event_id == event_id {
                    written = Some(event.clone());
                }
            });
        }
        written.map(|event| self.envelope(&event)).transpose()
    }

    fn finish(mut self) -> (Vec<Ordinal>, HashSet<Ordinal>, Vec<OutboxEntry>) {
        self.ordinals.sort_unstable();
        self.entries.sort_by_key(|(ordinal, _)| *ordinal);
        (
            self.ordinals,
            self.repeats,
            self.entries.into_iter().map(|(_, entry)| entry).collect(),
        )
    }

    fn envelope(&mut self, event: &RaisedEvent) -> Result<Envelope, FlushError> {
        let (event_type, schema_version, payload) = content(event)?;
        let (aggregate_type, aggregate_id) = stream(event)?;
        let metadata = &event.metadata;
        let clock = self.state.clock;
        let occurred_at = event.occurred_at(clock);
        let mut envelope = Envelope::with_id(
            event.event_id,
            event_type,
            schema_version,
            occurred_at,
            payload,
        );
        envelope.aggregate_type = Cow::Borrowed(aggregate_type);
        envelope.aggregate_id = aggregate_id;
        envelope.sequence = self.sequence(event, aggregate_type)?;
        envelope.tenant_id = self.tenant(event)?;
        envelope.topic = own_or_declared(&metadata.topic, event, |descriptor| descriptor.topic);
        envelope.routing_key = own_or_declared(&metadata.routing_key, event, |descriptor| {
            descriptor.routing_key
        });
        (envelope.routing, envelope.routing_version) =
            metadata.routing(clock.apply(event.raised)).encode();
        envelope.headers = self.headers(event)?;
        if matches!(event.content, Content::Raw { .. }) {
            envelope.content_encoding = Some("binary".to_owned());
        }
        Ok(envelope)
    }

    fn sequence(
        &self,
        event: &RaisedEvent,
        aggregate_type: &'static str,
    ) -> Result<Option<i64>, FlushError> {
        match event.numbering {
            Numbering::Unversioned => Ok(None),
            Numbering::Given { sequence, .. } => Ok(Some(sequence)),
            Numbering::Awaited => {
                let number = self.saved.and_then(|saved| saved.number(event));
                number.map(Some).ok_or_else(|| FlushError::Unsaved {
                    event_type: event.event_type().into_owned(),
                    aggregate_type,
                    raised_at: event.raised_at,
                })
            }
        }
    }

    fn tenant(&self, event: &RaisedEvent) -> Result<Option<String>, FlushError> {
        match (
            event.metadata.tenant_id.as_deref(),
            self.state.tenant_id.as_deref(),
        ) {
            (Some(event_tenant), Some(bound)) if event_tenant != bound => {
                Err(FlushError::OtherTenant {
                    event_type: event.event_type().into_owned(),
                    event_tenant: event_tenant.to_owned(),
                    bound_tenant: bound.to_owned(),
                    raised_at: event.raised_at,
                })
            }
            (own, bound) => Ok(own.or(bound).map(str::to_owned)),
        }
    }

    /// The encoded headers; events that share their metadata and their trace share the bytes.
    fn headers(&mut self, event: &RaisedEvent) -> Result<Bytes, FlushError> {
        let (metadata, trace) = (&event.metadata, &event.trace);
        match &self.headers {
            Some((known, within, encoded)) if Arc::ptr_eq(known, metadata) && within == trace => {
                Ok(encoded.clone())
            }
            _ => {
                check_headers(event)?;
                let encoded = metadata.encoded_headers(trace.as_ref());
                self.headers = Some((Arc::clone(metadata), trace.clone(), encoded.clone()));
                Ok(encoded)
            }
        }
    }
}

/// Refuses a header that some broker would not carry, before its event becomes a dead letter.
fn check_headers(event: &RaisedEvent) -> Result<(), FlushError> {
    let checked = event
        .metadata
        .headers
        .iter()
        .try_for_each(|(name, value)| check_header(name, value));
    checked.map_err(|header| FlushError::Unsendable {
        event_id: event.event_id,
        event_type: event.event_type().into_owned(),
        raised_at: event.raised_at,
        header: Box::new(header),
    })
}

/// Refuses a value that some table would not hold, before the event is in the outbox and stuck
/// there.
fn check(event: &RaisedEvent, envelope: &Envelope) -> Result<(), FlushError> {
    let checked =
        limits::check_envelope(envelope).and_then(|()| limits::check_routing(&event.metadata));
    checked.map_err(|rule| FlushError::Unstorable {
        event_id: event.event_id,
        event_type: event.event_type().into_owned(),
        raised_at: event.raised_at,
        rule,
    })
}

fn stream(event: &RaisedEvent) -> Result<(&'static str, String), FlushError> {
    match &event.stream {
        Stream::Aggregate {
            aggregate_type,
            aggregate_id: Some(id),
        } => Ok((aggregate_type, id.clone())),
        Stream::Aggregate {
            aggregate_type,
            aggregate_id: None,
        } => Err(FlushError::UnsetAggregateId {
            event_type: event.event_type().into_owned(),
            aggregate_type,
            raised_at: event.raised_at,
        }),
        Stream::Key(key) => Ok(("", key.clone())),
        Stream::None => Ok(("", String::new())),
    }
}

/// The value of the metadata, else that of the event's attribute.
fn own_or_declared(
    own: &Option<String>,
    event: &RaisedEvent,
    declared: impl Fn(&EventDescriptor) -> Option<&'static str>,
) -> Option<String> {
    let declared = || {
        event
            .event()
            .and_then(|event| declared(event.descriptor()))
            .map(str::to_owned)
    };
    own.clone().or_else(declared)
}
