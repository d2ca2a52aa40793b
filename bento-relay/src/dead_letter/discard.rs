//! Deleting dead letters for good, with a reason that is stored.

use std::sync::Arc;

use bento_core::id::EventId;
use bento_core::limits::{self, Unstorable};
use chrono::{DateTime, Utc};

use super::query::Parts;
use super::replay::PAGE;
use super::{DeadLetter, DeadLetterCursor, DeadLetterFilter, DeadLetters, ShardCursor};
use crate::store::StoreError;

/// The reason for deleting a dead letter, and the actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarding {
    reason: String,
    actor: Option<String>,
}

impl Discarding {
    /// A discarding for this reason.
    ///
    /// # Errors
    /// [`BlankReason`] if the reason is blank.
    pub fn because(reason: impl Into<String>) -> Result<Self, BlankReason> {
        let reason = reason.into();
        if reason.trim().is_empty() {
            Err(BlankReason)
        } else {
            Ok(Self {
                reason,
                actor: None,
            })
        }
    }

    /// Sets the actor.
    #[must_use]
    pub fn by(self, actor: impl Into<String>) -> Self {
        Self {
            actor: Some(actor.into()),
            ..self
        }
    }

    /// Checks that every back end can store both texts. A store calls it first.
    ///
    /// # Errors
    /// [`Unstorable`], for a reason of more than [`limits::REASON`] characters or an actor of more
    /// than [`limits::ACTOR`], or with U+0000.
    pub fn check(&self) -> Result<(), Unstorable> {
        limits::check_text("reason", &self.reason, limits::REASON)?;
        self.actor.as_deref().map_or(Ok(()), |actor| {
            limits::check_text("actor", actor, limits::ACTOR)
        })
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The actor, if one was given.
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }
}

/// The error of a command that needs a reason and got a blank one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reason must not be blank: write why this is done")]
pub struct BlankReason;

/// The record of a discarded dead letter: everything but the event's payload and headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscardedDeadLetter {
    /// The event id.
    pub event_id: EventId,
    /// The route that did not get the event.
    pub route: Arc<str>,
    /// The event type.
    pub event_type: String,
    /// The type of the aggregate; empty for an event without one.
    pub aggregate_type: String,
    /// The id of the aggregate; empty for an event without order.
    pub aggregate_id: String,
    /// The tenant.
    pub tenant_id: Option<String>,
    /// The reason for giving up.
    pub cause: String,
    /// The error of the last attempt.
    pub error: String,
    /// The time of giving up.
    pub failed_at: DateTime<Utc>,
    /// The reason for discarding.
    pub reason: String,
    /// The actor who discarded it, if one was given.
    pub actor: Option<String>,
    /// The time of discarding, by the store's clock.
    pub discarded_at: DateTime<Utc>,
}

impl DiscardedDeadLetter {
    /// The record of a dead letter.
    pub fn of(
        dead_letter: &DeadLetter,
        discarding: &Discarding,
        discarded_at: DateTime<Utc>,
    ) -> Self {
        let event = &dead_letter.envelope;
        Self {
            event_id: event.event_id,
            route: Arc::clone(&dead_letter.route),
            event_type: event.event_type.clone().into_owned(),
            aggregate_type: event.aggregate_type.clone().into_owned(),
            aggregate_id: event.aggregate_id.clone(),
            tenant_id: event.tenant_id.clone(),
            cause: dead_letter.cause.clone(),
            error: dead_letter.error.clone(),
            failed_at: dead_letter.failed_at,
            reason: discarding.reason.clone(),
            actor: discarding.actor.clone(),
            discarded_at,
        }
    }

    /// The cursor behind this record.
    pub fn cursor(&self) -> DeadLetterCursor {
        let route = Arc::clone(&self.route);
        DeadLetterCursor {
            at: self.discarded_at,
            event_id: self.event_id,
            route,
        }
    }

    /// True if a filter for dead letters would have matched the discarded one.
    pub fn matches(&self, filter: &DeadLetterFilter) -> bool {
        filter.matches_parts(&Parts {
            event_type: &self.event_type,
            route: &self.route,
            tenant_id: self.tenant_id.as_deref(),
            aggregate: (&self.aggregate_type, &self.aggregate_id),
            cause: &self.cause,
            failed_at: self.failed_at,
        })
    }
}

pub(super) async fn discard_all<S: DeadLetters + ?Sized>(
    store: &S,
    filter: &DeadLetterFilter,
    discarding: &Discarding,
) -> Result<u64, StoreError> {
    let mut discarded = 0;
    let mut after: Option<ShardCursor> = None;
    loop {
        let page = store.list_in_order(filter, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(discarded);
        };
        after = Some(ShardCursor::of(last));
        for (shard, dead_letters) in super::replay::by_shard(&page) {
            discarded += store
                .discard_together(shard, &dead_letters, discarding)
                .await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something() {
        for blank in ["", " ", "\n\t"] {
            assert_eq!(Discarding::because(blank), Err(BlankReason));
        }
        let discarding = Discarding::because("test data").unwrap().by("alice");
        assert_eq!(
            (discarding.reason(), discarding.actor()),
            ("test data", Some("alice"))
        );
    }
}
