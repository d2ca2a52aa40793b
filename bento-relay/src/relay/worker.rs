//! The work on one shard: advance, publish in waves, advance.

use std::future::{Future, pending};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::telemetry::{self, TARGET_RELAY};
use bento_core::report::with_causes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::breaker::Trial;
use super::deadline::Deadline;
use super::in_flight::InFlight;
use super::journal::{Journal, Tally};
use super::reply::{Break, Reply};
use super::send::Sent;
use super::shared::Shared;
use crate::machine::{Admission, Machine, Reach};
use crate::publish::{Destination, Publisher};
use crate::retry::RetryPolicy;
use crate::store::{Advance, Advanced, Lease, RelayStore, Settlement, StoreError};

/// The waits for a store that does not answer.
pub(super) const OUTAGE: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(5), u32::MAX);

/// The time that a batch waits for its last answers, if there are other destinations.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// The time that a batch waits for the next of its last calls, if their destinations answer one by
/// one.
const LAST_CALLS: Duration = Duration::from_millis(20);

/// The time after the last moment for an answer at which an event of a late wave is due by itself:
/// it leaves time to record the answer.
const MARGIN: Duration = Duration::from_secs(5);

/// Works on one shard until the shard is empty, the worker is told to stop, or the lease is lost.
#[derive(Debug)]
pub(super) struct Worker<S, P> {
    pub(super) shared: Arc<Shared<S, P>>,
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    pub(super) machine: Box<Machine>,
    pub(super) stop: watch::Receiver<bool>,
    /// True if the turn ends after the batch, because another lane waits.
    pub(super) make_room: Arc<AtomicBool>,
    /// True if the worker waits for a store that is unavailable; false if that ends the work.
    pub(super) is_patient: bool,
    /// The time to wait for a slow destination; `None` without a limit.
    pub(super) patience: Option<Duration>,
    /// Late waves that have returned and are not recorded.
    pub(super) heard: Vec<Sent>,
    /// The calls for late waves that are still out when the worker ends.
    pub(super) late: InFlight,
    pub(super) tally: Tally,
    /// True if the worker was a trial of a destination.
    pub(super) has_tried: bool,
}

/// The reason why a worker ended.
#[derive(Debug)]
pub(super) enum End {
    /// The shard is empty; the next held row is due after this time.
    Idle { next_due: Option<Duration> },
    /// The turn is over; the shard may have more events.
    Turn,
    /// The worker was told to stop; all answers are settled.
    Stopped,
    /// The only destination is unavailable; all answers are settled. The work goes on at `until`.
    Paused { until: Instant },
    /// The shard belongs to another relay.
    Lost,
    /// The store failed for this shard; or failed in a pass, which does not wait. The machine keeps
    /// the unrecorded outcomes.
    Failed(StoreError),
}

impl<S: RelayStore, P: Publisher> Worker<S, P> {
    /// Takes batches until its `turn` is over, at least one.
    pub(super) async fn run(&mut self, turn: Duration) -> End {
        let mut in_flight = InFlight::default();
        let end = self.take_batches(turn, &mut in_flight).await;
        self.late = in_flight;
        end
    }

