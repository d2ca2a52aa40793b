//! The rows of one shard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use chrono::{DateTime, Utc};

use super::leases::Handlers;
use crate::dead_letter::{DeadLetter, Replayed};
use crate::held::HeldFilter;
use crate::store::{HeldRow, NewDeadLetter, OutboxRow, Outcome, Place, Settlement, StreamKey};
use crate::tenant::PausedTenant;

/// The name of the route, and the position.
type SideKey = (Arc<str>, i64);

/// The rows of one shard, each in exactly one of the three for each of its routes.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) pending: BTreeMap<i64, Arc<Envelope>>,
    pub(super) held: BTreeMap<SideKey, Waiting>,
    pub(super) dead: BTreeMap<SideKey, DeadLetter>,
    /// The published events, if they are kept.
    pub(super) published: BTreeMap<EventId, Kept>,
    pub(super) revision: i64,
}

/// A published event.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) since: Duration,
    pub(super) envelope: Arc<Envelope>,
}

/// The circumstances of a settlement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Duration,
    pub(super) wall: DateTime<Utc>,
    /// True if published rows are kept.
    pub(super) keep_published: bool,
}

/// A held row.
#[derive(Debug)]
pub(super) struct Waiting {
    attempts: u32,
    due: Option<Duration>,
    ordered: bool,
    first_failed_at: Option<DateTime<Utc>>,
    delivered: Vec<Arc<str>>,
    unroutable_since: Option<Duration>,
    pub(super) envelope: Arc<Envelope>,
}

impl Waiting {
    /// A row that was not tried, and waits for its turn.
    pub(super) fn untried(ordered: bool, envelope: Arc<Envelope>) -> Self {
        let ordered = ordered && envelope.is_ordered();
        let (delivered, unroutable_since) = (Vec::new(), None);
        Self {
            attempts: 0,
            due: None,
            ordered,
            first_failed_at: None,
            delivered,
            unroutable_since,
            envelope,
        }
    }
}

/// The held rows that are not wanted: those of paused tenants and handlers and of unavailable
/// routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) paused: &'a BTreeMap<String, PausedTenant>,
    pub(super) handlers: &'a Handlers,
    pub(super) without: &'a [Arc<str>],
}

/// Held rows of one stream, in position order.
type Stream<'a> = Vec<(&'a SideKey, &'a Waiting)>;

impl Shard {
    pub(super) fn pending_rows(&self, limit: usize) -> Vec<OutboxRow> {
        let row = |(&position, envelope): (&i64, &Arc<Envelope>)| OutboxRow {
            position,
            envelope: Arc::clone(envelope),
        };
        self.pending.iter().take(limit).map(row).collect()
    }

    /// Returns due heads, the one that was due first before the others, each with its followers, up
    /// to `limit` rows.
    pub(super) fn due_rows(&self, wanted: Wanted<'_>, limit: usize, now: Duration) -> Vec<HeldRow> {
        let is_due =
            |stream: &Vec<(&SideKey, &Waiting)>| stream[0].1.due.is_none_or(|due| due <= now);
        let mut due: Vec<_> = self.going(wanted).filter(is_due).collect();
        due.sort_by_key(|stream| stream[0].1.due);
        due.into_iter()
            .flatten()
            .take(limit)
            .map(|(key, waiting)| held_row(key, waiting, now))
            .collect()
    }

    /// The time until the next head that is not due yet.
    pub(super) fn next_due(&self, wanted: Wanted<'_>, now: Duration) -> Option<Duration> {
        let dues = self.going(wanted).filter_map(|stream| stream[0].1.due);
        dues.filter(|due| *due > now).min().map(|due| due - now)
    }

    pub(super) fn has_rows(&self) -> bool {
        !self.pending.is_empty() || !self.held.is_empty()
    }

    pub(super) fn has_work(&self, wanted: Wanted<'_>, now: Duration) -> bool {
        !self.pending.is_empty() || !self.due_rows(wanted, 1, now).is_empty()
    }

    /// The streams that are held back or parked.
    pub(super) fn streams(&self) -> Vec<StreamKey> {
        let ordered = self.held.iter().filter(|(_, waiting)| waiting.ordered);
        let held = ordered.map(|((route, _), waiting)| (route, &waiting.envelope));
        let parked = self
            .dead
            .values()
            .filter(|dead| dead.parks)
            .map(|dead| (&dead.route, &dead.envelope));
        let mut streams: Vec<_> = held
            .chain(parked)
            .filter_map(|(to, event)| stream_key(to, event))
            .collect();
        streams.sort();
        streams.dedup();
        streams
    }

