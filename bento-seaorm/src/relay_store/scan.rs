//! The bound at which reading a shard may begin.
//!
//! Deleted rows stay in an index until no transaction can see them any more. While a transaction
//! holds an old snapshot, a scan from the start walks over all of them, and the relay slows down
//! with every event. So reading begins at a bound. The bound must never pass a row that is still to
//! appear, although transactions commit in another order than they take positions.
//!
//! The proof, on PostgreSQL: a position is handed out only after its transaction has an id (the
//! default of the column sees to it). Let one call read the last position P, and let X be the
//! transaction id of a later call. A transaction that took a position up to P had its id before P
//! was read, so its id is below X. Once a snapshot shows that every transaction below X has ended,
//! no row at or below P can appear after it. The bound is then P, or less, if a row below P was
//! read and is not settled.
//!
//! The largest position seen is not such a bound: an earlier one may commit later.
//!
//! All of it holds within one history of the database. A standby that is promoted without the last
//! commits hands out positions and ids again. The bound starts again then, and also when the last
//! position goes back, for instance by `setval`.
//!
//! Decision: docs/decisions/0012-where-reading-a-shard-begins.md

use crate::dialect::Horizon;

/// The bound at which reading one shard may begin, as its owner knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// The position at or below which there is no row, and none can appear.
    floor: i64,
    /// The position at or below which every transaction has ended.
    decided: i64,
    /// The last position that the previous call saw handed out.
    seen: Option<i64>,
    /// A position that is decided as soon as every transaction below the id has ended.
    candidate: Option<(i64, i64)>,
    /// The rows that the last read found.
    last_read: Option<Read>,
    /// The history of the database to which all this belongs.
    history: Option<i64>,
}

/// A read from the floor on.
#[derive(Clone, Debug)]
struct Read {
    /// The position that was decided before the read: the read saw every row up to it.
    decided: i64,
    /// The positions that it returned and that are not settled, in order.
    unsettled: Vec<i64>,
    /// The last position it returned, if there may be more behind it.
    cut_off_at: Option<i64>,
}

impl Read {
    /// Returns the position up to which every row is settled.
    fn settled_up_to(&self) -> i64 {
        let read_up_to = self
            .unsettled
            .first()
            .map(|first| first - 1)
            .or(self.cut_off_at);
        self.decided.min(read_up_to.unwrap_or(i64::MAX))
    }
}

impl Scan {
    /// Makes a bound without a proof.
    #[cfg(test)]
    pub(super) fn beginning_behind(floor: i64) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// Takes out what the transaction settles.
    pub(super) fn settled(&mut self, positions: &[i64]) {
        let Some(read) = self
            .last_read
            .as_mut()
            .filter(|read| !read.unsettled.is_empty())
        else {
            return;
        };
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        read.unsettled
            .retain(|position| positions.binary_search(position).is_err());
    }

    /// Takes the transaction's knowledge before it reads. Returns true if this history of the
    /// database is new.
    pub(super) fn observe(&mut self, horizon: Horizon) -> bool {
        // A sequence that goes back hands out positions again that may be below the bound.
        let goes_back = self.seen.is_some_and(|seen| horizon.last_position < seen);
        let is_other = goes_back || self.history != Some(horizon.history);
        if is_other && self.history.is_some() {
            *self = Self::default();
        }
        self.history = Some(horizon.history);
        if let Some((position, id)) = self.candidate
            && horizon.oldest_running >= id
        {
            self.decided = self.decided.max(position);
            self.candidate = None;
        }
        self.candidate = self.candidate.or(self.seen.map(|seen| (seen, horizon.own)));
        self.seen = Some(horizon.last_position);
        is_other
    }

    pub(super) fn history(&self) -> Option<i64> {
        self.history
    }

    /// The last position that the previous call saw handed out.
    pub(super) fn seen(&self) -> Option<i64> {
        self.seen
    }

    /// Returns the position behind which reading begins.
    pub(super) fn floor(&mut self) -> i64 {
        self.floor = self
            .floor
            .max(self.last_read.as_ref().map_or(0, Read::settled_up_to));
        self.floor
    }

