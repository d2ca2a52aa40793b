//! The settings of a relay, with their defaults.

use std::time::Duration;

use bento_core::duration;

use crate::machine::UNROUTABLE_AFTER;
use crate::retry::RetryPolicies;
use crate::store::Prune;

/// The settings of a relay. The defaults suit most applications; each can be set on the
/// [builder](super::RelayBuilder).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RelaySettings {
    /// The largest number of rows in one batch, for pending rows and for held ones; 1 to 10,000. A
    /// batch exceeds 200 only while publishing one takes less than 100 ms. Default 1,000.
    pub batch: usize,
    /// The largest number of bytes of payloads and headers in one batch, for pending rows and for
    /// held ones; at least 1. One row is always taken, whatever its size. The size of a row is
    /// estimated from the batch before, so a batch can exceed the limit when rows suddenly grow.
    /// Default 8 MiB.
    pub batch_bytes: usize,
    /// The number of shards that the relay works on at the same time, 1 to 1024. Default 4.
    pub workers: usize,
    /// The time after which a busy shard makes room for a waiting one, when its batch is done. For
    /// a shard of a lane without a worker it makes room at once. Default 0.5 s.
    #[serde(with = "duration")]
    pub turn: Duration,
    /// The retry policies of routes without their own. Default: 5 attempts, exponential, base 0.5
    /// s, cap 60 s.
    pub retry: RetryPolicies,
    /// The circuit breaker of each destination.
    pub circuit: CircuitSettings,
    /// The duration of a lease, which is renewed after every third of it; 30 ms to 1 h. Default 10
    /// s.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// The interval of polls while events come. When events cease, each next poll waits for an
    /// eighth of the time since the last event. Default 20 ms.
    #[serde(with = "duration")]
    pub poll_busy: Duration,
    /// The longest interval of polls, that of an idle relay. Default 1 s.
    #[serde(with = "duration")]
    pub poll_idle: Duration,
    /// The time after which a wave without an answer of the publisher counts as failed. Default 30
    /// s.
    #[serde(with = "duration")]
    pub publish_timeout: Duration,
    /// The longest wait that a broker may ask for, for an event and for an open circuit; 1 ms to
    /// 365 days. A longer wait is cut to it. Default 1 h.
    #[serde(with = "duration")]
    pub max_retry_after: Duration,
    /// The time limit for finishing the events in flight when the relay stops. Default 10 s.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// The time for which an event is held if this relay has no rule or destination for it, since
    /// another release may have one: every relay looks at the event again within 5 s. Then it
    /// becomes a dead letter with the cause `unroutable`. At most 30 days; 0 gives it up at once.
    /// Default 1 h.
    #[serde(with = "duration")]
    pub unroutable_after: Duration,
    /// The time for which published rows are kept; `None` deletes them when they are published.
    /// Older rows are removed in the background, once a minute by one relay, a thousand rows at a
    /// time. Default `None`.
    #[serde(with = "duration::option")]
    pub retention: Option<Duration>,
    /// The lanes that the relay serves; `None` for all lanes. Default `None`.
    pub lanes: Option<Vec<u16>>,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch: 1000,
            batch_bytes: 8 << 20,
            workers: 4,
            turn: Duration::from_millis(500),
            retry: RetryPolicies::default(),
            circuit: CircuitSettings::default(),
            lease: Duration::from_secs(10),
            poll_busy: Duration::from_millis(20),
            poll_idle: Duration::from_secs(1),
            publish_timeout: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(10),
            unroutable_after: UNROUTABLE_AFTER,
            retention: None,
            lanes: None,
        }
    }
}

/// The settings of the circuit breaker of each destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CircuitSettings {
    /// The number of failures in a row, without an answer of the destination between them, that
    /// opens the circuit. While it is open, the destination gets only trials. At least 1. Default
    /// 10.
    pub failure_threshold: u32,
}

impl Default for CircuitSettings {
    fn default() -> Self {
        Self {
            failure_threshold: 10,
        }
    }
}

