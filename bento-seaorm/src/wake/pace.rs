//! The pace of notifications: at most 20 in any second.

use std::time::{Duration, Instant};

/// The number of notifications that may be sent at once after a pause. Commits come in small
/// groups: one request commits twice, two requests meet.
const AT_ONCE: u32 = 4;
/// The time between notifications otherwise. 4 and then 16 more make 20 in a second.
const INTERVAL: Duration = Duration::from_millis(60);

/// The memory of the notifications that were sent recently.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The time at which all of them would have been sent, one every interval.
    caught_up: Option<Instant>,
}

impl Pace {
    /// Notes a sent notification, and returns the wait before the next.
    pub(super) fn sent(&mut self, now: Instant) -> Duration {
        let caught_up = self.caught_up.map_or(now, |at| at.max(now)) + INTERVAL;
        self.caught_up = Some(caught_up);
        caught_up.saturating_duration_since(now + INTERVAL * (AT_ONCE - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times at which notifications are sent if one is always due.
    fn sent(from: Instant, count: usize, pace: &mut Pace) -> Vec<Instant> {
        let mut now = from;
        let mut next = || {
            let sent = now;
            now += pace.sent(now);
            sent
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn there_are_never_more_than_20_in_a_second() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let mut times = sent(start, 60, &mut pace);
        times.extend(sent(
            *times.last().unwrap() + Duration::from_millis(700),
            60,
            &mut pace,
        ));
        for (index, &first) in times.iter().enumerate() {
            let within = times[index..]
                .iter()
                .filter(|&&time| time < first + Duration::from_secs(1))
                .count();
            assert!(within <= 20, "{within} within a second");
        }
    }

    #[test]
    fn a_few_go_at_once_and_again_after_a_pause() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for begin in [start, start + Duration::from_secs(1)] {
            let times = sent(begin, 6, &mut pace);
            assert_eq!(times[3], begin);
            assert_eq!(
                (times[4], times[5]),
                (begin + INTERVAL, begin + INTERVAL * 2)
            );
        }
    }
}
