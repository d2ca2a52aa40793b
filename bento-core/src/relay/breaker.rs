//! Stops sending to a broker that is away, so that an outage does not turn the backlog into dead letters.
//!
//! Closed, everything passes. After so many failures in a row that no confirmation came between, it opens: no batch is taken. After a
//! wait it lets one worker try one row of each kind; that trial counts as no attempt. If it fails the breaker stays open for longer,
//! otherwise it closes. A permanent failure is an answer of a broker that is there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::publish::{FailureClass, PublishError};
use crate::retry::RetryPolicy;

/// How long it stays open, the n-th time in a row.
const PAUSE: RetryPolicy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(30), u32::MAX);

/// Shared by the workers of a relay.
#[derive(Debug)]
pub(super) struct Breaker {
    /// How many failures in a row open it.
    limit: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// How often in a row it opened.
    opened: u32,
    open_until: Option<Instant>,
    is_tried: bool,
}

/// What a worker may do now.
#[derive(Debug)]
pub(super) enum Passage<'a> {
    /// Take a batch.
    Free,
    /// Take one row and see.
    Trial(#[expect(dead_code, reason = "held until the trial is over")] Trial<'a>),
    /// Come again then.
    Blocked(Instant),
}

/// The one worker that tries. If it never learns how it went, another one tries.
#[derive(Debug)]
pub(super) struct Trial<'a>(&'a Breaker);

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.0.state().is_tried = false;
    }
}

impl Breaker {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn enter(&self, now: Instant) -> Passage<'_> {
        let mut state = self.state();
        match state.open_until {
            None => Passage::Free,
            Some(until) if until > now => Passage::Blocked(until),
            Some(_) if state.is_tried => Passage::Blocked(now + PAUSE.ceiling(1)),
            Some(_) => {
                state.is_tried = true;
                Passage::Trial(Trial(self))
            }
        }
    }

    /// Until when nothing passes, if so.
    pub(super) fn blocked_until(&self, now: Instant) -> Option<Instant> {
        self.state().open_until.filter(|until| *until > now)
    }

    /// Takes note of the answers to a wave. Returns for how long it has just opened.
    pub(super) fn note(&self, answers: &[Result<(), PublishError>], now: Instant) -> Option<Duration> {
        let is_there = |answer: &Result<(), PublishError>| match answer {
            Ok(()) => true,
            Err(error) => error.class() == FailureClass::Permanent,
        };
        let mut state = self.state();
        if answers.iter().any(is_there) {
            state.close();
            return None;
        }
        let failures = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        state.failures = state.failures.saturating_add(failures);
        // A wave that was under way when another one opened it tells nothing new.
        let is_blocked = state.open_until.is_some_and(|until| until > now);
        if state.failures < self.limit || is_blocked {
            return None;
        }
        state.opened += 1;
        let asked = answers.iter().filter_map(|answer| answer.as_ref().err()?.retry_after()).max();
        let pause = PAUSE.ceiling(state.opened).max(asked.unwrap_or_default());
        state.open_until = Some(now + pause);
        Some(pause)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        *self = Self { is_tried: self.is_tried, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(count: usize) -> Vec<Result<(), PublishError>> {
        (0..count).map(|_| Err(PublishError::transient("away"))).collect()
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_tries_one_at_a_time() {
        let (breaker, now) = (Breaker::new(10), Instant::now());
        assert_eq!(breaker.note(&failing(9), now), None);
        assert!(matches!(breaker.enter(now), Passage::Free));
        let pause = breaker.note(&failing(1), now).unwrap();
        assert!(matches!(breaker.enter(now), Passage::Blocked(until) if until == now + pause));
        let later = now + pause;
        let trial = breaker.enter(later);
        assert!(matches!(trial, Passage::Trial(_)));
        assert!(matches!(breaker.enter(later), Passage::Blocked(_)), "one at a time");
        drop(trial);
        assert!(matches!(breaker.enter(later), Passage::Trial(_)), "a trial without an answer is made again");
    }

    #[test]
    fn it_stays_open_longer_each_time_and_closes_at_the_first_answer() {
        let (breaker, now) = (Breaker::new(1), Instant::now());
        let first = breaker.note(&failing(1), now).unwrap();
        let second = breaker.note(&failing(1), now + first).unwrap();
        assert!(second > first);
        let permanent = [Err(PublishError::permanent("no such topic"))];
        assert_eq!(breaker.note(&permanent, now + first + second), None);
        assert!(matches!(breaker.enter(now), Passage::Free));
        assert_eq!(breaker.note(&failing(1), now), Some(first), "it starts anew");
    }

    #[test]
    fn a_confirmation_between_keeps_it_closed() {
        let (breaker, now) = (Breaker::new(2), Instant::now());
        for _ in 0..10 {
            assert_eq!(breaker.note(&failing(1), now), None);
            assert_eq!(breaker.note(&[Ok(())], now), None);
        }
    }

    #[test]
    fn a_broker_that_asks_to_wait_for_ever_stops_no_relay() {
        let (breaker, now) = (Breaker::new(1), Instant::now());
        let pause = breaker.note(&[Err(PublishError::throttled("go away", Duration::MAX))], now).unwrap();
        assert_eq!(breaker.blocked_until(now), Some(now + pause));
    }

    #[test]
    fn a_broker_that_asks_for_a_longer_pause_gets_it() {
        let breaker = Breaker::new(1);
        let asked = Duration::from_secs(300);
        let throttled = [Err(PublishError::throttled("slow down", asked))];
        assert_eq!(breaker.note(&throttled, Instant::now()), Some(asked));
    }
}
