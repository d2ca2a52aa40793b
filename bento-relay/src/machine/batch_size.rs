//! The number of rows that a relay asks for at a time, so that large events fill neither its memory
//! nor a lease.
//!
//! The size of a row is known only once it is read. The first batch of a shard is small, and each
//! full batch doubles the next one, up to the number of rows and of bytes that the settings allow.
//! The bytes of a row are taken to be the average of the last batch. A call of the store that
//! failed halves the next one: it may have been too large to be answered in time.
//!
//! A batch is what a crash may repeat. A large one saves statements of the database only where the
//! broker is quick; where publishing takes its time, a batch stays at 200 rows.

use std::time::Duration;

use bento_core::envelope::Envelope;

use crate::store::Advanced;

/// The number of rows of the first batch of a shard.
const FIRST: usize = 16;

/// The number of rows above which a batch does not grow while publishing is slow.
const STEADY: usize = 200;

/// Publishing a batch is slow if it takes longer.
const QUICK: Duration = Duration::from_millis(100);

/// The size of the next batch of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSize {
    rows: usize,
    bytes_per_row: usize,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self::from(FIRST)
    }
}

impl From<usize> for BatchSize {
    /// A first batch of this many rows.
    fn from(rows: usize) -> Self {
        Self {
            rows,
            bytes_per_row: 0,
        }
    }
}

impl BatchSize {
    /// Returns the number of rows to ask for: at most `rows`, and about `bytes`, but at least one
    /// row.
    pub(crate) fn next(self, rows: usize, bytes: usize) -> usize {
        let fitting = bytes.checked_div(self.bytes_per_row).unwrap_or(usize::MAX);
        self.rows.min(rows).min(fitting).max(1)
    }

    /// Takes note of a batch that was asked for with this many rows.
    pub(crate) fn arrived(&mut self, asked: usize, advanced: &Advanced) {
        let held = advanced.held.iter().map(|held| &held.row);
        let (mut rows, mut bytes) = (0, 0);
        for row in advanced.pending.iter().chain(held) {
            rows += 1;
            bytes += bytes_of(&row.envelope);
        }
        self.bytes_per_row = bytes.checked_div(rows).unwrap_or(self.bytes_per_row);
        if advanced.pending.len() >= asked || advanced.held.len() >= asked {
            self.rows = self.rows.max(asked).saturating_mul(2);
        }
    }

    /// Takes note of how long it took to publish the batch.
    pub(crate) fn published(&mut self, took: Duration) {
        if took > QUICK {
            self.rows = self.rows.min(STEADY);
        }
    }

    /// Takes note of a call with this many rows that was not answered, or not in time.
    pub(crate) fn failed(&mut self, asked: usize) {
        self.rows = (asked / 2).max(1);
    }
}

fn bytes_of(envelope: &Envelope) -> usize {
    envelope.payload.len() + envelope.headers.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::OutboxRow;

    fn batch(rows: usize, bytes: usize) -> Advanced {
        let envelope = Envelope::new("a.b", 1, chrono::DateTime::UNIX_EPOCH, "x".repeat(bytes));
        let envelope = Arc::new(envelope);
        let row = |position| OutboxRow {
            position,
            envelope: Arc::clone(&envelope),
        };
        Advanced {
            pending: (0..).take(rows).map(row).collect(),
            ..Advanced::default()
        }
    }

    #[test]
    fn full_batches_grow_to_the_rows_that_the_settings_allow() {
        let mut size = BatchSize::default();
        let mut asked = Vec::new();
        for _ in 0..6 {
            let rows = size.next(200, 1 << 20);
            size.arrived(rows, &batch(rows, 10));
            asked.push(rows);
        }
        assert_eq!(asked, [16, 32, 64, 128, 200, 200]);
        size.arrived(200, &batch(3, 10));
        assert_eq!(
            size.next(200, 1 << 20),
            200,
            "a batch that was not full does not shrink the next one"
        );
    }

    #[test]
    fn batches_grow_beyond_200_rows_only_while_publishing_is_quick() {
        let mut size = BatchSize::default();
        let mut asked = Vec::new();
        for millis in [1, 1, 1, 1, 1, 1, 1, 150, 150, 1, 1] {
            let rows = size.next(1000, 1 << 20);
            size.arrived(rows, &batch(rows, 10));
            size.published(Duration::from_millis(millis));
            asked.push(rows);
        }
        assert_eq!(
            asked,
            [16, 32, 64, 128, 256, 512, 1000, 1000, 200, 200, 400]
        );
        let mut small = BatchSize::from(50);
        small.published(Duration::from_secs(1));
        assert_eq!(small.next(1000, 1 << 20), 50);
    }

    #[test]
    fn large_rows_are_bounded_in_bytes_and_one_is_always_asked_for() {
        let mut size = BatchSize::from(200);
        size.arrived(200, &batch(200, 1000));
        assert_eq!(size.next(200, 8000), 8);
        assert_eq!(size.next(200, 10), 1);
        size.arrived(1, &batch(0, 0));
        assert_eq!(
            size.next(200, 8000),
            8,
            "an empty batch says nothing about the size of rows"
        );
    }

    #[test]
    fn a_failed_call_halves_the_next_batch_and_full_ones_double_it() {
        let mut size = BatchSize::from(200);
        size.failed(200);
        assert_eq!(size.next(200, 1 << 20), 100);
        size.failed(100);
        size.arrived(50, &batch(50, 10));
        assert_eq!(size.next(200, 1 << 20), 100);
        size.failed(1);
        assert_eq!(size.next(200, 1 << 20), 1);
    }
}
