//! From an event to its destinations.
//!
//! Rules are written in code or in a file ([`RouterConfig`]), checked as a whole and compiled once
//! into a [`Router`]. For each event it gives [`Targets`]: routes, with what the relay has to keep
//! to, and the event as the route wants it.
//!
//! Asking the rules copies no payload, reads it at most once, and only if a rule whose event types
//! fit asks about it. An event can say itself where it goes and when, in
//! [`Metadata`](bento_core::Metadata): that wins over every rule.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::metadata::{Routing, RoutingError};
use chrono::{DateTime, Utc};
use smallvec::SmallVec;

pub(crate) use self::build::broken_rule;
use self::compiled::{Compiled, Taken};
pub use self::condition::{Condition, Field, Literal, Test, field};
pub use self::config::RouterConfig;
pub(crate) use self::config::{UNREADABLE, UNROUTABLE, is_reserved};
pub use self::error::{RouterError, RouterErrors, RouterFault};
pub use self::rule::{Rule, Strategy, Transform};
use crate::publish::Destination;
use crate::retry::RetryPolicies;

mod build;
mod check;
mod compiled;
mod condition;
mod config;
mod contradiction;
mod error;
mod facts;
mod glob;
mod number;
mod path;
mod read;
mod rewrite;
mod rule;
mod tree;
mod value;

#[cfg(test)]
mod tests;

/// Where events go: decided for each by rules that are compiled once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    compiled: Arc<Compiled>,
}

/// The targets of one event, usually one. None if every rule that applies has sampled it out.
pub type Targets = SmallVec<[Target; 1]>;

/// One event on one of its routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Where it goes and how.
    pub route: Arc<Route>,
    /// The event as the route wants it: the same one, or a copy with an id of its own if the route
    /// transforms the payload.
    pub envelope: Arc<Envelope>,
    /// Not to be delivered before.
    pub not_before: Option<DateTime<Utc>>,
    /// To be given up from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What the relay keeps to for the events of one rule.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The name under which progress is kept: that of the destination, or that of an all-or-nothing
    /// rule.
    pub name: Arc<str>,
    /// One destination; several for all-or-nothing, which is settled when all have confirmed.
    pub destinations: Vec<Destination>,
    /// When to try again, if not as the relay says.
    pub retry: Option<RetryPolicies>,
    /// What a failing event means for the later ones of its aggregate.
    pub head_of_line: HeadOfLine,
    /// The wait from an event's `occurred_at` until it is delivered; one by one, out of its
    /// aggregate's order, unless `keeps_order`.
    pub delay: Option<Duration>,
    /// Whether a delayed event delays the later ones of its aggregate.
    pub keeps_order: bool,
    /// The time from an event's `occurred_at` until it is given up if it is not delivered.
    pub expires_after: Option<Duration>,
    /// Where an event goes that fails permanently or was tried too often.
    pub fallback: Option<Arc<Route>>,
}

/// What a failing event means for the later ones of its aggregate, on its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadOfLine {
    /// They wait: order is kept.
    #[default]
    Hold,
    /// They go on: out of order by definition.
    Continue,
}

/// An event that cannot be routed. A relay holds it for a while, since another one may know more,
/// unless it is [`Invalid`](Self::Invalid).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No rule applies and there is no fallback.
    #[error("no rule applies to `{event_type}` and there is no fallback")]
    NoRule {
        /// The event type of the event.
        event_type: String,
    },
    /// The name of a destination or rule that the router does not have.
    #[error("there is no destination `{name}`")]
    UnknownDestination {
        /// The name.
        name: String,
    },
    /// What travels with the event to route it has a form that another release writes.
    #[error("the event cannot be routed: {reason}")]
    UnknownForm {
        /// What is wrong.
        reason: String,
    },
    /// What travels with the event to route it cannot be read, or a rule cannot transform its
    /// payload.
    #[error("the event cannot be routed: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

impl Router {
    /// Every event to one destination.
    pub fn to(destination: Destination) -> Self {
        Self::of(Compiled::single(Route::to(destination)))
    }

    /// Rules to be written in code, none so far.
    pub fn builder() -> RouterConfig {
        RouterConfig::default()
    }

    /// Each event to one destination, by the first pattern that its event_type fits; see
    /// [`RouterConfig::by_event_type`].
    ///
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn by_event_type<P: Into<String>, D: AsRef<str>>(
        pairs: impl IntoIterator<Item = (P, D)>,
    ) -> Result<Self, RouterErrors> {
        RouterConfig::by_event_type(pairs).build()
    }

