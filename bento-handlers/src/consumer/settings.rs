//! The settings of a consumer and of each of its sources.

use std::time::Duration;

use bento_core::duration;
use serde::Deserialize;

use super::error::ConsumerSettingsError;

/// The settings of a consumer.
///
/// ```
/// use bento_handlers::ConsumerSettings;
///
/// let settings = ConsumerSettings {
///     own_origin: Some("/shop".to_owned()),
///     ..ConsumerSettings::default()
/// };
/// assert!(settings.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerSettings {
    /// The time after which another process takes a source over, if this one does not answer; 1 s
    /// to 1 h. Default 30 s.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// The largest number of messages that are stored together, 1 to 10,000. Default 500.
    pub batch: usize,
    /// The largest number of bytes of their bodies; a single message may be larger. Default 4 MiB.
    pub batch_bytes: usize,
    /// The number of events in the inbox from which on no more are received; at least 1. Default
    /// 100,000.
    pub max_backlog: u64,
    /// The time within which [`start`](super::ConsumerBuilder::start) waits for the broker of each
    /// source. Default 30 s.
    #[serde(with = "duration")]
    pub start_timeout: Duration,
    /// The `source` of this service's own events, as its publishers write it in CloudEvents: events
    /// that name it are ignored. Default: none is.
    pub own_origin: Option<String>,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            batch: 500,
            batch_bytes: 4 << 20,
            max_backlog: 100_000,
            start_timeout: Duration::from_secs(30),
            own_origin: None,
        }
    }
}

/// The settings of one source, whatever its broker is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceSettings {
    /// True if the tenant that a message names counts. Only for a source to which no one else can
    /// write. Default false: its events have no tenant.
    pub trusted: bool,
    /// True if messages count that are older than the time for which it is remembered that events
    /// were handled ([`Handlers::retention`](crate::Handlers::retention)). Default false: each of
    /// them becomes a dead letter with the cause `too_old`.
    pub allow_old: bool,
    /// True if events of this service itself count. Default false: they are ignored.
    pub accept_own: bool,
}

impl ConsumerSettings {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConsumerSettingsError`] with the first value that is out of range.
    pub fn check(&self) -> Result<(), ConsumerSettingsError> {
        let second = Duration::from_secs(1);
        let rules = [
            (
                (second..=second * 3600).contains(&self.lease),
                (
                    "lease",
                    format!("{:?}", self.lease),
                    "must be from 1 s to 1 h",
                ),
            ),
            (
                (1..=10_000).contains(&self.batch),
                ("batch", self.batch.to_string(), "must be from 1 to 10,000"),
            ),
            (
                self.batch_bytes > 0,
                ("batch_bytes", "0".to_owned(), "must be at least 1"),
            ),
            (
                self.max_backlog > 0,
                ("max_backlog", "0".to_owned(), "must be at least 1"),
            ),
        ];
        let mut broken = rules.into_iter().filter(|(is_kept, _)| !is_kept);
        broken.next().map_or(Ok(()), |(_, (setting, value, rule))| {
            Err(ConsumerSettingsError {
                setting,
                value,
                rule,
            })
        })
    }

    /// The wait of one receive: short enough that the lease is renewed between two of them.
    pub(super) fn wait(&self) -> Duration {
        (self.lease / 6).min(Duration::from_secs(5))
    }
}
