//! The memory of a shard's owner between two calls. Losing it costs time, never a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bento_core::outbox::ShardId;
use bento_relay::store::Lease;

use super::scan::Scan;

/// The memory of every shard.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<ShardId, Remembered>>);

/// The memory of one shard under one lease.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    epoch: i64,
    /// The bound at which reading may begin.
    pub(super) scan: Scan,
    /// The time when held rows have to be read.
    pub(super) held: HeldRows,
}

/// The time when held rows have to be read, provided that only the owner has changed them.
#[derive(Clone, Debug)]
pub(super) enum HeldRows {
    /// Now.
    Unknown,
    /// At this moment, or never if there is none.
    Until {
        revision: i64,
        without: Vec<Arc<str>>,
        due: Option<Instant>,
    },
}

impl Memory {
    /// Takes the memory of this lease out: a call that fails forgets.
    pub(super) fn take(&self, lease: Lease) -> Remembered {
        let known = self
            .lock()
            .remove(&lease.shard)
            .filter(|known| known.epoch == lease.epoch);
        known.unwrap_or(Remembered {
            epoch: lease.epoch,
            scan: Scan::default(),
            held: HeldRows::Unknown,
        })
    }

    /// Puts the memory back until the next call.
    pub(super) fn put(&self, shard: ShardId, remembered: Remembered) {
        self.lock().insert(shard, remembered);
    }

    /// Returns the position behind which reading the shard may begin.
    pub(super) fn floor(&self, shard: ShardId) -> i64 {
        self.lock()
            .get_mut(&shard)
            .map_or(0, |known| known.scan.floor())
    }

    /// Returns the history of the database to which the bound belongs.
    pub(super) fn history(&self, shard: ShardId) -> Option<i64> {
        self.lock().get(&shard)?.scan.history()
    }

    /// Returns the last position that the shard's last call saw handed out.
    pub(super) fn seen(&self, shard: ShardId) -> Option<i64> {
        self.lock().get(&shard)?.scan.seen()
    }

    /// Returns the epoch and the revision up to which no held row of the shard is due now, without
    /// those of these routes.
    pub(super) fn quiet(&self, shard: ShardId, without: &[Arc<str>]) -> Option<(i64, i64)> {
        let known = self.lock();
        let known = known.get(&shard)?;
        known
            .held
            .quiet_at(without, Instant::now())
            .map(|(revision, _)| (known.epoch, revision))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShardId, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldRows {
    /// Returns `None` if held rows have to be read now, else the time when they have to be.
    pub(super) fn quiet(
        &self,
        revision: i64,
        without: &[Arc<str>],
        now: Instant,
    ) -> Option<Option<Instant>> {
        let (known, due) = self.quiet_at(without, now)?;
        (known == revision).then_some(due)
    }

    /// The same for a revision that is still to be compared.
    fn quiet_at(&self, without: &[Arc<str>], now: Instant) -> Option<(i64, Option<Instant>)> {
        match self {
            Self::Until {
                revision,
                without: known,
                due,
            } if known == without && due.is_none_or(|due| due > now) => Some((*revision, *due)),
            _ => None,
        }
    }
}
