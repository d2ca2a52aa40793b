//! Rules into a file, in the form in which they are read: for the law that reading loses nothing.

use std::time::Duration;

use bento_core::duration;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::publish::Destination;
use crate::retry::{Backoff, RetryPolicies, RetryPolicy};
use crate::route::HeadOfLine;
use crate::route::condition::{Condition, Literal, Scalar, Test, float};
use crate::route::config::RouterConfig;
use crate::route::rule::{Rule, Strategy, Transform};

/// A shape of its own for a type that others serialise differently, or not at all.
struct As<'a, T>(&'a T);

/// Values that are written only if they differ from the default.
fn entry<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    value: Option<T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

fn some_if<T>(is_said: bool, value: T) -> Option<T> {
    is_said.then_some(value)
}

fn written(duration: Duration) -> String {
    duration::format(duration)
}

impl Serialize for RouterConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &Self::VERSION)?;
        entry(&mut map, "fallback", self.fallback.as_ref())?;
        map.serialize_entry("destinations", &As(&self.destinations))?;
        let policies: std::collections::BTreeMap<_, _> = self
            .retry_policies
            .iter()
            .map(|(name, policies)| (name, As(policies)))
            .collect();
        entry(
            &mut map,
            "retry_policies",
            some_if(!policies.is_empty(), policies),
        )?;
        map.serialize_entry("rules", &self.rules)?;
        map.end()
    }
}

impl Serialize for As<'_, Vec<Destination>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|destination| (&*destination.name, As(destination))),
        )
    }
}

impl Serialize for As<'_, Destination> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Destination {
            publisher,
            topic,
            routing_key,
            partition_key,
            versioned,
            ..
        } = self.0;
        let mut map = serializer.serialize_map(None)?;
        entry(&mut map, "publisher", publisher.as_deref())?;
        entry(&mut map, "topic", topic.as_deref())?;
        entry(&mut map, "routing_key", routing_key.as_deref())?;
        entry(&mut map, "partition_key", partition_key.as_deref())?;
        entry(&mut map, "versioned", some_if(*versioned, true))?;
        map.end()
    }
}

impl Serialize for As<'_, RetryPolicies> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("transient", &As(&self.0.transient))?;
        map.serialize_entry("throttled", &As(&self.0.throttled))?;
        map.end()
    }
}

impl Serialize for As<'_, RetryPolicy> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        backoff(&mut map, self.0.backoff)?;
        map.serialize_entry("max_attempts", &self.0.max_attempts)?;
        map.end()
    }
}

impl Serialize for As<'_, Backoff> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        backoff(&mut map, *self.0)?;
        map.end()
    }
}

fn backoff<M: SerializeMap>(map: &mut M, backoff: Backoff) -> Result<(), M::Error> {
    match backoff {
        Backoff::Immediate => map.serialize_entry("backoff", "immediate")?,
        Backoff::Fixed(wait) => {
            map.serialize_entry("backoff", "fixed")?;
            map.serialize_entry("wait", &written(wait))?;
        }
        Backoff::Exponential { base, cap } => {
            map.serialize_entry("base", &written(base))?;
            map.serialize_entry("cap", &written(cap))?;
        }
    }
    Ok(())
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("events", &self.events)?;
        map.serialize_entry("to", &self.to)?;
        entry(
            &mut map,
            "strategy",
            some_if(self.strategy == Strategy::AllOrNothing, "all-or-nothing"),
        )?;
        entry(&mut map, "sample", self.sample)?;
        entry(&mut map, "delay", self.delay.map(written))?;
        entry(&mut map, "keeps_order", some_if(self.keeps_order, true))?;
        entry(&mut map, "expires_after", self.expires_after.map(written))?;
        entry(&mut map, "retry", self.retry.as_ref())?;
        entry(
            &mut map,
            "head_of_line",
            some_if(self.head_of_line == HeadOfLine::Continue, "continue"),
        )?;
        entry(&mut map, "fallback", self.fallback.as_ref())?;
        entry(&mut map, "stop", some_if(self.stop, true))?;
        entry(&mut map, "copy", some_if(self.copy, true))?;
        entry(&mut map, "when", self.when.as_ref())?;
        entry(&mut map, "transform", self.transform.as_ref())?;
        map.end()
    }
}

impl Serialize for Transform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        entry(
            &mut map,
            "include",
            some_if(!self.include.is_empty(), &self.include),
        )?;
        entry(
            &mut map,
            "exclude",
            some_if(!self.exclude.is_empty(), &self.exclude),
        )?;
        entry(
            &mut map,
            "rename",
            some_if(!self.rename.is_empty(), &self.rename),
        )?;
        entry(&mut map, "add", some_if(!self.add.is_empty(), &self.add))?;
        entry(&mut map, "event_type", self.event_type.as_ref())?;
        entry(&mut map, "version", self.version)?;
        map.end()
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::All(conditions) => map.serialize_entry("all", conditions)?,
            Self::Any(conditions) => map.serialize_entry("any", conditions)?,
            Self::Not(condition) => map.serialize_entry("not", condition)?,
            Self::Test { path, test } => map.serialize_entry(path, test)?,
        }
        map.end()
    }
}

impl Serialize for Test {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Eq(value) => map.serialize_entry("eq", value)?,
            Self::Ne(value) => map.serialize_entry("ne", value)?,
            Self::Gt(value) => map.serialize_entry("gt", value)?,
            Self::Gte(value) => map.serialize_entry("gte", value)?,
            Self::Lt(value) => map.serialize_entry("lt", value)?,
            Self::Lte(value) => map.serialize_entry("lte", value)?,
            Self::In(values) => map.serialize_entry("in", values)?,
            Self::Nin(values) => map.serialize_entry("nin", values)?,
            Self::Exists(exists) => map.serialize_entry("exists", exists)?,
        }
        map.end()
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Scalar::Null => serializer.serialize_unit(),
            Scalar::Bool(value) => serializer.serialize_bool(*value),
            Scalar::Text(text) => serializer.serialize_str(text),
            Scalar::Number(text) => match (text.parse::<i64>(), text.parse::<u64>(), float(text)) {
                (Ok(integer), ..) => serializer.serialize_i64(integer),
                (_, Ok(integer), _) => serializer.serialize_u64(integer),
                (.., Some(float)) => serializer.serialize_f64(float),
                _ => serializer.serialize_str(text),
            },
        }
    }
}
