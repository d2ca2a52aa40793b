//! The shards that a relay holds, and their activities.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use tokio::sync::watch;
use tokio::time::Instant;

use self::owned::{Owned, WorkerFailures};
use crate::machine::Machine;
use crate::relay::clock::later;
use crate::relay::deadline::Deadline;
use crate::relay::send::Sent;
use crate::retry::RetryPolicy;
use crate::store::Lease;

mod lanes;
mod leases;
mod owned;

pub(super) use self::owned::Activity;

/// The longest rest of a shard after its worker failed.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The shards that a relay holds.
#[derive(Debug, Default)]
pub(super) struct Shards {
    owned: BTreeMap<ShardId, Owned>,
    /// Shards with events, in the order in which they came. May contain shards that are lost or
    /// busy.
    queue: VecDeque<ShardId>,
    /// The number of shards of a lane; `None` while there is only one lane, or the sharding is not
    /// known yet.
    per_lane: Option<ShardId>,
    /// The number of workers so far that were trials of a destination.
    trials: u64,
}

/// The data that a worker gets with its shard.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    pub(super) machine: Option<Box<Machine>>,
    pub(super) make_room: Arc<AtomicBool>,
    pub(super) heard: Vec<Sent>,
}

impl Shards {
    pub(super) fn len(&self) -> usize {
        self.owned.len()
    }

    /// Records the sharding of the outbox.
    pub(super) fn divide(&mut self, sharding: &Sharding) {
        self.per_lane = (sharding.lanes.get() > 1).then(|| sharding.shards.get().into());
    }

    /// Records that a shard has events. A shard that is not held is ignored.
    pub(super) fn queue_shard(&mut self, shard: ShardId) {
        let Some(owned) = self.owned.get_mut(&shard) else {
            return;
        };
        match owned.activity {
            // The end of the rest takes the shard up again.
            Activity::Idle if owned.rests() => {}
            Activity::Idle if !owned.is_retiring || !owned.heard.is_empty() => {
                owned.activity = Activity::Queued;
                self.queue.push_back(shard);
            }
            Activity::Queued => {}
            Activity::Idle | Activity::Running(_) | Activity::Offered => owned.again = true,
        }
    }

    /// Makes every shard with a worker be taken up once more.
    pub(super) fn look_again(&mut self) {
        self.owned
            .values_mut()
            .filter(|owned| owned.is_running())
            .for_each(|owned| owned.again = true);
    }

    /// Queues the shards with a held row that has become due.
    pub(super) fn queue_due(&mut self, now: Instant) {
        let due = self
            .owned
            .values_mut()
            .filter(|owned| owned.is_idle() && owned.due.is_some_and(|due| due <= now));
        let due: Vec<_> = due.map(Owned::is_due).collect();
        self.queue_in_turn(due);
    }

    /// Records that shards have events. Shards whose last trial of a destination is longest ago
    /// come first, so that all shards take turns in trials.
    pub(super) fn queue_in_turn(&mut self, mut shards: Vec<ShardId>) {
        shards.sort_by_key(|shard| self.owned.get(shard).map(|owned| owned.tried));
        shards.into_iter().for_each(|shard| self.queue_shard(shard));
    }

