//! From an event to its destinations.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use smallvec::{SmallVec, smallvec};

use crate::envelope::Envelope;
use crate::publish::Destination;
use crate::retry::RetryPolicies;

/// Where events go: decided for each by rules that are compiled once. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Router {
    all: Arc<Route>,
}

/// The targets of one event, usually one. None if every rule that applies has sampled it out.
pub type Targets = SmallVec<[Target; 1]>;

/// One event on one of its routes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Where it goes and how.
    pub route: Arc<Route>,
    /// The event as the route wants it: the same one, unless the route transforms the payload.
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
    /// The name under which progress is kept: that of the destination, or that of an all-or-nothing rule.
    pub name: Arc<str>,
    /// One destination; several for all-or-nothing, which is settled when all have confirmed.
    pub destinations: Vec<Destination>,
    /// When to try again, if not as the relay says.
    pub retry: Option<RetryPolicies>,
    /// What a failing event means for the later ones of its aggregate.
    pub head_of_line: HeadOfLine,
    /// How long after it occurred an event is delivered; one by one, out of its aggregate's order, unless `keeps_order`.
    pub delay: Option<Duration>,
    /// Whether a delayed event delays the later ones of its aggregate.
    pub keeps_order: bool,
    /// How long after it occurred an event that is not delivered is given up.
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

/// An event that cannot be routed. It becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No rule applies and there is no fallback.
    #[error("no rule applies to `{event_type}` and there is no fallback")]
    NoRule {
        /// The schema of the event.
        event_type: String,
    },
    /// The name of a destination or rule that the router does not have.
    #[error("there is no destination `{name}`")]
    UnknownDestination {
        /// The name.
        name: String,
    },
    /// What travels with the event to route it cannot be read.
    #[error("the routing that travels with the event cannot be read: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

impl Router {
    /// Every event to one destination.
    pub fn to(destination: Destination) -> Self {
        Self { all: Arc::new(Route::to(destination)) }
    }

    /// The targets of an event.
    ///
    /// # Errors
    /// [`RouteError`]: the event goes nowhere.
    pub fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
        Ok(smallvec![Target::new(Arc::clone(&self.all), Arc::clone(envelope))])
    }

    /// The route `name` for an event that took it before: conditions and samples were decided then.
    ///
    /// # Errors
    /// [`RouteError::UnknownDestination`].
    pub fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
        if *self.all.name == *name {
            Ok(Target::new(Arc::clone(&self.all), Arc::clone(envelope)))
        } else {
            Err(RouteError::UnknownDestination { name: name.to_owned() })
        }
    }

    /// Every route that a rule can take, fallbacks included, each once.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        std::iter::once(&self.all)
    }
}

impl Target {
    /// An event on a route, without delay or deadline but those of the route.
    pub fn new(route: Arc<Route>, envelope: Arc<Envelope>) -> Self {
        let at = |after: Option<Duration>| {
            after.and_then(|after| envelope.occurred_at.checked_add_signed(chrono::TimeDelta::from_std(after).ok()?))
        };
        let (not_before, expires_at) = (at(route.delay), at(route.expires_after));
        Self { route, envelope, not_before, expires_at }
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