    async fn take_batches(&mut self, turn: Duration, in_flight: &mut InFlight) -> End {
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        self.note_heard();
        let mut settled = self.machine.take_settlements();
        if self.is_told_to_stop() {
            return self.settle(settled, End::Stopped, in_flight).await;
        }
        loop {
            // The trial of the only destination; it ends with the batch.
            let only_trial = match shared.breakers.enter(Instant::now()) {
                Ok(trial) => trial,
                Err(until) => {
                    return self.settle(settled, End::Paused { until }, in_flight).await;
                }
            };
            let (most, bytes) = (shared.settings.batch, shared.settings.batch_bytes);
            let rows = match &only_trial {
                None => self.machine.batch_size.next(most, bytes),
                Some(_) => 1,
            };
            let (advanced, rows) = match self.advance_and_listen(settled, rows, in_flight).await {
                Ok(advanced) => advanced,
                Err(end) => return end,
            };
            let (is_empty, next_due) = (
                advanced.pending.is_empty() && advanced.held.is_empty(),
                advanced.next_due,
            );
            let is_only_one = shared.breakers.is_only_one();
            let is_trial = is_only_one.then_some(only_trial.is_some());
            if advanced.streams.is_some() {
                let handlers = advanced.handlers.iter().map(|handler| &handler.name);
                shared.roster.learn(handlers);
            }
            let mut trials = Vec::new();
            self.machine.take(
                advanced,
                rows,
                shared.clock.now(),
                &mut |destination: &Destination| reach(&shared, destination, is_trial, &mut trials),
                &mut Journal::new(&mut self.tally),
            );
            let missing = self.machine.take_missing();
            if !missing.is_empty() {
                shared.vitals.misses(missing);
            }
            self.note_heard();
            // Late answers may have come meanwhile; they are recorded before the worker ends.
            if is_empty {
                self.machine.close(&mut Journal::new(&mut self.tally));
                settled = self.machine.take_settlements();
                if settled.is_empty() {
                    return End::Idle { next_due };
                }
                continue;
            }
            self.has_tried |= only_trial.is_some() || !trials.is_empty();
            let sent = Instant::now();
            self.publish(is_only_one, trials, in_flight).await;
            self.machine.batch_size.published(sent.elapsed());
            settled = self.machine.take_settlements();
            if self.is_told_to_stop() {
                return self.settle(settled, End::Stopped, in_flight).await;
            }
            if begun.elapsed() >= turn || self.make_room.load(Ordering::Relaxed) {
                return self.settle(settled, End::Turn, in_flight).await;
            }
        }
    }

    /// Publishes the batch wave by wave, to all destinations at the same time. Events that may no
    /// longer be sent stay in the store; the answers of a slow destination are left to a later
    /// batch.
    async fn publish(
        &mut self,
        is_only_one: bool,
        mut trials: Vec<Trial>,
        in_flight: &mut InFlight,
    ) {
        let begun = Instant::now();
        let mut is_away = false;
        loop {
            // A slot that is given back from here on is not missed.
            let shared = Arc::clone(&self.shared);
            let freed = shared.slots.freed();
            while self.may_send(is_away) {
                let mut slot = None;
                let mut take_slot = |destination: &Arc<str>| {
                    slot = shared.slots.take(destination);
                    slot.is_some()
                };
                let Some(wave) = self.machine.next_wave(&mut take_slot) else {
                    break;
                };
                // The right to try goes with the wave, and ends when its answer is noted.
                let trial = trials
                    .iter()
                    .position(|trial| wave.is_trial() && trial.is_of(wave.destination()));
                let trial = trial.map(|index| trials.swap_remove(index));
                let shared = Arc::clone(&self.shared);
                in_flight.start(async move { shared.publish(wave, trial, slot).await });
            }
            let wants_slots = self.may_send(is_away) && self.machine.wants_slots();
            if !self.machine.is_waiting() && !wants_slots {
                break;
            }
            let end = self.end_of_wait(begun, is_only_one, wants_slots);
            tokio::select! {
                biased;
                sent = in_flight.next() => is_away |= self.note(sent) && is_only_one,
                () = freed, if wants_slots => {}
                () = until(end) => {
                    self.postpone(in_flight);
                    break;
                }
            }
        }
        self.machine.close(&mut Journal::new(&mut self.tally));
    }

    /// The end of the wait for the next answer, after which the batch ends without those that are
    /// missing; `None` without an end. Destinations that answer one by one keep no others waiting:
    /// once nothing else is out, and no event waits for a slot, only a moment is left for calls
    /// that are about to end.
    fn end_of_wait(&self, begun: Instant, is_only_one: bool, wants_slots: bool) -> Option<Instant> {
        let patience = self.patience?;
        let now = Instant::now();
        match (self.machine.awaits_a_batch(), is_only_one) {
            (true, true) => None,
            (true, false) => Some(now + patience),
            (false, true) if wants_slots => None,
            (false, false) if wants_slots => Some((begun + patience).max(now)),
            (false, _) => Some(now + LAST_CALLS),
        }
    }

