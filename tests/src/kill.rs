//! The constants and names that the relay process that aborts shares with the test that starts it.

use std::time::Duration;

/// The number of rows of a batch.
pub const BATCH: usize = 20;

/// The number of shards that are worked on at the same time.
pub const WORKERS: usize = 4;

/// The duration of a lease.
pub const LEASE: Duration = Duration::from_secs(1);

/// The time for which a settling transaction is under way when the process aborts.
pub const SETTLES_BEFORE_ABORT: Duration = Duration::from_millis(300);

/// The points at which a relay aborts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Shards are claimed, nothing is read.
    AfterClaim,
    /// A batch is with the broker, nothing is settled.
    AfterPublish,
    /// In the middle of the transaction that settles.
    DuringSettle,
    /// Everything is settled, the leases are held.
    WhileIdle,
    /// Nowhere.
    Never,
}

impl Point {
    const ALL: [Self; 5] = [
        Self::AfterClaim,
        Self::AfterPublish,
        Self::DuringSettle,
        Self::WhileIdle,
        Self::Never,
    ];

    /// The name of the point on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfterClaim => "after-claim",
            Self::AfterPublish => "after-publish",
            Self::DuringSettle => "during-settle",
            Self::WhileIdle => "while-idle",
            Self::Never => "never",
        }
    }

    /// The point of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|point| point.name() == name)
            .expect("the name of a point")
    }
}
