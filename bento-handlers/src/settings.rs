//! The settings of a handler: in code, in the file of the settings and in the environment.

use std::fmt;
use std::time::Duration;

use bento_relay::retry::RetryPolicies;
use bento_relay::route::{Condition, Filter, KeyPath, Step};

/// The settings of a handler that override its attribute, and a filter of its events.
///
/// They are given to [`Handlers::configure`](crate::Handlers::configure), or read from a file and
/// the environment by `bento::Settings`. What is not set is as the attribute says.
///
/// ```
/// use std::time::Duration;
///
/// use bento_handlers::HandlerSettings;
/// use bento_relay::retry::RetryPolicy;
/// use bento_relay::route::field;
///
/// let settings = HandlerSettings::default()
///     .timeout(Duration::from_secs(20))
///     .concurrency(4)
///     .retry(RetryPolicy::fixed(Duration::from_secs(1), 3))
///     .tenants(["acme", "globex"])
///     .when(field("payload.total").gte(1000));
/// assert_eq!(settings.faults(), []);
/// assert_eq!(
///     HandlerSettings::default().concurrency(0).faults()[0].to_string(),
///     "`concurrency`: must be greater than 0; pause a handler that should not run"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HandlerSettings {
    /// The time for one call, from its start; greater than 0. Of a batch it is the time for one
    /// transaction.
    #[serde(with = "bento_core::duration::option")]
    pub timeout: Option<Duration>,
    /// The most calls at once in a process; at least 1, and at most the connections of the pool.
    /// A handler of batches has none.
    pub concurrency: Option<u32>,
    /// The retry policies, in place of those of the relay. Each relay goes by those of its own
    /// process.
    pub retry: Option<RetryPolicies>,
    /// The tenants whose events the handler gets; at least one. Events without a tenant are left
    /// out. Not set, it gets the events of all tenants and of none.
    pub tenants: Option<Vec<String>>,
    /// The condition that an event meets to be handled, with paths as in the rules of a router:
    /// `payload.total`, `envelope.tenant`.
    pub when: Option<Condition>,
}

/// A setting of a handler that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingFault {
    /// The path of the setting: `timeout`, `retry.transient.cap`, `when.payload.total.gt`.
    pub setting: KeyPath,
    /// The rule, and the way out.
    pub rule: String,
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, rule } = self;
        write!(f, "`{setting}`: {rule}")
    }
}

impl std::error::Error for SettingFault {}

impl SettingFault {
    pub(crate) fn new<const N: usize>(setting: [&str; N], rule: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            rule: rule.into(),
        }
    }
}

impl HandlerSettings {
    /// The keys of the settings in a file: the names of the fields.
    pub const KEYS: [&'static str; 5] = ["timeout", "concurrency", "retry", "tenants", "when"];

    /// Sets the time for one call; see [`timeout`](Self#structfield.timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout = Some(timeout);
        Self { timeout, ..self }
    }

    /// Sets the most calls at once in a process; see [`concurrency`](Self#structfield.concurrency).
    #[must_use]
    pub fn concurrency(self, concurrency: u32) -> Self {
        let concurrency = Some(concurrency);
        Self {
            concurrency,
            ..self
        }
    }

    /// Sets the retry policies; see [`retry`](Self#structfield.retry).
    #[must_use]
    pub fn retry(self, policies: impl Into<RetryPolicies>) -> Self {
        let retry = Some(policies.into());
        Self { retry, ..self }
    }

    /// Sets the tenants whose events the handler gets; see [`tenants`](Self#structfield.tenants).
    #[must_use]
    pub fn tenants<T: Into<String>>(self, tenants: impl IntoIterator<Item = T>) -> Self {
        let tenants = Some(tenants.into_iter().map(Into::into).collect());
        Self { tenants, ..self }
    }

    /// Sets the condition that an event meets to be handled; see [`when`](Self#structfield.when).
    #[must_use]
    pub fn when(self, condition: Condition) -> Self {
        let when = Some(condition);
        Self { when, ..self }
    }

    /// Returns every setting that breaks a rule. [`Handlers::build`](crate::Handlers::build) checks
    /// them too, and that the pool is large enough and an event of the handler can meet the
    /// condition.
    #[must_use]
    pub fn faults(&self) -> Vec<SettingFault> {
        let mut faults = self.faults_beside_when();
        faults.extend(self.filter(["*"]).err().into_iter().flatten());
        faults
    }

