//! The names of destinations and rules.

use crate::publish::Destination;
use crate::route::config::{RouterConfig, is_reserved};
use crate::route::error::{Faults, RouterFault};
use crate::route::rule::{Rule, Strategy};

/// Checks the names of destinations and rules: well formed, not reserved, none given twice.
pub(super) fn check_names(config: &RouterConfig, faults: &mut Faults) {
    let RouterConfig {
        destinations,
        rules,
        ..
    } = config;
    faults.at("destinations", |faults| {
        for (index, Destination { name, .. }) in destinations.iter().enumerate() {
            faults.at(name, |faults| {
                check_name(name, faults);
                if destinations[..index]
                    .iter()
                    .any(|other| other.name == *name)
                {
                    faults.add(RouterFault::Duplicate {
                        name: name.to_string(),
                    });
                }
            });
        }
    });
    faults.at("rules", |faults| {
        for (index, Rule { name, strategy, .. }) in rules.iter().enumerate() {
            let is_whole = *strategy == Strategy::AllOrNothing;
            let is_taken = rules[..index].iter().any(|other| other.name == *name)
                || (is_whole && destinations.iter().any(|other| *other.name == **name));
            faults.at_index(index, |faults| {
                faults.at("name", |faults| {
                    check_name(name, faults);
                    if is_taken {
                        faults.add(RouterFault::Duplicate { name: name.clone() });
                    }
                });
            });
        }
    });
}

fn check_name(name: &str, faults: &mut Faults) {
    if name == RouterConfig::DEAD_LETTER_QUEUE {
        faults.add(RouterFault::Reserved);
    } else if let Some(rule) = broken_rule(name) {
        faults.invalid(rule);
    }
}

/// Returns the rule that the name of a route or destination breaks, beside that of
/// [`RouterFault::Reserved`].
pub(crate) fn broken_rule(name: &str) -> Option<String> {
    if is_reserved(name) {
        Some(format!(
            "the name `{name}` is reserved for events that have no route: choose another"
        ))
    } else if name.trim().is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control)
    {
        Some(format!(
            "a name has 1 to {NAME_MAX} bytes and no control characters"
        ))
    } else {
        None
    }
}

/// The size of the columns that carry the name of a route.
const NAME_MAX: usize = 128;
