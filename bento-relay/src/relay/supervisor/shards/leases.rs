//! The shards that come and go with heartbeats.

use std::collections::BTreeMap;

use bento_core::outbox::ShardId;
use tokio::time::Instant;

use super::Shards;
use super::owned::{Activity, Owned};
use crate::store::{Lease, Surplus};

/// The changes of a heartbeat.
#[derive(Debug, Default)]
pub(in crate::relay::supervisor) struct Changes {
    pub(in crate::relay::supervisor) claimed: usize,
    pub(in crate::relay::supervisor) released: usize,
    pub(in crate::relay::supervisor) lost: Vec<Lease>,
}

impl Shards {
    /// Forgets a shard whose lease is lost. Returns false if it was forgotten before.
    pub(in crate::relay::supervisor) fn forget(&mut self, lease: Lease) -> bool {
        let is_known = self
            .owned
            .get(&lease.shard)
            .is_some_and(|owned| owned.lease == lease);
        if is_known {
            self.owned.remove(&lease.shard);
        }
        is_known
    }

    /// Marks the surplus of each lane for release, the idle shards first; the others are kept.
    pub(in crate::relay::supervisor) fn retire(&mut self, surplus: &[Surplus]) {
        let mut left: Vec<_> = surplus.iter().map(|lane| lane.shards).collect();
        self.retire_where(|shard| {
            let lane = surplus.iter().position(|lane| lane.lane.contains(&shard));
            lane.is_some_and(|lane| {
                let is_surplus = left[lane] > 0;
                left[lane] = left[lane].saturating_sub(1);
                is_surplus
            })
        });
    }

    /// Marks the shards for release for which this is true, asked in the order in which they are
    /// best released.
    fn retire_where(&mut self, mut is_surplus: impl FnMut(ShardId) -> bool) {
        let mut shards: Vec<_> = self.owned.values_mut().collect();
        shards.sort_by_key(|owned| match owned.activity {
            // The answers of late waves would be lost with the lease.
            _ if owned.late > 0 || !owned.heard.is_empty() => 3,
            Activity::Idle | Activity::Offered => 0,
            Activity::Queued => 1,
            Activity::Running(_) => 2,
        });
        let mut resumed = Vec::new();
        for owned in shards {
            let is_surplus = is_surplus(owned.lease.shard);
            let was_retiring = std::mem::replace(&mut owned.is_retiring, is_surplus);
            if owned.is_retiring {
                owned.tell_to_stop();
                if matches!(owned.activity, Activity::Queued) && owned.heard.is_empty() {
                    owned.activity = Activity::Idle;
                    owned.again = true;
                }
            } else if was_retiring && owned.again && owned.is_idle() {
                resumed.push(owned.lease.shard);
            }
        }
        resumed.into_iter().for_each(|shard| self.take_up(shard));
    }

    /// True if a shard that is marked for release is ready for it.
    pub(in crate::relay::supervisor) fn has_retired(&self) -> bool {
        self.owned
            .values()
            .any(|owned| owned.is_retiring && owned.is_at_rest())
    }

    /// Offers the shards that the next heartbeat may release. They get no worker until it returns.
    pub(in crate::relay::supervisor) fn offer(&mut self) -> Vec<ShardId> {
        let retired = self
            .owned
            .values_mut()
            .filter(|owned| owned.is_retiring && owned.is_at_rest());
        retired
            .map(|owned| (owned.activity = Activity::Offered, owned.lease.shard).1)
            .collect()
    }

    /// Takes the offered shards back after a failed heartbeat. They may still be held or not;
    /// `advance` will tell.
    pub(in crate::relay::supervisor) fn keep_offered(&mut self) {
        let offered: Vec<_> = self.offered().collect();
        offered
            .into_iter()
            .for_each(|shard| self.settle_offer(shard));
    }

    /// Takes over the result of a heartbeat: the leases, and their local deadline.
    pub(in crate::relay::supervisor) fn renew(
        &mut self,
        leases: &[Lease],
        until: Instant,
    ) -> Changes {
        let mut changes = Changes::default();
        let kept: BTreeMap<_, _> = leases.iter().map(|lease| (lease.shard, *lease)).collect();
        self.owned.retain(|shard, owned| {
            let is_kept = kept.get(shard) == Some(&owned.lease);
            match owned.activity {
                _ if is_kept => {}
                Activity::Offered => changes.released += 1,
                _ => changes.lost.push(owned.lease),
            }
            is_kept
        });
        for (shard, lease) in kept {
            match self.owned.get(&shard) {
                Some(owned) => owned.deadline.extend(until),
                None => {
                    changes.claimed += 1;
                    self.owned.insert(shard, Owned::new(lease, until));
                }
            }
        }
        self.keep_offered();
        changes
    }

    /// Ends all work, except for recording the answers of late waves.
    pub(in crate::relay::supervisor) fn stop_all(&mut self) {
        self.retire_where(|_| true);
    }

    fn offered(&self) -> impl Iterator<Item = ShardId> {
        let is_offered = |owned: &&Owned| matches!(owned.activity, Activity::Offered);
        self.owned
            .values()
            .filter(is_offered)
            .map(|owned| owned.lease.shard)
    }

    fn settle_offer(&mut self, shard: ShardId) {
        let owned = self
            .owned
            .get_mut(&shard)
            .expect("an offered shard is held");
        owned.activity = Activity::Idle;
        if owned.again {
            self.take_up(shard);
        }
    }
}
