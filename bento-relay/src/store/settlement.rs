//! The outcomes of rows, as they are recorded: where a row is, and what has become of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::route;

/// The outcome of one row on one route, to be recorded.
///
/// | outcome | a pending row | a held row |
/// |---|---|---|
/// | [`Published`](Outcome::Published) | is deleted: every route has confirmed it | is deleted, its follower is due |
/// | [`Retry`](Outcome::Retry), [`Unroutable`](Outcome::Unroutable) | is held for the route, due after a wait | is due after another wait |
/// | [`Behind`](Outcome::Behind), [`Delayed`](Outcome::Delayed) | is held for the route | stays as it is |
/// | [`Dead`](Outcome::Dead) | becomes a dead letter of the route | becomes a dead letter of the route |
/// | [`Moved`](Outcome::Moved) | stays as it is | is held for another route |
///
/// A pending row may have settlements for several routes in one call. It leaves the outbox after
/// the last of them, and is published only if none of them holds it or makes it a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The position of the row.
    pub position: i64,
    /// The table that the row is in.
    pub place: Place,
    /// The name of the route. Empty for a pending row that is published: that is for all of them.
    pub route: Arc<str>,
    /// True if the row keeps its place in its stream where it is held from now on; see
    /// [`HeldRow::ordered`](super::HeldRow::ordered). An event without order never does.
    pub ordered: bool,
    /// The outcome.
    pub outcome: Outcome,
}

/// The table that a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The outbox.
    Pending,
    /// The held rows.
    Held,
}

/// The outcome of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is confirmed.
    Published,
    /// It was tried and failed, or it waits for some of its destinations: it is due after a wait.
    Retry(Failure),
    /// It was not tried: an earlier one of its stream is held back, its destination is unavailable,
    /// or its tenant is paused. It is due as soon as it heads its stream.
    Behind,
    /// It is not to be delivered before this wait is over, by the store's clock from now.
    Delayed(Duration),
    /// The relay has no route for it: it is due again after a wait, its attempts stay, and
    /// [`HeldRow::unroutable_for`](super::HeldRow::unroutable_for) runs from the first such outcome
    /// until another one of the row.
    Unroutable(Unroutable),
    /// The relay stops trying.
    Dead(NewDeadLetter),
    /// It goes to another route instead, the fallback: it is held for that one, untried and due as
    /// soon as it heads its stream there. If it is held or dead for that one already, it only
    /// leaves the first. Several of these in one call move a row to several routes. A row that
    /// moves to where it is stays as it is.
    Moved {
        /// The name of the other route.
        to: Arc<str>,
    },
}

impl Settlement {
    /// A pending row that every route has confirmed.
    pub fn published(position: i64) -> Self {
        Self::pending(position, Arc::default(), Outcome::Published)
    }

    /// The outcome of a pending row on a route. The row keeps its place in its stream.
    pub fn pending(position: i64, route: Arc<str>, outcome: Outcome) -> Self {
        Self {
            position,
            place: Place::Pending,
            route,
            ordered: true,
            outcome,
        }
    }

    /// The outcome of a row that was held for a route. The row keeps its place in its stream.
    pub fn held(position: i64, route: Arc<str>, outcome: Outcome) -> Self {
        Self {
            place: Place::Held,
            ..Self::pending(position, route, outcome)
        }
    }

    /// With a place in its stream, or without.
    #[must_use]
    pub fn ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    /// True for a pending row that every route has confirmed.
    pub fn is_pending_published(&self) -> bool {
        self.place == Place::Pending && self.outcome == Outcome::Published
    }

    /// The position, if the row leaves the outbox.
    pub fn leaves_outbox(&self) -> Option<i64> {
        let leaves = self.place == Place::Pending && !matches!(self.outcome, Outcome::Moved { .. });
        leaves.then_some(self.position)
    }
}

/// The reason why a relay has no route for a row, which another relay may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// The wait until a relay looks at the row again, by the store's clock from now.
    pub retry_after: Duration,
    /// The rule or route that is missing.
    pub error: String,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number of attempts so far. With none, the row has not failed yet: its first failure is
    /// still to come.
    pub attempts: u32,
    /// The wait until the next attempt, by the store's clock from now.
    pub retry_after: Duration,
    /// The error of the attempt.
    pub error: String,
    /// The destinations of an all-or-nothing route that have confirmed the event already.
    pub delivered: Vec<Arc<str>>,
}

/// A dead letter to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// The number of attempts.
    pub attempts: u32,
    /// The error of the last attempt.
    pub error: String,
    /// The reason why the relay stops trying: one of the causes below.
    pub cause: Cow<'static, str>,
    /// True if it parks its aggregate until an operator replays or discards it. Never for an event
    /// without order.
    pub parks: bool,
    /// The destinations of an all-or-nothing route that got the event nevertheless.
    pub delivered: Vec<Arc<str>>,
}

impl NewDeadLetter {
    /// The cause of a row that was tried as often as the retry policy allows.
    pub const MAX_ATTEMPTS: &'static str = "max attempts";
    /// The cause of a row whose failure will not pass by itself.
    pub const PERMANENT: &'static str = "permanent";
    /// The cause of a row that was not delivered before its deadline. A replay does not move the
    /// deadline and ends here again, unless the route or the event allows more time by then:
    /// discard it instead.
    pub const EXPIRED: &'static str = "expired";
    /// The cause of a row for which no relay had a route within
    /// [`unroutable_after`](crate::RelaySettings::unroutable_after), or whose payload a rule cannot
    /// transform. Also the name of the route of a row whose routes are not known yet: it stands for
    /// all of them, and holds the whole aggregate back.
    pub const UNROUTABLE: &'static str = route::UNROUTABLE;
    /// The cause of a row that cannot be read. Also the name of the route of a pending one, because
    /// its own routes are not known: a dead letter of this route that parks holds its aggregate
    /// back on every route.
    pub const UNREADABLE: &'static str = route::UNREADABLE;
    /// The cause of a row whose outcome the database refused to record.
    pub const UNSETTLED: &'static str = "unsettled";
}
