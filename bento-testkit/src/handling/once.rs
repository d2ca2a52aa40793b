//! The calls of a handler, with what is shown about each.

use std::collections::HashSet;
use std::fmt::Debug;

use bento_core::{Envelope, EventId};
use bento_handlers::{Effect, IdempotencyKey};
use bento_relay::publish::PublishError;

use super::handled::told;
use super::{By, Handled};
use crate::raised::Raised;
use crate::watched::Delivered;

impl By {
    /// Calls the handler once. A failure is in the result.
    ///
    /// # Panics
    /// If the outbox cannot be read.
    ///
    /// # Cancel safety
    /// The transaction of the handler is rolled back, unless it is being committed.
    #[must_use = "check it, at least with `succeeds`"]
    pub async fn run(self) -> Handled {
        let before = self.known().await;
        let mut calls = Vec::new();
        let (answers, has_failed) = self.answers(&mut calls).await;
        let raised = self.raised_since(&before).await;
        self.handled(answers, has_failed, calls, raised, ())
    }

    /// Calls the handler, cuts the call off when the function has ended and before anything is
    /// committed or recorded, and calls it again. A failure is in the result, and
    /// [`keys`](Handled::keys) has the key of both calls.
    ///
    /// # Panics
    /// If the outbox cannot be read.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    #[must_use = "check it, at least with `succeeds`"]
    pub async fn run_after_crash(self) -> Handled {
        let before = self.known().await;
        let mut calls = Vec::new();
        let (answers, has_failed) = match self.crash(&mut calls).await {
            Some(answered) => answered,
            None => self.answers(&mut calls).await,
        };
        let raised = self.raised_since(&before).await;
        self.handled(answers, has_failed, calls, raised, ())
    }

    /// Shows that the effect of the handler is there once, however often the event comes. `effect`
    /// reads it: rows of the database, or the notes of a fake. Without anything to read it is
    /// `async || ()`, and the events that are raised are the effect.
    ///
    /// 1. The call is cut off when the function has ended, before the commit. A handler with a
    ///    transaction has no effect then.
    /// 2. The event comes again, and the effect is there. A handler with a key is called with the
    ///    same key, and the effect is that of the first call.
    /// 3. The event comes once more, and the effect stays as it is.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use std::collections::BTreeSet;
    /// use bento_core::domain_event;
    /// use bento_handlers::{HandleError, IdempotencyKey, State, event_handler};
    /// use bento_testkit::handling;
    /// # #[domain_event(schema = "order.confirmed", version = 1)]
    /// # #[derive(Clone, Debug)]
    /// # pub struct OrderConfirmed { pub order_id: u64 }
    ///
    /// /// A fake that sends one mail for each key.
    /// #[derive(Clone, Default)]
    /// struct Mailer(Arc<Mutex<BTreeSet<String>>>);
    ///
    /// #[event_handler(name = "mail.confirmation")]
    /// async fn confirm(
    ///     _: OrderConfirmed,
    ///     key: IdempotencyKey,
    ///     State(Mailer(mails)): State<Mailer>,
    /// ) -> Result<(), HandleError> {
    ///     mails.lock().unwrap().insert(key.to_string());
    ///     Ok(())
    /// }
    ///
    /// # #[cfg(not(feature = "sqlite"))]
    /// # fn main() {}
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (db, mailer) = (bento_testkit::database_in_memory().await, Mailer::default());
    /// let handled = handling(OrderConfirmed { order_id: 7 })
    ///     .with_state(mailer.clone())
    ///     .by(confirm::handler(), &db)
    ///     .once(async || mailer.0.lock().unwrap().len())
    ///     .await;
    /// assert_eq!(handled.effect, 1);
    /// assert_eq!(handled.keys.len(), 2, "one call was cut off");
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the effect is another one than it should be, with the two values and what it means; if
    /// the handler fails, or has no effect. [`run`](Self::run) is for such an event.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn once<T: PartialEq + Debug>(self, effect: impl AsyncFn() -> T) -> Handled<T> {
        let known = self.known().await;
        let mut calls = Vec::new();
        let before = effect().await;

        let failed = self.crash(&mut calls).await;
        if let Some((answers, has_failed)) = failed {
            self.assert_answered(&answers, has_failed);
            self.fail(
                "its function was not called: the event was handled before, or a filter of the \
                 handler keeps it away",
            );
        }
        let (first, raised_first) = (effect().await, self.raised_since(&known).await);
        if self.handler.effect.is_transactional() {
            self.assert_rolled_back(&before, &first, &raised_first);
        }

        let (answers, has_failed) = self.answers(&mut calls).await;
        self.assert_answered(&answers, has_failed);
        let (once, raised) = (effect().await, self.raised_since(&known).await);
        let is_changed = first != once || raised_first.len() != raised.len();
        if self.handler.effect == Effect::Key && is_changed {
            self.fail_called_again(&first, &once, &raised[raised_first.len()..], &calls);
        }
        if before == once && raised.is_empty() {
            self.fail(&format!(
                "it has handled the event without an effect: {once:?} before and after it, and no \
                 event was raised. Read what the handler changes; for an event without an effect \
                 take `run` in place of `once`"
            ));
        }

