//! The clock of a store in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Time since the store was made, and what the wall clock said then.
#[derive(Debug)]
pub(super) struct MemoryClock {
    origin: DateTime<Utc>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Tokio(Instant),
    Manual(ManualClock),
}

/// Moves the clock of a store in memory. Clones move the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Lets the store's time pass.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).expect("a test lets less than 584 years pass");
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl MemoryClock {
    pub(super) fn tokio() -> Self {
        Self {
            origin: Utc::now(),
            source: Source::Tokio(Instant::now()),
        }
    }

    pub(super) fn manual() -> (Self, ManualClock) {
        let manual = ManualClock::default();
        (
            Self {
                origin: Utc::now(),
                source: Source::Manual(manual.clone()),
            },
            manual,
        )
    }

    pub(super) fn now(&self) -> Duration {
        match &self.source {
            Source::Tokio(start) => start.elapsed(),
            Source::Manual(clock) => Duration::from_nanos(clock.0.load(Ordering::SeqCst)),
        }
    }

    pub(super) fn wall(&self) -> DateTime<Utc> {
        self.origin + self.now()
    }
}
