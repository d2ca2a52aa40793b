//! Rules, checked and prepared: everything that is wrong is found before the first event is routed.

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::conditions::Conditions;
pub(crate) use self::names::broken_rule;
use self::names::check_names;
use self::order::check_order;
use super::Route;
use super::Router;
use super::compiled::{Compiled, CompiledRule, Sample, Unkinded};
use super::config::{RouterConfig, is_reserved};
use super::contradiction::Events;
use super::error::{Faults, RouterErrors, RouterFault};
use super::glob::Glob;
use super::kinds::Kinds;
use super::rewrite::Rewrite;
use super::rule::{Rule, Strategy};
use crate::publish::Destination;
use crate::retry::RetryPolicies;

mod conditions;
mod names;
mod order;
mod question;

/// The longest delay and the longest deadline of a rule.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

impl RouterConfig {
    /// Returns the router of these rules.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with its path: unknown destinations, names that are
    /// taken, rules that no event can ever take.
    pub fn build(&self) -> Result<Router, RouterErrors> {
        build(self)
    }
}

fn build(config: &RouterConfig) -> Result<Router, RouterErrors> {
    let mut faults = Faults::default();
    let mut building = Building {
        config,
        conditions: Conditions::default(),
    };
    check_names(config, &mut faults);
    faults.at("retry_policies", |faults| building.check_policies(faults));
    let fallback = faults.at("fallback", |faults| {
        building.fallback(config.fallback.as_deref(), faults)
    });
    let rules: Vec<_> = faults.at("rules", |faults| {
        let indexed = config.rules.iter().enumerate();
        let compile = |(index, rule)| {
            faults.at_index(index, |faults| {
                building.rule(rule, fallback.as_ref(), faults)
            })
        };
        indexed.map(compile).collect()
    });
    check_order(config, &mut faults);
    faults.into_result()?;
    let destinations = config.destinations.iter();
    let plain = destinations.map(|to| {
        Arc::new(Route {
            fallback: unless_own(&fallback, &to.name),
            ..Route::to(to.clone())
        })
    });
    let former = config
        .rules
        .iter()
        .zip(&rules)
        .filter_map(|(rule, compiled)| former(rule, compiled))
        .collect();
    let compiled = Compiled::new(rules, plain.collect(), fallback, building.conditions.wanted);
    let compiled = compiled.with_former(former).of_both_kinds(unkinded(config));
    Ok(Router::of(compiled))
}

/// The first rule that does not say which kinds of events it takes, or the fallback of a router
/// without rules.
fn unkinded(config: &RouterConfig) -> Option<Unkinded> {
    let mut rules = config.rules.iter();
    let rule = rules.find(|rule| rule.kind.is_none());
    if let Some(rule) = rule {
        return Some(Unkinded::Rule {
            name: Arc::from(&*rule.name),
            to: rule.to.iter().map(|to| Arc::from(&**to)).collect(),
        });
    }
    let fallback = config.fallback.as_deref();
    fallback
        .filter(|name| config.rules.is_empty() && *name != RouterConfig::DEAD_LETTER_QUEUE)
        .map(|name| Unkinded::Everything {
            to: Arc::from(name),
        })
}

/// The route that a rule with several destinations would have if it were all-or-nothing.
fn former(rule: &Rule, compiled: &CompiledRule) -> Option<Arc<Route>> {
    let [first, _, ..] = &compiled.routes[..] else {
        return None;
    };
    let destinations = compiled
        .routes
        .iter()
        .flat_map(|route| route.destinations.iter().cloned())
        .collect();
    Some(Arc::new(Route {
        name: Arc::from(&*rule.name),
        destinations,
        ..Route::clone(first)
    }))
}

/// A fallback does not fall back on itself.
fn unless_own(fallback: &Option<Arc<Route>>, name: &str) -> Option<Arc<Route>> {
    fallback
        .as_ref()
        .filter(|fallback| *fallback.name != *name)
        .cloned()
}

struct Building<'c> {
    config: &'c RouterConfig,
    conditions: Conditions<'c>,
}

impl<'c> Building<'c> {
    fn check_policies(&self, faults: &mut Faults) {
        for (name, policies) in &self.config.retry_policies {
            faults.at(name, |faults| {
                if RetryPolicies::named(name).is_some() {
                    faults.add(RouterFault::Duplicate { name: name.clone() });
                }
                let checks = [policies.transient.validate(), policies.throttled.validate()];
                for (class, checked) in ["transient", "throttled"].into_iter().zip(checks) {
                    if let Err((field, rule)) = checked {
                        faults.at(class, |faults| {
                            faults.at(field, |faults| faults.invalid(format!("`{field}` {rule}")))
                        });
                    }
                }
            });
        }
    }

