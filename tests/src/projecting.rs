//! The names that the process with projections shares with the test that starts it.

use std::time::Duration;

use bento_core::domain_event;

/// The duration of a lease.
pub const LEASE: Duration = Duration::from_millis(500);

/// The cents of a credit for which each version raises an event.
pub const NOTED: i64 = 1_000;

/// The most stored events of a page.
pub const PAGE: usize = 500;

/// Raised by a version of the projection, for a credit.
#[domain_event(schema = "balance.noted", version = 1)]
#[derive(Clone, Debug)]
pub struct Noted {
    /// The event of the credit.
    pub source: String,
    /// The version.
    pub version: i64,
}

/// The versions that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Version 1, at whose points the process is killed.
    First,
    /// Version 1 and version 2, at whose points the process is killed.
    Both,
}

impl Release {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Both => "both",
        }
    }

    /// The release of this name; [`First`](Self::First) for another.
    pub fn from_name(name: &str) -> Self {
        match name {
            "both" => Self::Both,
            _ => Self::First,
        }
    }
}

/// The points at which a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The relay has brought a batch, and nothing is locked.
    BeforeLock,
    /// The row of the version is locked, and nothing is written.
    BeforeProject,
    /// The read model is written, and no checkpoint is.
    AfterProject,
    /// The process goes on from there, and is killed within a few milliseconds: among the
    /// checkpoints, at the commit, or behind it.
    AroundCommit,
    /// The batch is committed, and the relay has no answer.
    BeforeAnswer,
    /// The last event of the store is projected, and no checkpoint is written.
    BeforeSwap,
    /// The process goes on from there, and is killed within a few milliseconds: before the swap, at
    /// its commit, or between that and the view.
    AroundSwap,
    /// Nowhere.
    Never,
}

impl Point {
    /// Those of a version that is live.
    pub const LIVE: [Self; 5] = [
        Self::BeforeLock,
        Self::BeforeProject,
        Self::AfterProject,
        Self::AroundCommit,
        Self::BeforeAnswer,
    ];

    /// Those of a page of a build.
    pub const PAGE: [Self; 3] = [Self::BeforeProject, Self::AfterProject, Self::AroundCommit];

    /// Those of the end of a build.
    pub const END: [Self; 2] = [Self::BeforeSwap, Self::AroundSwap];

    /// True if the process goes on when it has told that it is there.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::AroundCommit | Self::AroundSwap)
    }

    /// The name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeLock => "before-lock",
            Self::BeforeProject => "before-project",
            Self::AfterProject => "after-project",
            Self::AroundCommit => "around-commit",
            Self::BeforeAnswer => "before-answer",
            Self::BeforeSwap => "before-swap",
            Self::AroundSwap => "around-swap",
            Self::Never => "never",
        }
    }

    /// The point of this name; [`Never`](Self::Never) for another.
    pub fn from_name(name: &str) -> Self {
        let mut all = Self::LIVE.into_iter().chain(Self::END);
        all.find(|point| point.name() == name)
            .unwrap_or(Self::Never)
    }
}