    /// Takes the rows that were read from the floor on.
    pub(super) fn read(&mut self, positions: impl Iterator<Item = i64>, limit: usize) {
        let unsettled: Vec<_> = positions.collect();
        let cut_off_at = unsettled
            .last()
            .copied()
            .filter(|_| unsettled.len() >= limit);
        self.last_read = Some(Read {
            decided: self.decided,
            unsettled,
            cut_off_at,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(own: i64, oldest_running: i64, last_position: i64) -> Horizon {
        Horizon {
            own,
            oldest_running,
            last_position,
            history: 1,
        }
    }

    /// A call that settles everything read before and reads `rows`.
    fn call(scan: &mut Scan, horizon: Horizon, rows: &[i64], limit: usize) {
        let before = scan
            .last_read
            .as_ref()
            .map(|read| read.unsettled.clone())
            .unwrap_or_default();
        scan.settled(&before);
        scan.observe(horizon);
        let floor = scan.floor();
        assert!(
            rows.iter().all(|row| *row > floor),
            "{rows:?} must be read behind {floor}"
        );
        scan.read(rows.iter().copied(), limit);
    }

    #[test]
    fn the_bound_follows_when_all_below_is_decided_and_read() {
        let mut scan = Scan::default();
        call(&mut scan, at(100, 100, 10), &[8, 9, 10], 50);
        call(&mut scan, at(101, 101, 20), &[], 50);
        call(&mut scan, at(102, 102, 20), &[], 50);
        assert_eq!(scan.floor(), 10);
    }

    #[test]
    fn what_is_decided_but_was_never_read_holds_the_bound() {
        let mut scan = Scan::default();
        for own in 100..110 {
            scan.observe(at(own, own, 20));
            assert_eq!(scan.floor(), 0);
        }
    }

    #[test]
    fn a_running_transaction_holds_the_bound_below_its_position() {
        let mut scan = Scan::default();
        for own in 100..200 {
            call(&mut scan, at(own, 90, 20), &[], 50);
            assert_eq!(scan.floor(), 0);
        }
    }

    #[test]
    fn the_bound_stays_below_what_was_read_and_not_settled() {
        let mut scan = Scan::default();
        for own in 100..110 {
            scan.observe(at(own, own, 20));
            scan.read([7, 9].into_iter(), 50);
        }
        scan.settled(&[9]);
        assert_eq!(scan.floor(), 6);
        scan.settled(&[7]);
        assert_eq!(scan.floor(), 20);
    }

    #[test]
    fn the_bound_stays_below_what_a_full_batch_left_unread() {
        let mut scan = Scan::default();
        for own in 100..110 {
            scan.observe(at(own, own, 20));
            scan.read([7, 9].into_iter(), 2);
        }
        scan.settled(&[7, 9]);
        assert_eq!(scan.floor(), 9);
    }

    #[test]
    fn the_bound_begins_anew_with_another_history() {
        let mut scan = Scan::default();
        for own in 100..110 {
            call(&mut scan, at(own, own, 20), &[], 50);
        }
        assert_eq!(scan.floor(), 20);
        let promoted = |own| Horizon {
            history: 2,
            ..at(own, own, 30)
        };
        assert!(scan.observe(promoted(90)));
        assert_eq!(scan.floor(), 0);
        assert!(!scan.observe(promoted(91)));
    }

    #[test]
    fn the_bound_begins_anew_when_the_last_position_goes_back() {
        let mut scan = Scan::default();
        for own in 100..110 {
            call(&mut scan, at(own, own, 20), &[], 50);
        }
        assert_eq!(scan.floor(), 20);
        assert!(scan.observe(at(110, 110, 5)));
        assert_eq!(scan.floor(), 0);
        assert!(!scan.observe(at(111, 111, 6)));
    }

    #[test]
    fn the_bound_never_goes_back() {
        let mut scan = Scan {
            floor: 50,
            ..Scan::default()
        };
        scan.read([].into_iter(), 10);
        assert_eq!(scan.floor(), 50);
    }
}