    /// Records that the worker of a shard was a trial of a destination.
    pub(super) fn note_trial(&mut self, shard: ShardId) {
        self.trials += 1;
        if let Some(owned) = self.owned.get_mut(&shard) {
            owned.tried = self.trials;
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.owned
            .values()
            .filter(|owned| owned.is_idle())
            .filter_map(|owned| owned.due)
            .min()
    }

    /// Hands a shard to a worker, which `stop` tells to stop. A worker that only has to record late
    /// answers is told at once.
    pub(super) fn start(&mut self, shard: ShardId, stop: watch::Sender<bool>) -> Option<Task> {
        let owned = self.owned.get_mut(&shard)?;
        owned.activity = Activity::Running(stop);
        owned.end_rest();
        if owned.is_retiring {
            owned.tell_to_stop();
        }
        owned.again = false;
        owned.make_room = Arc::default();
        let (deadline, make_room) = (owned.deadline.clone(), Arc::clone(&owned.make_room));
        let heard = std::mem::take(&mut owned.heard);
        Some(Task {
            lease: owned.lease,
            deadline,
            machine: owned.machine.take(),
            make_room,
            heard,
        })
    }

    /// Takes a shard back from its worker.
    pub(super) fn finished(
        &mut self,
        lease: Lease,
        machine: Option<Box<Machine>>,
        then: Activity,
        due: Option<Instant>,
    ) {
        let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        else {
            return;
        };
        owned.machine = machine;
        owned.activity = Activity::Idle;
        owned.failures = None;
        owned.due = due;
        if owned.again || matches!(then, Activity::Queued) || !owned.heard.is_empty() {
            self.take_up(lease.shard);
        }
    }

    /// Takes a shard back from a worker that failed. The shard rests whatever comes; the rest grows
    /// with the number of failures in a row, and the first lasts at most `first`. Returns the
    /// duration of the rest.
    pub(super) fn failed(
        &mut self,
        lease: Lease,
        machine: Option<Box<Machine>>,
        error: String,
        first: Duration,
    ) -> Option<Duration> {
        let owned = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)?;
        let count = owned
            .failures
            .as_ref()
            .map_or(0, |failures| failures.count)
            .saturating_add(1);
        let rest =
            RetryPolicy::exponential(first, LONGEST_REST.max(first), u32::MAX).ceiling(count);
        owned.machine = machine;
        owned.activity = Activity::Idle;
        owned.failures = Some(WorkerFailures {
            count,
            error,
            rests: true,
        });
        owned.due = Some(later(Instant::now(), rest));
        Some(rest)
    }

    /// The shards whose last worker failed, with its error.
    pub(super) fn failing(&self) -> BTreeMap<ShardId, String> {
        let failing = |(shard, owned): (&ShardId, &Owned)| {
            Some((*shard, owned.failures.as_ref()?.error.clone()))
        };
        self.owned.iter().filter_map(failing).collect()
    }

    /// Takes over the late waves of a worker: those that returned, and the number of those that are
    /// out. Returns false if the shard is lost.
    pub(super) fn keep_late(&mut self, lease: Lease, mut heard: Vec<Sent>, out: usize) -> bool {
        let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        else {
            return false;
        };
        owned.late += out;
        owned.heard.append(&mut heard);
        true
    }

    /// A shard without a worker that has late answers to record.
    pub(super) fn next_with_late_answers(&self) -> Option<ShardId> {
        let is_next = |owned: &&Owned| !owned.is_running() && !owned.heard.is_empty();
        self.owned
            .values()
            .find(is_next)
            .map(|owned| owned.lease.shard)
    }

    /// Keeps a late wave that returned for the next worker of its shard. A wave of a lost lease is
    /// dropped.
    pub(super) fn take_late(&mut self, lease: Lease, sent: Sent) {
        if let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        {
            owned.late -= 1;
            owned.heard.push(sent);
            self.queue_shard(lease.shard);
        }
    }

    /// Records that this number of late waves will not return.
    pub(super) fn drop_late(&mut self, lease: Lease, count: usize) {
        if let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        {
            owned.late -= count;
        }
    }

    /// The shards to poll.
    pub(super) fn idle(&self) -> Vec<ShardId> {
        self.owned
            .values()
            .filter(|owned| owned.is_idle() && !owned.rests())
            .map(|owned| owned.lease.shard)
            .collect()
    }

    fn take_up(&mut self, shard: ShardId) {
        if let Some(owned) = self.owned.get_mut(&shard) {
            owned.again = false;
            self.queue_shard(shard);
        }
    }
}

#[cfg(test)]
mod tests;