    fn destination(&self, name: &str, faults: &mut Faults) -> Option<&'c Destination> {
        let known = self
            .config
            .destinations
            .iter()
            .find(|destination| *destination.name == *name);
        if name == RouterConfig::DEAD_LETTER_QUEUE {
            faults.add(RouterFault::Reserved);
        } else if known.is_none() {
            let mut known: Vec<_> = self
                .config
                .destinations
                .iter()
                .map(|to| to.name.to_string())
                .collect();
            known.dedup();
            known.retain(|name| {
                !name.is_empty() && name != RouterConfig::DEAD_LETTER_QUEUE && !is_reserved(name)
            });
            faults.add(RouterFault::UnknownDestination {
                name: name.to_owned(),
                known,
            });
        }
        known
    }

    fn fallback(&self, name: Option<&str>, faults: &mut Faults) -> Option<Arc<Route>> {
        let name = name.filter(|name| *name != RouterConfig::DEAD_LETTER_QUEUE)?;
        self.destination(name, faults)
            .map(|destination| Arc::new(Route::to(destination.clone())))
    }

    fn rule(
        &mut self,
        rule: &'c Rule,
        fallback: Option<&Arc<Route>>,
        faults: &mut Faults,
    ) -> CompiledRule {
        if rule.copy && rule.stop {
            faults.at("copy", |faults| {
                faults.invalid("a copy comes on top of what the other rules say: leave out `stop`")
            });
        }
        let event_types = faults.at("events", |faults| event_types(rule, faults));
        let kinds = rule.kind.unwrap_or(Kinds::Any);
        let events = Events {
            types: &event_types,
            kinds,
        };
        let when = rule
            .when
            .as_ref()
            .and_then(|when| self.conditions.when(when, events, faults));
        let transform = rule.transform.as_ref();
        CompiledRule {
            sample: faults.at("sample", |faults| sample(rule.sample, faults)),
            routes: self.routes(rule, fallback, faults),
            transform: transform.map(|transform| {
                faults.at("transform", |faults| Rewrite::compile(transform, faults))
            }),
            stop: rule.stop,
            copy: rule.copy,
            is_whole: rule.strategy == Strategy::AllOrNothing,
            event_types,
            kinds,
            when,
        }
    }

    fn routes(
        &self,
        rule: &'c Rule,
        fallback: Option<&Arc<Route>>,
        faults: &mut Faults,
    ) -> Vec<Arc<Route>> {
        let destinations = faults.at("to", |faults| self.destinations(rule, faults));
        let fallback = match &rule.fallback {
            Some(name) => faults.at("fallback", |faults| self.fallback(Some(name), faults)),
            None => fallback.cloned(),
        };
        for (key, duration) in [("delay", rule.delay), ("expires_after", rule.expires_after)] {
            if duration.is_some_and(|duration| duration > DURATION_MAX) {
                faults.at(key, |faults| faults.invalid("a duration is at most 36500d"));
            }
        }
        let is_over_before_it_begins = rule
            .delay
            .zip(rule.expires_after)
            .is_some_and(|(delay, expires)| expires <= delay);
        if is_over_before_it_begins {
            faults.at("expires_after", |faults| {
                faults.add(RouterFault::NeverMatches {
                    reason: "an event expires before its delay is over".to_owned(),
                });
            });
        }
        let retry = rule
            .retry
            .as_ref()
            .and_then(|name| faults.at("retry", |faults| self.retry(name, faults)));
        let route = |name: &Arc<str>, destinations: Vec<Destination>| {
            let fallback = fallback
                .clone()
                .filter(|to| destinations.iter().all(|own| own.name != to.name));
            Arc::new(Route {
                name: Arc::clone(name),
                retry,
                head_of_line: rule.head_of_line,
                delay: rule.delay,
                keeps_order: rule.keeps_order,
                expires_after: rule.expires_after,
                fallback,
                destinations,
            })
        };
        match rule.strategy {
            Strategy::AllOrNothing => vec![route(&Arc::from(&*rule.name), destinations)],
            Strategy::BestEffort => destinations
                .into_iter()
                .map(|to| route(&to.name.clone(), vec![to]))
                .collect(),
        }
    }

    fn destinations(&self, rule: &'c Rule, faults: &mut Faults) -> Vec<Destination> {
        if rule.to.is_empty() {
            faults.invalid("a rule leads to a destination: name one");
        }
        let mut found = Vec::new();
        for (index, name) in rule.to.iter().enumerate() {
            faults.at_index(index, |faults| {
                if rule.to[..index].contains(name) {
                    faults.add(RouterFault::Duplicate { name: name.clone() });
                }
                found.extend(self.destination(name, faults).cloned());
            });
        }
        found
    }

    fn retry(&self, name: &str, faults: &mut Faults) -> Option<RetryPolicies> {
        let policies = self
            .config
            .retry_policies
            .get(name)
            .copied()
            .or_else(|| RetryPolicies::named(name));
        if policies.is_none() {
            let known = RetryPolicies::NAMES
                .map(str::to_owned)
                .into_iter()
                .chain(self.config.retry_policies.keys().cloned());
            faults.add(RouterFault::UnknownRetryPolicy {
                name: name.to_owned(),
                known: known.collect(),
            });
        }
        policies
    }
}

fn event_types(rule: &Rule, faults: &mut Faults) -> Vec<Glob> {
    if rule.events.is_empty() {
        faults.add(RouterFault::NeverMatches {
            reason: "it is for no event; leave `events` out for all".to_owned(),
        });
    }
    for (index, pattern) in rule.events.iter().enumerate() {
        if pattern.is_empty() {
            faults.at_index(index, |faults| {
                faults.invalid("an event type has a name: write one, or `*` for all")
            });
        }
    }
    rule.events
        .iter()
        .map(|pattern| Glob::new(pattern))
        .collect()
}

fn sample(share: Option<f64>, faults: &mut Faults) -> Sample {
    let share = share.unwrap_or(1.0);
    if share == 0.0 {
        faults.add(RouterFault::NeverMatches {
            reason: "its sample is empty".to_owned(),
        });
    } else if !(share > 0.0 && share <= 1.0) {
        faults.invalid(format!(
            "a sample is a share above 0 and up to 1, not {share}"
        ));
    }
    Sample::of(share)
}
