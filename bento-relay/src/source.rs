//! The seam from brokers: a source of messages, and the intake that stores what they carry.
//!
//! ```text
//! subscribe → receive → store, with the cursor → acknowledge
//! ```
//!
//! A consumer (`bento_handlers::Consumer`) holds the lease of a source, so that one process at a
//! time reads it. It stores what it receives in the inbox, in one transaction with the lease and
//! the [`Cursor`], and acknowledges after the commit. So a message is acknowledged only when its
//! event, or its dead letter, is in the database; and it comes again after a crash in between.
//!
//! The guarantees of a source, which the conformance suite of `bento-testkit` proves:
//!
//! 1. Messages come in the order in which the broker keeps them: those of one aggregate in the
//!    order in which they were published.
//! 2. A message that was not acknowledged comes again: in a new subscription, before or in place of
//!    its successors of the same aggregate.
//! 3. A new subscription begins behind the cursor where the broker keeps a place
//!    ([`Resume::cursor`]); a cursor of another incarnation of the stream counts for nothing.
//! 4. Whatever a message holds, it is returned: as an event or as unreadable.
//! 5. [`Source::subscribe`] returns when the broker has confirmed the subscription.
//!
//! Decision: docs/decisions/0040-the-inbox-is-an-outbox.md

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod boxed;
mod error;
mod intake;
mod memory;
mod message;

pub use self::boxed::{BoxSource, BoxSubscription};
pub use self::error::SourceError;
pub use self::intake::{Intake, IntakeError, Taken};
pub use self::memory::{MemorySource, MemorySubscription};
pub use self::message::{Message, RawMessage, Unreadable};

/// A broker adapter that receives: a stream, queue or topic, and how to read it.
///
/// Making a source asks no broker; [`subscribe`](Self::subscribe) does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "the consumer cannot receive from this",
    note = "implement `Source`: subscribe, and return messages in the broker's order"
)]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// The open subscription.
    type Subscription: Subscription;

    /// Subscribes, and returns when the broker has confirmed it. Names that the settings ask to
    /// make are made; others are checked.
    ///
    /// # Errors
    /// [`SourceError`]: refused if an operator has to repair something first.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing that a later one has to know of.
    fn subscribe(
        &self,
        resume: Resume,
    ) -> impl Future<Output = Result<Self::Subscription, SourceError>> + Send;
}

/// An open subscription to a source. Dropping it ends it: what is not acknowledged comes again.
pub trait Subscription: Send + 'static {
    /// Waits for messages, at most for [`Most::wait`], and returns those that are there.
    ///
    /// Messages that are returned are not returned again by this subscription.
    ///
    /// # Errors
    /// [`SourceError`]: the subscription has ended, and a new one is needed.
    ///
    /// # Cancel safety
    /// The consumer drops the future only when it ends the subscription.
    fn receive(&mut self, most: Most)
    -> impl Future<Output = Result<Received, SourceError>> + Send;

    /// Acknowledges every message that was returned so far: each is stored.
    ///
    /// # Errors
    /// [`SourceError`]: the subscription has ended. The messages may come again.
    ///
    /// # Cancel safety
    /// The consumer drops the future only when it ends the subscription.
    fn acknowledge(&mut self) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The number of messages that the broker still has for this source; `None` where it does not
    /// tell. Asked every 15 seconds.
    ///
    /// # Errors
    /// [`SourceError`]: the number is unknown; the subscription goes on.
    ///
    /// # Cancel safety
    /// It only reads.
    fn lag(&mut self) -> impl Future<Output = Result<Option<u64>, SourceError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Ends the subscription; the broker may give its messages to another process at once.
    ///
    /// # Cancel safety
    /// A dropped call ends it as well, without waiting for the broker.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The place from which a subscription goes on.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Resume {
    /// The name of the source, the same in every process. Ids of foreign messages are made of it.
    pub source: Arc<str>,
    /// The place behind the last message that was stored; `None` before the first one.
    pub cursor: Option<Cursor>,
    /// The time after which another process takes the source over if this one does not answer.
    pub lease: Duration,
}

impl Resume {
    /// A first subscription of the source of this name.
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self {
            source: source.into(),
            cursor: None,
            lease: Duration::from_secs(30),
        }
    }

    /// With the place behind the last message that was stored.
    #[must_use]
    pub fn behind(self, cursor: Option<Cursor>) -> Self {
        Self { cursor, ..self }
    }

    /// With the time after which another process takes the source over.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }
}

/// The place in a stream behind the last message that was stored.
///
/// The place is of the broker's own form: a sequence, or an offset for each partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The stream itself: another one with the same name has another incarnation, such as the time
    /// of its creation or the id of the topic.
    pub incarnation: String,
    /// The place in it.
    pub place: String,
}

/// The bounds of one [`receive`](Subscription::receive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Messages.
    pub messages: usize,
    /// Bytes of their bodies; a single message may be larger.
    pub bytes: usize,
    /// The wait for the first message.
    pub wait: Duration,
}

/// Messages that were received together, in the broker's order.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The messages; none if there was none within the wait.
    pub messages: Vec<Message>,
    /// The place behind the last of them, where the broker keeps a place.
    pub cursor: Option<Cursor>,
}
