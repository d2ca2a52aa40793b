//! The routes that a publisher brings by itself: those to its handlers.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::Destination;
use crate::retry::RetryPolicies;

/// A route that a publisher brings: a handler, and the event types that it takes.
///
/// A relay records the handlers of its publisher in the database when it starts, and every relay
/// routes by what is recorded. See
/// [`RelayStore::record_handlers`](crate::store::RelayStore::record_handlers).
///
/// ```
/// use bento_relay::publish::HandlerRoute;
///
/// let route = HandlerRoute::new("mail.confirmation", ["order.confirmed", "refund.*"]);
/// assert_eq!(route.destination().publisher(), HandlerRoute::PUBLISHER);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerRoute {
    /// The stable name of the handler: that of its route and of its destination.
    pub name: Arc<str>,
    /// The event types that it takes, or patterns of them as in the rules of a router: `order.*`.
    pub takes: Vec<Arc<str>>,
    /// False if the events of an aggregate may be handled in any order.
    pub ordered: bool,
    /// The events with which it starts, if the database does not know it yet.
    pub from: StartFrom,
    /// The retry policies; `None` for those of the relay. They are not recorded: each relay goes by
    /// those of its own process.
    pub retry: Option<RetryPolicies>,
}

/// The events with which a handler starts that the database does not know yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StartFrom {
    /// Those that are committed after it was recorded. An event that was raised before, in a
    /// transaction that was still open then, may be left out.
    #[default]
    Now,
    /// All that are still pending in the outbox.
    Beginning,
    /// Those that occurred at this time or later, by their `occurred_at`, among all that are still
    /// pending in the outbox. Microseconds count; a finer part is cut off.
    At(DateTime<Utc>),
}

impl StartFrom {
    /// The time before which an event that occurred is left out, in the microseconds that every
    /// back end stores.
    pub fn time(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Now | Self::Beginning => None,
            Self::At(time) => Some(time.trunc_subsecs(6)),
        }
    }
}

impl HandlerRoute {
    /// The name of the publisher in the destination of every handler.
    pub const PUBLISHER: &'static str = "handlers";

    /// An ordered handler that starts with the events after it was recorded.
    pub fn new<T: Into<Arc<str>>>(
        name: impl Into<Arc<str>>,
        takes: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            name: name.into(),
            takes: takes.into_iter().map(Into::into).collect(),
            ordered: true,
            from: StartFrom::Now,
            retry: None,
        }
    }

    /// Keeps the events of an aggregate in order, or not.
    #[must_use]
    pub fn ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    /// Sets the events with which a new handler starts.
    #[must_use]
    pub fn from(self, from: StartFrom) -> Self {
        Self { from, ..self }
    }

    /// Sets the retry policies; `None` for those of the relay.
    #[must_use]
    pub fn retry(self, retry: Option<RetryPolicies>) -> Self {
        Self { retry, ..self }
    }

    /// The destination of the handler.
    pub fn destination(&self) -> Destination {
        Self::destination_of(&self.name)
    }

    /// The destination of the handler of this name.
    pub(crate) fn destination_of(name: &Arc<str>) -> Destination {
        Destination::new(Arc::clone(name)).via(Self::PUBLISHER)
    }
}
