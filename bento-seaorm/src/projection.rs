//! Projections in the database: the record of each version, checkpoints, the build and the swap.
//!
//! A batch of a projection locks the row of its version first. So one batch of a version runs at a
//! time, in all processes, and nothing else has to be locked: checkpoints, the place of the build
//! and the status change under that lock.
//!
//! While a version is built, the build brings the events that are stored. An event that comes from
//! a relay meanwhile is answered under the lock: the build reads it, because it is stored before it
//! is sent, and the last page of the build is read under the lock that the swap holds. The swap and
//! that page are one transaction, so no event is between them.
//!
//! Decision: docs/decisions/0043-a-build-ends-under-the-lock-of-its-projection.md

mod build;
mod checkpoint;
mod control;
mod effects;
mod ending;
mod failure;
mod record;
mod route;
mod swap;

use std::fmt;
use std::time::Duration;

use bento_core::EventId;
use bento_relay::handler_control::HandlerPause;
use bento_relay::store::RelayId;
use chrono::{DateTime, Utc};

#[doc(hidden)]
pub use self::build::Built;
pub use self::control::{ProjectionError, Projections};
#[doc(hidden)]
pub use self::failure::Stopped;
#[doc(hidden)]
pub use self::record::ProjectionRow;
#[doc(hidden)]
pub use self::swap::Swapped;
use crate::checkpoint::ProjectionKey;

/// The log target of an operator's commands.
const TARGET: &str = "bento::project";

/// The status of a version of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProjectionStatus {
    /// It is recorded, and is built once an operator says so.
    Waiting,
    /// It is built from the stored events, beside the version that is live.
    Building,
    /// Its read model is the one to be read.
    Live,
    /// A higher version is live. It goes on as long as a relay serves it.
    Replaced,
    /// A higher version is live, and no relay serves this one any more. Its tables are as they were
    /// then. It is built on from there, should a relay serve it again.
    Retired,
}

impl ProjectionStatus {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Building,
        Self::Live,
        Self::Replaced,
        Self::Retired,
    ];

    /// The name, as it is stored and shown: `building`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Live => "live",
            Self::Replaced => "replaced",
            Self::Retired => "retired",
        }
    }

    /// True if stored events come from the build, and those of a relay are answered without it.
    pub fn is_before_live(self) -> bool {
        matches!(self, Self::Waiting | Self::Building | Self::Retired)
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for ProjectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version of a projection, with what an operator asks about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProjectionState {
    /// The version.
    pub key: ProjectionKey,
    /// The status.
    pub status: ProjectionStatus,
    /// The time at which it was recorded, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// The time at which it became live; `None` for a version that never was.
    pub live_at: Option<DateTime<Utc>>,
    /// The progress of the build.
    pub build: BuildProgress,
    /// The reason for which it has stopped; `None` for one that goes on.
    pub stop: Option<ProjectionStop>,
    /// The pause; `None` for a projection that is not paused.
    pub pause: Option<HandlerPause>,
    /// The events that relays hold for it.
    pub held: u64,
    /// The living relays that serve it, ordered by id.
    pub served_by: Vec<RelayId>,
}

/// The progress of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BuildProgress {
    /// The stored events that were read.
    pub read: u64,
    /// The stored events when they were last counted, at the beginning of the build or later.
    pub total: u64,
    /// The time for which it was worked on.
    pub worked: Duration,
}

impl BuildProgress {
    /// The events that were read in a second, while the build was worked on.
    pub fn rate(&self) -> f64 {
        let seconds = self.worked.as_secs_f64();
        if seconds > 0.0 {
            self.read as f64 / seconds
        } else {
            0.0
        }
    }

    /// The time that is left at this rate; `None` until there is one.
    pub fn left(&self) -> Option<Duration> {
        let rate = self.rate();
        let left = self.total.saturating_sub(self.read) as f64;
        (rate > 0.0).then(|| Duration::try_from_secs_f64(left / rate).unwrap_or(Duration::MAX))
    }
}

/// The reason for which a projection has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionStop {
    /// The event at which it has stopped; `None` if the reason is not one of the events.
    pub event_id: Option<EventId>,
    /// The error, with its causes.
    pub reason: String,
    /// The time, by the database's clock.
    pub stopped_at: DateTime<Utc>,
}
