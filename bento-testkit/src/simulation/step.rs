//! The steps of a course, as they are printed.

use std::fmt;

use bento_core::Envelope;

/// One delivery.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) handler: &'static str,
    pub(super) events: Vec<Named>,
    pub(super) end: End,
}

/// An event as a step names it: by the number in which it appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    number: usize,
    event_type: String,
    /// Empty for an event free of an aggregate.
    aggregate: String,
}

/// The end of a delivery.
#[derive(Debug)]
pub(super) enum End {
    Handled,
    Skipped,
    /// Its function was not called.
    NotCalled,
    CutOff {
        is_transactional: bool,
    },
    AnswerLost,
    Failed(String),
}

impl Named {
    pub(super) fn new(number: usize, event: &Envelope) -> Self {
        let aggregate = match event.is_ordered() {
            true => format!("{}/{}", event.aggregate_type, event.aggregate_id),
            false => String::new(),
        };
        Self {
            number,
            event_type: event.event_type.clone().into_owned(),
            aggregate,
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}", self.number, self.event_type)?;
        if self.aggregate.is_empty() {
            Ok(())
        } else {
            write!(f, " of {}", self.aggregate)
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled => f.write_str("handled"),
            Self::Skipped => f.write_str("skipped"),
            Self::NotCalled => f.write_str("not called: handled before, or filtered"),
            Self::CutOff {
                is_transactional: true,
            } => f.write_str("cut off before the commit"),
            Self::CutOff {
                is_transactional: false,
            } => f.write_str("cut off before the record"),
            Self::AnswerLost => f.write_str("handled, and the answer is lost"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<_> = self.events.iter().map(ToString::to_string).collect();
        write!(
            f,
            "{} gets {}: {}",
            self.handler,
            events.join(", "),
            self.end
        )
    }
}
