//! The time by the store's clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Estimates the store's clock between two heartbeats with a monotonic clock; before the first
/// answer of the store, with the clock of this machine.
#[derive(Debug)]
pub(super) struct StoreClock(Mutex<(Instant, DateTime<Utc>)>);

impl Default for StoreClock {
    fn default() -> Self {
        Self(Mutex::new((Instant::now(), Utc::now())))
    }
}

impl StoreClock {
    pub(super) fn now(&self) -> DateTime<Utc> {
        let (at, time) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time + at.elapsed()
    }

    /// Records the store's time from a call that began at `asked` and has just returned. The store
    /// read its clock at some moment between, so taking the middle is wrong by at most half of the
    /// call.
    pub(super) fn set(&self, asked: Instant, time: Option<DateTime<Utc>>) {
        let middle = asked + asked.elapsed() / 2;
        let read = time.map_or_else(|| (Instant::now(), Utc::now()), |time| (middle, time));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }
}

/// The moment after a wait; a wait beyond the range of the clock is cut to 30 years.
pub(super) fn later(moment: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    moment.checked_add(wait).unwrap_or_else(|| moment + FAR)
}

/// The time from an event to its confirmation; 0 if the clocks disagree.
pub(super) fn since(occurred_at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - occurred_at).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_goes_on_from_the_middle_of_the_call() {
        let clock = StoreClock::default();
        let said = DateTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.set(asked, Some(said));
        assert_eq!(clock.now(), said + Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), said + Duration::from_secs(5));
    }

    #[test]
    fn a_store_without_a_clock_leaves_this_machines() {
        let clock = StoreClock::default();
        clock.set(Instant::now(), Some(DateTime::UNIX_EPOCH));
        clock.set(Instant::now(), None);
        assert!((Utc::now() - clock.now()).abs() < chrono::TimeDelta::minutes(1));
    }
}
