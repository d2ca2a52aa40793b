//! What the relay process that aborts and the test that starts it agree on.

use std::time::Duration;

/// How many rows it takes at a time.
pub const BATCH: usize = 20;

/// How many shards it works on at the same time.
pub const WORKERS: usize = 4;

/// How long its leases last.
pub const LEASE: Duration = Duration::from_secs(1);

/// How long a settling transaction is under way when the process aborts.
pub const SETTLES_BEFORE_ABORT: Duration = Duration::from_millis(300);

/// Where a relay aborts.
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

    /// How the command line and the report call it.
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
