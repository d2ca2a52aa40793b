//! The renewal of a lease, and its answer; the limit of a wait for a lock.

use std::time::Duration;

use bento_relay::store::Lease;

use crate::tables::Tables;

/// The lease that [`Dialect::renew`](super::Dialect::renew) renews.
#[derive(Debug)]
pub(crate) struct Renewal<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) lease: Lease,
    pub(crate) ttl: Duration,
    /// Positions of the shard to delete along the way.
    pub(crate) published: Vec<i64>,
    /// True if their rows are kept as published.
    pub(crate) keep: bool,
}

/// The answer of a renewed lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewed {
    /// The revision of the shard's held rows.
    pub(crate) revision: i64,
    /// The transactions that are still running, where the back end can tell.
    pub(crate) horizon: Option<Horizon>,
}

/// The transactions and positions of PostgreSQL at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Horizon {
    /// The id of this transaction.
    pub(crate) own: i64,
    /// Every transaction with a smaller id had ended.
    pub(crate) oldest_running: i64,
    /// The last position that was handed out.
    pub(crate) last_position: i64,
    /// See [`Dialect::history`](super::Dialect::history).
    pub(crate) history: i64,
}

/// The limit of the time for which a SELECT waits for the rows that it locks.
#[derive(Debug)]
pub(crate) struct LockLimit {
    /// The statement before it.
    pub(crate) before: Option<String>,
    /// Its end.
    pub(crate) end: String,
    /// The statement behind it, which takes the limit off.
    pub(crate) behind: Option<&'static str>,
}

impl LockLimit {
    /// No limit.
    pub(super) fn none(lock_rows: &str) -> Self {
        Self {
            before: None,
            end: lock_rows.to_owned(),
            behind: None,
        }
    }
}
