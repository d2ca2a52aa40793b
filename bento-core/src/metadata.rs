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
pub use self::header_rule::{HEADER_NAME, HeaderRule, UnsendableHeader, check_header};
pub use self::routing::{Routing, RoutingError};

mod ext_value;
mod header_rule;
mod headers;
mod routing;

/// Facts beside an event's payload: who, for whom, because of what, and where to.
///
/// Set what a whole request shares once, in a [`scope`](Self::scope); what one event alone needs,
/// in `raise_with`.
///
/// ```
/// # use bento_core::Metadata;
/// let metadata = Metadata::default().with_tenant("acme").with_correlation("request-7").with_header("traceparent", "00-…");
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
    /// Whose event it is.
    pub tenant_id: Option<String>,
    /// What it belongs to, a request or a process, across services.
    pub correlation_id: Option<String>,
    /// The id of the event or command that led to it.
    pub causation_id: Option<String>,
    /// The service that raised it.
    pub source: Option<String>,
    /// The person or system that acted.
    pub actor: Option<String>,
    /// Where to publish it, instead of its event type.
    pub topic: Option<String>,
    /// The broker's routing key, instead of its own.
    pub routing_key: Option<String>,
    /// The names of the destinations it goes to, whatever the router's rules say; empty to ask the
    /// rules, or for those of the scope around this one.
    pub destinations: Vec<String>,
    /// Not to be delivered before this time, by the clock of the database. A scope that sets this
    /// or `deliver_after` takes the place of both around it, and so do `expires_at` and
    /// `expires_after`.
    pub deliver_at: Option<DateTime<Utc>>,
    /// The wait from when it is raised until it is delivered, by the clock of the database, unless
    /// `deliver_at` is set. At most until the year 9999.
    pub deliver_after: Option<Duration>,
    /// To be given up, and made a dead letter, from this time on, by the clock of the database.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time from when it is raised until it is given up and made a dead letter, by the clock of
    /// the database, unless `expires_at` is set. At most until the year 9999.
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
    /// The metadata of the scope around the caller, empty outside any.
    pub fn current() -> Arc<Self> {
        static EMPTY: LazyLock<Arc<Metadata>> = LazyLock::new(Arc::default);
        AMBIENT
            .try_with(Arc::clone)
            .unwrap_or_else(|_| Arc::clone(&EMPTY))
    }

    /// Those of the scope around the caller, as `adjust` returns them.
    pub(crate) fn current_with(adjust: impl FnOnce(Self) -> Self) -> Arc<Self> {
        Arc::new(adjust(Arc::unwrap_or_clone(Self::current())))
    }

    /// With an identity that the caller sets. Belongs to one event: a scope does not hand it on.
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
    /// The flush refuses a name that is no token or is reserved, and a value with control
    /// characters, with [`FlushError::Unsendable`](crate::unit_of_work::FlushError::Unsendable).
    /// [`check_header`] tells it before, for a header that comes from somebody else. A value may
    /// hold any other text: one that is not printable ASCII goes as [`encode_header`] says.
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

    /// With the destinations it goes to, whatever the router's rules say.
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

    /// With the wait from when it is raised until it is delivered, by the clock of the database. An
    /// `occurred_at` of your own does not move it.
    #[must_use]
    pub fn with_deliver_after(self, wait: Duration) -> Self {
        Self {
            deliver_after: Some(wait),
            ..self
        }
    }

    /// With the time from which on it is given up. The time is taken as it is, and compared with
    /// the clock of the database: for a deadline some time from now,
    /// [`with_expires_after`](Self::with_expires_after) does without the clock of this process.
    #[must_use]
    pub fn with_expires_at(self, time: DateTime<Utc>) -> Self {
        Self {
            expires_at: Some(time),
            ..self
        }
    }

    /// With the time from when it is raised until it is given up, by the clock of the database. An
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
    /// let reminder = Metadata::default().with_destinations(["mail"]).with_deliver_after(Duration::from_secs(60));
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

    /// What of this travels in the `headers` column, with the trace in which the event was raised,
    /// as a JSON object; empty for none.
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
    /// Whether there is nothing to store.
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
mod tests {
    use super::*;

    fn with_tenant(tenant: &str) -> Metadata {
        Metadata {
            tenant_id: Some(tenant.to_owned()),
            ..Metadata::default()
        }
    }

    #[test]
    fn an_inner_scope_wins_and_inherits_the_rest() {
        let outer = Metadata {
            correlation_id: Some("c".into()),
            ..with_tenant("outer")
        };
        let seen = outer.scope_sync(|| with_tenant("inner").scope_sync(Metadata::current));
        assert_eq!(seen.tenant_id.as_deref(), Some("inner"));
        assert_eq!(seen.correlation_id.as_deref(), Some("c"));
    }

    #[test]
    fn a_scope_hands_no_event_id_on() {
        let scope = Metadata {
            event_id: Some(EventId::new()),
            ..with_tenant("t")
        };
        assert_eq!(
            scope.scope_sync(Metadata::current).event_id,
            None,
            "two events would share one identity"
        );
    }

    #[test]
    fn a_scope_hands_on_where_and_when_its_events_are_delivered() {
        let scope = Metadata::default()
            .with_topic("orders")
            .with_routing_key("eu")
            .with_destinations(["audit"])
            .with_deliver_after(Duration::from_secs(1))
            .with_deliver_at(DateTime::UNIX_EPOCH)
            .with_expires_at(DateTime::UNIX_EPOCH)
            .with_expires_after(Duration::from_secs(1));
        let seen = scope
            .clone()
            .scope_sync(|| with_tenant("t").scope_sync(Metadata::current));
        assert_eq!(*seen, scope.with_tenant("t"));
    }

    #[test]
    fn an_inner_scope_takes_the_place_of_destinations_delays_and_deadlines() {
        let second = Duration::from_secs(1);
        let time = DateTime::UNIX_EPOCH;
        let outer = Metadata::default()
            .with_destinations(["audit"])
            .with_deliver_at(time)
            .with_expires_at(time);
        let inner = Metadata::default()
            .with_destinations(["mail"])
            .with_deliver_after(second)
            .with_expires_after(second);
        let seen = outer.scope_sync(|| inner.clone().scope_sync(Metadata::current));
        assert_eq!(*seen, inner, "the times around it would win");
    }

    #[test]
    fn stored_headers_are_read_as_they_were_written() {
        let metadata = with_tenant("t")
            .with_correlation("c \"1\"")
            .with_source("shop")
            .with_header("x-ö\n", "1")
            .with_header("actors", "2");
        let Metadata {
            correlation_id,
            causation_id,
            source,
            actor,
            headers: extra,
            ..
        } = metadata.clone();
        let read: Headers = serde_json::from_slice(&metadata.encoded_headers(None)).expect("read");
        assert_eq!(
            read,
            Headers {
                correlation_id,
                causation_id,
                source,
                actor,
                extra
            }
        );
        let nothing: Headers = serde_json::from_str(r#"{"actor":null}"#).expect("read");
        assert!(nothing.is_empty());
        for text in [
            r#"{"actor":1}"#,
            r#"{"x":1}"#,
            r#"{"x":null}"#,
            r#"{"actor":"a","actor":"b"}"#,
            "[]",
            "{}{}",
        ] {
            assert!(serde_json::from_str::<Headers>(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_spawned_task_does_not_see_the_scope() {
        let seen = with_tenant("t")
            .scope(async { tokio::spawn(async { Metadata::current() }).await })
            .await;
        assert_eq!(seen.expect("joined").tenant_id, None);
    }
}