    /// Settles; a row that is not where the settlement expects it is left alone.
    pub(super) fn settle(&mut self, shard: ShardId, settled: Vec<Settlement>, moment: Moment) {
        let Moment {
            now,
            keep_published,
            ..
        } = moment;
        let (mut done, mut moved, mut left) = (Vec::new(), BTreeSet::new(), Vec::new());
        for settlement in settled {
            if settlement.is_pending_published() {
                done.push(settlement.position);
                continue;
            }
            moved.extend(settlement.leaves_outbox());
            let key = (settlement.route, settlement.position);
            match settlement.place {
                Place::Pending => {
                    self.settle_pending(key, settlement.ordered, settlement.outcome, shard, moment);
                }
                Place::Held => {
                    left.extend(self.settle_held(
                        key,
                        settlement.ordered,
                        settlement.outcome,
                        shard,
                        moment,
                    ));
                }
            }
        }
        // A held row that moves to several routes leaves its own after the last of them.
        left.iter().for_each(|key| drop(self.held.remove(key)));
        for position in done {
            // A row that another route has moved is not published.
            let published = self
                .pending
                .get(&position)
                .filter(|_| !moved.contains(&position))
                .cloned();
            self.keep(published.filter(|_| keep_published), now);
            self.pending.remove(&position);
        }
        moved
            .iter()
            .for_each(|position| drop(self.pending.remove(position)));
    }

    /// Holds a pending row for a route, or makes it a dead letter; the row stays in the outbox.
    fn settle_pending(
        &mut self,
        key: SideKey,
        ordered: bool,
        outcome: Outcome,
        shard: ShardId,
        moment: Moment,
    ) {
        let Moment { now, wall, .. } = moment;
        let Some(envelope) = self.pending.get(&key.1).cloned() else {
            return;
        };
        if let Outcome::Dead(dead) = outcome {
            return self.add_dead(shard, key, envelope, dead, wall);
        }
        // A row that is dead for the route is not held as well: the call was repeated.
        if self.dead.contains_key(&key) {
            return;
        }
        let untried = Waiting::untried(ordered, envelope);
        let waiting = match outcome {
            Outcome::Retry(failure) => Waiting {
                attempts: failure.attempts,
                due: Some(now.saturating_add(failure.retry_after)),
                first_failed_at: (failure.attempts > 0).then_some(wall),
                delivered: failure.delivered,
                ..untried
            },
            Outcome::Behind => untried,
            Outcome::Delayed(wait) => Waiting {
                due: Some(now.saturating_add(wait)),
                ..untried
            },
            Outcome::Unroutable(unroutable) => Waiting {
                due: Some(now.saturating_add(unroutable.retry_after)),
                unroutable_since: Some(now),
                ..untried
            },
            Outcome::Published | Outcome::Dead(_) | Outcome::Moved { .. } => return,
        };
        self.held.entry(key).or_insert(waiting);
    }

    /// Settles a held row. Returns its key if it is to leave its route after the other settlements.
    fn settle_held(
        &mut self,
        key: SideKey,
        ordered: bool,
        outcome: Outcome,
        shard: ShardId,
        moment: Moment,
    ) -> Option<SideKey> {
        let Moment {
            now,
            wall,
            keep_published,
        } = moment;
        match outcome {
            Outcome::Published => {
                let published = self.held.remove(&key).map(|held| held.envelope);
                self.keep(published.filter(|_| keep_published), now);
            }
            Outcome::Retry(failure) => {
                let waiting = self.held.get_mut(&key)?;
                waiting.attempts = failure.attempts;
                waiting.due = Some(now.saturating_add(failure.retry_after));
                waiting.first_failed_at = waiting
                    .first_failed_at
                    .or((failure.attempts > 0).then_some(wall));
                waiting.delivered = failure.delivered;
                waiting.unroutable_since = None;
            }
            Outcome::Unroutable(unroutable) => {
                let waiting = self.held.get_mut(&key)?;
                waiting.due = Some(now.saturating_add(unroutable.retry_after));
                waiting.unroutable_since.get_or_insert(now);
            }
            Outcome::Dead(dead) => {
                let waiting = self.held.remove(&key)?;
                self.add_dead(shard, key.clone(), waiting.envelope, dead, wall);
                if let (Some(dead_letter), Some(first)) =
                    (self.dead.get_mut(&key), waiting.first_failed_at)
                {
                    dead_letter.first_failed_at = first;
                }
            }
            Outcome::Moved { to } if to == key.0 => {}
            Outcome::Moved { to } => {
                let envelope = Arc::clone(&self.held.get(&key)?.envelope);
                self.hold_untried((to, key.1), ordered, envelope);
                return Some(key);
            }
            Outcome::Behind | Outcome::Delayed(_) => {}
        }
        None
    }

    fn keep(&mut self, published: Option<Arc<Envelope>>, now: Duration) {
        if let Some(envelope) = published {
            let since = now;
            let kept = self.published.entry(envelope.event_id);
            kept.or_insert(Kept { since, envelope });
        }
    }

