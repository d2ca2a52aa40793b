//! The result of handling an event.

use bento_core::Envelope;
use bento_core::event::DomainEvent;
use bento_handlers::IdempotencyKey;
use bento_relay::publish::{FailureClass, PublishError};

use crate::raised;

/// The result of handling an event. Check its answer, and the events that were raised one by one,
/// in order.
#[derive(Debug)]
pub struct Handled<T = ()> {
    /// The name of the handler.
    pub handler: &'static str,
    /// The answer to the relay for each event; of several deliveries that of the last.
    pub answers: Vec<Result<(), PublishError>>,
    /// The idempotency key of each call of the function, in order. It is empty if the event was not
    /// brought to the function, because it was handled before for example.
    pub keys: Vec<IdempotencyKey>,
    /// The events that were raised and committed, as they are stored.
    pub raised: Vec<Envelope>,
    /// The effect, as the closure of [`once`](super::By::once) has read it at the end.
    pub effect: T,
    pub(super) is_skipped: bool,
    pub(super) seen: usize,
}

impl<T> Handled<T> {
    /// The events are handled.
    ///
    /// # Panics
    /// If an event failed or was skipped.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        if let Some(error) = self.error() {
            panic!("`{}` failed: {}", self.handler, told(error));
        }
        assert!(!self.is_skipped, "`{}` skipped the event", self.handler);
        self
    }

    /// The handler skipped the event, by [`HandleError::skip`](bento_handlers::HandleError::skip).
    ///
    /// # Panics
    /// If it handled it, or failed.
    #[track_caller]
    pub fn skips(self) -> Self {
        let handler = self.handler;
        if let Some(error) = self.error() {
            panic!(
                "`{handler}` was to skip the event, and failed: {}",
                told(error)
            );
        }
        assert!(
            self.is_skipped,
            "`{handler}` was to skip the event, and handled it"
        );
        self
    }

    /// The handler failed with an error of this class, for one of the events at least.
    ///
    /// # Panics
    /// If it did not fail, or every error is of another class.
    #[track_caller]
    pub fn fails(self, class: FailureClass) -> Self {
        let (handler, expected) = (self.handler, class.as_str());
        let Some(error) = self.error() else {
            panic!("`{handler}` was to fail (`{expected}`), and did not");
        };
        let mut errors = self
            .answers
            .iter()
            .filter_map(|answer| answer.as_ref().err());
        assert!(
            errors.any(|error| error.class() == class),
            "`{handler}` was to fail (`{expected}`), and failed otherwise: {}",
            told(error)
        );
        self
    }

    /// The handler failed for good, so that the event is a dead letter at once.
    ///
    /// # Panics
    /// As [`fails`](Self::fails).
    #[track_caller]
    pub fn fails_permanently(self) -> Self {
        self.fails(FailureClass::Permanent)
    }

    /// The handler failed, and the event is tried again.
    ///
    /// # Panics
    /// As [`fails`](Self::fails).
    #[track_caller]
    pub fn fails_transiently(self) -> Self {
        self.fails(FailureClass::Transient)
    }

    /// The next event that was raised is `expected`: its event type, version and payload.
    ///
    /// # Panics
    /// If it is another one, or there is none.
    #[track_caller]
    pub fn raises<E: DomainEvent>(mut self, expected: E) -> Self {
        raised::assert_next(&self.raised, &mut self.seen, &expected);
        self
    }

    /// No further event was raised.
    ///
    /// # Panics
    /// If one was.
    #[track_caller]
    pub fn and_nothing_else(self) -> Self {
        raised::assert_nothing_from(&self.raised, self.seen);
        self
    }

    /// The message of the first error, with those of its causes.
    pub fn message(&self) -> Option<String> {
        self.error().map(PublishError::chain)
    }

    fn error(&self) -> Option<&PublishError> {
        let mut errors = self
            .answers
            .iter()
            .filter_map(|answer| answer.as_ref().err());
        errors.next()
    }
}

/// An error with its class.
pub(super) fn told(error: &PublishError) -> String {
    format!("{} (`{}`)", error.chain(), error.class().as_str())
}
