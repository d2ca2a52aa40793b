//! The seam to the inbox for what pushes its messages: a receiver of HTTP requests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bento_core::report::with_causes;

use super::Message;

/// The way into the inbox for messages that are pushed: each call is stored before it returns.
///
/// Made by `bento_handlers::Consumer` under a name of its own. Any process may use it at any time;
/// it has no lease.
pub trait Intake: fmt::Debug + Send + Sync + 'static {
    /// Stores messages, in their order. They are in the inbox, or they are dead letters, or no
    /// handler takes them, when it returns.
    ///
    /// # Errors
    /// [`IntakeError`]: none of them is stored, except for [`IntakeError::Refused`].
    ///
    /// # Cancel safety
    /// The messages may be stored or not: whoever sent them sends them again.
    fn take(
        &self,
        messages: Vec<Message>,
    ) -> Pin<Box<dyn Future<Output = Result<Taken, IntakeError>> + Send + '_>>;

    /// The name of the intake. Ids of foreign messages are made of it.
    fn name(&self) -> &str;
}

/// The number of messages by what has become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// Stored: the handlers get them.
    pub stored: usize,
    /// Stored before, and not stored again.
    pub repeated: usize,
    /// Taken by no handler, or events of this service itself.
    pub ignored: usize,
    /// Dead letters.
    pub refused: usize,
}

/// The messages are not stored. The sender keeps them and sends them again, unless they are
/// refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The inbox is full: the handlers do not keep up.
    #[error(
        "the inbox holds {length} events, and `max_backlog` allows {limit}: the handlers do not \
         keep up; look at what they wait for, or allow more"
    )]
    Full {
        /// The events in the inbox, counted up to the limit.
        length: u64,
        /// The setting.
        limit: u64,
        /// The time after which to send again.
        retry_after: Duration,
    },
    /// The inbox could not be written.
    #[error("the inbox could not be written")]
    Unavailable {
        /// The message of the store.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database refuses some of the messages, and would refuse them again: they are too large,
    /// for instance. The others are stored.
    #[error("the database refuses {refused} of {count} messages")]
    Refused {
        /// The number of refused messages.
        refused: usize,
        /// The number of all.
        count: usize,
        /// The message of the store about the last of them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl IntakeError {
    /// The time after which to send again, if at all.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Full { retry_after, .. } => *retry_after,
            Self::Unavailable { .. } | Self::Refused { .. } => Duration::from_secs(5),
        }
    }

    /// The message and those of every cause, joined by `: `.
    pub fn chain(&self) -> String {
        with_causes(self)
    }
}