    /// Leaves the waves that are out to a later batch.
    fn postpone(&mut self, in_flight: &mut InFlight) {
        for destination in self.machine.wanting_slots() {
            self.shared.slots.fall_behind(destination);
        }
        let limit = self.shared.settings.publish_timeout;
        let limit = self
            .machine
            .longest_limit()
            .map_or(limit, |own| own.max(limit));
        let wait = limit.saturating_add(MARGIN);
        for destination in self
            .machine
            .postpone(wait, &mut Journal::new(&mut self.tally))
        {
            in_flight.postpone(self.shared.breakers.postpone(destination));
        }
    }

    fn note_heard(&mut self) {
        for sent in mem::take(&mut self.heard) {
            self.note(sent);
        }
    }

    /// Records the reply to a wave. Returns true if it opened the circuit of its destination.
    fn note(&mut self, sent: Sent) -> bool {
        let Sent {
            wave,
            reply,
            trial: _trial,
            postponed: _postponed,
        } = sent;
        let (count, destination) = (wave.deliveries().len(), Arc::clone(wave.destination()));
        let (breakers, now) = (&self.shared.breakers, Instant::now());
        let pause = match &reply {
            Reply::Answers(answers) => breakers.note(&destination, answers, count, now),
            Reply::Broken {
                cause: Break::Panic,
                ..
            } if count > 1 && !self.machine.is_late(&wave) => {
                self.machine.divide(wave);
                return false;
            }
            Reply::Broken { error, cause } if error.class().is_answer() => {
                // The destination answers about other events, or one event breaks its call again
                // and again: neither is a failure of the destination.
                let is_outage = *cause != Break::Timeout
                    && !wave.answering().is_one_by_one()
                    && (wave.is_trial() || wave.deliveries()[0].attempts == 0);
                is_outage
                    .then(|| breakers.note_broken(&destination, count, error, now))
                    .flatten()
            }
            Reply::Broken { error, .. } => breakers.note_broken(&destination, count, error, now),
        };
        let ages = telemetry::histogram_of(telemetry::END_TO_END_SECONDS, Arc::clone(&destination));
        let mut journal = Journal::new(&mut self.tally).with_ages(ages, self.shared.clock.now());
        match reply {
            Reply::Broken { error, .. } => self.machine.fail(wave, &error, &mut journal),
            Reply::Answers(answers) => self.machine.answer(wave, answers, &mut journal),
        }
        // The circuit has just opened. With one destination the batch ends here instead.
        if pause.is_some() && !self.shared.breakers.is_only_one() {
            self.machine.shut(&destination);
        }
        pause.is_some()
    }

    /// Records the outcomes with which the worker ends.
    async fn settle(
        &mut self,
        settled: Vec<Settlement>,
        end: End,
        in_flight: &mut InFlight,
    ) -> End {
        if settled.is_empty() {
            return end;
        }
        let advanced = self.advance_and_listen(settled, 0, in_flight).await;
        advanced.err().unwrap_or(end)
    }

    /// Calls the store while the calls that are out go on: one may hold a lock that the store waits
    /// for, as a handler's transaction on SQLite does.
    async fn advance_and_listen(
        &mut self,
        settled: Vec<Settlement>,
        rows: usize,
        in_flight: &mut InFlight,
    ) -> Result<(Advanced, usize), End> {
        let mut heard = Vec::new();
        let advanced = {
            let mut advance = pin!(self.advance(settled, rows));
            loop {
                tokio::select! {
                    biased;
                    advanced = &mut advance => break advanced,
                    sent = in_flight.next() => heard.push(sent),
                }
            }
        };
        self.heard.append(&mut heard);
        advanced
    }

