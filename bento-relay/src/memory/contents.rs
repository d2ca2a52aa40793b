//! The contents of a store in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::id::EventId;
use bento_core::outbox::{OutboxEntry, ShardId, Sharding};
use chrono::{DateTime, Utc};

use super::alerts::Alerts;
use super::leases::{Handled, Handlers, Leases};
use super::shard::{Kept, Moment, Shard, Wanted};
use crate::dead_letter::DiscardedDeadLetter;
use crate::held::HeldFilter;
use crate::inspect::LeaseState;
use crate::store::{Advance, Advanced, Heartbeat, Holdings, Prune, RelayId, StoreError};
use crate::tenant::PausedTenant;

/// Rows, leases, alerts and the recorded sharding.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) recorded: Option<Sharding>,
    pub(super) leases: Leases,
    pub(super) alerts: Alerts,
    pub(super) discarded: Vec<DiscardedDeadLetter>,
    pub(super) shards: BTreeMap<ShardId, Shard>,
    pub(super) handlers: Handlers,
    /// True if a relay has published from the outbox.
    pub(super) is_published: bool,
    pub(super) handled: BTreeMap<(Arc<str>, EventId), Handled>,
    /// The number of rows that were put back for a handler.
    pub(super) put_back: i64,
    paused: BTreeMap<String, PausedTenant>,
    /// The part of the revision that all shards share, raised by a change that concerns all of
    /// them.
    pub(super) revision: i64,
    /// The time before which no relay prunes.
    prune_after: Option<Duration>,
    last_position: i64,
}

impl Contents {
    pub(super) fn open(&mut self, configured: Sharding) -> Result<Sharding, StoreError> {
        let recorded = *self.recorded.get_or_insert(configured);
        if recorded == configured {
            Ok(recorded)
        } else {
            Err(StoreError::Mismatch {
                recorded,
                configured,
            })
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        configured: Sharding,
        now: Duration,
    ) -> Result<Holdings, StoreError> {
        self.is_published |= beat.publishes;
        if self.is_published && !beat.publishes {
            return Err(StoreError::MissingPublishers);
        }
        let sharding = self.recorded.unwrap_or(configured);
        let stray = self
            .shards
            .range(sharding.total()..)
            .filter(|(_, shard)| shard.has_rows());
        let stray = stray.map(|(&shard, _)| shard).collect();
        let holdings = self
            .leases
            .heartbeat(beat, sharding, stray, &self.handlers, now);
        self.widen_handlers(&beat.handlers);
        Ok(holdings)
    }

    pub(super) fn next_position(&mut self) -> i64 {
        self.last_position += 1;
        self.last_position
    }

    pub(super) fn insert(&mut self, position: i64, entry: OutboxEntry) {
        if !(entry.may_be_known && self.knows(entry.envelope.event_id)) {
            self.shards
                .entry(entry.shard)
                .or_default()
                .pending
                .insert(position, Arc::new(entry.envelope));
        }
    }

    pub(super) fn advance(
        &mut self,
        advance: Advance,
        now: Duration,
        wall: DateTime<Utc>,
    ) -> Result<Advanced, StoreError> {
        self.leases.renew(advance.lease, now + advance.ttl)?;
        let shard = self.shards.entry(advance.lease.shard).or_default();
        let moment = Moment {
            now,
            wall,
            keep_published: advance.keep_published,
        };
        shard.settle(advance.lease.shard, advance.settled, moment);
        let revision = self.revision + shard.revision;
        let wanted = Wanted {
            paused: &self.paused,
            handlers: &self.handlers,
            without: &advance.without,
        };
        let streams = (advance.revision != Some(revision)).then(|| shard.streams());
        let (paused_tenants, handlers) = if streams.is_some() {
            let handlers = self.handlers.values().map(|record| record.handler.clone());
            (self.paused.keys().cloned().collect(), handlers.collect())
        } else {
            Default::default()
        };
        Ok(Advanced {
            pending: shard.pending_rows(advance.pending),
            held: shard.due_rows(wanted, advance.held, now),
            is_cut: false,
            revision,
            paused_tenants,
            handlers,
            streams,
            next_due: shard.next_due(wanted, now),
            dead_rows: Vec::new(),
        })
    }

    pub(super) fn poll(
        &self,
        shards: &[ShardId],
        without: &[Arc<str>],
        now: Duration,
    ) -> Vec<ShardId> {
        let wanted = Wanted {
            paused: &self.paused,
            handlers: &self.handlers,
            without,
        };
        let has_work = |shard: &&ShardId| {
            self.shards
                .get(*shard)
                .is_some_and(|shard| shard.has_work(wanted, now))
        };
        shards.iter().filter(has_work).copied().collect()
    }

    pub(super) fn release(&mut self, relay: RelayId) {
        self.leases.release(relay);
    }

    pub(super) fn lease_states(&self, now: Duration) -> Vec<LeaseState> {
        self.leases.states(now)
    }

    pub(super) fn pause(&mut self, paused: PausedTenant) -> bool {
        if self.paused.contains_key(&paused.tenant_id) {
            return false;
        }
        self.paused.insert(paused.tenant_id.clone(), paused);
        self.revision += 1;
        true
    }

    pub(super) fn resume(&mut self, tenant_id: &str) -> bool {
        let resumed = self.paused.remove(tenant_id).is_some();
        self.revision += i64::from(resumed);
        resumed
    }

    pub(super) fn paused(&self) -> Vec<PausedTenant> {
        self.paused.values().cloned().collect()
    }

    pub(super) fn retry_now(&mut self, filter: &HeldFilter, now: Duration) -> u64 {
        self.shards
            .values_mut()
            .map(|shard| shard.retry_now(filter, now))
            .sum()
    }

    pub(super) fn prune(&mut self, prune: Prune, now: Duration) -> Option<u64> {
        if self.prune_after.is_some_and(|after| after > now) {
            return None;
        }
        self.prune_after = Some(now + prune.every);
        let kept = |contents: &Self| {
            contents
                .shards
                .values()
                .map(|shard| shard.published.len() as u64)
                .sum::<u64>()
        };
        let before = kept(self);
        let is_young = |kept: &Kept| kept.since.saturating_add(prune.older_than) > now;
        self.shards
            .values_mut()
            .for_each(|shard| shard.published.retain(|_, kept| is_young(kept)));
        Some(before - kept(self))
    }

    fn knows(&self, event_id: EventId) -> bool {
        let knows = |shard: &Shard| {
            let held = shard.held.values().map(|held| &held.envelope);
            let dead = shard.dead.values().map(|dead| &dead.envelope);
            let is_kept = shard.published.contains_key(&event_id);
            is_kept
                || shard
                    .pending
                    .values()
                    .chain(held)
                    .chain(dead)
                    .any(|event| event.event_id == event_id)
        };
        self.shards.values().any(knows)
    }
}
