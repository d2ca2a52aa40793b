//! Keeps the circuits of a relay in step with those of the others, through the store.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::breaker::Errand;
use super::store::{Opening, RelayStore, StoreError};
use super::worker::{chain, in_time};
use crate::telemetry::TARGET_RELAY;

/// How long a trial is claimed for at least: no shorter than the longest pause, so that a relay that dies while it tries does not make
/// trials more frequent.
const HOLD: Duration = Duration::from_secs(30);

/// How long after it was claimed a trial begins at the latest.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);

/// When the store is told again that a destination is back, if it could not be told.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// How long after it was due a trial that nobody claimed belongs to an earlier outage. Relays ask every second.
const STALE: Duration = Duration::from_secs(60);

impl<S: RelayStore, P> Shared<S, P> {
    /// Runs the errands of the circuits, one after another, for as long as it is polled. Calls `wake` when a destination may be tried.
    pub(super) async fn keep_circuits(&self, wake: impl Fn()) -> Infallible {
        loop {
            while let Some(errand) = self.breakers.next_errand(Instant::now()) {
                self.run_errand(errand, &wake).await;
            }
            let question = self.breakers.next_question();
            tokio::select! {
                () = self.breakers.has_errands() => {}
                () = sleep_until(question.unwrap_or_else(Instant::now)), if question.is_some() => {}
            }
        }
    }

    async fn run_errand(&self, errand: Errand, wake: &impl Fn()) {
        match errand {
            Errand::Open { destination, trials, pause } => {
                let opening = Opening { relay: self.id, destination, trials, pause, stale: STALE };
                self.ask(self.store.open_circuit(opening)).await;
            }
            Errand::Close { destination } => {
                if self.ask(self.store.close_circuit(&destination)).await.is_none() {
                    sleep(TELL_AGAIN).await;
                    self.breakers.untold(&destination);
                }
            }
            Errand::Claim { destination } => {
                // Long enough for a trial that begins in time and hangs.
                let hold = self.settings.publish_timeout.saturating_add(BEGIN_WITHIN).max(HOLD);
                let until = Instant::now() + BEGIN_WITHIN;
                let claim = self.ask(self.store.claim_trial(self.id, &destination, hold)).await;
                if self.breakers.claimed(&destination, claim, Instant::now(), until) {
                    wake();
                }
            }
        }
    }

    /// The store's answer; none if it fails, hangs or panics.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let answer = AssertUnwindSafe(in_time(self.settings.lease, call)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| Err(StoreError::unavailable("the store panicked")));
        let failed = |error: &StoreError| {
            tracing::warn!(
                target: TARGET_RELAY, relay = %self.id, error = chain(error),
                "the relays could not agree on trials of a destination that is away, this one tries for itself",
            );
        };
        answer.inspect_err(failed).ok()
    }
}
