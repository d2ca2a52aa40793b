//! Every number a relay runs by, with its default.

use std::time::Duration;

use bento_core::duration;

use crate::machine::UNROUTABLE_AFTER;
use crate::retry::RetryPolicies;
use crate::store::Prune;

/// How a relay runs. The defaults serve most; each can be set on the
/// [builder](super::RelayBuilder).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RelaySettings {
    /// The largest number of rows that it takes at a time, pending ones and held ones each; 1 to
    /// 10,000. A batch has more than 200 only while publishing one takes less than 100 ms. Default
    /// 1,000.
    pub batch: usize,
    /// The number of bytes of payloads and headers that it takes at a time, pending rows and held
    /// ones each; at least 1. One row is taken, however large. The size of a row is estimated from
    /// the batch before, so a batch can exceed it where rows suddenly grow. Default 8 MiB.
    pub batch_bytes: usize,
    /// How many shards it works on at the same time, 1 to 1024. Default 4.
    pub workers: usize,
    /// After how long a shard that is never empty makes room for another one that waits, once its
    /// batch is done. If the other one is of a lane that has no worker, it makes room at once.
    /// Default 0.5 s.
    #[serde(with = "duration")]
    pub turn: Duration,
    /// When to try again, and when to give up, unless a route says otherwise. Default: 5 attempts,
    /// exponential, base 0.5 s, cap 60 s.
    pub retry: RetryPolicies,
    /// The circuit breaker of each destination.
    pub circuit: CircuitSettings,
    /// How long a lease lasts unless it is renewed, which happens every third of it; 30 ms to 1 h.
    /// Default 10 s.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// How often the database is asked for events while they come. When they cease, it is asked
    /// again each time after an eighth of the time since the last one. Default 20 ms.
    #[serde(with = "duration")]
    pub poll_busy: Duration,
    /// The longest time between two such questions: how often an idle relay asks. Default 1 s.
    #[serde(with = "duration")]
    pub poll_idle: Duration,
    /// How long the publisher may take for one wave of events before it counts as failed. Default
    /// 30 s.
    #[serde(with = "duration")]
    pub publish_timeout: Duration,
    /// The longest time that a broker may ask the relay to wait, for an event and for the pause of
    /// a circuit; 1 ms to 365 days. What it asks for beyond that is not waited for. Default 1 h.
    #[serde(with = "duration")]
    pub max_retry_after: Duration,
    /// How long stopping waits for what is in flight. Default 10 s.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// How long an event is held for which this relay has no rule or destination, since another
    /// release may have one: every relay looks at it again within 5 s. Then it is a dead letter
    /// with the cause `unroutable`. At most 30 days; 0 gives it up at once. Default 1 h.
    #[serde(with = "duration")]
    pub unroutable_after: Duration,
    /// How long published rows are kept; `None` deletes them as they are published. What is older
    /// is removed in the background, once a minute by one relay, a thousand rows at a time. Default
    /// `None`.
    #[serde(with = "duration::option")]
    pub retention: Option<Duration>,
    /// The lanes it serves; `None` serves all. Default all.
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

/// The settings of the circuit breaker that each destination has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CircuitSettings {
    /// The number of failures in a row, without an answer of the destination between them, that
    /// opens the circuit: nothing is sent there then but a trial now and then. At least 1. Default
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

/// How many published rows are removed at a time.
const PRUNE_BATCH: u32 = 1000;

/// How often published rows are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// A longer wait would not fit into every clock.
const A_YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A relay cannot run by these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` is out of range; it {rule}")]
pub struct SettingsError {
    /// The name of the setting.
    pub setting: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl RelaySettings {
    /// Whether a relay can run by these numbers.
    ///
    /// # Errors
    /// The first setting that is out of range, with its range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let positive = |duration: Duration| !duration.is_zero();
        let rules = [
            (
                "batch",
                (1..=10_000).contains(&self.batch),
                "is 1 to 10,000",
            ),
            ("batch_bytes", self.batch_bytes >= 1, "is at least 1"),
            (
                "workers",
                (1..=1024).contains(&self.workers),
                "is 1 to 1024",
            ),
            (
                "circuit.failure_threshold",
                self.circuit.failure_threshold >= 1,
                "is at least 1",
            ),
            (
                "lease",
                (Duration::from_millis(30)..=Duration::from_secs(3600)).contains(&self.lease),
                "is 30 ms to 1 h",
            ),
            (
                "poll_busy",
                positive(self.poll_busy),
                "is longer than nothing",
            ),
            (
                "poll_idle",
                self.poll_idle >= self.poll_busy,
                "is at least `poll_busy`",
            ),
            (
                "publish_timeout",
                positive(self.publish_timeout),
                "is longer than nothing",
            ),
            (
                "max_retry_after",
                (Duration::from_millis(1)..=A_YEAR).contains(&self.max_retry_after),
                "is 1 ms to 365 days",
            ),
            (
                "unroutable_after",
                self.unroutable_after <= UNROUTABLE_MAX,
                "is at most 30 d",
            ),
            (
                "lanes",
                self.lanes.as_ref().is_none_or(|lanes| !lanes.is_empty()),
                "names at least one lane",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((setting, _, rule)) => Err(SettingsError { setting, rule }),
            None => valid_retries(&self.retry),
        }
    }

    /// What is to be removed of the published rows, if they are kept.
    pub(super) fn prune(&self) -> Option<Prune> {
        self.retention.map(|older_than| Prune {
            older_than,
            batch: PRUNE_BATCH,
            every: PRUNE_EVERY,
        })
    }

    /// How often leases are renewed.
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
        assert_eq!(
            broken(|s| s.batch = 0),
            "`batch` is out of range; it is 1 to 10,000"
        );
        assert_eq!(
            broken(|s| s.batch_bytes = 0),
            "`batch_bytes` is out of range; it is at least 1"
        );
        assert_eq!(
            broken(|s| s.workers = 0),
            "`workers` is out of range; it is 1 to 1024"
        );
        assert_eq!(
            broken(|s| s.retry.transient.max_attempts = 0),
            "`retry.transient.max_attempts` is out of range; it is at least 1"
        );
        assert_eq!(
            broken(|s| s.lease = Duration::ZERO),
            "`lease` is out of range; it is 30 ms to 1 h"
        );
        assert_eq!(
            broken(|s| s.lanes = Some(vec![])),
            "`lanes` is out of range; it names at least one lane"
        );
    }
}
