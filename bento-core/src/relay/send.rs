//! Handing a wave to the publisher, which may panic, hang or answer too little.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::Shared;
use super::breaker::{Postponed, Trial};
use super::machine::Wave;
use super::span::Spans;
use crate::publish::{FailureClass, PublishError, Publisher};
use crate::telemetry;

/// A wave and what came of it.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) wave: Wave,
    pub(super) reply: Reply,
    /// Held until the answer is noted, if the wave is a trial.
    pub(super) trial: Option<Trial>,
    /// Held until the answer is noted, if the wave is late.
    pub(super) postponed: Option<Postponed>,
}

/// What came of a wave.
#[derive(Debug)]
pub(super) enum Reply {
    /// An answer for each event, or fewer.
    Answers(Vec<Result<(), PublishError>>),
    /// The wave failed as a whole.
    Broken { reason: String, is_panic: bool },
}

impl<S, P: Publisher> Shared<S, P> {
    /// Asks the publisher, for as long as it may take.
    pub(super) async fn publish(&self, wave: Wave, trial: Option<Trial>) -> Sent {
        let spans = Spans::open(wave.deliveries());
        let (asked, limit) = (Instant::now(), self.settings.publish_timeout);
        let publishing = AssertUnwindSafe(async { self.publisher.publish(spans.deliveries()).await }).catch_unwind();
        let reply = match timeout(limit, publishing).await {
            Ok(Ok(answers)) => Reply::Answers(answers),
            Ok(Err(panic)) => {
                Reply::Broken { reason: format!("the publisher panicked: {}", panic_text(&*panic)), is_panic: true }
            }
            Err(_) => {
                Reply::Broken { reason: format!("the publisher did not answer within {limit:?}"), is_panic: false }
            }
        };
        let seconds = telemetry::histogram_of(telemetry::PUBLISH_SECONDS, wave.destination().clone());
        seconds.record(asked.elapsed().as_secs_f64());
        spans.close(&reply);
        reply.count(&wave);
        Sent { wave, reply, trial, postponed: None }
    }
}

impl Reply {
    fn count(&self, wave: &Wave) {
        let destination = wave.destination();
        let (mut published, mut failed) = (0, [0; 3]);
        let sent = wave.deliveries().len();
        let answers = match self {
            Self::Answers(answers) => &answers[..answers.len().min(sent)],
            Self::Broken { .. } => &[],
        };
        for answer in answers {
            match answer {
                Ok(()) => published += 1,
                Err(error) => failed[error.class() as usize] += 1,
            }
        }
        // What was not answered failed for the moment.
        failed[FailureClass::Transient as usize] += (sent - answers.len()) as u64;
        telemetry::count_of(telemetry::PUBLISHED_EVENTS, destination.clone(), published);
        for class in [FailureClass::Transient, FailureClass::Permanent, FailureClass::Throttled] {
            let label = ("class", class.as_str());
            telemetry::count_for(telemetry::FAILED_PUBLISHES, destination.clone(), label, failed[class as usize]);
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &dyn Display {
    let text = panic.downcast_ref::<&str>().map(|text| text as &dyn Display);
    text.or_else(|| panic.downcast_ref::<String>().map(|text| text as &dyn Display)).unwrap_or(&"without a message")
}
