//! Conditions that cannot hold.

use std::borrow::Cow;

use bento_core::event::EventKind;

use super::check::{Check, Question};
use super::facts::Slot;
use super::glob::Glob;
use super::kinds::Kinds;
use super::number::Number;
use super::path::EnvelopeField;
use super::value::Value;

/// Returns a slot that no value satisfies, if the condition cannot hold: each necessary part is
/// checked together with the others that ask about the same value. `None` proves nothing if parts
/// of an `any` depend on their neighbours.
pub(super) fn contradiction(check: &Check, events: Events<'_>) -> Option<Slot> {
    contradicts(check, false, events)
}

/// The events that a condition is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events<'c> {
    pub(super) types: &'c [Glob],
    pub(super) kinds: Kinds,
}

fn contradicts(check: &Check, negated: bool, events: Events<'_>) -> Option<Slot> {
    let mut together = Together::default();
    together.add(check, negated);
    for (choices, negated) in together.choices {
        let mut first = None;
        let none_holds = choices.iter().all(|choice| {
            let slot = contradicts(choice, negated, events);
            first = first.or(slot);
            slot.is_some()
        });
        if none_holds && first.is_some() {
            return first;
        }
    }
    let mut slots: Vec<Slot> = together.asked.iter().map(|(slot, ..)| *slot).collect();
    slots.dedup();
    slots.into_iter().find(|slot| {
        let asked: Vec<_> = together
            .asked
            .iter()
            .filter(|(other, ..)| other == slot)
            .map(|(_, q, n)| (*q, *n))
            .collect();
        !is_satisfiable(*slot, &asked, events)
    })
}

/// The parts that must hold at the same time.
#[derive(Default)]
struct Together<'c> {
    /// Questions, each with true if it must be answered with no.
    asked: Vec<(Slot, &'c Question, bool)>,
    /// Lists of parts; of each list at least one part, or its opposite, must hold.
    choices: Vec<(&'c [Check], bool)>,
}

impl<'c> Together<'c> {
    fn add(&mut self, check: &'c Check, negated: bool) {
        match (check, negated) {
            (Check::All(parts), false) | (Check::Any(parts), true) => {
                parts.iter().for_each(|part| self.add(part, negated));
            }
            (Check::All(parts), true) | (Check::Any(parts), false) => {
                self.choices.push((parts, negated))
            }
            (Check::Not(part), _) => self.add(part, !negated),
            (Check::Ask(slot, question), _) => self.asked.push((*slot, question, negated)),
        }
    }
}

fn is_satisfiable(slot: Slot, asked: &[(&Question, bool)], events: Events<'_>) -> bool {
    let passes = |value: Option<&Value<'_>>| {
        asked
            .iter()
            .all(|(question, negated)| question.is_answered_by(value) != *negated)
    };
    // Every event has a kind, and there are few.
    if slot == Slot::Envelope(EnvelopeField::Kind) {
        let mut kinds = EventKind::ALL
            .into_iter()
            .filter(|kind| events.kinds.take(*kind));
        return kinds.any(|kind| passes(Some(&Value::text(Cow::Borrowed(kind.as_str())))));
    }
    let operands: Vec<&Value<'static>> = asked
        .iter()
        .flat_map(|(question, _)| question.operands())
        .collect();
    let is_named = asked.iter().any(|(question, negated)| {
        !negated && matches!(question, Question::Equal(_) | Question::OneOf(_))
    });
    if slot == Slot::Envelope(EnvelopeField::EventType) && is_named {
        let is_event_type = |value: &Value<'_>| match value {
            Value::Text(text) => events.types.iter().any(|glob| glob.matches(text)),
            _ => true,
        };
        return operands
            .iter()
            .any(|value| passes(Some(value)) && is_event_type(value));
    }
    let Some(witnesses) = witnesses(&operands) else {
        return true;
    };
    passes(None) || witnesses.iter().any(|value| passes(Some(value)))
}

/// Returns values of which one satisfies questions with these operands, if any value at all does:
/// the operands, and one value from each gap between them. `None` if a number would be too long to
/// write.
fn witnesses(operands: &[&Value<'static>]) -> Option<Vec<Value<'static>>> {
    let mut witnesses = vec![
        Value::Null,
        Value::Bool(true),
        Value::Bool(false),
        Value::Other,
        Value::Text(Cow::Borrowed("")),
    ];
    let zero = Number::decimal("0")?;
    let mut numbers: Vec<&Number<'static>> = vec![&zero];
    for operand in operands {
        match operand {
            Value::Number(number) => numbers.push(number),
            // The next text after this one: the same text followed by NUL.
            Value::Text(text) => witnesses.push(Value::Text(Cow::Owned(format!("{text}\0")))),
            _ => {}
        }
        witnesses.push((*operand).clone());
    }
    let places = numbers.iter().map(|number| number.places()).max()?.max(0);
    for number in &numbers {
        witnesses.push(Value::Number(number.outward(places, false)?));
    }
    witnesses.push(Value::Number(zero.outward(places, true)?));
    witnesses.push(Value::Number(zero));
    Some(witnesses)
}
