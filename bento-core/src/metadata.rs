//! Facts beside the payload, and the ambient scope that fills them in.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::id::EventId;
use crate::telemetry::TARGET_RAISE;
use crate::trace::TraceContext;

pub use self::ext_value::{InvalidHeaderValue, decode_header, encode_header};
pub use self::header_rule::{HEADER_NAME, HOPS, HeaderRule, UnsendableHeader, check_header};
pub use self::routing::{Routing, RoutingError};

mod ext_value;
mod header_rule;
mod headers;
mod routing;

/// Facts beside an event's payload: its tenant, actor, cause, time and destinations.
///
/// Set what a whole request shares once, in a [`scope`](Self::scope); what one event alone needs,
/// in `raise_with`.
///
/// ```
/// # use bento_core::Metadata;
/// let metadata = Metadata::default()
///     .with_tenant("acme")
///     .with_correlation("request-7")
///     .with_header("traceparent", "00-…");
/// # assert_eq!(metadata.tenant_id.as_deref(), Some("acme"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The id of the event, if the caller chooses it. A second event with the id of the same
    /// tenant, event type and aggregate is not written; for any other event the id is refused at
    /// the flush.
    ///
    /// An id is known while the first event is pending, held or a dead letter, and after its
    /// publication for as long as the relay's `retention` keeps published rows. Without a retention
    /// it is forgotten with the publication.
    ///
    /// It belongs to one event: set it in `raise_with`. A scope does not hand it on, and logs a
    /// warning where it is told one.
    pub event_id: Option<EventId>,
    /// The time at which it happened, if not at the moment it is raised. It is written as it is,
    /// and the `delay` and `expires_after` of a rule count from it. An event without it happened
    /// when it was raised, by the clock of the database.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The tenant that the event belongs to.
    pub tenant_id: Option<String>,
    /// The id of the request or process that the event belongs to, across services.
    pub correlation_id: Option<String>,
    /// The id of the event or command that led to this event.
    pub causation_id: Option<String>,
    /// The service that raised the event.
    pub source: Option<String>,
    /// The person or system that acted.
    pub actor: Option<String>,
    /// The topic to publish the event under, instead of its event type.
    pub topic: Option<String>,
    /// The broker's routing key, instead of its own.
    pub routing_key: Option<String>,
    /// The names of the event's destinations, which replace those of the router's rules; empty for
    /// the destinations of the scope around this one, or those of the rules.
    pub destinations: Vec<String>,
    /// The time before which the event is not delivered, by the clock of the database. A scope that
    /// sets this or `deliver_after` replaces both of the scope around it. The same holds for
    /// `expires_at` and `expires_after`.
    pub deliver_at: Option<DateTime<Utc>>,
    /// The wait between raising and delivering the event, by the clock of the database, unless
    /// `deliver_at` is set. At most until the year 9999.
    pub deliver_after: Option<Duration>,
    /// The time from which on the event is given up and becomes a dead letter, by the clock of the
    /// database.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time between raising the event and giving it up, when it becomes a dead letter, by the
    /// clock of the database, unless `expires_at` is set. At most until the year 9999.
    pub expires_after: Option<Duration>,
    /// Further headers for the broker, by the rules of [`check_header`]: the flush refuses others.
    /// With the feature `opentelemetry`, `traceparent` and `tracestate` are those of the span in
    /// which the event is raised, unless a `traceparent` is set here.
    pub headers: BTreeMap<String, String>,
}

tokio::task_local! {
    static AMBIENT: Arc<Metadata>;
}

impl Metadata {
    /// The metadata of the scope around the caller, empty outside any scope.
    pub fn current() -> Arc<Self> {
        static EMPTY: LazyLock<Arc<Metadata>> = LazyLock::new(Arc::default);
        AMBIENT
            .try_with(Arc::clone)
            .unwrap_or_else(|_| Arc::clone(&EMPTY))
    }

    /// The metadata of the scope around the caller, as `adjust` returns them.
    pub(crate) fn current_with(adjust: impl FnOnce(Self) -> Self) -> Arc<Self> {
        Arc::new(adjust(Arc::unwrap_or_clone(Self::current())))
    }

