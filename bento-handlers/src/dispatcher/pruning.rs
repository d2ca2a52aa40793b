//! The removal of old records of handled events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bento_seaorm::OutboxConnection;
use tokio::time::Instant;

use crate::telemetry::TARGET_HANDLE;

/// The time between two removals of a process.
const EVERY: Duration = Duration::from_secs(600);

/// The most records that one statement removes.
const ROWS: u32 = 1000;

/// The time for which a record is kept, and when the next ones are removed.
#[derive(Debug)]
pub(super) struct Pruning {
    retention: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pruning {
    pub(super) fn retention(&self) -> Duration {
        self.retention
    }

    pub(super) fn new(retention: Duration) -> Self {
        let next = Mutex::default();
        Self { retention, next }
    }

    /// Removes old records in the background, if it is time to.
    pub(super) fn at_times(&self, db: &OutboxConnection) {
        if self.is_due(Instant::now()) {
            tokio::spawn(prune(db.clone(), self.retention));
        }
    }

    /// True if records are due to be removed. The first time is random, so that records are removed
    /// also where every process lives for less than the interval.
    fn is_due(&self, now: Instant) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = *next.get_or_insert_with(|| now + EVERY.mul_f64(fastrand::f64()));
        let is_due = due <= now;
        if is_due {
            *next = Some(now + EVERY);
        }
        is_due
    }
}

/// Removes old records, batch by batch. A failure leaves the rest to the next time.
async fn prune(db: OutboxConnection, retention: Duration) {
    loop {
        match db.prune_handled(retention, ROWS).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    target: TARGET_HANDLE,
                    %error,
                    "old records of handled events could not be removed, will try again",
                );
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_processes_that_live_for_a_minute_some_remove_records() {
        let (began, retention) = (Instant::now(), Duration::ZERO);
        let processes: Vec<_> = (0..1000).map(|_| Pruning::new(retention)).collect();
        let are_due = |after: Duration| {
            let processes = processes.iter();
            processes
                .filter(|process| process.is_due(began + after))
                .count()
        };
        assert_eq!(are_due(Duration::ZERO), 0);
        let within_a_minute = are_due(Duration::from_secs(60));
        assert!(
            (50..200).contains(&within_a_minute),
            "{within_a_minute} of 1000"
        );
        assert_eq!(within_a_minute + are_due(EVERY), 1000);
    }
}