const UNROUTABLE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The number of published rows that are removed in one transaction.
const PRUNE_BATCH: u32 = 1000;

/// The interval of removals of published rows.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The longest setting; a longer wait would exceed the range of some clocks.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The error of a setting that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` {rule}")]
pub struct SettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The rule for the setting.
    pub rule: &'static str,
}

impl RelaySettings {
    /// Checks the ranges of the settings.
    ///
    /// # Errors
    /// The first setting that is out of range, with its rule.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let positive = |duration: Duration| !duration.is_zero();
        let rules = [
            (
                "batch",
                (1..=10_000).contains(&self.batch),
                "must be 1 to 10,000",
            ),
            ("batch_bytes", self.batch_bytes >= 1, "must be at least 1"),
            (
                "workers",
                (1..=1024).contains(&self.workers),
                "must be 1 to 1024",
            ),
            (
                "circuit.failure_threshold",
                self.circuit.failure_threshold >= 1,
                "must be at least 1",
            ),
            (
                "lease",
                (Duration::from_millis(30)..=Duration::from_secs(3600)).contains(&self.lease),
                "must be 30 ms to 1 h",
            ),
            (
                "poll_busy",
                positive(self.poll_busy),
                "must be greater than 0",
            ),
            (
                "poll_idle",
                self.poll_idle >= self.poll_busy,
                "must be at least `poll_busy`",
            ),
            (
                "publish_timeout",
                positive(self.publish_timeout),
                "must be greater than 0",
            ),
            (
                "max_retry_after",
                (Duration::from_millis(1)..=A_YEAR).contains(&self.max_retry_after),
                "must be 1 ms to 365 days",
            ),
            (
                "unroutable_after",
                self.unroutable_after <= UNROUTABLE_MAX,
                "must be at most 30 d",
            ),
            (
                "lanes",
                self.lanes.as_ref().is_none_or(|lanes| !lanes.is_empty()),
                "must name at least one lane",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((setting, _, rule)) => Err(SettingsError { setting, rule }),
            None => valid_retries(&self.retry),
        }
    }

    /// The removal of published rows; `None` if they are not kept.
    pub(super) fn prune(&self) -> Option<Prune> {
        self.retention.map(|older_than| Prune {
            older_than,
            batch: PRUNE_BATCH,
            every: PRUNE_EVERY,
        })
    }

    /// The interval of lease renewals.
    pub(super) fn heartbeat(&self) -> Duration {
        self.lease / 3
    }
}

fn valid_retries(retry: &RetryPolicies) -> Result<(), SettingsError> {
    retry.transient.validate().map_err(|(field, rule)| {
        let setting = if field == "cap" {
            "retry.transient.cap"
        } else {
            "retry.transient.max_attempts"
        };
        SettingsError { setting, rule }
    })?;
    retry
        .throttled
        .validate()
        .map_err(|(_, rule)| SettingsError {
            setting: "retry.throttled.cap",
            rule,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones_and_valid() {
        let settings = RelaySettings::default();
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(
            (settings.batch, settings.retry.transient.max_attempts),
            (1000, 5)
        );
        assert_eq!(settings.lease, Duration::from_secs(10));
    }

    #[test]
    fn a_number_out_of_range_is_named_with_its_range() {
        let broken = |change: fn(&mut RelaySettings)| {
            let mut settings = RelaySettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(broken(|s| s.batch = 0), "`batch` must be 1 to 10,000");
        assert_eq!(
            broken(|s| s.batch_bytes = 0),
            "`batch_bytes` must be at least 1"
        );
        assert_eq!(broken(|s| s.workers = 0), "`workers` must be 1 to 1024");
        assert_eq!(
            broken(|s| s.retry.transient.max_attempts = 0),
            "`retry.transient.max_attempts` must be at least 1"
        );
        assert_eq!(
            broken(|s| s.lease = Duration::ZERO),
            "`lease` must be 30 ms to 1 h"
        );
        assert_eq!(
            broken(|s| s.lanes = Some(vec![])),
            "`lanes` must name at least one lane"
        );
    }
}