    /// The same without the condition.
    pub(crate) fn faults_beside_when(&self) -> Vec<SettingFault> {
        let mut faults = Vec::new();
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            let rule = "must be greater than 0; leave it out for the timeout of the attribute or \
                        of the relay";
            faults.push(SettingFault::new(["timeout"], rule));
        }
        if self.concurrency == Some(0) {
            let rule = "must be greater than 0; pause a handler that should not run";
            faults.push(SettingFault::new(["concurrency"], rule));
        }
        if let Some(RetryPolicies {
            transient,
            throttled,
        }) = &self.retry
        {
            let checks = [
                ("transient", transient.validate()),
                ("throttled", throttled.validate()),
            ];
            let broken = checks.into_iter().filter_map(|(class, checked)| {
                let (field, rule) = checked.err()?;
                Some(SettingFault::new(["retry", class, field], rule))
            });
            faults.extend(broken);
        }
        if let Some(tenants) = &self.tenants {
            if tenants.is_empty() {
                let rule = "must name a tenant; leave it out for the events of all tenants";
                faults.push(SettingFault::new(["tenants"], rule));
            }
            let empty = tenants.iter().position(String::is_empty).map(|index| {
                let setting = KeyPath::from(["tenants"]).join([Step::Index(index)]);
                let rule = "must not be empty; ask for events without a tenant by `when`, as in \
                            `\"envelope.tenant\" = { exists = false }`";
                SettingFault {
                    setting,
                    rule: rule.to_owned(),
                }
            });
            faults.extend(empty);
        }
        faults
    }

    /// The condition, compiled for events of these types.
    pub(crate) fn filter<'a>(
        &self,
        event_types: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Filter>, Vec<SettingFault>> {
        let Some(when) = &self.when else {
            return Ok(None);
        };
        Filter::new(when, event_types).map(Some).map_err(|errors| {
            let fault = |error: &bento_relay::route::RouterError| SettingFault {
                setting: error.path.clone(),
                rule: error.fault.to_string(),
            };
            errors.iter().map(fault).collect()
        })
    }

    /// These settings where `over` sets nothing, else those of `over`.
    #[must_use]
    pub(crate) fn overridden_by(self, over: Self) -> Self {
        Self {
            timeout: over.timeout.or(self.timeout),
            concurrency: over.concurrency.or(self.concurrency),
            retry: over.retry.or(self.retry),
            tenants: over.tenants.or(self.tenants),
            when: over.when.or(self.when),
        }
    }
}

#[cfg(test)]
mod tests {
    use bento_relay::retry::{Backoff, RetryPolicy};
    use bento_relay::route::field;

    use super::*;

    fn told(settings: &HandlerSettings) -> Vec<String> {
        let faults = settings.faults().into_iter();
        faults.map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn every_broken_rule_is_told_at_once() {
        let seconds = Duration::from_secs;
        let wrong = HandlerSettings::default()
            .timeout(Duration::ZERO)
            .concurrency(0)
            .retry(RetryPolicies {
                transient: RetryPolicy::immediate(0),
                throttled: Backoff::Exponential {
                    base: seconds(2),
                    cap: seconds(1),
                },
            })
            .tenants(["acme", ""])
            .when(field("total").gt(5));
        assert_eq!(
            told(&wrong),
            [
                "`timeout`: must be greater than 0; leave it out for the timeout of the attribute \
                 or of the relay",
                "`concurrency`: must be greater than 0; pause a handler that should not run",
                "`retry.transient.max_attempts`: must be at least 1",
                "`retry.throttled.cap`: must be at least `base`",
                "`tenants[1]`: must not be empty; ask for events without a tenant by `when`, as \
                 in `\"envelope.tenant\" = { exists = false }`",
                "`when.total`: invalid path `total`: begin it with `payload.` or `envelope.`",
            ]
        );
        assert_eq!(
            told(&HandlerSettings::default().tenants([""; 0])),
            ["`tenants`: must name a tenant; leave it out for the events of all tenants"]
        );
        assert_eq!(HandlerSettings::default().faults(), []);
    }

    #[test]
    fn later_settings_go_before_earlier_ones_one_by_one() {
        let seconds = Duration::from_secs;
        let early = HandlerSettings::default()
            .timeout(seconds(1))
            .concurrency(2)
            .tenants(["acme"]);
        let late = HandlerSettings::default()
            .timeout(seconds(9))
            .retry(RetryPolicies::named("once").expect("it is there"));
        let both = early.clone().overridden_by(late.clone());
        let expected = HandlerSettings {
            tenants: early.tenants,
            ..late.concurrency(2)
        };
        assert_eq!(both, expected);
    }

    #[test]
    fn the_keys_are_those_that_are_read() {
        use serde::Deserialize as _;
        use serde::de::value::{Error, MapDeserializer};

        let wrong = MapDeserializer::<_, Error>::new([("wrong", 1)].into_iter());
        let error = HandlerSettings::deserialize(wrong).unwrap_err();
        let known = HandlerSettings::KEYS
            .map(|key| format!("`{key}`"))
            .join(", ");
        let expected = format!("unknown field `wrong`, expected one of {known}");
        assert_eq!(error.to_string(), expected);
    }
}
