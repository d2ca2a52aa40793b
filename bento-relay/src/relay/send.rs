//! Calls of the publisher for a wave; the publisher may panic, hang or answer too little.
//!
//! Decision: docs/decisions/0008-a-broker-that-is-away-is-left-alone.md

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::{self, TARGET_RELAY};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use super::breaker::{Postponed, Trial};
use super::reply::{Break, Reply};
use super::shared::Shared;
use super::slots::Slot;
use super::span::Spans;
use super::watched::watched;
use crate::machine::{TOO_FEW_ANSWERS, Wave};
use crate::publish::{Answering, PublishError, Publisher};

/// A wave and its reply.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) wave: Wave,
    pub(super) reply: Reply,
    /// Held until the answer is noted, if the wave is a trial.
    pub(super) trial: Option<Trial>,
    /// Held until the answer is noted, if the wave is late.
    pub(super) postponed: Option<Postponed>,
}

impl<S, P: Publisher> Shared<S, P> {
    /// Calls the publisher, within its time limit. The slot of the call is free when it ends:
    /// another one may begin before the answer is recorded.
    pub(super) async fn publish(
        &self,
        mut wave: Wave,
        trial: Option<Trial>,
        slot: Option<Slot>,
    ) -> Sent {
        let answering = wave.answering();
        let (asked, limit) = (Instant::now(), self.limit_of(answering));
        wave.answer_by(asked.checked_add(limit).map(Instant::into_std));
        let spans = Spans::open(wave.deliveries());
        // What a call of its own raises belongs to the trace of its event.
        let around = if answering.is_one_by_one() {
            spans.of_one()
        } else {
            Span::none()
        };
        let call = async { self.publisher.publish(spans.deliveries()).await };
        let publishing = AssertUnwindSafe(call.instrument(around)).catch_unwind();
        let (answered, longest_poll) = watched(timeout(limit, publishing)).await;
        let is_alone = wave.deliveries().len() == 1;
        let reply = match answered {
            Ok(Ok(answers)) if answers.is_empty() && is_alone => {
                Reply::broken(Break::Silence, TOO_FEW_ANSWERS.to_owned(), true)
            }
            Ok(Ok(answers)) => Reply::Answers(self.bounded(answers)),
            Ok(Err(panic)) => Reply::broken(
                Break::Panic,
                format!("the publisher panicked: {}", panic_text(&*panic)),
                is_alone,
            ),
            Err(_) => {
                // Either the destination hangs, or this event makes it hang. The event is to blame
                // if the destination has answered about others, or answers one by one.
                let has_answered = || self.breakers.has_answered_since(wave.destination(), asked);
                let is_to_blame = is_alone && (answering.is_one_by_one() || has_answered());
                Reply::broken(
                    Break::Timeout,
                    format!("the publisher did not answer within {limit:?}"),
                    is_to_blame,
                )
            }
        };
        if reply.is_answer() {
            self.breakers.answered(wave.destination(), Instant::now());
        }
        self.check_blocking(wave.destination(), longest_poll);
        let seconds =
            telemetry::histogram_of(telemetry::PUBLISH_SECONDS, wave.destination().clone());
        seconds.record(asked.elapsed().as_secs_f64());
        spans.close(&reply);
        reply.count(&wave);
        drop(slot);
        Sent {
            wave,
            reply,
            trial,
            postponed: None,
        }
    }

    /// The time that a call may take.
    pub(super) fn limit_of(&self, answering: Answering) -> Duration {
        answering.limit().unwrap_or(self.settings.publish_timeout)
    }

    /// Limits the wait that a broker asks for to the maximum of the settings.
    fn bounded(&self, answers: Vec<Result<(), PublishError>>) -> Vec<Result<(), PublishError>> {
        let longest = self.settings.max_retry_after;
        answers
            .into_iter()
            .map(|answer| answer.map_err(|error| error.waiting_at_most(longest)))
            .collect()
    }

    /// Reports a publisher that blocked its thread for so long that the leases could not be
    /// renewed.
    fn check_blocking(&self, destination: &Arc<str>, longest_poll: Duration) {
        let is_blocking = longest_poll >= self.settings.heartbeat();
        if is_blocking {
            tracing::error!(
                target: TARGET_RELAY,
                relay = %self.id,
                destination = &**destination,
                blocked_for = ?longest_poll,
                lease = ?self.settings.lease,
                "the publisher blocks its thread, and the relay may lose its shards meanwhile; a \
                 publisher must not block its thread: call what blocks in \
                 `tokio::task::spawn_blocking`",
            );
        }
        self.vitals
            .publisher_blocked(destination, is_blocking.then_some(longest_poll));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &dyn Display {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| text as &dyn Display);
    text.or_else(|| {
        panic
            .downcast_ref::<String>()
            .map(|text| text as &dyn Display)
    })
    .unwrap_or(&"without a message")
}
