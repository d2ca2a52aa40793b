//! The seam to brokers.
//!
//! Decision: docs/decisions/0030-a-failure-says-whose-it-is.md
//! Decision: docs/decisions/0018-the-publisher-trait-and-pulsar.md

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

mod console;
mod destination;
mod memory;
mod set;

pub use self::console::ConsolePublisher;
pub use self::destination::{Delivery, Destination};
pub use self::memory::MemoryPublisher;
pub use self::set::{BoxPublisher, Publishers};
use bento_core::report::with_causes;

/// A broker adapter: takes a batch and returns an answer for each event.
///
/// Unless [`chains`](Self::chains) returns true, a batch holds at most one event of an aggregate
/// for a destination, so a publisher need not keep order. A batch is for one destination; several
/// batches may be published at once by separate calls. The relay may hand over a confirmed event
/// again, because it could have died before it recorded the answer.
///
/// ```
/// use bento_relay::publish::{Delivery, PublishError, Publisher};
///
/// #[derive(Debug)]
/// struct Log;
///
/// impl Publisher for Log {
///     async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
///         let log = |delivery: &Delivery| tracing::info!(topic = &*delivery.topic());
///         batch.iter().map(|delivery| Ok(log(delivery))).collect()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a publisher",
    label = "the relay cannot publish through this",
    note = "implement `Publisher`: take a batch, return one answer per delivery in the same order"
)]
pub trait Publisher: fmt::Debug + Send + Sync + 'static {
    /// Sends each delivery to its destination and waits for the broker's confirmation.
    ///
    /// Returns one answer per delivery, in the batch's order. A missing answer, or a panic, counts
    /// as [unavailable](FailureClass::Unavailable); if the batch held a single event, as
    /// [transient](FailureClass::Transient). A publisher must not block its thread.
    ///
    /// # Cancel safety
    /// The relay drops the future after `publish_timeout`, and at the end of its drain timeout. The
    /// broker may have taken the events; they are published again, so the publisher has to stay
    /// usable.
    fn publish(
        &self,
        batch: &[Delivery],
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;

    /// True if a batch for this destination may hold several events of one aggregate. The publisher
    /// then guarantees: after one of them fails, no later one of the same aggregate in the batch is
    /// published.
    fn chains(&self, _destination: &Destination) -> bool {
        false
    }

    /// True if the publisher can reach this destination. A relay does not start if one of its
    /// routes leads to a destination that its publisher does not serve.
    fn serves(&self, _destination: &Destination) -> bool {
        true
    }
}

impl<P: Publisher + ?Sized> Publisher for Arc<P> {
    fn publish(
        &self,
        batch: &[Delivery],
    ) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send {
        (**self).publish(batch)
    }

    fn chains(&self, destination: &Destination) -> bool {
        (**self).chains(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        (**self).serves(destination)
    }
}

/// The class of a failure, which decides about the next attempt.
///
/// | class | attempt | circuit of the destination | the event |
/// |---|---|---|---|
/// | transient | counts | closes | is tried again, and is a dead letter after the last attempt |
/// | permanent | counts | closes | is a dead letter at once |
/// | throttled | does not count | may open | is tried again, no sooner than the broker asked |
/// | unavailable | does not count | may open | is tried again until the destination is back,
/// without a limit |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The broker answered about this event, and its answer may change.
    Transient,
    /// The broker answered about this event, or no broker can carry it: the failure repeats with
    /// the event.
    Permanent,
    /// The broker asks for a lower rate.
    Throttled,
    /// The broker could not be asked, or an operator has to repair something other than the event:
    /// the connection is missing, the credentials are refused, a right is missing, or the stream,
    /// exchange, topic or URL does not exist.
    Unavailable,
}

impl FailureClass {
    /// Every class, in the order of its discriminant.
    pub(crate) const ALL: [Self; 4] = [
        Self::Transient,
        Self::Permanent,
        Self::Throttled,
        Self::Unavailable,
    ];

    /// True if the failure is an answer about the event, by a destination that is available.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Transient | Self::Permanent)
    }

    /// The name in logs, metrics and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The error of an event that was not published.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PublishError {
    class: FailureClass,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PublishError {
    /// The broker answered about this event, and its answer may change. After the last attempt the
    /// event is a dead letter.
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: FailureClass::Transient,
            message: message.into(),
            retry_after: None,
            source: None,
        }
    }

    /// A failure that repeats with the event: the event becomes a dead letter at once.
    pub fn permanent(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: FailureClass::Permanent,
            ..Self::transient(message)
        }
    }

    /// The broker asks for a lower rate. The next attempt is made no sooner than `retry_after`, up
    /// to the setting [`max_retry_after`](crate::RelaySettings::max_retry_after).
    pub fn throttled(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self {
            class: FailureClass::Throttled,
            retry_after: Some(retry_after),
            ..Self::transient(message)
        }
    }

    /// The broker could not be asked, or an operator has to repair something other than the event.
    /// The event waits until the destination is back, and does not become a dead letter because of
    /// it.
    ///
    /// ```
    /// # use bento_relay::publish::{FailureClass, PublishError};
    /// let error = PublishError::unavailable("not connected").because("connection refused");
    /// assert_eq!(error.class(), FailureClass::Unavailable);
    /// ```
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: FailureClass::Unavailable,
            ..Self::transient(message)
        }
    }

    /// The same failure of another event, without its cause.
    pub(crate) fn repeated(&self) -> Self {
        Self {
            class: self.class,
            message: self.message.clone(),
            retry_after: self.retry_after,
            source: None,
        }
    }

    /// The same failure, with a wait of at most `longest`.
    pub(crate) fn waiting_at_most(self, longest: Duration) -> Self {
        Self {
            retry_after: self.retry_after.map(|asked| asked.min(longest)),
            ..self
        }
    }

    /// Adds the cause of the failure.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The class of the failure.
    pub fn class(&self) -> FailureClass {
        self.class
    }

    /// The wait that the broker asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The message and those of every cause, joined by `: `.
    pub fn chain(&self) -> String {
        with_causes(self)
    }
}
