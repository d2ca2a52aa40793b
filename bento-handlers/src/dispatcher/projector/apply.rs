//! The transaction that projects: events that the version has not seen, their checkpoints, and what
//! it writes, together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bento_core::{Envelope, EventId};
use bento_seaorm::{Checkpoint, Error, Gap, OutboxTransaction, ProjectionRow};

use super::{Projected, rolled_back};
use crate::call::EventContext;
use crate::dispatcher::{Dispatcher, scope};
use crate::error::{Class, HandleError};
use crate::telemetry;

/// The most missing events that are read at once.
const MISSING: usize = 1_000;

/// The stored events between the checkpoint of an aggregate and its next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gaps {
    /// They are read: one that a relay did not bring is projected first.
    Read,
    /// They are left: the events are all that is stored.
    Left,
}

/// An aggregate, by its type and key.
pub(super) type Aggregate = (String, String);

/// An event that is to be projected.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) context: EventContext,
    /// The place in the batch of the relay; `None` for an event out of the event store.
    pub(super) place: Option<usize>,
    /// True if the events before it were looked for in the event store.
    pub(super) is_checked: bool,
}

impl Event {
    pub(super) fn envelope(&self) -> &Arc<Envelope> {
        self.context.envelope()
    }

    fn aggregate(&self) -> (&str, &str) {
        aggregate_of(self.envelope())
    }
}

/// The end of a transaction that has not failed.
pub(super) enum Applied {
    /// The transaction has written something.
    Written(OutboxTransaction),
    /// Every event was seen before: the transaction has written nothing.
    Nothing(OutboxTransaction),
    /// Stored events come before these, and the transaction is rolled back.
    Missing(Missing),
}

/// Stored events that a relay did not bring.
pub(super) struct Missing {
    events: Vec<Event>,
    /// False if there may be more.
    are_all: bool,
}

impl Dispatcher {
    /// Projects events in a transaction that has locked the row of the version. After an error the
    /// transaction is rolled back.
    pub(super) async fn apply(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
        tx: OutboxTransaction,
        events: &[Event],
        gaps: Gaps,
    ) -> Result<Applied, HandleError> {
        let goes_on = row.failures > 0
            && row.failed_event.is_none_or(|failed| {
                let mut ids = events.iter().map(|event| event.context.event_id());
                ids.any(|id| id == failed)
            });
        let new = match self.unseen(projected, row, &tx, events, gaps).await {
            Ok(Unseen::Some(new)) => new,
            Ok(Unseen::None) if !goes_on => return Ok(Applied::Nothing(tx)),
            Ok(Unseen::None) => New::default(),
            Ok(Unseen::Missing(missing)) => {
                tx.rollback().await.map_err(|error| self.own(error))?;
                return Ok(Applied::Missing(missing));
            }
            Err(error) => return Err(rolled_back(tx, error).await),
        };
        let New {
            contexts,
            checkpoints,
            skipped,
        } = new;
        let count = contexts.len();
        let is_building = row.holds_effects();
        let tx = match contexts.is_empty() {
            true => tx,
            false => {
                self.run_projection(projected, tx, contexts, is_building)
                    .await?
            }
        };
        let wrote: Result<(), Error> = async {
            tx.write_checkpoints(&projected.key, checkpoints).await?;
            if is_building {
                tx.hold_effects(&projected.key).await?;
            }
            if goes_on {
                tx.forget_failures(&projected.key).await?;
            }
            Ok(())
        }
        .await;
        match wrote {
            Ok(()) => {
                telemetry::count_projected(&projected.key, "projected", count);
                telemetry::count_projected(&projected.key, "skipped", skipped);
                Ok(Applied::Written(tx))
            }
            Err(error) => Err(rolled_back(tx, self.own(error)).await),
        }
    }

    /// Calls `project`.
    async fn run_projection(
        &self,
        projected: &Projected,
        tx: OutboxTransaction,
        contexts: Vec<EventContext>,
        is_building: bool,
    ) -> Result<OutboxTransaction, HandleError> {
        if is_building {
            tx.note_events();
        }
        let envelopes = contexts.iter().map(|context| &**context.envelope());
        let metadata = scope::metadata_of_all(envelopes);
        let call = self.call(&projected.key.name, contexts, 0, Some(tx));
        let _cancelled_at_the_end = call.cancelled.clone().drop_guard();
        let running = (projected.descriptor.run)(&*projected.projection, &call);
        let result = metadata.scope(self.run(&call, running)).await;
        let tx = call.transaction.expect("it was just put there");
        match result {
            Ok(()) => Ok(tx),
            Err(error) if error.class == Class::Skip => {
                let refused = HandleError::permanent(
                    "a projection cannot skip an event: leave it out in `project`, or let an \
                     operator skip it",
                );
                Err(rolled_back(tx, refused.because(error.chain())).await)
            }
            Err(error) => Err(rolled_back(tx, error).await),
        }
    }

