//! The errors that end a relay, or prevent its start.

use std::sync::Arc;

use super::settings::SettingsError;
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
