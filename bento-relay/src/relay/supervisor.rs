//! Keeps the leases, finds the shards that have events, and starts workers on them.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::telemetry::{self, TARGET_RELAY};
use bento_core::outbox::ShardId;
use bento_core::report::with_causes;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::pace::Pace;
use self::shards::{Activity, Shards, Task};
use super::clock::later;
use super::journal::Tally;
use super::late::LateWaves;
use super::send::Sent;
use super::wake::{Mailbox, Woken};
use super::worker::{End, OUTAGE, PATIENCE, Worker, in_time};
use super::{RelayError, Shared};
use crate::machine::Machine;
use crate::publish::Publisher;
use crate::store::{Heartbeat, Holdings, Lease, RelayStore, StoreError};

mod drain;
mod late;
mod pace;
mod shards;

/// The one task of a relay that decides what the others do. It never waits for the store or the
/// publisher itself.
#[derive(Debug)]
pub(super) struct Supervisor<S, P> {
    shared: Arc<Shared<S, P>>,
    mailbox: Arc<Mailbox>,
    stop: watch::Receiver<bool>,
    shards: Shards,
    tasks: JoinSet<Report>,
    workers: usize,
    /// When to call next; `None` while a call is on its way.
    next_beat: Option<Instant>,
    next_poll: Option<Instant>,
    /// Whether to call again at once when the call that is on its way is back.
    polls_again: bool,
    next_prune: Option<Instant>,
    pace: Pace,
    failures: u32,
    tally: Tally,
}

/// What a task brought back.
#[derive(Debug)]
enum Report {
    Worker {
        lease: Lease,
        end: End,
        left: Left,
        tally: Tally,
    },
    Late {
        lease: Lease,
        back: Back,
    },
    Beat {
        asked: Instant,
        result: Result<Holdings, StoreError>,
    },
    Poll {
        result: Result<Vec<ShardId>, StoreError>,
    },
    Prune {
        result: Result<Option<u64>, StoreError>,
    },
}

/// What became of late waves.
#[derive(Debug)]
enum Back {
    One(Box<Sent>, LateWaves),
    /// All of them are.
    None,
    /// Something panicked that is not the publisher: nobody will hear of so many.
    Broken(usize),
}

/// What a worker leaves to the next one on its shard.
#[derive(Debug, Default)]
struct Left {
    machine: Option<Box<Machine>>,
    heard: Vec<Sent>,
    late: Option<LateWaves>,
    /// True if the worker was to find out if a destination is back.
    has_tried: bool,
}

impl<S: RelayStore, P: Publisher> Supervisor<S, P> {
    pub(super) fn new(
        shared: Arc<Shared<S, P>>,
        mailbox: Arc<Mailbox>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let now = Instant::now();
        let next_prune = shared.settings.prune().map(|_| now);
        let pace = Pace::new(shared.settings.poll_busy, shared.settings.poll_idle, now);
        Self {
            shared,
            mailbox,
            stop,
            shards: Shards::default(),
            tasks: JoinSet::new(),
            workers: 0,
            next_beat: Some(now),
            next_poll: Some(now),
            polls_again: false,
            next_prune,
            pace,
            failures: 0,
            tally: Tally::default(),
        }
    }

    /// Runs until it is told to stop, or the store refuses it for good.
    pub(super) async fn run(mut self) -> Result<(), RelayError> {
        let is_open = self.open().await.inspect_err(|error| {
            tracing::error!(
                target: TARGET_RELAY,
                relay = %self.shared.id,
                error = with_causes(error),
                "the relay cannot start",
            );
        })?;
        if is_open {
            tracing::info!(target: TARGET_RELAY, relay = %self.shared.id, "the relay starts");
            self.serve().await;
            self.drain().await;
            tracing::info!(
                target: TARGET_RELAY,
                relay = %self.shared.id,
                published = self.tally.published,
                "the relay stops",
            );
        }
        Ok(())
    }

