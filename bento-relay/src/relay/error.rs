//! The errors that end a relay, or keep it from starting.

use std::sync::Arc;

use super::settings::SettingsError;
use crate::store::StoreError;

/// A relay ended for what waiting cannot mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// It cannot run by its settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot reach where it is to route to.
    #[error(transparent)]
    UnknownDestination(#[from] UnknownDestination),
    /// A route has a name under which no event can be recorded.
    #[error(transparent)]
    RouteName(#[from] RouteNameError),
    /// The store refuses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is to serve a lane that the outbox does not have.
    #[error(
        "the outbox has {lanes} lane(s), counted from 0, so there is no lane {lane} to serve; \
         name others in `lanes`"
    )]
    NoSuchLane {
        /// The lane it is to serve.
        lane: u16,
        /// How many there are.
        lanes: u16,
    },
}

/// A route leads to a destination that the publisher does not serve.
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
    /// The name of the publisher that would serve it.
    pub publisher: String,
}

/// A route has a name under which no event can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no route can be named `{name}`: {rule}")]
#[non_exhaustive]
pub struct RouteNameError {
    /// The name.
    pub name: Arc<str>,
    /// The rule that it breaks, and the way out.
    pub rule: String,
}
