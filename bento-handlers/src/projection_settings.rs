//! The settings of a projection: how it is built.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::settings::SettingFault;

/// The most seconds for which a throttled build rests behind a page.
const LONGEST_REST: u32 = 5;

/// The settings of a projection: how a new version is built.
///
/// They are given to [`Handlers::configure_projection`](crate::Handlers::configure_projection), or
/// read from a file and the environment by `bento::Settings`.
///
/// ```
/// use bento_handlers::ProjectionSettings;
///
/// let settings = ProjectionSettings::default().page(500).throttle(2_000);
/// assert!(settings.automatic && settings.faults().is_empty());
/// assert_eq!(
///     ProjectionSettings::default().page(0).faults()[0].to_string(),
///     "`page`: must be 1 to 10,000"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProjectionSettings {
    /// True if a new version is built as soon as a relay serves it; else it waits for
    /// [`Projections::build`](bento_seaorm::Projections::build). True by default.
    pub automatic: bool,
    /// The most stored events of one transaction of the build, 1 to 10,000; 500 by default.
    /// Deliveries of a relay to the version wait as long as one takes.
    pub page: usize,
    /// The most stored events that are read in a second; no limit by default. A page then has no
    /// more than those of five seconds.
    pub throttle: Option<NonZeroU32>,
}

impl Default for ProjectionSettings {
    fn default() -> Self {
        Self {
            automatic: true,
            page: 500,
            throttle: None,
        }
    }
}

impl ProjectionSettings {
    /// The keys of the settings in a file: the names of the fields.
    pub const KEYS: [&'static str; 3] = ["automatic", "page", "throttle"];

    /// Lets a new version wait until it is told to build.
    #[must_use]
    pub fn manual(self) -> Self {
        Self {
            automatic: false,
            ..self
        }
    }

    /// Sets the most stored events of one transaction; see [`page`](Self#structfield.page).
    #[must_use]
    pub fn page(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// Sets the most stored events that are read in a second; 0 for no limit.
    #[must_use]
    pub fn throttle(self, events: u32) -> Self {
        Self {
            throttle: NonZeroU32::new(events),
            ..self
        }
    }

    /// The settings that break a rule.
    #[must_use]
    pub fn faults(&self) -> Vec<SettingFault> {
        let is_in_range = (1..=10_000).contains(&self.page);
        let fault = || SettingFault::new(["page"], "must be 1 to 10,000");
        (!is_in_range).then(fault).into_iter().collect()
    }

    /// The most events of a page: those of a few seconds at most, so that the process that builds
    /// is known to live.
    pub(crate) fn largest_page(&self) -> usize {
        let of_time = |throttle: NonZeroU32| throttle.get().saturating_mul(LONGEST_REST);
        let most = self.throttle.map_or(u32::MAX, of_time);
        self.page.min(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// The time that a page of this many events takes at least.
    pub(crate) fn time_for(&self, events: u64) -> Duration {
        self.throttle.map_or(Duration::ZERO, |throttle| {
            Duration::from_secs_f64(events as f64 / f64::from(throttle.get()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_page_is_one_of_a_few_seconds() {
        let settings = ProjectionSettings::default();
        assert_eq!(settings.largest_page(), 500);
        assert_eq!(settings.clone().throttle(1_000).largest_page(), 500);
        let slow = settings.throttle(10);
        assert_eq!(slow.largest_page(), 50);
        assert_eq!(slow.time_for(50), Duration::from_secs(5));
    }
}
