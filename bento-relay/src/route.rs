//! From an event to its routes.
//!
//! Decision: docs/decisions/0021-rules-are-compared-as-written.md
//! Decision: docs/decisions/0019-each-destination-goes-its-own-way.md
//!
//! Rules are written in code or in a file ([`RouterConfig`]), checked as a whole and compiled once
//! into a [`Router`]. For each event the router returns [`Targets`]: routes with their policies,
//! and the event in the form that the route wants.
//!
//! Evaluating the rules copies no payload, and reads it at most once, only if a rule for the
//! event's type asks about it. An event can carry its own destinations and times in its
//! [`Metadata`](bento_core::Metadata), which override every rule.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::metadata::{Routing, RoutingError};
use chrono::{DateTime, Utc};
use smallvec::SmallVec;

pub(crate) use self::build::broken_rule;
pub(crate) use self::compiled::Unkinded;
use self::compiled::{Compiled, Taken};
pub use self::condition::{Condition, Field, Literal, Test, field};
pub use self::config::RouterConfig;
pub(crate) use self::config::{UNREADABLE, UNROUTABLE, is_reserved};
pub use self::error::{RouterError, RouterErrors, RouterFault};
pub use self::filter::Filter;
pub(crate) use self::glob::Glob;
#[doc(hidden)]
pub use self::glob::covers;
pub use self::kinds::Kinds;
pub use self::rule::{Rule, Strategy, Transform};
use crate::publish::Destination;
pub use crate::reading::{KeyPath, Step};
use crate::retry::RetryPolicies;

mod build;
mod check;
mod compiled;
mod condition;
mod config;
mod contradiction;
mod error;
mod facts;
mod filter;
mod glob;
mod kinds;
mod number;
mod path;
mod read;
mod rewrite;
mod rule;
mod tree;
mod typed;
mod value;

#[cfg(test)]
mod tests;

/// Compiled rules that choose the routes of each event. Cheap to clone.
///
/// ```
/// use std::sync::Arc;
///
/// use bento_core::envelope::Envelope;
/// use bento_relay::publish::Destination;
/// use bento_relay::route::{Router, Rule, field};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let large = field("payload.total").gte(1000);
/// let router = Router::builder()
///     .destination(Destination::new("orders"))
///     .destination(Destination::new("fraud"))
///     .rule(Rule::new("all").events(["order.*"]).to(["orders"]))
///     .rule(Rule::new("large").events(["order.*"]).when(large).to(["fraud"]))
///     .build()?;
///
/// let payload = r#"{"total": 1250}"#;
/// let event = Arc::new(Envelope::new("order.placed", 1, chrono::Utc::now(), payload));
/// let targets = router.route(&event)?;
/// let routes: Vec<_> = targets.iter().map(|target| &*target.route.name).collect();
/// assert_eq!(routes, ["orders", "fraud"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Router {
    compiled: Arc<Compiled>,
}

/// The targets of one event, usually one. Empty if every matching rule left it out of its sample.
pub type Targets = SmallVec<[Target; 1]>;

/// An event on one of its routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// The route.
    pub route: Arc<Route>,
    /// The event in the form that the route wants: the same one, or a copy with an id of its own if
    /// the route transforms the payload.
    pub envelope: Arc<Envelope>,
    /// The time before which the event is not delivered.
    pub not_before: Option<DateTime<Utc>>,
    /// The time from which the event is given up.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A route: the policies by which a relay delivers the events of a rule.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The name under which progress is kept: that of the destination, or that of an all-or-nothing
    /// rule.
    pub name: Arc<str>,
    /// The destination; several for an all-or-nothing rule, which is settled when all have
    /// confirmed.
    pub destinations: Vec<Destination>,
    /// The retry policies; `None` for those of the relay.
    pub retry: Option<RetryPolicies>,
    /// The effect of a failing event on the later ones of its aggregate.
    pub head_of_line: HeadOfLine,
    /// The wait from an event's `occurred_at` to its delivery. Each event waits for itself, out of
    /// its aggregate's order, unless `keeps_order`.
    pub delay: Option<Duration>,
    /// True if a delayed event delays the later ones of its aggregate.
    pub keeps_order: bool,
    /// The time from an event's `occurred_at` after which it is given up.
    pub expires_after: Option<Duration>,
    /// The route for events that fail permanently or too often.
    pub fallback: Option<Arc<Route>>,
}

/// The effect of a failing event on the later ones of its aggregate, on its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadOfLine {
    /// The later events wait, so order is kept.
    #[default]
    Hold,
    /// The later events go on, out of order.
    Continue,
}