    /// Waits for the store to be there. False if it was told to stop before.
    async fn open(&mut self) -> Result<bool, RelayError> {
        let mut failures = 0;
        loop {
            let opened = tokio::select! {
                biased;
                _ = self.stop.changed() => return Ok(false),
                opened = in_time(self.shared.settings.lease, self.shared.store.open()) => opened,
            };
            match opened {
                Ok(sharding) => {
                    self.shared.check_lanes(&sharding)?;
                    self.shards.divide(&sharding);
                    self.shared.vitals.opened();
                    return Ok(true);
                }
                Err(
                    error @ (StoreError::Mismatch { .. } | StoreError::OtherApplication { .. }),
                ) => {
                    return Err(error.into());
                }
                Err(error) => {
                    failures += 1;
                    let wait = OUTAGE.wait(failures, &mut fastrand::Rng::new());
                    tracing::error!(
                        target: TARGET_RELAY,
                        relay = %self.shared.id,
                        error = with_causes(&error),
                        ?wait,
                        "the outbox store cannot be opened, will try again",
                    );
                    if timeout(wait, self.stop.changed()).await.is_ok() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    async fn serve(&mut self) {
        let mailbox = Arc::clone(&self.mailbox);
        loop {
            self.start_what_is_due();
            let next = self.next_timer();
            tokio::select! {
                biased;
                _ = self.stop.changed() => return,
                Some(report) = self.tasks.join_next(), if !self.tasks.is_empty() => self.take(report),
                () = mailbox.filled() => self.woken(mailbox.take()),
                () = sleep_until(next) => {}
            }
        }
    }

    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        if self.next_beat.is_some_and(|at| at <= now) {
            self.beat(true);
        }
        if self.next_poll.is_some_and(|at| at <= now) {
            self.next_poll = None;
            self.poll(now);
        }
        if self.next_prune.is_some_and(|at| at <= now) {
            self.next_prune = None;
            self.prune();
        }
        self.shards.queue_due(now);
        loop {
            let free = self.shared.settings.workers.saturating_sub(self.workers);
            let Some(shard) = self.shards.next_ready(free) else {
                break;
            };
            self.work(shard);
        }
        self.shards.make_room();
    }

    fn next_timer(&self) -> Instant {
        let timers = [
            self.next_beat,
            self.next_poll,
            self.next_prune,
            self.shards.next_due(),
        ];
        // The heartbeat's own limit in case only a call is on its way.
        timers
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + self.shared.settings.lease)
    }

    fn beat(&mut self, claim: bool) {
        self.next_beat = None;
        let settings = &self.shared.settings;
        let beat = Heartbeat {
            relay: self.shared.id,
            ttl: settings.lease,
            lanes: settings.lanes.clone(),
            claim,
            idle: self.shards.offer(),
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let asked = Instant::now();
            let call = async { in_time(shared.settings.lease, shared.store.heartbeat(beat)).await };
            Report::Beat {
                asked,
                result: caught(call).await,
            }
        });
    }

    fn poll(&mut self, now: Instant) {
        let idle = self.shards.idle();
        let blocked = self.shared.breakers.blocked_until(now);
        if idle.is_empty() || blocked.is_some() {
            self.next_poll = Some(blocked.unwrap_or_else(|| self.next_poll(now)));
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let without = shared.breakers.without(Instant::now());
            let call =
                async { in_time(shared.settings.lease, shared.store.poll(&idle, &without)).await };
            Report::Poll {
                result: caught(call).await,
            }
        });
    }

