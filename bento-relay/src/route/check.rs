//! Conditions in the form in which they are evaluated.

use std::cmp::Ordering;

use super::facts::{Facts, Slot};
use super::value::Value;

/// A condition over slots. The parts of `All` and `Any` that do not read the payload come first.
#[derive(Clone, Debug)]
pub(super) enum Check {
    All(Vec<Check>),
    Any(Vec<Check>),
    Not(Box<Check>),
    Ask(Slot, Question),
}

/// The question about one value.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Equal(Value<'static>),
    Unequal(Value<'static>),
    /// Greater or less, or equal if allowed.
    Beyond {
        than: Value<'static>,
        side: Ordering,
        or_equal: bool,
    },
    OneOf(Vec<Value<'static>>),
    NoneOf(Vec<Value<'static>>),
    Exists(bool),
}

impl Check {
    pub(super) fn all(parts: Vec<Self>) -> Self {
        Self::All(cheap_first(parts))
    }

    pub(super) fn any(parts: Vec<Self>) -> Self {
        Self::Any(cheap_first(parts))
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(facts)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(facts)),
            Self::Not(part) => !part.holds(facts),
            Self::Ask(slot, question) => facts.ask(*slot, |value| question.is_answered_by(value)),
        }
    }

    /// The cost of the source: 0 for the envelope, 1 for headers, 2 for the payload.
    fn cost(&self) -> u8 {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(part) => part.cost(),
            Self::Ask(Slot::Envelope(_), _) => 0,
            Self::Ask(Slot::Header(_), _) => 1,
            Self::Ask(Slot::Payload(_), _) => 2,
        }
    }
}

fn cheap_first(mut parts: Vec<Check>) -> Vec<Check> {
    parts.sort_by_key(Check::cost);
    parts
}

impl Question {
    /// True if the value meets the question. A missing value meets only `exists = false`.
    pub(super) fn is_answered_by(&self, value: Option<&Value<'_>>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Exists(false));
        };
        match self {
            Self::Equal(other) => value.equals(other),
            Self::Unequal(other) => !value.equals(other),
            Self::Beyond {
                than,
                side,
                or_equal,
            } => value
                .order(than)
                .is_some_and(|order| order == *side || (*or_equal && order.is_eq())),
            Self::OneOf(others) => others.iter().any(|other| value.equals(other)),
            Self::NoneOf(others) => !others.iter().any(|other| value.equals(other)),
            Self::Exists(exists) => *exists,
        }
    }

    /// The operands of the comparison.
    pub(super) fn operands(&self) -> &[Value<'static>] {
        match self {
            Self::Equal(value) | Self::Unequal(value) | Self::Beyond { than: value, .. } => {
                std::slice::from_ref(value)
            }
            Self::OneOf(values) | Self::NoneOf(values) => values,
            Self::Exists(_) => &[],
        }
    }
}
