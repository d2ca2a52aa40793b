//! The start and the end of workers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_core::report::with_causes;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::panicked;
use super::shards::{Activity, Task};
use super::{Left, Report, Supervisor};
use crate::machine::Machine;
use crate::publish::Publisher;
use crate::relay::clock::later;
use crate::relay::in_flight::InFlight;
use crate::relay::journal::Tally;
use crate::relay::shared::Shared;
use crate::relay::worker::{End, PATIENCE, Worker};
use crate::store::{Lease, RelayStore, StoreError};
use crate::telemetry::TARGET_RELAY;

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    pub(super) fn start_worker(&mut self, shard: ShardId) {
        let shared = Arc::clone(&self.shared);
        let (sender, stop) = watch::channel(false);
        let Some(task) = self.shards.start(shard, sender) else {
            return;
        };
        self.workers += 1;
        self.worked(Instant::now());
        self.tasks.spawn(run_worker(shared, task, stop));
    }

    pub(super) fn worker_ended(&mut self, lease: Lease, end: End, left: Left) {
        let Left {
            machine,
            heard,
            late,
            has_tried,
        } = left;
        self.workers -= 1;
        if has_tried {
            self.shards.note_trial(lease.shard);
        }
        if !matches!(end, End::Lost) && self.shards.keep_late(lease, heard, late.len()) {
            self.listen(lease, late);
        }
        let now = Instant::now();
        match end {
            End::Lost => self.lease_lost(lease),
            End::Idle { next_due } => {
                self.worked(now);
                self.shards.finished(
                    lease,
                    machine,
                    Activity::Idle,
                    next_due.map(|wait| later(now, wait)),
                );
            }
            End::Paused { until } => {
                self.shards
                    .finished(lease, machine, Activity::Idle, Some(until))
            }
            End::Turn | End::Stopped => {
                self.shards.finished(lease, machine, Activity::Queued, None)
            }
            End::Failed(error) => self.worker_failed(lease, machine, &error),
        }
        self.shared.vitals.failing(self.shards.failing());
        // The circuit of a destination may have opened since the next poll was set.
        let trial = self.shared.breakers.next_trial(now);
        self.next_poll = self
            .next_poll
            .map(|at| trial.map_or(at, |trial| trial.min(at)));
        self.take_up_returned();
        if self.shards.has_retired() {
            self.beat_soon(now);
        }
    }

    /// Lets the shard rest, which frees the worker's place for other shards.
    pub(super) fn worker_failed(
        &mut self,
        lease: Lease,
        machine: Option<Box<Machine>>,
        error: &StoreError,
    ) {
        let error = with_causes(error);
        let wait = self.shards.failed(
            lease,
            machine,
            error.clone(),
            self.shared.settings.poll_idle,
        );
        tracing::error!(
            target: TARGET_RELAY, relay = %self.shared.id, shard = lease.shard, error, ?wait,
            "a worker failed; its shard waits, and the other shards go on",
        );
    }
}

async fn run_worker<S: RelayStore, P: Publisher>(
    shared: Arc<Shared<S, P>>,
    task: Task,
    stop: watch::Receiver<bool>,
) -> Report {
    let Task {
        lease,
        deadline,
        machine,
        make_room,
        heard,
    } = task;
    let machine = machine.unwrap_or_else(|| shared.machine(lease.shard));
    let turn = shared.settings.turn;
    let tally = Tally::default();
    let (is_patient, patience, has_tried) = (true, Some(PATIENCE), false);
    let mut worker = Worker {
        shared,
        lease,
        deadline,
        machine,
        stop,
        make_room,
        is_patient,
        patience,
        heard,
        late: InFlight::default(),
        tally,
        has_tried,
    };
    match AssertUnwindSafe(worker.run(turn)).catch_unwind().await {
        Ok(end) => {
            let Worker {
                machine,
                heard,
                late,
                has_tried,
                ..
            } = worker;
            let left = Left {
                machine: Some(machine),
                heard,
                late,
                has_tried,
            };
            Report::Worker {
                lease,
                end,
                left,
                tally: worker.tally,
            }
        }
        Err(_) => Report::Worker {
            lease,
            end: End::Failed(panicked()),
            left: Left::default(),
            tally: worker.tally,
        },
    }
}
