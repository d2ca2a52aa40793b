//! Retry policies.

use std::time::Duration;

mod read;

/// The default of `base`; the default of `cap` follows.
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(60);

/// A retry policy: the waits between attempts, and their number.
///
/// ```
/// # use std::time::Duration;
/// # use bento_relay::retry::{Backoff, RetryPolicy};
/// let seconds = Duration::from_secs;
/// assert_eq!(RetryPolicy::fixed(seconds(3), 10).ceiling(7), seconds(3));
/// assert_eq!(RetryPolicy::exponential(seconds(1), seconds(60), 5).ceiling(3), seconds(4));
/// assert_eq!(RetryPolicy::immediate(2).backoff, Backoff::Immediate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The number of attempts before an event is given up; at least 1.
    pub max_attempts: u32,
}

/// The waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// No wait.
    Immediate,
    /// The same wait each time.
    Fixed(Duration),
    /// A growing wait with full jitter: the wait after the n-th failure is drawn evenly between 0
    /// and `base × 2ⁿ⁻¹`, bounded by `cap`. Full jitter best spreads the retries of many events
    /// that failed at the same moment.
    Exponential {
        /// The upper bound of the wait after the first failure.
        base: Duration,
        /// The upper bound of all waits; at least `base`.
        cap: Duration,
    },
}

impl Default for RetryPolicy {
    /// 5 attempts, exponential, base 0.5 s, cap 60 s.
    fn default() -> Self {
        Self::exponential(BASE, CAP, 5)
    }
}

impl RetryPolicy {
    /// Tries again at once, `max_attempts` times in all.
    pub const fn immediate(max_attempts: u32) -> Self {
        Self {
            backoff: Backoff::Immediate,
            max_attempts,
        }
    }

    /// Waits the same time before each attempt.
    pub const fn fixed(wait: Duration, max_attempts: u32) -> Self {
        Self {
            backoff: Backoff::Fixed(wait),
            max_attempts,
        }
    }

    /// Waits longer before each attempt; see [`Backoff::Exponential`].
    pub const fn exponential(base: Duration, cap: Duration, max_attempts: u32) -> Self {
        Self {
            backoff: Backoff::Exponential { base, cap },
            max_attempts,
        }
    }

    /// The longest possible wait after `failures` failures.
    pub fn ceiling(&self, failures: u32) -> Duration {
        self.backoff.ceiling(failures)
    }

    /// The wait after `failures` failures, drawn from `random`.
    pub fn wait(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        self.backoff.wait(failures, random)
    }

    /// True if an event that was tried `attempts` times is given up.
    pub fn is_exhausted(&self, attempts: u32) -> bool {
        attempts >= self.max_attempts
    }

    /// Checks the rules of its fields.
    ///
    /// # Errors
    /// The field and its rule: at least one attempt, a cap of at least the base.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_attempts == 0 {
            return Err(("max_attempts", "must be at least 1"));
        }
        self.backoff.validate()
    }
}

impl Default for Backoff {
    /// Exponential, base 0.5 s, cap 60 s.
    fn default() -> Self {
        Self::Exponential {
            base: BASE,
            cap: CAP,
        }
    }
}

impl Backoff {
    /// The longest possible wait after `failures` failures.
    pub fn ceiling(&self, failures: u32) -> Duration {
        match *self {
            Self::Immediate => Duration::ZERO,
            Self::Fixed(wait) => wait,
            Self::Exponential { base, cap } => {
                let doublings = failures.saturating_sub(1).min(31);
                base.saturating_mul(1 << doublings).min(cap)
            }
        }
    }

    /// The wait after `failures` failures, drawn from `random`.
    pub fn wait(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Immediate | Self::Fixed(_) => self.ceiling(failures),
            Self::Exponential { .. } => self.ceiling(failures).mul_f64(random.f64()),
        }
    }

    /// Checks the rule of its fields.
    ///
    /// # Errors
    /// The field and its rule: a cap of at least the base.
    pub fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        match self {
            Self::Exponential { base, cap } if cap < base => {
                Err(("cap", "must be at least `base`"))
            }
            _ => Ok(()),
        }
    }
}