        let (answers, has_failed) = self.answers(&mut calls).await;
        self.assert_answered(&answers, has_failed);
        let (again, raised_again) = (effect().await, self.raised_since(&known).await);
        if once != again || raised_again.len() != raised.len() {
            self.fail_repeated(&once, &again, &raised_again[raised.len()..]);
        }
        self.handled(answers, has_failed, calls, raised, again)
    }

    /// Delivers the events and cuts the call off. Returns the answers if no call came to its end.
    async fn crash(&self, calls: &mut Vec<IdempotencyKey>) -> Option<(Answers, bool)> {
        match self.deliver(calls, true).await {
            (Delivered::CutOff, _) => None,
            (Delivered::Answered(answers), has_failed) => Some((answers, has_failed)),
        }
    }

    /// Delivers the events. Returns the answers, and true if the function ended with an error.
    async fn answers(&self, calls: &mut Vec<IdempotencyKey>) -> (Answers, bool) {
        match self.deliver(calls, false).await {
            (Delivered::Answered(answers), has_failed) => (answers, has_failed),
            (Delivered::CutOff, _) => unreachable!("nothing was to be cut off"),
        }
    }

    async fn deliver(
        &self,
        calls: &mut Vec<IdempotencyKey>,
        is_cut_off: bool,
    ) -> (Delivered, bool) {
        let delivering =
            self.watched
                .deliver_in_turn(self.handler, &self.events, self.attempts, is_cut_off);
        let (delivered, made) = delivering.await;
        calls.extend(made.keys);
        (delivered, made.has_failed)
    }

    async fn known(&self) -> HashSet<EventId> {
        let outbox = self.watched.outbox().await;
        outbox.iter().map(|event| event.event_id).collect()
    }

    async fn raised_since(&self, known: &HashSet<EventId>) -> Vec<Envelope> {
        let mut outbox = self.watched.outbox().await;
        outbox.retain(|event| !known.contains(&event.event_id));
        outbox
    }

    fn handled<T>(
        self,
        answers: Answers,
        has_failed: bool,
        keys: Vec<IdempotencyKey>,
        raised: Vec<Envelope>,
        effect: T,
    ) -> Handled<T> {
        Handled {
            handler: self.handler.name,
            // A function that fails and is done has skipped the event.
            is_skipped: has_failed && answers.iter().all(Result::is_ok),
            answers,
            keys,
            raised,
            effect,
            seen: 0,
        }
    }

    fn assert_answered(&self, answers: &[Result<(), PublishError>], has_failed: bool) {
        if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            self.fail(&format!(
                "it failed: {}. For an event that it cannot handle take `run` in place of `once`",
                told(error)
            ));
        }
        if has_failed {
            self.fail("it skipped the event: take `run` in place of `once`");
        }
    }

    fn assert_rolled_back<T: PartialEq + Debug>(&self, before: &T, after: &T, raised: &[Envelope]) {
        if before != after {
            self.fail(&format!(
                "its effect is there after a crash before the commit: {before:?} before the call, \
                 and {after:?} after it. The effect has to be in the transaction `tx`: what \
                 another connection writes, or another system gets, stays when the transaction is \
                 rolled back, and comes a second time with the next attempt"
            ));
        }
        if !raised.is_empty() {
            self.fail(&format!(
                "events are in the outbox after a crash before the commit: none was expected, \
                 {}\nThey have to be raised in the transaction `tx`, or returned",
                Raised(raised, 0)
            ));
        }
    }

    fn fail_called_again<T: Debug>(
        &self,
        first: &T,
        second: &T,
        raised: &[Envelope],
        keys: &[IdempotencyKey],
    ) -> ! {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        self.fail(&format!(
            "its effect changed when it was called again after a crash before the record: \
             {first:?}, then {second:?}. Both calls have one key ({}): the other system has to get \
             the key and to do its work once for it, and so does its fake{}",
            keys.join(", "),
            again(raised)
        ))
    }

    fn fail_repeated<T: Debug>(&self, first: &T, second: &T, raised: &[Envelope]) -> ! {
        self.fail(&format!(
            "its effect changed when the event came again, though it was recorded as handled: \
             {first:?}, then {second:?}. Something goes on when the call has ended, a task that \
             was spawned for example: await it in the handler{}",
            again(raised)
        ))
    }

    /// Ends the test, with the name of the handler and the place of the test.
    fn fail(&self, message: &str) -> ! {
        panic!(
            "`{}`, tested at {}: {message}",
            self.handler.name, self.asked_at
        )
    }
}

/// The events that were raised again, for a message.
fn again(raised: &[Envelope]) -> String {
    match raised {
        [] => String::new(),
        raised => format!("\nNothing was to be raised again, {}", Raised(raised, 0)),
    }
}

/// One answer for each event.
type Answers = Vec<Result<(), PublishError>>;
