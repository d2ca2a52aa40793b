//! Commands for recorded handlers: they are listed, paused, resumed and retired, and handle an
//! event again.

use std::future::Future;
use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::limits::{self, Unstorable};
use chrono::{DateTime, Utc};

use crate::store::{Leftovers, RelayId, StoreError};

/// A recorded handler, with what an operator asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerState {
    /// The name.
    pub name: Arc<str>,
    /// The event types that it takes, or patterns of them, in order.
    pub takes: Vec<Arc<str>>,
    /// False if the events of an aggregate may be handled in any order.
    pub ordered: bool,
    /// The time at which it was recorded, by the store's clock.
    pub recorded_at: DateTime<Utc>,
    /// The pause; `None` for a handler that is not paused.
    pub pause: Option<HandlerPause>,
    /// The events that are held for it, and its dead letters. Pending events are not counted: they
    /// have not been routed yet.
    pub waiting: Leftovers,
    /// The living relays that serve it with every event type that it takes, ordered by id. Its
    /// events wait while there is none.
    pub served_by: Vec<RelayId>,
}

/// The pause of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerPause {
    /// The reason.
    pub reason: String,
    /// The actor who paused it; `None` if unknown.
    pub actor: Option<String>,
    /// The time of the pause, by the store's clock.
    pub paused_at: DateTime<Utc>,
}

impl HandlerState {
    /// A handler as a store reads it: not paused, with nothing that waits, and served by no relay.
    pub fn new(
        name: impl Into<Arc<str>>,
        takes: Vec<Arc<str>>,
        ordered: bool,
        recorded_at: DateTime<Utc>,
    ) -> Self {
        Self {
            name: name.into(),
            takes,
            ordered,
            recorded_at,
            pause: None,
            waiting: Leftovers::default(),
            served_by: Vec::new(),
        }
    }
}

impl HandlerPause {
    /// A pause as a store reads it.
    pub fn new(reason: impl Into<String>, actor: Option<String>, paused_at: DateTime<Utc>) -> Self {
        Self {
            reason: reason.into(),
            actor,
            paused_at,
        }
    }

    /// Checks that every back end can store the texts of a pause. A store calls it first.
    ///
    /// # Errors
    /// [`Unstorable`], for a reason of more than [`limits::REASON`] characters, an actor of more
    /// than [`limits::ACTOR`], or U+0000.
    pub fn check(reason: &str, actor: Option<&str>) -> Result<(), Unstorable> {
        limits::check_text("reason", reason, limits::REASON)?;
        actor.map_or(Ok(()), |actor| {
            limits::check_text("actor", actor, limits::ACTOR)
        })
    }
}

/// The answer to [`HandlerControl::handle_again`]. The generation is part of the idempotency key of
/// the next call: 0 until an event is handled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandledAgain {
    /// The event waits for the handler already. Nothing was changed.
    Waits {
        /// The generation in which it will be handled.
        generation: u32,
    },
    /// It was a dead letter of the handler, and was replayed.
    Replayed {
        /// The generation in which it will be handled.
        generation: u32,
    },
    /// It was put back for the handler, out of order, and is due now.
    PutBack {
        /// The generation in which it will be handled.
        generation: u32,
    },
}

/// The recorded handlers of a store, for operators.
///
/// A relay learns of a pause with its next call for each shard; events that it has already read
/// are still handled.
///
/// ```
/// use bento_relay::handler_control::HandlerControl;
/// use bento_relay::publish::HandlerRoute;
/// use bento_relay::{MemoryStore, RelayStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bento_relay::StoreError> {
/// let store = MemoryStore::default();
/// store.record_handlers(&[HandlerRoute::new("mail.confirmation", ["order.*"])]).await?;
/// assert!(store.pause_handler("mail.confirmation", "two mails each", Some("alice")).await?);
/// let handlers = store.handlers().await?;
/// assert_eq!(handlers[0].pause.as_ref().map(|pause| &*pause.reason), Some("two mails each"));
/// assert!(store.resume_handler("mail.confirmation").await?);
/// # Ok(())
/// # }
/// ```
pub trait HandlerControl: Send + Sync {
    /// Returns the recorded handlers, ordered by name. It counts in whole tables: ask every few
    /// seconds, not per event.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// It only reads: nothing is lost.
    fn handlers(&self) -> impl Future<Output = Result<Vec<HandlerState>, StoreError>> + Send;

    /// Forgets that relays publish from the outbox, so that relays with handlers alone may take it.
    /// Stop the relays with publishers first: their next heartbeat records it again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn forget_publishers(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Stops the calls of a handler. Its events are held untried meanwhile, in their order; those
    /// of other handlers and brokers go on. Returns false if it is paused already; the first reason
    /// then stays.
    ///
    /// # Errors
    /// [`StoreError::UnknownHandler`], [`StoreError::Unstorable`] for a text that is too long or
    /// holds U+0000, [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn pause_handler(
        &self,
        name: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Resumes the calls of a handler, in the order of its events. Returns false if it is not
    /// paused.
    ///
    /// # Errors
    /// [`StoreError::UnknownHandler`], [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more.
    fn resume_handler(&self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes the record of a handler: no later event is routed to it. Events that are held for it
    /// become what those of an unknown destination become, unless it is recorded again. `None` if
    /// it is not recorded.
    ///
    /// A process that serves the handler records it again when it starts: remove the handler from
    /// every release that runs first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all.
    fn retire_handler(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Leftovers>, StoreError>> + Send;

    /// Lets a handler handle an event once more, although it was handled, skipped or discarded.
    ///
    /// A dead letter of the handler is replayed. An event that waits for the handler and was not
    /// handled yet is left as it is. Any other is put back for this handler alone: from the
    /// outbox, from the rows of another route, or from the published rows that a relay
    /// [keeps](crate::RelaySettings::retention). It comes at once and out of order, and neither
    /// waits for other events of its aggregate nor keeps them waiting; delays and deadlines that it
    /// named itself no longer count. If it fails, its dead letter parks nothing.
    ///
    /// Each wish is one more handling: repeated while the event waits it changes nothing.
    ///
    /// # Errors
    /// [`StoreError::UnknownHandler`], [`StoreError::NotTaken`] for an event type that the handler
    /// does not take, [`StoreError::NoEvent`] if the event is in no table,
    /// [`StoreError::NotReplayable`], [`StoreError::Unavailable`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all; calling it again changes nothing more
    /// while the event waits.
    fn handle_again(
        &self,
        handler: &str,
        event_id: EventId,
    ) -> impl Future<Output = Result<HandledAgain, StoreError>> + Send;

    /// Does the same for an event that the caller has, in an archive for example. What is stored of
    /// it comes first; the envelope is taken if the event is in no table.
    ///
    /// # Errors
    /// As [`handle_again`](Self::handle_again), and [`StoreError::Unstorable`] for a value that not
    /// every back end stores whole.
    ///
    /// # Cancel safety
    /// As [`handle_again`](Self::handle_again).
    fn handle_envelope_again(
        &self,
        handler: &str,
        envelope: &Envelope,
    ) -> impl Future<Output = Result<HandledAgain, StoreError>> + Send;
}