    /// With an id that the caller chooses. It belongs to one event: a scope does not hand it on.
    #[must_use]
    pub fn with_event_id(self, event_id: impl Into<EventId>) -> Self {
        Self {
            event_id: Some(event_id.into()),
            ..self
        }
    }

    /// With the time at which it happened, if that is not the moment it is raised.
    #[must_use]
    pub fn with_occurred_at(self, time: DateTime<Utc>) -> Self {
        Self {
            occurred_at: Some(time),
            ..self
        }
    }

    /// With the tenant whose events these are.
    #[must_use]
    pub fn with_tenant(self, tenant_id: impl Into<String>) -> Self {
        Self {
            tenant_id: Some(tenant_id.into()),
            ..self
        }
    }

    /// With the id of the request or process that these events belong to.
    #[must_use]
    pub fn with_correlation(self, correlation_id: impl Into<String>) -> Self {
        Self {
            correlation_id: Some(correlation_id.into()),
            ..self
        }
    }

    /// With the id of the event or command that led to these events.
    #[must_use]
    pub fn with_causation(self, causation_id: impl Into<String>) -> Self {
        Self {
            causation_id: Some(causation_id.into()),
            ..self
        }
    }

    /// With the service that raises these events.
    #[must_use]
    pub fn with_source(self, source: impl Into<String>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// With the person or system that acts.
    #[must_use]
    pub fn with_actor(self, actor: impl Into<String>) -> Self {
        Self {
            actor: Some(actor.into()),
            ..self
        }
    }

    /// With a further header for the broker.
    ///
    /// The flush refuses a name that is not a token or is reserved, and a value with control
    /// characters, with [`FlushError::Unsendable`](crate::unit_of_work::FlushError::Unsendable).
    /// [`check_header`] checks a header beforehand, such as one that comes with a request. A value
    /// may hold any other text; text that is not printable ASCII is encoded by [`encode_header`].
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// With the topic to publish under, instead of the event type.
    #[must_use]
    pub fn with_topic(self, topic: impl Into<String>) -> Self {
        Self {
            topic: Some(topic.into()),
            ..self
        }
    }

    /// With the broker's routing key.
    #[must_use]
    pub fn with_routing_key(self, routing_key: impl Into<String>) -> Self {
        Self {
            routing_key: Some(routing_key.into()),
            ..self
        }
    }

    /// With destinations that replace those of the router's rules.
    #[must_use]
    pub fn with_destinations<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        Self {
            destinations: names.into_iter().map(Into::into).collect(),
            ..self
        }
    }

    /// With the time before which it is not delivered. The time is taken as it is, and compared
    /// with the clock of the database: for a wait from now on,
    /// [`with_deliver_after`](Self::with_deliver_after) does without the clock of this process.
    #[must_use]
    pub fn with_deliver_at(self, time: DateTime<Utc>) -> Self {
        Self {
            deliver_at: Some(time),
            ..self
        }
    }

    /// With the wait between raising and delivering the event, by the clock of the database. An
    /// `occurred_at` of your own does not move it.
    #[must_use]
    pub fn with_deliver_after(self, wait: Duration) -> Self {
        Self {
            deliver_after: Some(wait),
            ..self
        }
    }

    /// With the time from which on the event is given up. The time is taken as it is, and compared
    /// with the clock of the database: for a deadline some time from now,
    /// [`with_expires_after`](Self::with_expires_after) does without the clock of this process.
    #[must_use]
    pub fn with_expires_at(self, time: DateTime<Utc>) -> Self {
        Self {
            expires_at: Some(time),
            ..self
        }
    }

