//! One shard's work: advance, publish in waves, advance.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::breaker::Passage;
use super::deadline::Deadline;
use super::journal::{Journal, Tally};
use super::machine::Machine;
use super::store::{Advance, Advanced, Lease, RelayStore, Settlement, StoreError};
use crate::publish::{Delivery, PublishError, Publisher};
use crate::retry::RetryPolicy;
use crate::telemetry::TARGET_RELAY;

/// How long to wait for a store that does not answer, the n-th time.
pub(super) const OUTAGE: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(5), u32::MAX);

/// Works on one shard until it is empty, told to stop, or no longer its relay's.
#[derive(Debug)]
pub(super) struct Worker<S, P> {
    pub(super) shared: Arc<Shared<S, P>>,
    pub(super) lease: Lease,
    pub(super) deadline: Deadline,
    pub(super) machine: Box<Machine>,
    pub(super) stop: watch::Receiver<bool>,
    /// Whether an outage of the store is waited for, or ends the work.
    pub(super) is_patient: bool,
    pub(super) tally: Tally,
}

/// Why a worker ended.
#[derive(Debug)]
pub(super) enum End {
    /// The shard is empty; the next held row is due so long from now.
    Idle { next_due: Option<Duration> },
    /// Its turn is over, there may be more.
    Turn,
    /// It was told to stop, everything answered is settled.
    Stopped,
    /// The broker is away, everything answered is settled; to be taken up again then.
    Paused { until: Instant },
    /// The shard belongs to another relay.
    Lost,
    /// The store failed and nobody wants to wait.
    Failed(StoreError),
}

impl<S: RelayStore, P: Publisher> Worker<S, P> {
    /// Takes batches for as long as its `turn` lasts, at least one.
    pub(super) async fn run(&mut self, turn: Duration) -> End {
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut settled = Vec::new();
        loop {
            let passage = shared.breaker.enter(Instant::now());
            let rows = match &passage {
                Passage::Free => shared.settings.batch,
                Passage::Trial(_) => 1,
                Passage::Blocked(until) => return self.settle(settled, End::Paused { until: *until }).await,
            };
            let advanced = match self.advance(settled, rows).await {
                Ok(advanced) => advanced,
                Err(end) => return end,
            };
            let (is_empty, next_due) = (advanced.fresh.is_empty() && advanced.held.is_empty(), advanced.next_due);
            self.machine.take(advanced, rows, &mut Journal::new(&mut self.tally));
            if is_empty {
                return End::Idle { next_due };
            }
            self.publish(matches!(passage, Passage::Trial(_))).await;
            settled = self.machine.take_settlements();
            if self.is_told_to_stop() {
                return self.settle(settled, End::Stopped).await;
            }
            if begun.elapsed() >= turn {
                return self.settle(settled, End::Turn).await;
            }
        }
    }

    /// Publishes the batch wave by wave. What may no longer be sent is left in the store.
    async fn publish(&mut self, is_trial: bool) {
        while !self.is_told_to_stop() && !self.deadline.has_passed() {
            let Some(wave) = self.machine.next_wave() else { return };
            let answers = self.shared.publish(wave).await;
            let pause = self.shared.breaker.note(&answers, Instant::now());
            if let Some(pause) = pause {
                tell_outage(&answers, pause);
            }
            // A failed trial says nothing about its events: they stay as they are.
            if !(is_trial && pause.is_some()) {
                self.machine.answer(answers, &mut Journal::new(&mut self.tally));
            }
            if pause.is_some() {
                break;
            }
        }
        self.machine.abandon();
    }

    async fn settle(&mut self, settled: Vec<Settlement>, end: End) -> End {
        if settled.is_empty() {
            return end;
        }
        self.advance(settled, 0).await.err().unwrap_or(end)
    }

    /// Calls the store until it answers. Repeating the call is safe: what was settled stays settled.
    async fn advance(&mut self, settled: Vec<Settlement>, rows: usize) -> Result<Advanced, End> {
        let ttl = self.shared.settings.lease;
        let revision = self.machine.revision();
        let request = Advance {
            lease: self.lease,
            ttl,
            settled,
            fresh: rows,
            held: rows,
            revision,
            without: Vec::new(),
            keep_published: false,
        };
        let mut failures = 0;
        loop {
            let asked = Instant::now();
            match in_time(ttl, self.shared.store.advance(request.clone())).await {
                Ok(advanced) => {
                    self.deadline.extend(asked + ttl);
                    return Ok(advanced);
                }
                Err(StoreError::LeaseLost { .. }) => return Err(End::Lost),
                Err(error) if !self.is_patient => return Err(End::Failed(error)),
                Err(error) => {
                    failures += 1;
                    self.wait_out(failures, &error).await;
                }
            }
            if self.is_told_to_stop() && request.settled.is_empty() {
                return Err(End::Stopped);
            }
        }
    }

    /// Waits for the store to come back, or to be told to stop.
    async fn wait_out(&mut self, failures: u32, error: &StoreError) {
        let wait = OUTAGE.wait(failures, &mut fastrand::Rng::new());
        tracing::warn!(
            target: TARGET_RELAY, shard = self.lease.shard, error = chain(error), failures, ?wait,
            "the outbox store failed, will try again",
        );
        if self.is_told_to_stop() {
            tokio::time::sleep(wait).await;
        } else {
            // A closed channel means stop as well, and the caller looks.
            let _ = timeout(wait, self.stop.changed()).await;
        }
    }

    fn is_told_to_stop(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }
}

impl<S: RelayStore, P: Publisher> Shared<S, P> {
    /// Asks the publisher; a panic or a missing answer is a failure of the whole wave.
    async fn publish(&self, wave: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let limit = self.settings.publish_timeout;
        let publishing = AssertUnwindSafe(async { self.publisher.publish(wave).await }).catch_unwind();
        let failure = match timeout(limit, publishing).await {
            Ok(Ok(answers)) => return answers,
            Ok(Err(panic)) => format!("the publisher panicked: {}", panic_text(&*panic)),
            Err(_) => format!("the publisher did not answer within {limit:?}"),
        };
        wave.iter().map(|_| Err(PublishError::transient(failure.clone()))).collect()
    }
}

fn tell_outage(answers: &[Result<(), PublishError>], pause: Duration) {
    let error = answers.iter().find_map(|answer| answer.as_ref().err()).map(PublishError::chain);
    tracing::warn!(target: TARGET_RELAY, error, ?pause, "the broker seems to be away, publishing pauses");
}

/// A call of the store that is given up after `limit`: a connection that hangs must not hang the relay.
pub(super) async fn in_time<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, call).await.unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)))
}

/// An error with its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &dyn Display {
    let text = panic.downcast_ref::<&str>().map(|text| text as &dyn Display);
    text.or_else(|| panic.downcast_ref::<String>().map(|text| text as &dyn Display)).unwrap_or(&"without a message")
}
