//! The intervals of polls for events that did not wake the relay.
//!
//! Decision: docs/decisions/0025-probes-follow-the-silence.md

use std::time::Duration;

use tokio::time::Instant;

/// The next poll waits for this part of the silence.
const PART: u32 = 8;

/// Polls follow events: every `busy` while events come, then less and less often, at last every
/// `idle`. An event after a silence waits for at most an eighth of the silence.
#[derive(Debug)]
pub(super) struct Pace {
    busy: Duration,
    idle: Duration,
    last_work: Instant,
}

impl Pace {
    /// Begins as if an event had come at `now`.
    pub(super) fn new(busy: Duration, idle: Duration, now: Instant) -> Self {
        Self {
            busy,
            idle,
            last_work: now,
        }
    }

    /// Records that there are events, or were until now.
    pub(super) fn worked(&mut self, now: Instant) {
        self.last_work = now;
    }

    /// The time from now to the next poll.
    pub(super) fn interval(&self, now: Instant) -> Duration {
        let silence = now.saturating_duration_since(self.last_work);
        (silence / PART).clamp(self.busy, self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The times of the polls in a silence of this length, after an event.
    fn polls(silence: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let pace = Pace::new(millis(20), millis(1000), start);
        let next = |&at: &Duration| Some(at + pace.interval(start + at));
        let times = std::iter::successors(next(&Duration::ZERO), next);
        times.take_while(|at| *at <= silence).collect()
    }

    #[test]
    fn polls_are_busy_first_then_follow_the_silence_then_idle() {
        let times = polls(millis(60_000));
        let interval = |after: Duration| {
            let next = times
                .iter()
                .position(|at| *at >= after)
                .expect("there are polls all the time");
            times[next] - times[next - 1]
        };
        assert_eq!(times[..8], [20, 40, 60, 80, 100, 120, 140, 160].map(millis));
        let slower = interval(millis(1000));
        assert!(slower > millis(90) && slower <= millis(125), "{slower:?}");
        assert_eq!(interval(millis(30_000)), millis(1000));
    }

    #[test]
    fn an_event_after_a_silence_waits_for_an_eighth_of_it_at_most() {
        for pair in polls(millis(60_000)).windows(2) {
            let longest = (pair[0] / 8).clamp(millis(20), millis(1000));
            assert!(pair[1] - pair[0] <= longest, "{pair:?}");
        }
    }

    #[test]
    fn an_event_costs_few_polls_until_it_is_idle_again() {
        let count = polls(millis(8000)).len();
        assert!((30..=45).contains(&count), "{count}");
    }

    #[test]
    fn work_makes_it_busy_again() {
        let start = Instant::now();
        let mut pace = Pace::new(millis(20), millis(1000), start);
        let later = start + millis(60_000);
        assert_eq!(pace.interval(later), millis(1000));
        pace.worked(later);
        assert_eq!(pace.interval(later), millis(20));
    }
}