/// The error of an event that cannot be routed. A relay holds the event for a while, since another
/// relay may have a rule for it, unless the error is [`Invalid`](Self::Invalid).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No rule applies and the router has no fallback.
    #[error("no rule applies to `{event_type}`: add a rule for it, or a fallback")]
    NoRule {
        /// The event type of the event.
        event_type: String,
    },
    /// The router has no destination or rule of this name.
    #[error("unknown destination `{name}`")]
    UnknownDestination {
        /// The name.
        name: String,
    },
    /// The routing data of the event has a form that another release writes.
    #[error("the event cannot be routed: {reason}")]
    UnknownForm {
        /// The details.
        reason: String,
    },
    /// The routing data of the event cannot be read, or a rule cannot transform its payload.
    #[error("the event cannot be routed: {reason}")]
    Invalid {
        /// The details.
        reason: String,
    },
}

impl Router {
    /// A router that sends every event to one destination.
    pub fn to(destination: Destination) -> Self {
        Self::of(Compiled::single(Route::to(destination)))
    }

    /// An empty set of rules, to be written in code.
    pub fn builder() -> RouterConfig {
        RouterConfig::default()
    }

    /// A router that sends each event to one destination, by the first pattern that matches its
    /// event type; see [`RouterConfig::by_event_type`].
    ///
    /// # Errors
    /// All faults in the rules.
    pub fn by_event_type<P: Into<String>, D: AsRef<str>>(
        pairs: impl IntoIterator<Item = (P, D)>,
    ) -> Result<Self, RouterErrors> {
        RouterConfig::by_event_type(pairs).build()
    }

    /// A router that sends each event to every destination whose condition it meets; see
    /// [`RouterConfig::by_condition`].
    ///
    /// # Errors
    /// All faults in the rules.
    pub fn by_condition<D: AsRef<str>>(
        pairs: impl IntoIterator<Item = (Condition, D)>,
    ) -> Result<Self, RouterErrors> {
        RouterConfig::by_condition(pairs).build()
    }

    /// A router that sends no event anywhere.
    pub(crate) fn nowhere() -> Self {
        Self::of(Compiled::without_routes())
    }

    /// True for the router of a relay without rules.
    pub(crate) fn is_default(&self) -> bool {
        let mut routes = self.routes();
        let only = routes.next().filter(|_| routes.next().is_none());
        only.is_some_and(|route| **route == Route::default())
    }

    /// The part that takes events of both kinds without saying so.
    pub(crate) fn unkinded(&self) -> Option<&Unkinded> {
        self.compiled.unkinded()
    }

    /// True if events can wait under this name for a route of the router.
    pub(crate) fn knows(&self, name: &str) -> bool {
        is_reserved(name) || self.compiled.knows(name)
    }

    fn of(compiled: Compiled) -> Self {
        Self {
            compiled: Arc::new(compiled),
        }
    }

    /// Returns the targets of an event: those that it names itself, else those of the matching
    /// rules, else the fallback. Each destination occurs once.
    ///
    /// # Errors
    /// [`RouteError`]: the event has no route.
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

    /// Returns the route `name` for an event that took it before; conditions and samples are not
    /// evaluated again.
    ///
    /// # Errors
    /// [`RouteError::UnknownDestination`], and [`RouteError::Invalid`] for an event whose payload
    /// the route cannot transform.
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

    /// The routes that events can take, fallbacks included, each once. Several rules may have
    /// routes of one name with different policies.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.compiled.routes()
    }
}

/// The routing data of the event itself, usually empty.
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

/// A router that sends every event to the default destination.
impl Default for Router {
    fn default() -> Self {
        Self::to(Destination::default())
    }
}

impl Target {
    /// An event on a route, with the delay and the deadline of the route.
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

    /// An event on a route that no rule gives it, with its own times before those of the route.
    pub(crate) fn of_event(
        route: &Arc<Route>,
        envelope: &Arc<Envelope>,
    ) -> Result<Self, RouteError> {
        let routing = own_routing(envelope)?;
        let target = Self::new(Arc::clone(route), Arc::clone(envelope));
        Ok(Self {
            not_before: routing.deliver_at.or(target.not_before),
            expires_at: routing.expires_at.or(target.expires_at),
            ..target
        })
    }

    /// Adds the event on these routes. The event's own times override those of the rules; the
    /// payload of a rule is transformed once.
    fn extend(
        targets: &mut Targets,
        taken: &[Taken<'_>],
        original: &Arc<Envelope>,
        routing: &Routing,
    ) -> Result<(), RouteError> {
        // The routes of one rule stand one after another.
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