    fn prune(&mut self) {
        let Some(prune) = self.shared.settings.prune() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            // It goes on batch by batch, for as long as it takes but not for ever.
            let call = async { in_time(prune.every, shared.store.prune(prune)).await };
            Report::Prune {
                result: caught(call).await,
            }
        });
    }

    fn woken(&mut self, woken: Woken) {
        if woken.all {
            self.poll_soon();
        }
        woken
            .shards
            .into_iter()
            .for_each(|shard| self.shards.has_events(shard));
    }

    fn work(&mut self, shard: ShardId) {
        let shared = Arc::clone(&self.shared);
        let (sender, stop) = watch::channel(false);
        let Some(task) = self.shards.start(shard, sender) else {
            return;
        };
        self.workers += 1;
        self.worked(Instant::now());
        self.tasks.spawn(run_worker(shared, task, stop));
    }

    fn take(&mut self, report: Result<Report, tokio::task::JoinError>) {
        // Tasks catch their panics, and are aborted only after `serve`.
        let Ok(report) = report else { return };
        match report {
            Report::Worker {
                lease,
                end,
                left,
                tally,
            } => {
                self.tally += tally;
                self.worker_ended(lease, end, left);
            }
            Report::Late { lease, back } => self.came_back(lease, back),
            Report::Beat {
                asked,
                result: Ok(holdings),
            } => self.beaten(asked, holdings),
            Report::Beat {
                result: Err(error), ..
            } => {
                self.shards.keep_offered();
                self.next_beat = Some(Instant::now() + self.outage(&error));
            }
            Report::Poll { result: Ok(ready) } => self.polled(ready),
            Report::Prune { result } => self.pruned(result),
            Report::Poll { result: Err(error) } => {
                self.next_poll = Some(Instant::now() + self.outage(&error))
            }
        }
    }

    fn worker_ended(&mut self, lease: Lease, end: End, left: Left) {
        let Left {
            machine,
            heard,
            late,
            has_tried,
        } = left;
        self.workers -= 1;
        if has_tried {
            self.shards.tried(lease.shard);
        }
        let out = late.as_ref().map_or(0, LateWaves::len);
        if !matches!(end, End::Lost) && self.shards.postponed(lease, heard, out) {
            late.into_iter().for_each(|late| self.listen(lease, late));
        }
        let now = Instant::now();
        match end {
            End::Lost => self.lost(lease),
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
        // A destination may have gone away since the next poll was decided.
        let trial = self.shared.breakers.next_trial(now);
        self.next_poll = self
            .next_poll
            .map(|at| trial.map_or(at, |trial| trial.min(at)));
        self.take_up_returned();
        if self.shards.has_retired() {
            self.beat_soon(now);
        }
    }

    /// The shard rests, and the worker's place is free for the others.
    fn worker_failed(&mut self, lease: Lease, machine: Option<Box<Machine>>, error: &StoreError) {
        let error = with_causes(error);
        let wait = self.shards.failed(
            lease,
            machine,
            error.clone(),
            self.shared.settings.poll_idle,
        );
        tracing::error!(
            target: TARGET_RELAY, relay = %self.shared.id, shard = lease.shard, error, ?wait,
            "a worker failed; its shard rests, and the others go on",
        );
    }

    /// Looks at every shard as soon as possible.
    fn poll_soon(&mut self) {
        match &mut self.next_poll {
            Some(next) => *next = Instant::now(),
            // One is on its way, and may have been there already.
            None => self.polls_again = true,
        }
    }

    fn beaten(&mut self, asked: Instant, holdings: Holdings) {
        let now = Instant::now();
        self.failures = 0;
        self.shared.clock.set(asked, holdings.now);
        self.next_beat = Some((asked + self.shared.settings.heartbeat()).max(now));
        if !holdings.taken_over.is_empty() {
            tracing::info!(
                target: TARGET_RELAY, relay = %self.shared.id, shards = ?holdings.taken_over,
                "took shards over from a relay that vanished; what that had in flight is \
                 published again",
            );
        }
        let until = asked + self.shared.settings.lease;
        let changes = self.shards.renew(&holdings.leases, until);
        self.shared.vitals.holds(self.shards.len());
        if self.shared.vitals.stray(&holdings.stray) && !holdings.stray.is_empty() {
            tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, shards = ?holdings.stray,
                "events are written into shards outside of the recorded sharding; they are \
                 published, but restart the process that writes them: it uses another sharding",
            );
        }
        self.shared.vitals.failing(self.shards.failing());
        for lease in changes.lost {
            self.tell_lost(lease);
        }
        for (change, amount) in [("claimed", changes.claimed), ("released", changes.released)] {
            telemetry::count_by(telemetry::LEASE_CHANGES, "change", change, amount as u64);
        }
        if changes.claimed > 0 {
            self.next_poll = self.next_poll.map(|_| now);
        }
        self.shards.retire(holdings.surplus);
        if self.shards.has_retired() {
            self.beat_soon(now);
        }
    }

    fn polled(&mut self, ready: Vec<ShardId>) {
        let now = Instant::now();
        self.failures = 0;
        self.shards.have_events(ready);
        let again = std::mem::take(&mut self.polls_again);
        self.next_poll = Some(if again { now } else { self.next_poll(now) });
    }

    fn pruned(&mut self, result: Result<Option<u64>, StoreError>) {
        self.next_prune = self
            .shared
            .settings
            .prune()
            .map(|prune| Instant::now() + prune.every);
        match &result {
            Ok(removed) => telemetry::count(telemetry::PRUNED_EVENTS, removed.unwrap_or_default()),
            Err(error) => tracing::warn!(
                target: TARGET_RELAY, relay = %self.shared.id, error = with_causes(error),
                "published rows could not be pruned, will try again",
            ),
        }
        self.shared
            .vitals
            .pruned(result.err().map(|error| with_causes(&error)));
    }

    fn lost(&mut self, lease: Lease) {
        if self.shards.forget(lease) {
            self.tell_lost(lease);
            self.beat_soon(Instant::now());
        }
    }

    fn tell_lost(&self, lease: Lease) {
        telemetry::count_by(telemetry::LEASE_CHANGES, "change", "lost", 1);
        tracing::error!(
            target: TARGET_RELAY, relay = %self.shared.id, shard = lease.shard, epoch = lease.epoch,
            "the lease of a shard is lost, to another relay or because its row is gone; what was \
             in flight may be published twice",
        );
    }

    fn outage(&mut self, error: &StoreError) -> std::time::Duration {
        self.failures = self.failures.saturating_add(1);
        self.shared.vitals.store_failed(with_causes(error));
        let wait = OUTAGE.wait(self.failures, &mut fastrand::Rng::new());
        tracing::warn!(
            target: TARGET_RELAY, relay = %self.shared.id, error = with_causes(error), ?wait,
            "the outbox store failed, will try again",
        );
        wait
    }

    /// Does not wait a whole interval with shards that another relay is to get.
    fn beat_soon(&mut self, now: Instant) {
        let soon = now + self.shared.settings.poll_busy;
        self.next_beat = self.next_beat.map(|at| at.min(soon));
    }

    /// Where there are events, more may follow that nobody tells of: the next poll need not wait
    /// for the end of a silence.
    fn worked(&mut self, now: Instant) {
        self.pace.worked(now);
        let next = self.next_poll(now);
        self.next_poll = self.next_poll.map(|at| at.min(next));
    }

    /// No later than a destination that is away may be tried again: what is held for it waits for
    /// nothing else.
    fn next_poll(&mut self, now: Instant) -> Instant {
        if self.workers > 0 {
            self.pace.worked(now);
        }
        let next = later(now, self.pace.interval(now));
        self.shared
            .breakers
            .next_trial(now)
            .map_or(next, |trial| trial.min(next))
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
    let (is_patient, patience, late, has_tried) = (true, Some(PATIENCE), None, false);
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
        late,
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

/// A call of a store that may panic: that counts as an outage, so that the supervisor always gets
/// its report.
async fn caught<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> StoreError {
    StoreError::unavailable("the store panicked")
}
