//! The settings of each handler, read.

use std::collections::BTreeMap;

use bento_handlers::HandlerSettings;
use bento_relay::route::{Condition, Filter, KeyPath, RouterErrors, Step};

use super::{SECTION, is_whole, no_table, path};
use crate::settings::fault::{Fault, FaultKind};
use crate::settings::read::{Part, origin};
use crate::settings::tree::{Entry, Node};
use crate::settings::value::Reader;

const WHEN: &str = "when";

/// Reads the section: the settings of the handlers, by their names.
pub(in crate::settings) fn read(
    section: Entry,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, HandlerSettings> {
    let Node::Table(handlers) = section.node else {
        let reason = format!("expected a table, found {}", section.node.what());
        faults.push(Fault::invalid([SECTION], section.origin, reason));
        return BTreeMap::new();
    };
    let read = |(name, entry): (String, Entry)| {
        let settings = settings(&name, entry, faults)?;
        Some((name, settings))
    };
    handlers.into_iter().filter_map(read).collect()
}

fn settings(name: &str, mut entry: Entry, faults: &mut Vec<Fault>) -> Option<HandlerSettings> {
    let path = path(name);
    let Node::Table(table) = &mut entry.node else {
        faults.push(no_table(name, &entry));
        return None;
    };
    if !is_whole(name) {
        for (key, entry) in table {
            let path = path.join([Step::Key(key.clone())]);
            let reason = "the name of a handler has two segments or more: write the setting \
                          below it, as in `[handlers.stock.reserve]`";
            faults.push(Fault::invalid(path, entry.origin.clone(), reason));
        }
        return None;
    }
    let when = table.remove(WHEN);
    let when = when.and_then(|entry| condition(&path, &entry, faults));
    let said = entry.clone();
    let settings = Part::new(path.clone(), entry, faults).read::<HandlerSettings>()?;
    for fault in settings.faults() {
        let origin = origin(&said, fault.setting.steps());
        let path = path.join(fault.setting.steps().iter().cloned());
        faults.push(Fault::invalid(path, origin, fault.rule));
    }
    let when = when.or_else(|| settings.when.clone());
    Some(match when {
        Some(when) => settings.when(when),
        None => settings,
    })
}

/// The condition in an entry, read and checked as that of a rule.
fn condition(handler: &KeyPath, entry: &Entry, faults: &mut Vec<Fault>) -> Option<Condition> {
    let mut note = |path: &KeyPath, errors: RouterErrors| {
        faults.extend(errors.iter().map(|error| Fault {
            path: path.join(error.path.steps().iter().cloned()),
            origin: origin(entry, below_when(error.path.steps())),
            kind: FaultKind::Router(error.fault.clone()),
        }));
    };
    match Condition::read(Reader(entry)) {
        Ok(condition) => match Filter::new(&condition, ["*"]) {
            Ok(_) => return Some(condition),
            Err(errors) => note(handler, errors),
        },
        Err(errors) => note(&handler.join([Step::from(WHEN)]), errors),
    }
    None
}

/// The steps within a condition.
fn below_when(steps: &[Step]) -> &[Step] {
    match steps {
        [Step::Key(key), rest @ ..] if key == WHEN => rest,
        steps => steps,
    }
}