    /// With the time between raising the event and giving it up, by the clock of the database. An
    /// `occurred_at` of your own does not move it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use bento_core::Metadata;
    /// let metadata = Metadata::default().with_expires_after(Duration::from_secs(30));
    /// # assert_eq!(metadata.expires_after, Some(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn with_expires_after(self, limit: Duration) -> Self {
        Self {
            expires_after: Some(limit),
            ..self
        }
    }

    /// Runs `future` with this as the ambient metadata of everything that is raised in it; what is
    /// set here wins over the scope around it.
    ///
    /// Everything but `event_id` is handed on: destinations, delays and deadlines too.
    ///
    /// ```
    /// # use bento_core::Metadata;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let reminder = Metadata::default()
    ///     .with_destinations(["mail"])
    ///     .with_deliver_after(Duration::from_secs(60));
    /// let inside = reminder.scope(async { Metadata::current() }).await;
    /// assert_eq!(inside.destinations, ["mail"]);
    /// assert_eq!(inside.deliver_after, Some(Duration::from_secs(60)));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// It is as cancel safe as `future`.
    #[track_caller]
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        AMBIENT.scope(Arc::new(self.or(&Self::current())), future)
    }

    /// Runs `work` with this as the ambient metadata, as [`scope`](Self::scope) does.
    #[track_caller]
    pub fn scope_sync<R>(self, work: impl FnOnce() -> R) -> R {
        AMBIENT.sync_scope(Arc::new(self.or(&Self::current())), work)
    }

    #[track_caller]
    fn or(self, outer: &Self) -> Self {
        if let Some(event_id) = self.event_id {
            tracing::warn!(
                target: TARGET_RAISE, %event_id, at = %Location::caller(),
                "a scope hands no event id on, because two events would share it; set it in \
                 `raise_with`"
            );
        }
        let mut headers = outer.headers.clone();
        headers.extend(self.headers);
        let says_when = self.deliver_at.is_some() || self.deliver_after.is_some();
        let (deliver_at, deliver_after) = if says_when {
            (self.deliver_at, self.deliver_after)
        } else {
            (outer.deliver_at, outer.deliver_after)
        };
        let says_until = self.expires_at.is_some() || self.expires_after.is_some();
        let (expires_at, expires_after) = if says_until {
            (self.expires_at, self.expires_after)
        } else {
            (outer.expires_at, outer.expires_after)
        };
        Self {
            event_id: None,
            occurred_at: self.occurred_at.or(outer.occurred_at),
            tenant_id: self.tenant_id.or_else(|| outer.tenant_id.clone()),
            correlation_id: self.correlation_id.or_else(|| outer.correlation_id.clone()),
            causation_id: self.causation_id.or_else(|| outer.causation_id.clone()),
            source: self.source.or_else(|| outer.source.clone()),
            actor: self.actor.or_else(|| outer.actor.clone()),
            topic: self.topic.or_else(|| outer.topic.clone()),
            routing_key: self.routing_key.or_else(|| outer.routing_key.clone()),
            destinations: if self.destinations.is_empty() {
                outer.destinations.clone()
            } else {
                self.destinations
            },
            deliver_at,
            deliver_after,
            expires_at,
            expires_after,
            headers,
        }
    }

    /// The part that is stored in the `headers` column, with the trace in which the event was
    /// raised, as a JSON object; empty for none.
    pub(crate) fn encoded_headers(&self, trace: Option<&TraceContext>) -> Bytes {
        let mut headers = Headers {
            correlation_id: self.correlation_id.clone(),
            causation_id: self.causation_id.clone(),
            source: self.source.clone(),
            actor: self.actor.clone(),
            extra: self.headers.clone(),
        };
        if let Some(trace) = trace {
            trace.write(&mut headers.extra);
        }
        headers.encoded()
    }
}

/// The part of the metadata that travels in the outbox's `headers` column rather than in a column
/// of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Headers {
    /// See [`Metadata::correlation_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// See [`Metadata::causation_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// See [`Metadata::source`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// See [`Metadata::actor`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// See [`Metadata::headers`].
    #[serde(flatten)]
    pub extra: BTreeMap<String, String>,
}

impl Headers {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The headers as a JSON object; empty if nothing is to be stored.
    pub fn encoded(&self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        serde_json::to_vec(self)
            .expect("a map of texts is JSON")
            .into()
    }
}

#[cfg(test)]
mod tests;
