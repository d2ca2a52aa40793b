//! One shard that a relay holds, and its activity.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bento_core::outbox::ShardId;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::machine::Machine;
use crate::relay::deadline::Deadline;
use crate::relay::send::Sent;
use crate::store::Lease;

#[derive(Debug)]
pub(super) struct Owned {
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    /// The machine of the shard; `None` while a worker has it.
    pub(super) machine: Option<Box<Machine>>,
    pub(super) activity: Activity,
    /// True if events came while the shard could not be queued.
    pub(super) again: bool,
    /// True if another relay is to get the shard.
    pub(super) is_retiring: bool,
    /// The time at which the next held row is due, or a rest ends.
    pub(super) due: Option<Instant>,
    /// The failures of its last workers; while `rests` is set, the shard waits until `due`.
    pub(super) failures: Option<WorkerFailures>,
    /// The number of the last worker that was a trial.
    pub(super) tried: u64,
    /// The number of late waves that are out without a worker.
    pub(super) late: usize,
    /// Late waves that returned, for the next worker.
    pub(super) heard: Vec<Sent>,
    /// Tells the worker to give its place to another lane after the batch.
    pub(super) make_room: Arc<AtomicBool>,
}

/// The failures of the workers of one shard, one after another.
#[derive(Debug)]
pub(super) struct WorkerFailures {
    pub(super) count: u32,
    /// The error of the last failure.
    pub(super) error: String,
    /// True until the rest is over.
    pub(super) rests: bool,
}

/// The activity of a shard.
#[derive(Debug)]
pub(in crate::relay::supervisor) enum Activity {
    /// The shard is empty.
    Idle,
    /// The shard waits for a worker.
    Queued,
    /// A worker has the shard, and can be told to stop.
    Running(watch::Sender<bool>),
    /// A heartbeat that may release the shard is on its way.
    Offered,
}

impl Owned {
    pub(super) fn new(lease: Lease, until: Instant) -> Self {
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
            failures: None,
            tried: 0,
            late: 0,
            heard: Vec::new(),
            make_room,
        }
    }

    /// Records that its time has come.
    pub(super) fn is_due(&mut self) -> ShardId {
        self.due = None;
        self.end_rest();
        self.lease.shard
    }

    pub(super) fn end_rest(&mut self) {
        if let Some(failures) = &mut self.failures {
            failures.rests = false;
        }
    }

    pub(super) fn rests(&self) -> bool {
        self.failures
            .as_ref()
            .is_some_and(|failures| failures.rests)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running(_))
    }

    /// True if nothing of the shard is in flight or waits to be recorded.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle() && self.late == 0 && self.heard.is_empty()
    }

    pub(super) fn tell_to_stop(&self) {
        if let Activity::Running(stop) = &self.activity {
            stop.send_replace(true);
        }
    }
}
