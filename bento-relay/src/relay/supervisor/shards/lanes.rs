//! The distribution of workers among lanes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bento_core::outbox::ShardId;

use super::Shards;
use super::owned::{Activity, Owned};

impl Shards {
    /// Returns the next shard for one of `free` workers: the oldest queued shard of the lane with
    /// the fewest workers. The last free worker is reserved for a lane without one, so that the
    /// backlog of one lane does not block the others.
    pub(in crate::relay::supervisor) fn next_ready(&mut self, free: usize) -> Option<ShardId> {
        let owned = &self.owned;
        let is_queued = |shard: &ShardId| {
            owned
                .get(shard)
                .is_some_and(|owned| matches!(owned.activity, Activity::Queued))
        };
        self.queue.retain(is_queued);
        if free == 0 {
            return None;
        }
        let nth = match self.per_lane {
            None => 0,
            Some(_) => {
                let workers = self.workers_by_lane();
                let busy =
                    |shard: &ShardId| workers.get(&self.lane(*shard)).copied().unwrap_or_default();
                let (nth, shard) = self
                    .queue
                    .iter()
                    .enumerate()
                    .min_by_key(|(nth, shard)| (busy(shard), *nth))?;
                let has_lane_without = || self.owned.keys().any(|shard| busy(shard) == 0);
                if free == 1 && busy(shard) > 0 && has_lane_without() {
                    return None;
                }
                nth
            }
        };
        self.queue.remove(nth)
    }

    /// Makes room for each lane that has events and no worker: tells a worker of the lane with the
    /// most workers to end its turn after its batch.
    pub(in crate::relay::supervisor) fn make_room(&self) {
        if self.per_lane.is_none() || self.queue.is_empty() {
            return;
        }
        let mut workers = self.workers_by_lane();
        let mut waiting: Vec<_> = self.queue.iter().map(|shard| self.lane(*shard)).collect();
        waiting.sort_unstable();
        waiting.dedup();
        waiting.retain(|lane| !workers.contains_key(lane));
        let leaving =
            |owned: &&Owned| owned.is_running() && owned.make_room.load(Ordering::Relaxed);
        for _ in self.owned.values().filter(leaving).count()..waiting.len() {
            let Some((&lane, _)) = workers
                .iter()
                .max_by_key(|(lane, count)| (**count, Reverse(**lane)))
            else {
                return;
            };
            let mut running = self
                .owned
                .values()
                .filter(|owned| owned.is_running() && self.lane(owned.lease.shard) == lane);
            match running.find(|owned| !owned.make_room.swap(true, Ordering::Relaxed)) {
                Some(_) => *workers.get_mut(&lane).expect("it has one") -= 1,
                None => return,
            }
        }
    }

    fn lane(&self, shard: ShardId) -> ShardId {
        self.per_lane.map_or(0, |per_lane| shard / per_lane)
    }

    /// The number of workers by lane, for lanes with workers.
    fn workers_by_lane(&self) -> BTreeMap<ShardId, usize> {
        let mut workers = BTreeMap::new();
        for owned in self.owned.values().filter(|owned| owned.is_running()) {
            *workers.entry(self.lane(owned.lease.shard)).or_default() += 1;
        }
        workers
    }
}
