//! The errors that end a relay, or prevent its start.

use std::fmt;
use std::sync::Arc;

use bento_core::event::EventDescriptor;
use bento_core::names::Listed;

use super::settings::SettingsError;
use crate::publish::UnfitPublisher;
use crate::route::{Router, Unkinded};
use crate::store::StoreError;

/// An error that ends a relay, because waiting cannot repair it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A route leads to a destination that the publisher does not serve.
    #[error(transparent)]
    UnknownDestination(#[from] UnknownDestination),
    /// A route has a name that cannot be recorded.
    #[error(transparent)]
    RouteName(#[from] RouteNameError),
    /// A rule does not say which kind of events it takes.
    #[error(transparent)]
    Kind(#[from] MissingKind),
    /// The publisher cannot work with the settings or the store of the relay.
    #[error(transparent)]
    Publisher(#[from] UnfitPublisher),
    /// The store refuses the relay.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The relay is to serve a lane that the outbox does not have.
    #[error(
        "lane {lane} does not exist: the outbox has {lanes} lane(s), numbered from 0; correct the \
         setting `lanes`"
    )]
    NoSuchLane {
        /// The missing lane.
        lane: u16,
        /// The number of lanes.
        lanes: u16,
    },
}

/// The error of a route to a destination that the publisher does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "route `{route}` leads to destination `{destination}`, which no publisher serves; add a \
     publisher named `{publisher}` to the `Publishers`, or name one of them with `Destination::via`"
)]
#[non_exhaustive]
pub struct UnknownDestination {
    /// The name of the route.
    pub route: Arc<str>,
    /// The name of the destination.
    pub destination: Arc<str>,
    /// The name of the missing publisher.
    pub publisher: String,
}

/// The error of a rule that would take domain events and integration events alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingKind {
    /// The name of the rule; `None` for a router without rules.
    pub rule: Option<Arc<str>>,
    /// The names of the destinations.
    pub destinations: Vec<Arc<str>>,
    /// The event type of an integration event of this program.
    pub integration_event: &'static str,
}

impl MissingKind {
    /// Checks the router of a program that declares this integration event.
    pub(super) fn check(router: &Router, declared: &EventDescriptor) -> Result<(), Self> {
        let (rule, destinations) = match router.unkinded() {
            None => return Ok(()),
            Some(Unkinded::Rule { name, to }) => (Some(Arc::clone(name)), to.clone()),
            Some(Unkinded::Everything { to }) => (None, vec![Arc::clone(to)]),
        };
        Err(Self {
            rule,
            destinations,
            integration_event: declared.schema,
        })
    }
}

impl fmt::Display for MissingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            destinations,
            integration_event,
        } = self;
        match rule {
            Some(rule) => write!(
                f,
                "rule `{rule}` does not say which kind of events it takes, and this program has \
                 integration events (`{integration_event}`): they and the domain events they are \
                 made from would all go to {}; add `kind = \"integration\"`, `\"domain\"` or \
                 `\"any\"` to the rule, in code `.kind(…)`",
                Listed(destinations)
            ),
            None => write!(
                f,
                "the router sends every event to {}, and this program has integration events \
                 (`{integration_event}`): they and the domain events they are made from would all \
                 go there; write a rule with `kind = \"integration\"`, `\"domain\"` or \
                 `\"any\"`, in code `Rule::new(…).kind(…)`",
                Listed(destinations)
            ),
        }
    }
}

impl std::error::Error for MissingKind {}

/// The error of a route with a name that cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid route name `{name}`: {rule}")]
#[non_exhaustive]
pub struct RouteNameError {
    /// The name.
    pub name: Arc<str>,
    /// The violated rule, and the way out.
    pub rule: String,
}
