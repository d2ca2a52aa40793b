//! Keeps the leases, finds the shards that have events, and starts workers on them.

use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_core::report::with_causes;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use self::pace::Pace;
use self::shards::Shards;
use super::error::RelayError;
use super::in_flight::InFlight;
use super::journal::Tally;
use super::send::Sent;
use super::shared::Shared;
use super::wake::{Mailbox, Woken};
use super::worker::{End, OUTAGE, in_time};
use crate::machine::Machine;
use crate::publish::Publisher;
use crate::store::{Holdings, Lease, Leftovers, RelayStore, StoreError};
use crate::telemetry::TARGET_RELAY;

mod calls;
mod drain;
mod late;
mod pace;
mod shards;
mod workers;

/// The task that directs the other tasks of a relay. It does not wait for the store or the
/// publisher itself.
#[derive(Debug)]
pub(super) struct Supervisor<S, P> {
    shared: Arc<Shared<S, P>>,
    mailbox: Arc<Mailbox>,
    stop: watch::Receiver<bool>,
    shards: Shards,
    tasks: JoinSet<Report>,
    workers: usize,
    /// The time of the next heartbeat; `None` during a call.
    next_beat: Option<Instant>,
    next_poll: Option<Instant>,
    /// True if another poll is due at once when the running one returns.
    polls_again: bool,
    next_prune: Option<Instant>,
    /// True after the leftovers were asked for.
    has_looked: bool,
    pace: Pace,
    failures: u32,
    tally: Tally,
}

/// The result of a task.
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
    Leftovers {
        result: Result<Vec<(Arc<str>, Leftovers)>, StoreError>,
    },
}

/// The outcome of waiting for a late wave.
#[derive(Debug)]
enum Back {
    One(Box<Sent>, InFlight),
    /// The task panicked outside of the publisher: this number of waves will not return.
    Broken(usize),
}

/// The state that a worker leaves to the next worker on its shard.
#[derive(Debug, Default)]
struct Left {
    machine: Option<Box<Machine>>,
    heard: Vec<Sent>,
    late: InFlight,
    /// True if the worker was a trial of a destination.
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
            has_looked: false,
            pace,
            failures: 0,
            tally: Tally::default(),
        }
    }

    /// Runs until the relay is told to stop, or the store refuses it for good.
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

    /// Waits until the store is available. Returns false if the relay was told to stop before.
    async fn open(&mut self) -> Result<bool, RelayError> {
        let mut failures = 0;
        loop {
            let opened = tokio::select! {
                biased;
                _ = self.stop.changed() => return Ok(false),
                opened = in_time(self.shared.settings.lease, self.shared.open()) => opened,
            };
            match opened {
                Ok(sharding) => {
                    self.shared.check_lanes(&sharding)?;
                    self.shards.divide(&sharding);
                    self.shared.vitals.opened();
                    return Ok(true);
                }
                Err(
                    error @ (StoreError::Mismatch { .. }
                    | StoreError::OtherApplication { .. }
                    | StoreError::MissingPublishers),
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
        let (mailbox, shared) = (Arc::clone(&self.mailbox), Arc::clone(&self.shared));
        loop {
            self.start_what_is_due();
            let next = self.next_timer();
            tokio::select! {
                // An order to stop comes before reports, and reports before new wakes.
                biased;
                _ = self.stop.changed() => return,
                Some(report) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.take(report);
                }
                () = shared.slots.freed_for_rows() => self.look_for_returned(),
                () = mailbox.filled() => self.woken(mailbox.take()),
                () = sleep_until(next) => {}
            }
        }
    }

    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        if self.next_beat.is_some_and(|at| at <= now) {
            self.start_heartbeat(true);
        }
        if self.next_poll.is_some_and(|at| at <= now) {
            self.next_poll = None;
            self.start_poll(now);
        }
        if self.next_prune.is_some_and(|at| at <= now) {
            self.next_prune = None;
            self.start_prune();
        }
        self.shards.queue_due(now);
        loop {
            let free = self.shared.settings.workers.saturating_sub(self.workers);
            let Some(shard) = self.shards.next_ready(free) else {
                break;
            };
            self.start_worker(shard);
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
        // The duration of a lease, if the only work is a call that has not returned.
        timers
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + self.shared.settings.lease)
    }

    fn woken(&mut self, woken: Woken) {
        if woken.all {
            self.poll_soon();
        }
        woken
            .shards
            .into_iter()
            .for_each(|shard| self.shards.queue_shard(shard));
    }

    fn take(&mut self, report: Result<Report, JoinError>) {
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
            Report::Late { lease, back } => self.take_late(lease, back),
            Report::Beat {
                asked,
                result: Ok(holdings),
            } => self.take_holdings(asked, holdings),
            Report::Beat {
                result: Err(error), ..
            } => {
                self.shards.keep_offered();
                self.next_beat = Some(Instant::now() + self.outage(&error));
            }
            Report::Poll { result: Ok(ready) } => self.take_ready(ready),
            Report::Prune { result } => self.take_pruned(result),
            Report::Leftovers { result } => self.take_leftovers(result),
            Report::Poll { result: Err(error) } => {
                self.next_poll = Some(Instant::now() + self.outage(&error))
            }
        }
    }
}