    /// Calls the store until it answers. Repeating the call is safe: settled events stay settled.
    /// An error of this shard alone ends the worker, so that the other shards get its place.
    /// Returns the rows with the number of rows that the last call asked for.
    async fn advance(
        &mut self,
        settled: Vec<Settlement>,
        rows: usize,
    ) -> Result<(Advanced, usize), End> {
        let mut request = self.request(settled, rows);
        let ttl = request.ttl;
        let mut failures = 0;
        loop {
            let asked = Instant::now();
            match in_time(ttl, self.shared.store.advance(request.clone())).await {
                Ok(mut advanced) => {
                    self.deadline.extend(asked + ttl);
                    Journal::new(&mut self.tally).dead_rows(mem::take(&mut advanced.dead_rows));
                    if request.pending > 0 {
                        self.machine.batch_size.arrived(request.pending, &advanced);
                    }
                    return Ok((advanced, request.pending));
                }
                Err(StoreError::LeaseLost { .. }) => return Err(End::Lost),
                Err(error) if !self.is_patient || error.is_of_one_shard() => {
                    return Err(self.give_up(request, error).await);
                }
                Err(error) => {
                    failures += 1;
                    if request.pending > 0 {
                        self.machine.batch_size.failed(request.pending);
                        let rows = (request.pending / 2).max(1);
                        (request.pending, request.held) = (rows, rows);
                    }
                    self.wait_out(failures, &error).await;
                }
            }
            // With outcomes to record the store is asked until it answers.
            if self.is_told_to_stop() && request.settled.is_empty() {
                return Err(End::Stopped);
            }
        }
    }

    fn request(&self, settled: Vec<Settlement>, rows: usize) -> Advance {
        Advance {
            lease: self.lease,
            ttl: self.shared.settings.lease,
            settled,
            pending: rows,
            held: rows,
            revision: self.machine.revision(),
            without: self.shared.without(Instant::now()),
            keep_published: self.shared.settings.retention.is_some(),
        }
    }

    /// Records published events even if the next rows cannot be read, or leaves them to the next
    /// worker of the shard.
    async fn give_up(&mut self, request: Advance, error: StoreError) -> End {
        let only_settle = Advance {
            pending: 0,
            held: 0,
            ..request
        };
        if only_settle.settled.is_empty() {
            return End::Failed(error);
        }
        let settled = only_settle.settled.clone();
        if error.is_of_one_shard() && request.pending > 0 {
            match in_time(only_settle.ttl, self.shared.store.advance(only_settle)).await {
                Ok(advanced) => {
                    Journal::new(&mut self.tally).dead_rows(advanced.dead_rows);
                    return End::Failed(error);
                }
                Err(StoreError::LeaseLost { .. }) => return End::Lost,
                Err(_) => {}
            }
        }
        self.machine.put_back(settled);
        End::Failed(error)
    }

    /// Waits for the store to become available, or for the order to stop.
    async fn wait_out(&mut self, failures: u32, error: &StoreError) {
        let wait = OUTAGE.wait(failures, &mut fastrand::Rng::new());
        self.shared.vitals.store_failed(with_causes(error));
        tracing::warn!(
            target: TARGET_RELAY,
            shard = self.lease.shard,
            error = with_causes(error),
            failures,
            ?wait,
            "the outbox store failed, will try again",
        );
        if self.is_told_to_stop() {
            tokio::time::sleep(wait).await;
        } else {
            // A closed channel means stop as well; the caller checks it.
            let _ = timeout(wait, self.stop.changed()).await;
        }
    }

    /// True while further waves of the batch may be sent.
    fn may_send(&self, is_away: bool) -> bool {
        !is_away && !self.is_told_to_stop() && !self.deadline.has_passed()
    }

    fn is_told_to_stop(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }
}

/// Returns the state of a destination for a batch; a trial that it grants is added to `trials`.
/// `is_trial` tells if the batch is one of the only destination, which was asked before.
fn reach<S, P: Publisher>(
    shared: &Shared<S, P>,
    destination: &Destination,
    is_trial: Option<bool>,
    trials: &mut Vec<Trial>,
) -> Reach {
    let is_served = shared.publisher.serves(destination);
    let answering = shared.publisher.answering(destination);
    shared.slots.note(&destination.name, answering);
    let admission = match is_trial {
        Some(true) => Admission::Trial,
        Some(false) => Admission::Open,
        None if !is_served => Admission::Open,
        None if shared.slots.is_behind(&destination.name) => Admission::Busy,
        None => {
            let (admission, trial) = shared.breakers.admit(&destination.name, Instant::now());
            trials.extend(trial);
            admission
        }
    };
    Reach {
        is_served,
        chains: is_served && !answering.is_one_by_one() && shared.publisher.chains(destination),
        answering,
        admission,
    }
}

/// Waits until a time; for ever without one.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// Limits the time of a call of the store, so that a connection that hangs does not hang the relay.
pub(super) async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call)
        .await
        .unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)))
}
