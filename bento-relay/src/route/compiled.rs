//! Rules in the form in which they are evaluated.

use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::event::EventKind;
use bento_core::id::EventId;
use smallvec::SmallVec;

use super::check::Check;
use super::facts::{Facts, Wanted};
use super::glob::Glob;
use super::kinds::Kinds;
use super::rewrite::Rewrite;
use super::{Route, RouteError};

/// The compiled content of a router.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    rules: Vec<CompiledRule>,
    /// The route to each destination without a rule, for events that name it themselves.
    plain: Vec<Arc<Route>>,
    fallback: Option<Arc<Route>>,
    /// The joint route of each rule with several destinations that is not all-or-nothing, for
    /// events held from a time when the rule was all-or-nothing.
    former: Vec<Arc<Route>>,
    wanted: Wanted,
    /// Each route once.
    routes: Vec<Arc<Route>>,
    /// True if domain events without a rule are unroutable; false if every rule is for integration
    /// events, so that domain events are for the handlers of their own context.
    takes_domain_events: bool,
    unkinded: Option<Unkinded>,
}

/// The part of a router that takes events of both kinds without saying so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unkinded {
    /// A rule, and the destinations it leads to.
    Rule { name: Arc<str>, to: Vec<Arc<str>> },
    /// A router without rules.
    Everything { to: Arc<str> },
}

/// One rule.
#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) event_types: Vec<Glob>,
    pub(super) kinds: Kinds,
    pub(super) when: Option<Check>,
    pub(super) sample: Sample,
    /// A route to each destination, or one to all of them.
    pub(super) routes: Vec<Arc<Route>>,
    /// True if the destinations are settled as a whole.
    pub(super) is_whole: bool,
    pub(super) transform: Option<Rewrite>,
    pub(super) stop: bool,
    pub(super) copy: bool,
}

/// A route of an event, and its rule.
pub(super) type Taken<'r> = (&'r Arc<Route>, Option<&'r CompiledRule>);

impl Compiled {
    pub(super) fn new(
        rules: Vec<CompiledRule>,
        plain: Vec<Arc<Route>>,
        fallback: Option<Arc<Route>>,
        wanted: Wanted,
    ) -> Self {
        let of_rules = rules.iter().flat_map(|rule| &rule.routes);
        let fallbacks = of_rules
            .clone()
            .filter_map(|route| route.fallback.as_ref())
            .chain(&fallback);
        let mut routes: Vec<Arc<Route>> = Vec::new();
        for route in of_rules.chain(fallbacks).chain(&plain) {
            if !routes.contains(route) {
                routes.push(Arc::clone(route));
            }
        }
        let mut main = rules.iter().filter(|rule| !rule.copy).peekable();
        let takes_domain_events =
            main.peek().is_none() || main.any(|rule| rule.kinds.take(EventKind::Domain));
        Self {
            rules,
            plain,
            fallback,
            former: Vec::new(),
            wanted,
            routes,
            takes_domain_events,
            unkinded: None,
        }
    }

    /// Notes the part that takes events of both kinds without saying so.
    pub(super) fn of_both_kinds(self, unkinded: Option<Unkinded>) -> Self {
        Self { unkinded, ..self }
    }

    /// The part that takes events of both kinds without saying so.
    pub(super) fn unkinded(&self) -> Option<&Unkinded> {
        self.unkinded.as_ref()
    }

    /// Adds the joint routes of rules that may have been all-or-nothing before.
    pub(super) fn with_former(self, former: Vec<Arc<Route>>) -> Self {
        Self { former, ..self }
    }

    /// Sends every event on one route.
    pub(super) fn single(route: Route) -> Self {
        let unkinded = Unkinded::Everything {
            to: Arc::clone(&route.name),
        };
        Self::everything_to(vec![Arc::new(route)]).of_both_kinds(Some(unkinded))
    }

    /// Sends no event anywhere.
    pub(super) fn without_routes() -> Self {
        Self::everything_to(Vec::new())
    }

