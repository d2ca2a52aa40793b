//! One shard that a relay holds, and what it is doing.

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
    /// What is known of the shard; with its worker while that runs.
    pub(super) machine: Option<Box<Machine>>,
    pub(super) activity: Activity,
    /// Whether events came while it could not be queued.
    pub(super) again: bool,
    /// Whether another relay is to get it.
    pub(super) is_retiring: bool,
    /// When its next held row is due.
    pub(super) due: Option<Instant>,
    /// Why its last worker failed, so that it rests until it is due.
    pub(super) failure: Option<Failure>,
    /// Which of these workers was its last one.
    pub(super) tried: u64,
    /// How many waves of its are late, and out without a worker.
    pub(super) late: usize,
    /// Late waves that came back, for its next worker.
    pub(super) heard: Vec<Sent>,
    /// Tells its worker to let another lane have its place after the batch.
    pub(super) make_room: Arc<AtomicBool>,
}

/// The failures of the workers of one shard, one after another.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) count: u32,
    /// What the last one said.
    pub(super) error: String,
    /// True if the rest is not over yet.
    pub(super) rests: bool,
}

/// What a shard is doing.
#[derive(Debug)]
pub(in crate::relay::supervisor) enum Activity {
    /// Nothing: it was empty.
    Idle,
    /// Waiting for a worker.
    Queued,
    /// A worker is at it, and can be told to stop.
    Running(watch::Sender<bool>),
    /// A heartbeat that may give it away is on its way.
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
            failure: None,
            tried: 0,
            late: 0,
            heard: Vec::new(),
            make_room,
        }
    }

    /// Notes that its time has come.
    pub(super) fn is_due(&mut self) -> ShardId {
        self.due = None;
        self.end_rest();
        self.lease.shard
    }

    pub(super) fn end_rest(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.rests = false;
        }
    }

    pub(super) fn rests(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.rests)
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.activity, Activity::Running(_))
    }

    /// Whether nothing of it is in flight or to be recorded.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_idle() && self.late == 0 && self.heard.is_empty()
    }

    pub(super) fn tell_to_stop(&self) {
        if let Activity::Running(stop) = &self.activity {
            stop.send_replace(true);
        }
    }
}
