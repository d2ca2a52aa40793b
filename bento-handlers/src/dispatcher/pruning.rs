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

    /// Removes old records in the background, if it is time to. The first call only begins the
    /// time.
    pub(super) fn at_times(&self, db: &OutboxConnection) {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = next.is_some_and(|next| next <= now);
        if next.is_none() || is_due {
            *next = Some(now + EVERY);
        }
        drop(next);
        if is_due {
            tokio::spawn(prune(db.clone(), self.retention));
        }
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