    fn everything_to(routes: Vec<Arc<Route>>) -> Self {
        let rule = CompiledRule {
            event_types: vec![Glob::new("*")],
            kinds: Kinds::Any,
            when: None,
            sample: Sample::of(1.0),
            routes: routes.clone(),
            is_whole: false,
            transform: None,
            stop: false,
            copy: false,
        };
        Self::new(vec![rule], routes, None, Wanted::default())
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        let mut routes = self.routes.iter().chain(&self.former);
        routes.any(|route| *route.name == *name)
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// The routes that the rules give an event. Of several routes of one name the first is taken.
    pub(super) fn by_rules<'r>(
        &'r self,
        envelope: &Envelope,
    ) -> Result<SmallVec<[Taken<'r>; 4]>, RouteError> {
        let facts = Facts::new(envelope, &self.wanted);
        let mut taken: SmallVec<[Taken<'r>; 4]> = SmallVec::new();
        let mut applies = false;
        for rule in self.rules.iter().filter(|rule| rule.applies(&facts)) {
            applies |= !rule.copy;
            if !rule.sample.holds(envelope.event_id) {
                continue;
            }
            for route in &rule.routes {
                if taken.iter().all(|(other, _)| other.name != route.name) {
                    taken.push((route, Some(rule)));
                }
            }
            if rule.stop {
                break;
            }
        }
        let is_internal = envelope.kind == EventKind::Domain && !self.takes_domain_events;
        if !applies && !is_internal {
            let no_rule = || RouteError::NoRule {
                event_type: envelope.event_type.to_string(),
            };
            let fallback = self.fallback.as_ref().ok_or_else(no_rule)?;
            if taken.iter().all(|(other, _)| other.name != fallback.name) {
                taken.push((fallback, None));
            }
        }
        Ok(taken)
    }

    /// The route that an event names itself: that of a destination, or of an all-or-nothing rule.
    pub(super) fn by_name(&self, name: &str) -> Result<Taken<'_>, RouteError> {
        let plain = self
            .plain
            .iter()
            .find(|route| *route.name == *name)
            .map(|route| (route, None));
        let whole = || {
            self.rule_routes(name)
                .find(|(_, rule)| rule.is_some_and(|rule| rule.is_whole))
        };
        plain
            .or_else(whole)
            .ok_or_else(|| RouteError::UnknownDestination {
                name: name.to_owned(),
            })
    }

    /// The route that an event took before. If several routes have the name, the rules are
    /// evaluated again; unchanged rules give the same result.
    pub(super) fn taken_before(
        &self,
        envelope: &Envelope,
        name: &str,
    ) -> Result<Taken<'_>, RouteError> {
        let mut of_rules = self.rule_routes(name);
        let first = of_rules.next();
        let is_fallback = self
            .routes
            .iter()
            .any(|route| route.fallback.as_ref().is_some_and(|to| *to.name == *name))
            || self.fallback.as_ref().is_some_and(|to| *to.name == *name);
        if let Some(first) = first.filter(|_| of_rules.next().is_none() && !is_fallback) {
            return Ok(first);
        }
        let asked = self.by_rules(envelope).unwrap_or_default();
        let again = asked.into_iter().find(|(route, _)| *route.name == *name);
        let fallback = || {
            let fallbacks = self
                .routes
                .iter()
                .filter_map(|route| route.fallback.as_ref())
                .chain(&self.fallback);
            fallbacks
                .filter(|route| *route.name == *name)
                .map(|route| (route, None))
                .next()
        };
        match again.or_else(fallback).or(first) {
            Some(taken) => Ok(taken),
            None => self.by_name(name).or_else(|unknown| {
                let former = self.former.iter().find(|route| *route.name == *name);
                former.map(|route| (route, None)).ok_or(unknown)
            }),
        }
    }

    fn rule_routes(&self, name: &str) -> impl Iterator<Item = Taken<'_>> {
        let all = self
            .rules
            .iter()
            .flat_map(|rule| rule.routes.iter().map(move |route| (route, Some(rule))));
        all.filter(move |(route, _)| *route.name == *name)
    }
}

impl CompiledRule {
    fn applies(&self, facts: &Facts<'_>) -> bool {
        self.kinds.take(facts.envelope.kind)
            && self
                .event_types
                .iter()
                .any(|event_type| event_type.matches(&facts.envelope.event_type))
            && self.when.as_ref().is_none_or(|when| when.holds(facts))
    }

    /// The copy of the event that the rule makes, still with the id of the event; `None` without a
    /// transform.
    pub(super) fn transformed(&self, envelope: &Envelope) -> Result<Option<Envelope>, RouteError> {
        let Some(rewrite) = &self.transform else {
            return Ok(None);
        };
        let invalid = |reason| RouteError::Invalid { reason };
        if let Some(encoding) = &envelope.content_encoding {
            return Err(invalid(format!(
                "a transform needs a payload of plain JSON, this one is `{encoding}`"
            )));
        }
        rewrite.copy(envelope).map(Some).map_err(invalid)
    }
}

/// The share of the events that take a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    All,
    /// Events whose hash is below this number.
    Below(u64),
}

impl Sample {
    pub(super) fn of(share: f64) -> Self {
        // The cast saturates, so a share out of bounds is harmless.
        if share >= 1.0 {
            Self::All
        } else {
            Self::Below((share * 2f64.powi(64)) as u64)
        }
    }

    /// Compares a hash of the event's id, whose first bytes are a time. The result is the same for
    /// every relay and every attempt.
    fn holds(self, event_id: EventId) -> bool {
        match self {
            Self::All => true,
            Self::Below(limit) => {
                xxhash_rust::xxh64::xxh64(event_id.as_uuid().as_bytes(), SEED) < limit
            }
        }
    }
}

/// A different seed than that of the shards, so that a sample is spread over all shards.
const SEED: u64 = 1;