/// The retry policies for the classes of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicies {
    /// The policy after a transient failure.
    pub transient: RetryPolicy,
    /// The waits after the broker asked for a lower rate. The relay waits at least as long as the
    /// broker asked, and does not count the attempt.
    pub throttled: Backoff,
}

impl RetryPolicies {
    /// The names that [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 4] = ["default", "aggressive", "patient", "once"];

    /// The policies of this name:
    ///
    /// | name | attempts | waits |
    /// |---|---|---|
    /// | `default` | 5 | exponential, base 0.5 s, cap 60 s |
    /// | `aggressive` | 10 | exponential, base 0.1 s, cap 5 s |
    /// | `patient` | 20 | exponential, base 5 s, cap 15 min |
    /// | `once` | 1 | none: the first failure is final |
    pub fn named(name: &str) -> Option<Self> {
        let exponential = |base, cap, attempts| {
            RetryPolicy::exponential(
                Duration::from_millis(base),
                Duration::from_secs(cap),
                attempts,
            )
        };
        Some(Self::from(match name {
            "default" => RetryPolicy::default(),
            "aggressive" => exponential(100, 5, 10),
            "patient" => exponential(5_000, 900, 20),
            "once" => RetryPolicy::immediate(1),
            _ => return None,
        }))
    }
}

/// The policy for transient failures; its backoff for throttled ones.
impl From<RetryPolicy> for RetryPolicies {
    fn from(policy: RetryPolicy) -> Self {
        Self {
            transient: policy,
            throttled: policy.backoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy =
            RetryPolicy::exponential(Duration::from_millis(500), Duration::from_secs(3), 5);
        let ceilings: Vec<_> = (1..=5)
            .map(|failures| policy.ceiling(failures).as_millis())
            .collect();
        assert_eq!(ceilings, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(policy.ceiling(u32::MAX), Duration::from_secs(3));
    }

    #[test]
    fn the_jitter_is_full_and_repeatable_from_its_seed() {
        let policy = RetryPolicy::default();
        let draw = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..1000)
                .map(|_| policy.wait(3, &mut random))
                .collect::<Vec<_>>()
        };
        let waits = draw(7);
        assert_eq!(waits, draw(7));
        assert_ne!(waits, draw(8));
        assert!(waits.iter().all(|wait| *wait <= policy.ceiling(3)));
        assert!(
            waits.iter().any(|wait| *wait < policy.ceiling(3) / 10),
            "full jitter reaches down to nothing"
        );
        assert!(
            waits.iter().any(|wait| *wait > policy.ceiling(3) * 9 / 10),
            "and up to the ceiling"
        );
    }

    #[test]
    fn a_fixed_wait_and_none_at_all_draw_nothing() {
        let mut random = fastrand::Rng::with_seed(7);
        let wait = Duration::from_secs(3);
        for failures in [1, 2, 100] {
            assert_eq!(
                RetryPolicy::fixed(wait, 5).wait(failures, &mut random),
                wait
            );
            assert_eq!(
                RetryPolicy::immediate(5).wait(failures, &mut random),
                Duration::ZERO
            );
        }
    }

    #[test]
    fn every_name_is_known_and_valid_and_no_other() {
        for name in RetryPolicies::NAMES {
            let policies = RetryPolicies::named(name).unwrap();
            assert_eq!(
                (policies.transient.validate(), policies.throttled.validate()),
                (Ok(()), Ok(()))
            );
        }
        assert_eq!(
            RetryPolicies::named("default"),
            Some(RetryPolicies::default())
        );
        assert!(
            RetryPolicies::named("once")
                .unwrap()
                .transient
                .is_exhausted(1)
        );
        assert_eq!(RetryPolicies::named("eager"), None);
    }

    #[test]
    fn a_policy_that_breaks_a_rule_is_refused() {
        let (second, none) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!(
            RetryPolicy::immediate(0).validate(),
            Err(("max_attempts", "must be at least 1"))
        );
        assert_eq!(
            RetryPolicy::exponential(second, none, 1).validate(),
            Err(("cap", "must be at least `base`"))
        );
    }
}
