//! When to try again.

use std::time::Duration;

/// Exponential backoff with full jitter: the wait after the n-th failure is drawn evenly between nothing and `base × 2ⁿ⁻¹`,
/// bounded by `cap`.
///
/// Full jitter spreads the retries of many events that failed at the same moment best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait after the first failure.
    pub base: Duration,
    /// The longest wait at all.
    pub cap: Duration,
    /// How often an event is tried before it is given up; at least 1.
    pub max_attempts: u32,
}

impl Default for RetryPolicy {
    /// 5 attempts, base 0.5 s, cap 60 s.
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(60), max_attempts: 5 }
    }
}

impl RetryPolicy {
    /// The longest wait after `failures` failures.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after `failures` failures, drawn from `random`.
    pub fn wait(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        self.ceiling(failures).mul_f64(random.f64())
    }

    /// Whether an event that was tried `attempts` times is given up.
    pub fn is_exhausted(&self, attempts: u32) -> bool {
        attempts >= self.max_attempts
    }
}

/// When to try again, by what the failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryPolicies {
    /// After a failure that may pass by itself.
    pub transient: RetryPolicy,
    /// After the broker asked for less; what it asked for is waited in any case, and no attempt is counted.
    pub throttled: RetryPolicy,
}

/// One policy for both.
impl From<RetryPolicy> for RetryPolicies {
    fn from(policy: RetryPolicy) -> Self {
        Self { transient: policy, throttled: policy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy = RetryPolicy { cap: Duration::from_secs(3), ..RetryPolicy::default() };
        let ceilings: Vec<_> = (1..=5).map(|failures| policy.ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(policy.ceiling(u32::MAX), policy.cap);
    }

    #[test]
    fn the_jitter_is_full_and_repeatable_from_its_seed() {
        let policy = RetryPolicy::default();
        let draw = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..1000).map(|_| policy.wait(3, &mut random)).collect::<Vec<_>>()
        };
        let waits = draw(7);
        assert_eq!(waits, draw(7));
        assert_ne!(waits, draw(8));
        assert!(waits.iter().all(|wait| *wait <= policy.ceiling(3)));
        assert!(waits.iter().any(|wait| *wait < policy.ceiling(3) / 10), "full jitter reaches down to nothing");
        assert!(waits.iter().any(|wait| *wait > policy.ceiling(3) * 9 / 10), "and up to the ceiling");
    }
}
