//! The seam to brokers.
//!
//! Decision: docs/decisions/0030-a-failure-says-whose-it-is.md
//! Decision: docs/decisions/0034-each-event-has-a-call-of-its-own.md
//! Decision: docs/decisions/0035-the-handlers-are-recorded.md
//! Decision: docs/decisions/0018-the-publisher-trait-and-pulsar.md

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

mod console;
mod destination;
mod handler;
mod memory;
mod set;
mod terms;

pub use self::console::ConsolePublisher;
pub use self::destination::{Delivery, Destination};
pub use self::handler::{HandlerRoute, StartFrom};
pub use self::memory::MemoryPublisher;
pub use self::set::{BoxPublisher, Publishers};
pub use self::terms::{PoolId, RelayTerms, UnfitPublisher};
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

    /// The way in which the publisher answers for this destination: for a batch together, or for
    /// each event by itself.
    ///
    /// A destination that answers one by one gets each event in a call of its own, several at the
    /// same time. The relay then waits for each call by itself: a slow one is left behind and
    /// settled when it answers, while the other events of the destination go on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use bento_relay::publish::{Answering, Delivery, Destination, PublishError, Publisher};
    ///
    /// #[derive(Debug)]
    /// struct Mailer;
    ///
    /// impl Publisher for Mailer {
    ///     async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
    ///         // One event in each call.
    ///         batch.iter().map(|_| Ok(())).collect()
    ///     }
    ///
    ///     fn answering(&self, _destination: &Destination) -> Answering {
    ///         Answering::one_by_one(16).within(Duration::from_secs(20))
    ///     }
    /// }
    /// ```
    fn answering(&self, _destination: &Destination) -> Answering {
        Answering::Together
    }

    /// True if the publisher can reach this destination. A relay does not start if one of its
    /// routes leads to a destination that its publisher does not serve.
    fn serves(&self, _destination: &Destination) -> bool {
        true
    }

    /// The routes that the publisher brings: one for each of its handlers. A relay asks once, when
    /// it is started, and records them.
    fn handlers(&self) -> Vec<HandlerRoute> {
        Vec::new()
    }

    /// True if the publisher has nothing but handlers. A relay without rules then sends each event
    /// to the handlers that take it, and to no other destination.
    fn has_only_handlers(&self) -> bool {
        !self.handlers().is_empty()
    }

    /// Learns the terms of the relay, which calls it once before it starts.
    ///
    /// # Errors
    /// [`UnfitPublisher`] if the publisher cannot work on these terms. The relay does not start.
    fn prepare(&self, _terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        Ok(())
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

    fn answering(&self, destination: &Destination) -> Answering {
        (**self).answering(destination)
    }

    fn serves(&self, destination: &Destination) -> bool {
        (**self).serves(destination)
    }

    fn handlers(&self) -> Vec<HandlerRoute> {
        (**self).handlers()
    }

    fn has_only_handlers(&self) -> bool {
        (**self).has_only_handlers()
    }

    fn prepare(&self, terms: &RelayTerms) -> Result<(), UnfitPublisher> {
        (**self).prepare(terms)
    }
}

/// The way in which a publisher answers for a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// All events of a batch together, when all of it is done.
    #[default]
    Together,
    /// Each event by itself.
    OneByOne {
        /// The most calls at the same time, in all shards of a relay; 0 counts as 1.
        at_once: usize,
        /// The time for one call, from its start; `None` for the relay's `publish_timeout`. A call
        /// that takes longer is dropped, and counts as an attempt at its event.
        limit: Option<Duration>,
    },
}

impl Answering {
    /// Each event by itself, in at most `at_once` calls at the same time.
    pub fn one_by_one(at_once: usize) -> Self {
        Self::OneByOne {
            at_once,
            limit: None,
        }
    }

    /// With a time for one call, from its start. A batch is not affected.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        match self {
            Self::Together => Self::Together,
            Self::OneByOne { at_once, .. } => Self::OneByOne {
                at_once,
                limit: Some(time),
            },
        }
    }

    /// True if each event has a call of its own.
    pub fn is_one_by_one(self) -> bool {
        matches!(self, Self::OneByOne { .. })
    }

    /// The time for one call, where it differs from the relay's.
    pub(crate) fn limit(self) -> Option<Duration> {
        match self {
            Self::Together => None,
            Self::OneByOne { limit, .. } => limit,
        }
    }
}

/// The class of a failure, which decides about the next attempt.
///
/// | class | attempt | circuit of the destination | the event |
/// |---|---|---|---|
/// | transient | counts | closes | is tried again, and is a dead letter after the last attempt |
/// | permanent | counts | closes | is a dead letter at once |
/// | throttled | does not count | may open | is tried again, no sooner than the broker asked |
/// | unavailable | does not count | may open | is tried again until the destination is back, without
/// a limit |
/// | not tried | does not count | stays as it is | is tried again, without a limit |
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
    /// The event was not tried, for a reason that is neither its own nor that of the destination:
    /// another transaction was in the way, or its version is newer than this release.
    NotTried,
}

impl FailureClass {
    /// Every class, in the order of its discriminant.
    pub(crate) const ALL: [Self; 5] = [
        Self::Transient,
        Self::Permanent,
        Self::Throttled,
        Self::Unavailable,
        Self::NotTried,
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
            Self::NotTried => "not_tried",
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
    is_newer: bool,
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
            is_newer: false,
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

    /// The event was not tried, for a reason that is neither its own nor that of the destination.
    /// It counts no attempt, is tried again after a wait that grows up to 30 s, and leaves the
    /// circuit of the destination as it is.
    pub fn not_tried(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            class: FailureClass::NotTried,
            ..Self::transient(message)
        }
    }

    /// The event is of a version that only a newer release knows. It is [not
    /// tried](Self::not_tried), and the relay's health names it
    /// ([`Degradation::NewerVersions`](crate::Degradation::NewerVersions)).
    pub fn newer_version(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            is_newer: true,
            ..Self::not_tried(message)
        }
    }

    /// The same failure, with a next attempt no sooner than after `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same failure of another event, without its cause.
    pub(crate) fn repeated(&self) -> Self {
        Self {
            class: self.class,
            message: self.message.clone(),
            retry_after: self.retry_after,
            is_newer: self.is_newer,
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

    /// True if only a newer release knows the version of the event.
    pub fn is_of_newer_version(&self) -> bool {
        self.is_newer
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
