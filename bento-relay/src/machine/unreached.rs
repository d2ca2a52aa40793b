//! Events whose destination could not be asked about them: the wait of each, and those that are
//! sent alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::retry::RetryPolicy;

/// The wait after the n-th time in a row. No longer than the longest pause of a circuit: once a
/// destination is back, an event for it is tried within that time.
const WAIT: RetryPolicy = RetryPolicy::exponential(
    Duration::from_millis(500),
    Duration::from_secs(30),
    u32::MAX,
);

/// The number of events that are remembered. With more than these the memory begins anew, with the
/// shortest wait.
const LIMIT: usize = 10_000;

/// The events that the machine could not ask about. They are forgotten with the lease of the shard,
/// which costs short waits and a call in company.
#[derive(Debug, Default)]
pub(super) struct Unreached(HashMap<(i64, Arc<str>), Event>);

#[derive(Debug, Default)]
struct Event {
    times: u32,
    is_suspect: bool,
}

impl Unreached {
    /// Notes that the destination could not be asked about an event once more. Returns the wait. A
    /// suspect is sent alone from now on.
    pub(super) fn note(
        &mut self,
        position: i64,
        name: &Arc<str>,
        is_suspect: bool,
        random: &mut fastrand::Rng,
    ) -> Duration {
        if self.0.len() >= LIMIT {
            self.0.clear();
        }
        let event = self.0.entry((position, Arc::clone(name))).or_default();
        event.times = event.times.saturating_add(1);
        event.is_suspect |= is_suspect;
        WAIT.wait(event.times, random)
    }

    /// Notes that a destination answered about an event, which keeps its suspicion.
    pub(super) fn answered(&mut self, position: i64, name: &Arc<str>) {
        if !self.0.is_empty()
            && let Some(event) = self.0.get_mut(&(position, Arc::clone(name)))
        {
            event.times = 0;
        }
    }

    /// Forgets an event that goes nowhere any more.
    pub(super) fn forget(&mut self, position: i64, name: &Arc<str>) {
        if !self.0.is_empty() {
            self.0.remove(&(position, Arc::clone(name)));
        }
    }

    /// True if an event may be what made a call break off, so that it is sent alone.
    pub(super) fn is_suspect(&self, position: i64, name: &Arc<str>) -> bool {
        !self.0.is_empty()
            && self
                .0
                .get(&(position, Arc::clone(name)))
                .is_some_and(|event| event.is_suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_half_a_minute_until_an_answer() {
        let (mut unreached, name, mut random) = (
            Unreached::default(),
            Arc::from("a"),
            fastrand::Rng::with_seed(7),
        );
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            longest = longest.max(unreached.note(1, &name, false, &mut random));
        }
        assert!(
            (Duration::from_secs(20)..=Duration::from_secs(30)).contains(&longest),
            "{longest:?}"
        );
        unreached.answered(1, &name);
        assert!(unreached.note(1, &name, false, &mut random) <= Duration::from_millis(500));
    }

    #[test]
    fn a_suspect_is_remembered_until_it_is_settled() {
        let (mut unreached, name, mut random) = (
            Unreached::default(),
            Arc::from("a"),
            fastrand::Rng::with_seed(7),
        );
        unreached.note(1, &name, true, &mut random);
        unreached.note(1, &name, false, &mut random);
        unreached.answered(1, &name);
        assert!(unreached.is_suspect(1, &name) && !unreached.is_suspect(2, &name));
        unreached.forget(1, &name);
        assert!(!unreached.is_suspect(1, &name));
        for position in 0..30_000 {
            unreached.note(position, &name, true, &mut random);
        }
        assert!(unreached.0.len() <= LIMIT);
    }
}
