//! The shards that a relay holds, and what each is doing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::relay::clock::later;
use crate::relay::deadline::Deadline;
use crate::relay::send::Sent;
use crate::retry::RetryPolicy;
use crate::store::Lease;

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

#[derive(Debug)]
struct Owned {
    lease: Lease,
    deadline: Deadline,
    /// What is known of the shard; with its worker while that runs.
    machine: Option<Box<Machine>>,
    activity: Activity,
    /// Whether events came while it could not be queued.
    again: bool,
    /// Whether another relay is to get it.
    is_retiring: bool,
    /// When its next held row is due.
    due: Option<Instant>,
    /// Why its last worker failed, so that it rests until it is due.
    failure: Option<Failure>,
    /// Which of these workers was its last one.
    tried: u64,
    /// How many waves of its are late, and out without a worker.
    late: usize,
    /// Late waves that came back, for its next worker.
    heard: Vec<Sent>,
    /// Tells its worker to let another lane have its place after the batch.
    make_room: Arc<AtomicBool>,
}

/// The failures of the workers of one shard, one after another.
#[derive(Debug)]
struct Failure {
    count: u32,
    /// What the last one said.
    error: String,
    /// True if the rest is not over yet.
    rests: bool,
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

/// What a shard is doing.
#[derive(Debug)]
pub(super) enum Activity {
    /// Nothing: it was empty.
    Idle,
    /// Waiting for a worker.
    Queued,
    /// A worker is at it, and can be told to stop.
    Running(watch::Sender<bool>),
    /// A heartbeat that may give it away is on its way.
    Offered,
}

/// What a heartbeat changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) claimed: usize,
    pub(super) released: usize,
    pub(super) lost: Vec<Lease>,
}

impl Owned {
    fn new(lease: Lease, until: Instant) -> Self {
        let deadline = Deadline::at(until);
        let (activity, make_room) = (Activity::Idle, Arc::default());
        Self {
            lease,
            deadline,
            machine: None,
            activity,
            again: false,
            is_retiring: false,
            due: None,
            failure: None,
            tried: 0,
            late: 0,
            heard: Vec::new(),
            make_room,
        }
    }

    /// Notes that its time has come.
    fn is_due(&mut self) -> ShardId {
        self.due = None;
        self.end_rest();
        self.lease.shard
    }

    fn end_rest(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.rests = false;
        }
    }

    fn rests(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.rests)
    }

    fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle)
    }

    fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running(_))
    }

    /// Whether nothing of it is in flight or to be recorded.
    fn is_at_rest(&self) -> bool {
        self.is_idle() && self.late == 0 && self.heard.is_empty()
    }

    fn tell_to_stop(&self) {
        if let Activity::Running(stop) = &self.activity {
            stop.send_replace(true);
        }
    }
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

    /// The next shard for one of so many `free` workers: of the lane with the fewest workers the
    /// one that came first. The last free worker is kept for a lane that has none. So the backlog
    /// of one lane does not keep the others waiting.
    pub(super) fn next_ready(&mut self, free: usize) -> Option<ShardId> {
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

    /// Tells a worker of the lane with the most workers to end its turn after the batch it is at,
    /// for each lane that has events and no worker.
    pub(super) fn make_room(&self) {
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

    /// Forgets a shard whose lease is lost; false if that is known.
    pub(super) fn forget(&mut self, lease: Lease) -> bool {
        let is_known = self
            .owned
            .get(&lease.shard)
            .is_some_and(|owned| owned.lease == lease);
        if is_known {
            self.owned.remove(&lease.shard);
        }
        is_known
    }

    /// The shards that a poll should ask for.
    pub(super) fn idle(&self) -> Vec<ShardId> {
        self.owned
            .values()
            .filter(|owned| owned.is_idle() && !owned.rests())
            .map(|owned| owned.lease.shard)
            .collect()
    }

    /// Marks as many shards to be given up, the idle ones first; the others are kept.
    pub(super) fn retire(&mut self, surplus: usize) {
        let mut shards: Vec<_> = self.owned.values_mut().collect();
        shards.sort_by_key(|owned| match owned.activity {
            _ if owned.late > 0 || !owned.heard.is_empty() => 3,
            Activity::Idle | Activity::Offered => 0,
            Activity::Queued => 1,
            Activity::Running(_) => 2,
        });
        let mut resumed = Vec::new();
        for (rank, owned) in shards.into_iter().enumerate() {
            let was_retiring = std::mem::replace(&mut owned.is_retiring, rank < surplus);
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

    /// Whether a shard that is to be given up is ready for it.
    pub(super) fn has_retired(&self) -> bool {
        self.owned
            .values()
            .any(|owned| owned.is_retiring && owned.is_at_rest())
    }

    /// The shards that the next heartbeat may give away. Nobody works on them until it is back.
    pub(super) fn offer(&mut self) -> Vec<ShardId> {
        let retired = self
            .owned
            .values_mut()
            .filter(|owned| owned.is_retiring && owned.is_at_rest());
        retired
            .map(|owned| (owned.activity = Activity::Offered, owned.lease.shard).1)
            .collect()
    }

    /// Notes that the heartbeat failed: the offered shards may still be held, or not; `advance`
    /// will tell.
    pub(super) fn keep_offered(&mut self) {
        let offered: Vec<_> = self.offered().collect();
        offered
            .into_iter()
            .for_each(|shard| self.settle_offer(shard));
    }

    /// Takes over what a heartbeat returned: what is held, and until when.
    pub(super) fn renew(&mut self, leases: &[Lease], until: Instant) -> Changes {
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

    /// Ends all work, but for recording what late waves come back with.
    pub(super) fn stop_all(&mut self) {
        self.retire(self.owned.len());
    }

    fn lane(&self, shard: ShardId) -> ShardId {
        self.per_lane.map_or(0, |per_lane| shard / per_lane)
    }

    /// How many workers are at each lane that has any.
    fn workers_by_lane(&self) -> BTreeMap<ShardId, usize> {
        let mut workers = BTreeMap::new();
        for owned in self.owned.values().filter(|owned| owned.is_running()) {
            *workers.entry(self.lane(owned.lease.shard)).or_default() += 1;
        }
        workers
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

    fn take_up(&mut self, shard: ShardId) {
        if let Some(owned) = self.owned.get_mut(&shard) {
            owned.again = false;
            self.has_events(shard);
        }
    }
}

#[cfg(test)]
mod tests;
