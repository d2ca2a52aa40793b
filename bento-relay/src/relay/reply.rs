//! The reply of a publisher to a wave, and its metrics.

use crate::machine::Wave;
use crate::publish::{FailureClass, PublishError};
use crate::telemetry;

/// The reply to a wave.
#[derive(Debug)]
pub(super) enum Reply {
    /// An answer for each event, or fewer.
    Answers(Vec<Result<(), PublishError>>),
    /// The wave failed as a whole. The class of the error tells if the event is to blame.
    Broken { error: PublishError, cause: Break },
}

/// The reason why a call has no usable answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    /// The publisher panicked.
    Panic,
    /// The publisher returned no answer.
    Silence,
    /// The publisher did not answer in time.
    Timeout,
}

impl Reply {
    pub(super) fn broken(cause: Break, message: String, is_to_blame: bool) -> Self {
        let error = if is_to_blame {
            PublishError::transient(message)
        } else {
            PublishError::unavailable(message)
        };
        Self::Broken { error, cause }
    }

    /// True if the destination confirmed an event, or answered about one.
    pub(super) fn is_answer(&self) -> bool {
        let is_answer = |answer: &Result<(), PublishError>| {
            answer
                .as_ref()
                .map_or_else(|error| error.class().is_answer(), |()| true)
        };
        matches!(self, Self::Answers(answers) if answers.iter().any(is_answer))
    }

    pub(super) fn count(&self, wave: &Wave) {
        let destination = wave.destination();
        let (mut published, mut failed) = (0, [0; FailureClass::ALL.len()]);
        let sent = wave.deliveries().len();
        let (answers, class_of_the_rest) = match self {
            Self::Answers(answers) => (
                &answers[..answers.len().min(sent)],
                FailureClass::Unavailable,
            ),
            Self::Broken { error, .. } => (&[][..], error.class()),
        };
        for answer in answers {
            match answer {
                Ok(()) => published += 1,
                Err(error) => failed[error.class() as usize] += 1,
            }
        }
        failed[class_of_the_rest as usize] += (sent - answers.len()) as u64;
        telemetry::count_of(
            telemetry::PUBLISHED_EVENTS,
            telemetry::DESTINATION,
            destination.clone(),
            published,
        );
        for class in FailureClass::ALL {
            let label = ("class", class.as_str());
            telemetry::count_of_kind(
                telemetry::FAILED_PUBLISHES,
                telemetry::DESTINATION,
                destination.clone(),
                label,
                failed[class as usize],
            );
        }
    }
}
