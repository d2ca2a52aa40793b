//! Destinations, and events on their way to them.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bento_core::envelope::Envelope;

/// A broker target of a route. Cheap to clone.
///
/// Fields that are not set here come from the event: see [`Delivery::topic`] and
/// [`Delivery::partition_key`].
///
/// ```
/// # use bento_relay::publish::Destination;
/// let audit = Destination::new("audit").via("nats").with_topic("audit.log");
/// assert_eq!(audit.publisher(), "nats");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Destination {
    /// The name under which progress is kept: one aggregate may be held for one destination and go
    /// on for another.
    pub name: Arc<str>,
    /// The name of the publisher that serves the destination; `None` for the destination's own
    /// name.
    pub publisher: Option<Arc<str>>,
    /// The topic, subject, exchange or stream; `None` for the event's own.
    pub topic: Option<Arc<str>>,
    /// The routing key; `None` for the event's own.
    pub routing_key: Option<Arc<str>>,
    /// The key by which the broker keeps order; `None` for the aggregate's id.
    pub partition_key: Option<Arc<str>>,
    /// True if the event type is sent with its version, as `order.created.v2`.
    pub versioned: bool,
}

impl Destination {
    /// The name of the destination that a relay without rules uses.
    pub const DEFAULT: &'static str = "default";

    /// The destination `name`, with the event's own topic, routing key and partition key.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        Self {
            name,
            publisher: None,
            topic: None,
            routing_key: None,
            partition_key: None,
            versioned: false,
        }
    }

    /// Sets the publisher, which may serve several destinations.
    #[must_use]
    pub fn via(self, publisher: impl Into<Arc<str>>) -> Self {
        Self {
            publisher: Some(publisher.into()),
            ..self
        }
    }

    /// Sets a topic.
    #[must_use]
    pub fn with_topic(self, topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: Some(topic.into()),
            ..self
        }
    }

    /// Sets a routing key.
    #[must_use]
    pub fn with_routing_key(self, routing_key: impl Into<Arc<str>>) -> Self {
        Self {
            routing_key: Some(routing_key.into()),
            ..self
        }
    }

    /// Sets a partition key: the broker keeps all events of the destination in one order.
    #[must_use]
    pub fn with_partition_key(self, partition_key: impl Into<Arc<str>>) -> Self {
        Self {
            partition_key: Some(partition_key.into()),
            ..self
        }
    }

    /// Sends the event type with its version, `order.created.v2`; the topic too, where that is the
    /// event type.
    #[must_use]
    pub fn with_versioned_names(self) -> Self {
        Self {
            versioned: true,
            ..self
        }
    }

    /// The name of the publisher that serves the destination.
    pub fn publisher(&self) -> &str {
        self.publisher.as_deref().unwrap_or(&self.name)
    }
}

/// The destination of every event while a relay has no rules.
impl Default for Destination {
    fn default() -> Self {
        static NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(Destination::DEFAULT));
        Self::new(Arc::clone(&NAME))
    }
}

/// One event on its way to one destination. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The event.
    pub envelope: Arc<Envelope>,
    /// The destination.
    pub destination: Destination,
    /// The number of earlier attempts.
    pub attempts: u32,
    /// The moment at which the caller gives up waiting; `None` without a limit. A publisher that
    /// sends one event after another does not start an event that it cannot finish by then, and
    /// answers [unavailable](super::FailureClass::Unavailable) for it.
    pub answer_by: Option<Instant>,
}

impl Delivery {
    /// The first attempt to send `envelope` to `destination`.
    pub fn new(envelope: Arc<Envelope>, destination: Destination) -> Self {
        Self {
            envelope,
            destination,
            attempts: 0,
            answer_by: None,
        }
    }

    /// The same delivery, with a time limit of `limit` from now, or an earlier one that was set
    /// before.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        let limit = tokio::time::Instant::now()
            .checked_add(limit)
            .map(tokio::time::Instant::into_std);
        Self {
            answer_by: self.answer_by.into_iter().chain(limit).min(),
            ..self
        }
    }

    /// The time that is left for an answer; `None` without a limit.
    pub fn time_left(&self) -> Option<Duration> {
        let answer_by = tokio::time::Instant::from_std(self.answer_by?);
        Some(answer_by.saturating_duration_since(tokio::time::Instant::now()))
    }

    /// The event type in the form that the destination wants: `order.created`, or
    /// `order.created.v2` if the event has a schema version.
    pub fn event_type(&self) -> Cow<'_, str> {
        let Envelope {
            event_type,
            schema_version,
            ..
        } = &*self.envelope;
        if self.destination.versioned && *schema_version > 0 {
            Cow::Owned(format!("{event_type}.v{schema_version}"))
        } else {
            Cow::Borrowed(event_type)
        }
    }

    /// The topic: the destination's, else the event's own, else its event type.
    pub fn topic(&self) -> Cow<'_, str> {
        let own = self
            .destination
            .topic
            .as_deref()
            .or(self.envelope.topic.as_deref());
        own.map_or_else(|| self.event_type(), Cow::Borrowed)
    }

    /// The routing key: the destination's, else the event's own, else its event type.
    pub fn routing_key(&self) -> Cow<'_, str> {
        let own = self
            .destination
            .routing_key
            .as_deref()
            .or(self.envelope.routing_key.as_deref());
        own.map_or_else(|| self.event_type(), Cow::Borrowed)
    }

    /// The key by which the broker keeps order: the destination's key, else the aggregate's id;
    /// empty for an event without order.
    pub fn partition_key(&self) -> &str {
        self.destination
            .partition_key
            .as_deref()
            .unwrap_or(&self.envelope.aggregate_id)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn what_the_destination_does_not_say_the_event_says() {
        let mut envelope = Envelope::new("order.created", 2, DateTime::UNIX_EPOCH, "{}");
        let deliver = |envelope: &Envelope, to| Delivery::new(Arc::new(envelope.clone()), to);
        let plain = Destination::new("d");
        assert_eq!(deliver(&envelope, plain.clone()).topic(), "order.created");
        assert_eq!(
            deliver(&envelope, plain.clone().with_versioned_names()).topic(),
            "order.created.v2"
        );
        envelope.topic = Some("orders".to_owned());
        envelope.routing_key = Some("eu".to_owned());
        let own = deliver(&envelope, plain.clone().with_versioned_names());
        assert_eq!(
            (own.topic(), own.routing_key()),
            ("orders".into(), "eu".into())
        );
        let set = deliver(&envelope, plain.with_topic("t").with_routing_key("r"));
        assert_eq!((set.topic(), set.routing_key()), ("t".into(), "r".into()));
    }
}
