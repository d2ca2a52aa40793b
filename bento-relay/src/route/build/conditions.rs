//! Conditions, checked and compiled.

use std::collections::HashMap;

use super::question::question;
use crate::route::check::Check;
use crate::route::condition::{Condition, Test};
use crate::route::contradiction::{Events, contradiction};
use crate::route::error::{Faults, RouterFault};
use crate::route::facts::{Slot, Wanted};
use crate::route::path::{EnvelopeField, Subject};

/// The deepest nesting of conditions.
const DEPTH_MAX: usize = 64;

/// The conditions of a router, or of one filter, while they are compiled.
#[derive(Debug, Default)]
pub(in crate::route) struct Conditions<'c> {
    /// The values that they ask for.
    pub(in crate::route) wanted: Wanted,
    /// The path of each slot, as it is written.
    paths: HashMap<Slot, &'c str>,
}

impl<'c> Conditions<'c> {
    /// Compiles the condition for these events, at the key `when`. `None` if it holds for
    /// every event.
    pub(in crate::route) fn when(
        &mut self,
        when: &'c Condition,
        events: Events<'_>,
        faults: &mut Faults,
    ) -> Option<Check> {
        faults.at("when", |faults| {
            let before = faults.count();
            let check = self.check(when, 0, faults);
            if faults.count() == before {
                self.check_satisfiable(&check, events, faults);
            }
            // What holds for every event is not asked.
            Some(check).filter(|check| !matches!(check, Check::All(parts) if parts.is_empty()))
        })
    }

    fn check(&mut self, condition: &'c Condition, depth: usize, faults: &mut Faults) -> Check {
        if depth > DEPTH_MAX {
            faults.invalid(format!("conditions nest at most {DEPTH_MAX} deep"));
            return Check::All(Vec::new());
        }
        let mut parts = |key, parts: &'c [Condition], faults: &mut Faults| {
            faults.at(key, |faults| {
                if parts.is_empty() {
                    faults.invalid(format!(
                        "`{key}` of nothing says nothing: give it conditions, or leave it out"
                    ));
                }
                let indexed = parts.iter().enumerate();
                let checks = indexed.map(|(index, part)| {
                    faults.at_index(index, |faults| self.check(part, depth + 1, faults))
                });
                checks.collect::<Vec<_>>()
            })
        };
        match condition {
            Condition::All(conditions) => Check::all(parts("all", conditions, faults)),
            Condition::Any(conditions) => Check::any(parts("any", conditions, faults)),
            Condition::Not(condition) => Check::Not(Box::new(
                faults.at("not", |faults| self.check(condition, depth + 1, faults)),
            )),
            Condition::Test { path, test } => {
                faults.at(path, |faults| self.ask(path, test, faults))
            }
        }
    }

    fn ask(&mut self, path: &'c str, test: &Test, faults: &mut Faults) -> Check {
        let question = question(test, faults);
        let slot = match Subject::parse(path) {
            Ok(subject) => self.wanted.slot(subject),
            Err(reason) => {
                faults.invalid(reason);
                return Check::All(Vec::new());
            }
        };
        self.paths.entry(slot).or_insert(path);
        Check::Ask(slot, question)
    }

    fn check_satisfiable(&self, check: &Check, events: Events<'_>, faults: &mut Faults) {
        if let Some(slot) = contradiction(check, events) {
            let reason = if slot == Slot::Envelope(EnvelopeField::Kind) {
                "no event that it takes meets what it asks of `envelope.kind`, which is `domain` \
                 or `integration`"
                    .to_owned()
            } else {
                let path = self.paths.get(&slot).copied().unwrap_or_default();
                format!("what it asks of `{path}` contradicts itself")
            };
            faults.add(RouterFault::NeverMatches { reason });
        }
    }
}
