//! The shards that a relay holds, and what each is doing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use tokio::sync::watch;
use tokio::time::Instant;

use self::owned::{Failure, Owned};
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

/// How long a shard may rest at most after its worker failed.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The shards that a relay holds.
#[derive(Debug, Default)]
pub(super) struct Shards {
    owned: BTreeMap<ShardId, Owned>,
    /// Shards with events, in the order in which they came. May name some that are gone or busy.
    queue: VecDeque<ShardId>,
    /// How many shards a lane has; `None` while there is only one lane, or the sharding is not
    /// known yet.
    per_lane: Option<ShardId>,
    /// The number of workers that were to find out if a destination is back.
    trials: u64,
}

/// What a worker gets with its shard.
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

    /// Takes note of how the outbox is divided.
    pub(super) fn divide(&mut self, sharding: &Sharding) {
        self.per_lane = (sharding.lanes.get() > 1).then(|| sharding.shards.get().into());
    }

    /// Notes that a shard has events; one that is not held is somebody else's.
    pub(super) fn has_events(&mut self, shard: ShardId) {
        let Some(owned) = self.owned.get_mut(&shard) else {
            return;
        };
        match owned.activity {
            Activity::Idle if owned.rests() => {}
            Activity::Idle if !owned.is_retiring || !owned.heard.is_empty() => {
                owned.activity = Activity::Queued;
                self.queue.push_back(shard);
            }
            Activity::Queued => {}
            Activity::Idle | Activity::Running(_) | Activity::Offered => owned.again = true,
        }
    }

    /// Lets every shard that a worker is at be taken up once more.
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
        self.have_events(due);
    }

    /// Notes that shards have events. Those come first whose last trial of a destination is longest
    /// ago, so that trials go round.
    pub(super) fn have_events(&mut self, mut shards: Vec<ShardId>) {
        shards.sort_by_key(|shard| self.owned.get(shard).map(|owned| owned.tried));
        shards.into_iter().for_each(|shard| self.has_events(shard));
    }

    /// Notes that the worker of a shard was to find out if a destination is back.
    pub(super) fn tried(&mut self, shard: ShardId) {
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

    /// Hands a shard to a worker, which `stop` tells to stop: at once, if it is only to record what
    /// came back.
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
        owned.failure = None;
        owned.due = due;
        if owned.again || matches!(then, Activity::Queued) || !owned.heard.is_empty() {
            self.take_up(lease.shard);
        }
    }

    /// Takes a shard back from a worker that failed: whatever comes, it rests, the longer the more
    /// often it failed in a row, at first no longer than `first`. Returns how long.
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
            .failure
            .as_ref()
            .map_or(0, |failure| failure.count)
            .saturating_add(1);
        let rest =
            RetryPolicy::exponential(first, LONGEST_REST.max(first), u32::MAX).ceiling(count);
        owned.machine = machine;
        owned.activity = Activity::Idle;
        owned.failure = Some(Failure {
            count,
            error,
            rests: true,
        });
        owned.due = Some(later(Instant::now(), rest));
        Some(rest)
    }

    /// The shards whose last worker failed, and why.
    pub(super) fn failing(&self) -> BTreeMap<ShardId, String> {
        let failing = |(shard, owned): (&ShardId, &Owned)| {
            Some((*shard, owned.failure.as_ref()?.error.clone()))
        };
        self.owned.iter().filter_map(failing).collect()
    }

    /// Takes over what a worker leaves of late waves: those that came back, and how many are out.
    /// False if the shard is lost.
    pub(super) fn postponed(&mut self, lease: Lease, mut heard: Vec<Sent>, out: usize) -> bool {
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

    /// A shard for which late waves came back, and that no worker is at.
    pub(super) fn next_heard(&self) -> Option<ShardId> {
        let is_next = |owned: &&Owned| !owned.is_running() && !owned.heard.is_empty();
        self.owned
            .values()
            .find(is_next)
            .map(|owned| owned.lease.shard)
    }

    /// Takes a late wave that came back, for the next worker of its shard; one of a lost lease is
    /// dropped.
    pub(super) fn heard(&mut self, lease: Lease, sent: Sent) {
        if let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        {
            owned.late -= 1;
            owned.heard.push(sent);
            self.has_events(lease.shard);
        }
    }

    /// Notes that so many late waves will not come back.
    pub(super) fn not_heard(&mut self, lease: Lease, count: usize) {
        if let Some(owned) = self
            .owned
            .get_mut(&lease.shard)
            .filter(|owned| owned.lease == lease)
        {
            owned.late -= count;
        }
    }

    /// The shards that a poll should ask for.
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
            self.has_events(shard);
        }
    }
}

#[cfg(test)]
mod tests;