    pub(super) fn replay(&mut self, event_id: EventId, route: &str) -> Replayed {
        let Some(dead) = self.take_dead(event_id, route) else {
            return Replayed::default();
        };
        let later_ones_out = !dead.parks && dead.envelope.is_ordered();
        let waiting = Waiting {
            delivered: dead.delivered,
            ..Waiting::untried(dead.parks, dead.envelope)
        };
        self.held.insert((dead.route, dead.position), waiting);
        Replayed {
            replayed: true,
            later_ones_out,
        }
    }

    pub(super) fn take_dead(&mut self, event_id: EventId, route: &str) -> Option<DeadLetter> {
        let found = |(key, dead): (&SideKey, &DeadLetter)| {
            (*key.0 == *route && dead.envelope.event_id == event_id).then(|| key.clone())
        };
        let key = self.dead.iter().find_map(found)?;
        self.revision += 1;
        self.dead.remove(&key)
    }

    /// Ends the wait of those that match. Returns the number of those that waited.
    pub(super) fn retry_now(&mut self, filter: &HeldFilter, now: Duration) -> u64 {
        let mut ended = 0;
        for ((route, _), waiting) in &mut self.held {
            if waiting.due.is_some_and(|due| due > now) && filter.matches(route, &waiting.envelope)
            {
                waiting.due = Some(now);
                ended += 1;
            }
        }
        self.revision += i64::from(ended > 0);
        ended
    }

    fn hold_untried(&mut self, key: SideKey, ordered: bool, envelope: Arc<Envelope>) {
        if !self.dead.contains_key(&key) {
            self.held
                .entry(key)
                .or_insert(Waiting::untried(ordered, envelope));
        }
    }

    fn add_dead(
        &mut self,
        shard: ShardId,
        key: SideKey,
        envelope: Arc<Envelope>,
        dead: NewDeadLetter,
        wall: DateTime<Utc>,
    ) {
        let NewDeadLetter {
            attempts,
            error,
            cause,
            parks,
            delivered,
        } = dead;
        let parks = parks && envelope.is_ordered();
        let (route, position) = key.clone();
        let mut dead_letter = DeadLetter::new(
            route,
            shard,
            position,
            attempts,
            cause.into_owned(),
            error,
            wall,
            parks,
            envelope,
        );
        dead_letter.delivered = delivered;
        self.dead.entry(key).or_insert(dead_letter);
    }

    /// The held streams that no dead letter parks, and that are [wanted](Wanted).
    fn going<'a>(&'a self, wanted: Wanted<'a>) -> impl Iterator<Item = Stream<'a>> {
        let is_wanted = move |stream: &Stream<'_>| {
            let ((route, _), head) = stream[0];
            let is_paused = head
                .envelope
                .tenant_id
                .as_ref()
                .is_some_and(|tenant| wanted.paused.contains_key(tenant));
            let is_stopped =
                (wanted.handlers.get(route)).is_some_and(|record| record.handler.is_paused);
            !is_paused && !is_stopped && !wanted.without.contains(route)
        };
        self.unparked().into_iter().filter(is_wanted)
    }

    /// The held streams that no dead letter parks.
    fn unparked(&self) -> Vec<Stream<'_>> {
        let mut streams: Vec<Stream<'_>> = Vec::new();
        let mut known: BTreeMap<StreamKey, usize> = BTreeMap::new();
        for (key, waiting) in &self.held {
            let Some(stream) = stream_key(&key.0, &waiting.envelope).filter(|_| waiting.ordered)
            else {
                streams.push(vec![(key, waiting)]);
                continue;
            };
            match known.get(&stream) {
                Some(&index) => streams[index].push((key, waiting)),
                None if self.is_parked(&stream) => {}
                None => {
                    known.insert(stream, streams.len());
                    streams.push(vec![(key, waiting)]);
                }
            }
        }
        streams
    }

    fn is_parked(&self, stream: &StreamKey) -> bool {
        let parks = |dead: &DeadLetter| {
            let is_for = *dead.route == *stream.route || &*dead.route == NewDeadLetter::UNREADABLE;
            let event = &dead.envelope;
            let is_of = event.aggregate_type == stream.aggregate_type
                && event.aggregate_id == stream.aggregate_id;
            dead.parks && is_for && is_of
        };
        self.dead.values().any(parks)
    }
}

fn held_row((route, position): &SideKey, waiting: &Waiting, now: Duration) -> HeldRow {
    HeldRow {
        route: Arc::clone(route),
        attempts: waiting.attempts,
        ordered: waiting.ordered,
        delivered: waiting.delivered.clone(),
        unroutable_for: waiting
            .unroutable_since
            .map(|since| now.saturating_sub(since)),
        row: OutboxRow {
            position: *position,
            envelope: Arc::clone(&waiting.envelope),
        },
    }
}

/// The stream of an event; none for one without order.
fn stream_key(route: &Arc<str>, envelope: &Envelope) -> Option<StreamKey> {
    envelope.is_ordered().then(|| StreamKey {
        route: Arc::clone(route),
        aggregate_type: envelope.aggregate_type.clone().into_owned(),
        aggregate_id: envelope.aggregate_id.clone(),
    })
}
