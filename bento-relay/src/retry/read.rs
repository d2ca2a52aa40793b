//! Reading retry policies from settings and rules.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{BASE, Backoff, CAP, RetryPolicies, RetryPolicy};

/// A name, or a table with `transient` and `throttled`. Missing keys have their default.
impl<'de> Deserialize<'de> for RetryPolicies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PoliciesVisitor)
    }
}

/// A name, or a table with `max_attempts`, `backoff` (`exponential`, `fixed` or `immediate`), for
/// `exponential` `base` and `cap`, and for `fixed` `wait`. Missing keys have their default; a
/// `fixed` backoff needs its `wait`.
impl<'de> Deserialize<'de> for RetryPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PolicyVisitor)
    }
}

/// A name, or a table as of a [`RetryPolicy`] without `max_attempts`.
impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BackoffVisitor)
    }
}

struct PoliciesVisitor;

impl<'de> Visitor<'de> for PoliciesVisitor {
    type Value = RetryPolicies;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a retry policy, or a table with `transient` and `throttled`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<RetryPolicies, E> {
        RetryPolicies::named(name).ok_or_else(|| E::unknown_variant(name, &RetryPolicies::NAMES))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RetryPolicies, A::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Table {
            transient: RetryPolicy,
            throttled: Backoff,
        }
        let Table {
            transient,
            throttled,
        } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RetryPolicies {
            transient,
            throttled,
        })
    }
}

struct PolicyVisitor;

impl<'de> Visitor<'de> for PolicyVisitor {
    type Value = RetryPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a retry policy, or a table with `backoff` and `max_attempts`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<RetryPolicy, E> {
        PoliciesVisitor
            .visit_str(name)
            .map(|policies| policies.transient)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RetryPolicy, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let default = RetryPolicy::default();
        let max_attempts = table.max_attempts.unwrap_or(default.max_attempts);
        Ok(RetryPolicy {
            backoff: table.backoff().map_err(A::Error::custom)?,
            max_attempts,
        })
    }
}

struct BackoffVisitor;

impl<'de> Visitor<'de> for BackoffVisitor {
    type Value = Backoff;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a retry policy, or a table with `backoff`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Backoff, E> {
        PoliciesVisitor
            .visit_str(name)
            .map(|policies| policies.throttled)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backoff, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        if table.max_attempts.is_some() {
            return Err(A::Error::custom(
                "`max_attempts` is for `transient`: a throttled answer counts as no attempt; \
                 remove it",
            ));
        }
        table.backoff().map_err(A::Error::custom)
    }
}

/// The keys of a policy, for all kinds of backoff.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    max_attempts: Option<u32>,
    backoff: Shape,
    #[serde(with = "bento_core::duration::option")]
    base: Option<Duration>,
    #[serde(with = "bento_core::duration::option")]
    cap: Option<Duration>,
    #[serde(with = "bento_core::duration::option")]
    wait: Option<Duration>,
}

#[derive(Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    Immediate,
    Fixed,
    #[default]
    Exponential,
}

impl Table {
    fn backoff(&self) -> Result<Backoff, &'static str> {
        let curve = self.base.or(self.cap);
        match (self.backoff, self.wait) {
            (Shape::Exponential, None) => Ok(Backoff::Exponential {
                base: self.base.unwrap_or(BASE),
                cap: self.cap.unwrap_or(CAP),
            }),
            (Shape::Exponential, Some(_)) => {
                Err("`wait` is for `backoff = \"fixed\"`; `exponential` has `base` and `cap`")
            }
            (Shape::Fixed | Shape::Immediate, _) if curve.is_some() => {
                Err("`base` and `cap` are for `backoff = \"exponential\"`")
            }
            (Shape::Fixed, Some(wait)) => Ok(Backoff::Fixed(wait)),
            (Shape::Fixed, None) => Err("`backoff = \"fixed\"` needs a `wait`"),
            (Shape::Immediate, Some(_)) => {
                Err("`wait` is for `backoff = \"fixed\"`; `immediate` has none")
            }
            (Shape::Immediate, None) => Ok(Backoff::Immediate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RetryPolicies, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_a_name_or_a_table() {
        let second = Duration::from_secs(1);
        assert_eq!(
            read(r#""patient""#).unwrap(),
            RetryPolicies::named("patient").unwrap()
        );
        assert_eq!(read("{}").unwrap(), RetryPolicies::default());
        let both = read(
            r#"{"transient": {"backoff": "exponential", "base": "1s", "max_attempts": 7},
                "throttled": {"backoff": "fixed", "wait": "1s"}}"#,
        )
        .unwrap();
        assert_eq!(
            both.transient,
            RetryPolicy::exponential(second, Duration::from_secs(60), 7)
        );
        assert_eq!(both.throttled, Backoff::Fixed(second));
        let once = read(r#"{"transient": "once", "throttled": {"backoff": "immediate"}}"#).unwrap();
        assert_eq!(
            (once.transient, once.throttled),
            (RetryPolicy::immediate(1), Backoff::Immediate)
        );
    }

    #[test]
    fn an_invalid_policy_is_refused_with_the_way_out() {
        for (json, message) in [
            (
                r#""eager""#,
                "unknown variant `eager`, expected one of `default`, `aggressive`, `patient`, \
                 `once`",
            ),
            (
                "3",
                "expected the name of a retry policy, or a table with `transient` and `throttled`",
            ),
            (
                r#"{"max_attempts": 3}"#,
                "unknown field `max_attempts`, expected `transient` or `throttled`",
            ),
            (
                r#"{"transient": {"wait": "1s"}}"#,
                "`wait` is for `backoff = \"fixed\"`",
            ),
            (
                r#"{"transient": {"backoff": "fixed"}}"#,
                "`backoff = \"fixed\"` needs a `wait`",
            ),
            (
                r#"{"transient": {"backoff": "fixed", "wait": "1s", "cap": "1s"}}"#,
                "`base` and `cap` are for",
            ),
            (
                r#"{"transient": {"backoff": "immediate", "wait": "1s"}}"#,
                "`immediate` has none",
            ),
            (
                r#"{"transient": {"backoff": "linear"}}"#,
                "unknown variant `linear`",
            ),
            (
                r#"{"throttled": {"max_attempts": 3}}"#,
                "`max_attempts` is for `transient`",
            ),
            (
                r#"{"transient": {"base": "soon"}}"#,
                "invalid duration `soon`",
            ),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(message), "{json}: {refused}");
        }
    }
}