    /// Each event to every destination whose condition it meets; see
    /// [`RouterConfig::by_condition`].
    ///
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn by_condition<D: AsRef<str>>(
        pairs: impl IntoIterator<Item = (Condition, D)>,
    ) -> Result<Self, RouterErrors> {
        RouterConfig::by_condition(pairs).build()
    }

    fn of(compiled: Compiled) -> Self {
        Self {
            compiled: Arc::new(compiled),
        }
    }

    /// The targets of an event: those that it names itself, else those of the rules that apply,
    /// else the fallback. Each destination once.
    ///
    /// # Errors
    /// [`RouteError`]: the event goes nowhere.
    pub fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
        let routing = own_routing(envelope)?;
        let mut targets = Targets::new();
        if routing.destinations.is_empty() {
            let taken = self.compiled.by_rules(envelope)?;
            targets.reserve_exact(taken.len());
            Target::extend(&mut targets, &taken, envelope, &routing)?;
        }
        for name in &routing.destinations {
            if targets.iter().all(|target| *target.route.name != **name) {
                let taken = self.compiled.by_name(name)?;
                Target::extend(&mut targets, &[taken], envelope, &routing)?;
            }
        }
        Ok(targets)
    }

    /// The route `name` for an event that took it before: conditions and samples were decided then.
    ///
    /// # Errors
    /// [`RouteError::UnknownDestination`], and [`RouteError::Invalid`] for an event that cannot be
    /// brought into the form that the route wants.
    pub fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
        let routing = own_routing(envelope)?;
        let is_own = routing.destinations.iter().any(|own| own == name);
        let taken = if is_own {
            self.compiled.by_name(name)
        } else {
            self.compiled.taken_before(envelope, name)
        }?;
        let mut targets = Targets::new();
        Target::extend(&mut targets, &[taken], envelope, &routing)?;
        targets.pop().ok_or_else(|| RouteError::UnknownDestination {
            name: name.to_owned(),
        })
    }

    /// Every route that an event can take, fallbacks included, each once. Several rules may have
    /// routes of one name that differ in what the relay has to keep to.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.compiled.routes()
    }
}

/// What the event says itself; nothing for most.
fn own_routing(envelope: &Envelope) -> Result<Routing, RouteError> {
    envelope.routing().map_err(|error| match error {
        RoutingError::Version { .. } => RouteError::UnknownForm {
            reason: error.to_string(),
        },
        _ => RouteError::Invalid {
            reason: error.to_string(),
        },
    })
}

/// Every event to the default destination.
impl Default for Router {
    fn default() -> Self {
        Self::to(Destination::default())
    }
}

impl Target {
    /// An event on a route, without delay or deadline but those of the route.
    pub fn new(route: Arc<Route>, envelope: Arc<Envelope>) -> Self {
        let at = |after: Option<Duration>| {
            after.and_then(|after| {
                envelope
                    .occurred_at
                    .checked_add_signed(chrono::TimeDelta::from_std(after).ok()?)
            })
        };
        let (not_before, expires_at) = (at(route.delay), at(route.expires_after));
        Self {
            route,
            envelope,
            not_before,
            expires_at,
        }
    }

    /// Adds the event on these routes. What it says itself of its times wins; what a rule makes of
    /// the payload is made once.
    fn extend(
        targets: &mut Targets,
        taken: &[Taken<'_>],
        original: &Arc<Envelope>,
        routing: &Routing,
    ) -> Result<(), RouteError> {
        // The routes of one rule come one after another.
        let mut last: Option<(&compiled::CompiledRule, Option<Envelope>)> = None;
        for (route, rule) in taken {
            if let Some(rule) = rule
                && last
                    .as_ref()
                    .is_none_or(|(made_by, _)| !std::ptr::eq(*made_by, *rule))
            {
                last = Some((rule, rule.transformed(original)?));
            }
            let copy = rule.and(last.as_ref()).and_then(|(_, copy)| copy.as_ref());
            let envelope = copy.map_or_else(
                || Arc::clone(original),
                |copy| Arc::new(copy.of_route(&route.name)),
            );
            let mut target = Self::new(Arc::clone(route), envelope);
            target.not_before = routing.deliver_at.or(target.not_before);
            target.expires_at = routing.expires_at.or(target.expires_at);
            targets.push(target);
        }
        Ok(())
    }
}

impl Route {
    /// The route to one destination, with the relay's own policies.
    pub fn to(destination: Destination) -> Self {
        Self {
            name: Arc::clone(&destination.name),
            destinations: vec![destination],
            retry: None,
            head_of_line: HeadOfLine::Hold,
            delay: None,
            keeps_order: false,
            expires_after: None,
            fallback: None,
        }
    }
}

/// The route to the default destination.
impl Default for Route {
    fn default() -> Self {
        Self::to(Destination::default())
    }
}
