//! The clock of a writer, and its difference to the clock of the database.

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};

/// The difference between the clock of the database and that of a writer.
///
/// A relay judges every time by the clock of the database. A writer reads its own clock and adds
/// this difference to it, so that the times it writes are times of the database, however wrong its
/// own clock is. Up to [`TOLERANCE`](Self::TOLERANCE) of difference is taken for none.
///
/// ```
/// use bento_core::outbox::ClockOffset;
/// use chrono::{TimeDelta, Utc};
///
/// let now = Utc::now();
/// let ahead = ClockOffset::between(now, now, now + TimeDelta::minutes(5));
/// assert_eq!(ahead.apply(now), now + TimeDelta::minutes(5));
/// let close = ClockOffset::between(now, now, now + TimeDelta::milliseconds(900));
/// assert_eq!(close, ClockOffset::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockOffset(TimeDelta);

impl ClockOffset {
    /// The difference that is taken for none: one second, the time that clocks which are kept in
    /// step may differ by.
    pub const TOLERANCE: TimeDelta = TimeDelta::seconds(1);

    /// The difference that shows when the database `said` its time in a call between two readings
    /// of the writer's clock.
    ///
    /// The database may have read its clock at any moment of the call. So a time between the
    /// readings shows no difference, however long the call took; for any other the middle of the
    /// call counts, which is wrong by half of the call at most.
    pub fn between(asked: DateTime<Utc>, answered: DateTime<Utc>, said: DateTime<Utc>) -> Self {
        let (first, last) = (asked.min(answered), asked.max(answered));
        if first - said <= Self::TOLERANCE && said - last <= Self::TOLERANCE {
            return Self::default();
        }
        let difference = said - (first + (last - first) / 2);
        // Times are stored to the microsecond.
        Self(
            difference
                .num_microseconds()
                .map_or(difference, TimeDelta::microseconds),
        )
    }

    /// The time by the clock of the database, from one by the clock of the writer.
    pub fn apply(self, time: DateTime<Utc>) -> DateTime<Utc> {
        time.checked_add_signed(self.0).unwrap_or(time)
    }

    /// The difference: positive if the clock of the database is ahead.
    pub fn as_delta(self) -> TimeDelta {
        self.0
    }
}

thread_local! {
    static SKEW: Cell<TimeDelta> = const { Cell::new(TimeDelta::zero()) };
}

/// The time by the clock of this process as a writer of events.
#[doc(hidden)]
pub fn writer_now() -> DateTime<Utc> {
    Utc::now() + SKEW.get()
}

/// Sets the writer's clock of this thread wrong until the guard is dropped. For tests.
#[doc(hidden)]
pub fn skew_writer(by: TimeDelta) -> Skew {
    Skew {
        before: SKEW.replace(by),
    }
}

/// A guard: while it exists, the writer's clock of this thread is wrong.
#[doc(hidden)]
#[derive(Debug)]
#[must_use = "the clock is right again when it is dropped"]
pub struct Skew {
    before: TimeDelta,
}

impl Drop for Skew {
    fn drop(&mut self) {
        SKEW.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn offset(asked: i64, answered: i64, said: i64) -> i64 {
        ClockOffset::between(at(asked), at(answered), at(said))
            .as_delta()
            .num_seconds()
    }

    #[test]
    fn a_slow_call_shows_no_difference_while_the_clocks_agree() {
        for said in [99, 100, 130, 160, 161] {
            assert_eq!(offset(100, 160, said), 0, "{said}");
        }
    }

    #[test]
    fn a_difference_counts_from_the_middle_of_the_call() {
        assert_eq!(offset(100, 102, 401), 300);
        assert_eq!(offset(400, 402, 101), -300);
        assert_eq!(offset(100, 100, 102), 2);
        assert_eq!(
            offset(402, 400, 101),
            -300,
            "the clock was set back during the call"
        );
    }

    #[test]
    fn a_time_that_no_calendar_has_stays_as_it_is() {
        let ahead = ClockOffset::between(at(0), at(0), at(300));
        assert_eq!(
            ahead.apply(DateTime::<Utc>::MAX_UTC),
            DateTime::<Utc>::MAX_UTC
        );
        assert_eq!(ahead.apply(at(7)), at(307));
    }

    #[test]
    fn the_clock_of_a_thread_is_right_again_after_a_test() {
        let skew = skew_writer(TimeDelta::minutes(5));
        assert!(writer_now() - Utc::now() > TimeDelta::minutes(4));
        drop(skew);
        assert!((writer_now() - Utc::now()).abs() < TimeDelta::minutes(1));
    }
}
