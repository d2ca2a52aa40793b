//! Filters and pages of lists of dead letters.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bento_core::id::EventId;
use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::DeadLetter;

/// A filter for dead letters: all of them by default.
///
/// ```
/// # use bento_relay::dead_letter::DeadLetterFilter;
/// # use bento_relay::store::NewDeadLetter;
/// let filter = DeadLetterFilter::default()
///     .event_type("order.placed")
///     .aggregate("order", "A-1")
///     .cause(NewDeadLetter::PERMANENT);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// The event type; any if `None`.
    pub event_type: Option<String>,
    /// The route; any if `None`.
    pub route: Option<String>,
    /// The tenant; any if `None`.
    pub tenant_id: Option<String>,
    /// The aggregate, by type and id; any if `None`.
    pub aggregate: Option<(String, String)>,
    /// The cause, one of those of [`NewDeadLetter`](crate::store::NewDeadLetter); any if `None`.
    pub cause: Option<String>,
    /// The earliest time of giving up.
    pub failed_since: Option<DateTime<Utc>>,
    /// The time before which the event was given up.
    pub failed_until: Option<DateTime<Utc>>,
}

impl DeadLetterFilter {
    /// Keeps only this event type.
    #[must_use]
    pub fn event_type(self, event_type: impl Into<String>) -> Self {
        Self {
            event_type: Some(event_type.into()),
            ..self
        }
    }

    /// Keeps only this route.
    #[must_use]
    pub fn route(self, route: impl Into<String>) -> Self {
        Self {
            route: Some(route.into()),
            ..self
        }
    }

    /// Keeps only this tenant.
    #[must_use]
    pub fn tenant(self, tenant_id: impl Into<String>) -> Self {
        Self {
            tenant_id: Some(tenant_id.into()),
            ..self
        }
    }

    /// Keeps only this aggregate.
    #[must_use]
    pub fn aggregate(
        self,
        aggregate_type: impl Into<String>,
        aggregate_id: impl Into<String>,
    ) -> Self {
        Self {
            aggregate: Some((aggregate_type.into(), aggregate_id.into())),
            ..self
        }
    }

    /// Keeps only this cause, one of those of [`NewDeadLetter`](crate::store::NewDeadLetter).
    #[must_use]
    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// Keeps only dead letters that were given up at this time or later, by the store's clock.
    #[must_use]
    pub fn failed_since(self, time: DateTime<Utc>) -> Self {
        Self {
            failed_since: Some(time),
            ..self
        }
    }

    /// Keeps only dead letters that were given up before this time, by the store's clock.
    #[must_use]
    pub fn failed_until(self, time: DateTime<Utc>) -> Self {
        Self {
            failed_until: Some(time),
            ..self
        }
    }

    /// True if the filter matches the dead letter.
    pub fn matches(&self, dead_letter: &DeadLetter) -> bool {
        let event = &dead_letter.envelope;
        let aggregate = (&*event.aggregate_type, &*event.aggregate_id);
        self.matches_parts(&Parts {
            event_type: &event.event_type,
            route: &dead_letter.route,
            tenant_id: event.tenant_id.as_deref(),
            aggregate,
            cause: &dead_letter.cause,
            failed_at: dead_letter.failed_at,
        })
    }

    pub(super) fn matches_parts(&self, parts: &Parts<'_>) -> bool {
        let same =
            |asked: &Option<String>, found: &str| asked.as_ref().is_none_or(|asked| asked == found);
        same(&self.event_type, parts.event_type)
            && same(&self.route, parts.route)
            && same(&self.cause, parts.cause)
            && self
                .tenant_id
                .as_deref()
                .is_none_or(|tenant| parts.tenant_id == Some(tenant))
            && self
                .aggregate
                .as_ref()
                .is_none_or(|(kind, id)| (&**kind, &**id) == parts.aggregate)
            && self
                .failed_since
                .is_none_or(|since| parts.failed_at >= since)
            && self
                .failed_until
                .is_none_or(|until| parts.failed_at < until)
    }
}

/// The fields that a filter compares.
pub(super) struct Parts<'a> {
    pub(super) event_type: &'a str,
    pub(super) route: &'a str,
    pub(super) tenant_id: Option<&'a str>,
    pub(super) aggregate: (&'a str, &'a str),
    pub(super) cause: &'a str,
    pub(super) failed_at: DateTime<Utc>,
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterQuery {
    /// The filter.
    pub filter: DeadLetterFilter,
    /// The cursor behind which the page begins: that of the last dead letter of the previous page.
    pub after: Option<DeadLetterCursor>,
    /// The largest number of rows; 0 means [`DEFAULT_LIMIT`](Self::DEFAULT_LIMIT).
    pub limit: u64,
}

impl DeadLetterQuery {
    /// The number of rows of a page without a limit.
    pub const DEFAULT_LIMIT: u64 = 100;

    /// The first page of the matching dead letters.
    pub fn of(filter: DeadLetterFilter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }

    /// Begins the page behind this cursor.
    #[must_use]
    pub fn after(self, cursor: DeadLetterCursor) -> Self {
        Self {
            after: Some(cursor),
            ..self
        }
    }

    /// Limits the page to this number of rows.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The largest number of rows.
    pub fn rows(&self) -> u64 {
        if self.limit == 0 {
            Self::DEFAULT_LIMIT
        } else {
            self.limit
        }
    }
}

/// The place at which a list goes on. It can be displayed and parsed, for use in the address of a
/// page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterCursor {
    /// The time of giving up; for a discarded dead letter, the time of discarding.
    pub at: DateTime<Utc>,
    /// The event id.
    pub event_id: EventId,
    /// The route.
    pub route: Arc<str>,
}

impl fmt::Display for DeadLetterCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(f, "{at}/{}/{}", self.event_id, self.route)
    }
}

impl FromStr for DeadLetterCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = || {
            let (at, rest) = text.split_once('/')?;
            let (event_id, route) = rest.split_once('/')?;
            let at = DateTime::parse_from_rfc3339(at).ok()?.to_utc();
            let event_id = event_id.parse::<Uuid>().ok()?.into();
            Some(Self {
                at,
                event_id,
                route: route.into(),
            })
        };
        parts().ok_or_else(|| InvalidCursor {
            text: text.to_owned(),
        })
    }
}

/// The error of a text that cannot be read as a cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor `{text}`: use the cursor of a listed dead letter")]
pub struct InvalidCursor {
    /// The given value.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_shown() {
        let at = "2026-02-03T04:05:06.123456Z".parse().unwrap();
        let cursor = DeadLetterCursor {
            at,
            event_id: EventId::new(),
            route: "a/b".into(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in [
            "",
            "2026-02-03T04:05:06Z",
            "now/x/y",
            "2026-02-03T04:05:06Z/x/default",
        ] {
            let refused = wrong.parse::<DeadLetterCursor>().expect_err(wrong);
            assert!(refused.to_string().contains(wrong));
        }
    }
}
