//! Rules that stand in the way of each other: found by comparing each with those before it.

use crate::route::config::RouterConfig;
use crate::route::error::{Faults, RouterFault};
use crate::route::glob::covers;
use crate::route::kinds::Kinds;
use crate::route::rule::{Rule, Strategy};

/// Checks each rule against those before it.
pub(super) fn check_order(config: &RouterConfig, faults: &mut Faults) {
    let rules = &config.rules;
    faults.at("rules", |faults| {
        for (index, rule) in rules.iter().enumerate() {
            let before = &rules[..index];
            if let Some(other) = before.iter().find(|other| takes_all_of(other, rule)) {
                let reason = format!(
                    "rule `{}` before it stops with each of its events",
                    other.name
                );
                faults.at_index(index, |faults| {
                    faults.add(RouterFault::NeverMatches { reason })
                });
            }
            for other in before {
                faults.at_index(index, |faults| check_shared(other, rule, faults));
            }
            for whole in rules
                .iter()
                .filter(|whole| whole.strategy == Strategy::AllOrNothing)
            {
                faults.at_index(index, |faults| {
                    check_fallback(rule.fallback.as_deref(), whole, faults)
                });
            }
        }
    });
    for whole in rules
        .iter()
        .filter(|whole| whole.strategy == Strategy::AllOrNothing)
    {
        check_fallback(config.fallback.as_deref(), whole, faults);
    }
}

/// True if `earlier` stops with every event that `later` asks for.
fn takes_all_of(earlier: &Rule, later: &Rule) -> bool {
    let is_certain = earlier.stop && earlier.sample.is_none_or(|share| share >= 1.0);
    let is_wider = earlier.when.is_none() || earlier.when == later.when;
    let takes_kinds = match (earlier.kind, later.kind) {
        (None | Some(Kinds::Any), _) => true,
        (earlier, later) => earlier == later,
    };
    let takes = |event_type: &String| earlier.events.iter().any(|wide| covers(wide, event_type));
    is_certain
        && is_wider
        && takes_kinds
        && !later.events.is_empty()
        && later.events.iter().all(takes)
}

/// An all-or-nothing rule keeps its progress under its own name, so no other rule brings events of
/// the same aggregates to one of its members: the two would overtake each other there, whatever
/// event types they are for.
fn check_shared(earlier: &Rule, later: &Rule, faults: &mut Faults) {
    let whole = [earlier, later]
        .into_iter()
        .find(|rule| rule.strategy == Strategy::AllOrNothing);
    let Some(whole) = whole else { return };
    for destination in later.to.iter().filter(|name| earlier.to.contains(name)) {
        faults.at("to", |faults| {
            faults.add(shared(destination, &earlier.name, &later.name, &whole.name))
        });
    }
}

/// An event that falls back to a member of an all-or-nothing rule would be overtaken there as well.
fn check_fallback(fallback: Option<&str>, whole: &Rule, faults: &mut Faults) {
    if let Some(fallback) = fallback.filter(|name| whole.to.iter().any(|member| member == name)) {
        let fault = RouterFault::SharedFallback {
            destination: fallback.to_owned(),
            whole: whole.name.clone(),
        };
        faults.at("fallback", |faults| faults.add(fault));
    }
}

fn shared(destination: &str, earlier: &str, later: &str, whole: &str) -> RouterFault {
    let rules = Box::new([earlier.to_owned(), later.to_owned()]);
    RouterFault::Shared {
        destination: destination.to_owned(),
        rules,
        whole: whole.to_owned(),
    }
}