    /// The events that the version has not seen, with the checkpoints behind them.
    async fn unseen(
        &self,
        projected: &Projected,
        row: &ProjectionRow,
        tx: &OutboxTransaction,
        events: &[Event],
        gaps: Gaps,
    ) -> Result<Unseen, HandleError> {
        let key = &projected.key;
        let own = |error| self.own(error);
        let left_out = match row.skips {
            true => {
                let ids: Vec<EventId> = events.iter().map(|one| one.context.event_id()).collect();
                tx.skipped_among(key, &ids).await.map_err(own)?
            }
            false => HashSet::new(),
        };
        let aggregates: HashSet<_> = events.iter().map(Event::aggregate).collect();
        let checkpoints = tx.checkpoints(key, aggregates).await.map_err(own)?;
        let mut seen: HashMap<(&str, &str), i64> = HashMap::new();
        let (mut new, mut between) = (Vec::new(), Vec::new());
        let (mut skipped, mut repeated) = (0, 0);
        for event in events {
            let is_left_out = left_out.contains(&event.context.event_id());
            if is_left_out && event.context.sequence().is_none() {
                skipped += 1;
                continue;
            }
            let sequence = sequence_of(event)?;
            let (aggregate_type, id) = event.aggregate();
            let checkpoint = || {
                let of_type = checkpoints.get(aggregate_type)?;
                of_type.get(id).copied()
            };
            let known = seen.get(&(aggregate_type, id)).copied();
            let last = known.or_else(checkpoint).unwrap_or(0);
            if sequence <= last {
                repeated += 1;
                continue;
            }
            if gaps == Gaps::Read && !event.is_checked && sequence > last + 1 {
                between.push(Gap {
                    aggregate_type: aggregate_type.to_owned(),
                    aggregate_id: id.to_owned(),
                    after: last,
                    before: sequence,
                });
            }
            seen.insert((aggregate_type, id), sequence);
            match is_left_out {
                true => skipped += 1,
                false => new.push(event.context.clone()),
            }
        }
        telemetry::count_projected(key, "repeated", repeated);
        if seen.is_empty() {
            telemetry::count_projected(key, "skipped", skipped);
            return Ok(Unseen::None);
        }
        if !between.is_empty() {
            let missing = missing_in(projected, tx, between).await.map_err(own)?;
            if !missing.events.is_empty() {
                return Ok(Unseen::Missing(missing));
            }
        }
        let checkpoints = seen
            .into_iter()
            .map(|((aggregate_type, id), sequence)| Checkpoint {
                aggregate_type: aggregate_type.to_owned(),
                aggregate_id: id.to_owned(),
                sequence,
            });
        Ok(Unseen::Some(New {
            contexts: new,
            checkpoints: checkpoints.collect(),
            skipped,
        }))
    }
}

enum Unseen {
    Some(New),
    None,
    Missing(Missing),
}

#[derive(Default)]
struct New {
    contexts: Vec<EventContext>,
    checkpoints: Vec<Checkpoint>,
    /// The number of events that an operator has said to leave out.
    skipped: usize,
}

/// Reads the stored events in gaps that a projection takes: all of them, or some where there are
/// many.
async fn missing_in(
    projected: &Projected,
    tx: &OutboxTransaction,
    mut gaps: Vec<Gap>,
) -> Result<Missing, Error> {
    let types = projected.types();
    loop {
        let stored = tx.events_in(&gaps, types.as_deref(), MISSING).await?;
        let are_all = stored.len() < MISSING;
        if !are_all {
            leave(&mut gaps, &stored);
        }
        let taken = stored.into_iter();
        let taken = taken.filter(|envelope| projected.takes(&envelope.event_type));
        let events: Vec<Event> = taken.map(from_store).collect();
        // Behind many that it does not take there may be one that it does.
        if are_all || !events.is_empty() {
            return Ok(Missing { events, are_all });
        }
    }
}

/// Leaves what is still to be read in gaps behind these events of them.
fn leave(gaps: &mut Vec<Gap>, read: &[Envelope]) {
    let mut ends: HashMap<(&str, &str), i64> = HashMap::new();
    for envelope in read {
        ends.insert(aggregate_of(envelope), envelope.sequence.unwrap_or(0));
    }
    gaps.retain_mut(|gap| {
        let end = ends.get(&(&*gap.aggregate_type, &*gap.aggregate_id));
        gap.after = end.map_or(gap.after, |&end| gap.after.max(end));
        gap.after + 1 < gap.before
    });
}

fn aggregate_of(envelope: &Envelope) -> (&str, &str) {
    (&envelope.aggregate_type, &envelope.aggregate_id)
}

/// An event out of the event store.
pub(super) fn from_store(envelope: Envelope) -> Event {
    Event {
        context: EventContext::new(Arc::new(envelope), 0),
        place: None,
        is_checked: true,
    }
}

/// The number of an event in its aggregate.
fn sequence_of(event: &Event) -> Result<i64, HandleError> {
    event.context.sequence().ok_or_else(|| {
        let envelope = event.envelope();
        HandleError::permanent(format!(
            "event {} of type `{}` has no sequence, by which a projection knows what it has seen: \
             give its aggregate a version (`#[aggregate(version)]`), or take it by a handler",
            envelope.event_id, envelope.event_type
        ))
    })
}

/// Puts stored events before the events of their aggregates that come after them.
pub(super) fn merged(events: Vec<Event>, missing: Missing) -> Vec<Event> {
    let Missing {
        events: missing,
        are_all,
    } = missing;
    let mut all = Vec::with_capacity(events.len() + missing.len());
    let mut by_aggregate: HashMap<Aggregate, Vec<Event>> = HashMap::new();
    // Those of an aggregate are in their order; the last comes first from now on.
    for event in missing.into_iter().rev() {
        let (aggregate_type, id) = event.aggregate();
        let aggregate = (aggregate_type.to_owned(), id.to_owned());
        by_aggregate.entry(aggregate).or_default().push(event);
    }
    for mut event in events {
        let (aggregate_type, id) = event.aggregate();
        let aggregate = (aggregate_type.to_owned(), id.to_owned());
        if let Some(before) = by_aggregate.get_mut(&aggregate) {
            let sequence = event.context.sequence();
            while before
                .last()
                .is_some_and(|one| one.context.sequence() < sequence)
            {
                all.extend(before.pop());
            }
        }
        event.is_checked = are_all;
        all.push(event);
    }
    all
}
