//! The backlog and its contenders: the same rows before every turn, and proof afterwards that each
//! was published once and is gone.

use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bento_benchmarks::Result;
use bento_benchmarks::cost::Meter;
use sea_orm::DatabaseConnection;

/// Bento's table, made by its migration.
pub(crate) const TABLE: &str = "bento_outbox";

/// The shards that an outbox has by default.
pub(crate) const SHARDS: Range<i32> = 0..16;

/// The programs that drain the outbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contender {
    /// The relay with one worker: one batch at a time, as the loop has it.
    OneWorker,
    /// The relay as it is by default.
    Bento,
    PlainLoop,
    ClaimAndMark,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneWorker => "Bento, one worker",
            Self::Bento => "Bento",
            Self::PlainLoop => "plain loop",
            Self::ClaimAndMark => "claim and mark",
        }
    }
}

/// The backlog to be drained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) rows: i64,
    pub(crate) batch: usize,
}

/// A database with the outbox.
pub(crate) trait Outbox {
    /// The programs that drain it.
    const CONTENDERS: &'static [Contender];

    /// The database and its version.
    fn version(&self) -> impl Future<Output = Result<String>> + Send;

    /// Makes the backlog anew: it was not read yet, and what an earlier turn left to be written is
    /// written.
    fn fill(&self, contender: Contender) -> impl Future<Output = Result> + Send;

    /// The connection of a relay.
    fn relay(&self) -> DatabaseConnection;

    /// Knows every session that a contender will use.
    fn meter(&self) -> impl Future<Output = Result<Meter>> + Send;

    /// Drains it the way of a contender that is written by hand.
    fn drain_by_hand(
        &self,
        contender: Contender,
        published: &Published,
    ) -> impl Future<Output = Result> + Send;

    /// The number of events that are still to be published.
    fn left(&self, contender: Contender) -> impl Future<Output = Result<i64>> + Send;
}

/// The publisher that does nothing but keep count.
#[derive(Debug, Default)]
pub(crate) struct Published {
    events: AtomicU64,
    sequences: AtomicI64,
}

impl Published {
    /// Takes a batch; `sequences` are those of its events.
    pub(crate) fn add(&self, sequences: impl Iterator<Item = i64>) {
        let (events, sum) = sequences.fold((0, 0), |(events, sum), sequence| {
            (events + 1, sum + sequence)
        });
        self.events.fetch_add(events, Ordering::Relaxed);
        self.sequences.fetch_add(sum, Ordering::Relaxed);
    }

    /// Checks that every row was published once, and that none is left to be published.
    pub(crate) fn verify(&self, rows: i64, left: i64) -> Result {
        let (events, sequences) = (
            self.events.load(Ordering::Relaxed),
            self.sequences.load(Ordering::Relaxed),
        );
        if left != 0 || events != rows.unsigned_abs() || sequences != rows * (rows + 1) / 2 {
            return Err(
                format!("{events} of {rows} events were published, {left} are left").into(),
            );
        }
        Ok(())
    }
}
