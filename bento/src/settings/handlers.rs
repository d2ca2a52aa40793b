//! The settings of handlers, by their names: `[handlers.stock.reserve]`, or in quotes,
//! `[handlers."stock.reserve"]`.
//!
//! Each file and each variable is brought to one form before it is laid over the others: a table
//! for each handler, by its whole name. So what comes later goes before what came earlier, in
//! whichever form it is written.

use bento_core::names::nearest;
use bento_handlers::HandlerSettings;
use bento_relay::route::{KeyPath, Step};

use super::fault::Fault;
use super::tree::{Entry, Node, Table};

mod read;

pub(super) use self::read::read;

/// The key of the section.
const SECTION: &str = "handlers";

/// The least number of segments in the name of a handler.
const SEGMENTS_MIN: usize = 2;

/// Brings the section of a file to one form: a table for each handler, by its whole name.
///
/// Below a name of two segments or more a key of the settings is one, and any other table is a
/// further segment.
pub(super) fn gather(file: &mut Table, faults: &mut Vec<Fault>) {
    if let Some(Entry {
        node: Node::Table(section),
        ..
    }) = file.get_mut(SECTION)
    {
        let mut gathered = Table::new();
        for (name, entry) in std::mem::take(section) {
            add(name, entry, &mut gathered, faults);
        }
        *section = gathered;
    }
}

/// Adds the settings in an entry, which stands at a name or the beginning of one.
fn add(name: String, entry: Entry, gathered: &mut Table, faults: &mut Vec<Fault>) {
    let Node::Table(table) = entry.node else {
        return faults.push(no_table(&name, &entry));
    };
    let (is_name, is_empty) = (is_whole(&name), table.is_empty());
    let mut own = Table::new();
    for (key, entry) in table {
        let is_setting = is_name && (is_key(&key) || is_mistyped(&key, &entry));
        if !is_setting && matches!(entry.node, Node::Table(_)) {
            add(format!("{name}.{key}"), entry, gathered, faults);
        } else {
            own.insert(key, entry);
        }
    }
    if own.is_empty() && !(is_empty && is_name) {
        return;
    }
    let empty = || Entry {
        node: Node::Table(Table::new()),
        origin: entry.origin,
    };
    let path = path(&name);
    let Node::Table(settings) = &mut gathered.entry(name).or_insert_with(empty).node else {
        return;
    };
    for (key, entry) in own {
        let Some(other) = settings.get(&key) else {
            settings.insert(key, entry);
            continue;
        };
        let (first, second) = if other.origin <= entry.origin {
            (&other.origin, &entry.origin)
        } else {
            (&entry.origin, &other.origin)
        };
        let reason = format!("it is set as well by {first}; remove one of them");
        faults.push(Fault::invalid(
            path.join([Step::Key(key)]),
            second.clone(),
            reason,
        ));
    }
}

/// The parts of a variable, with the name of the handler as one: it ends where a key of the
/// settings begins, or else in front of the last part.
pub(super) fn parts(parts: Vec<&str>) -> Vec<String> {
    let owned = || parts.iter().map(|part| (*part).to_owned());
    let first_key = 1 + SEGMENTS_MIN;
    if !parts[0].eq_ignore_ascii_case(SECTION) || parts.len() <= first_key {
        return owned().collect();
    }
    let lower = |part: &&str| part.to_ascii_lowercase();
    let found = parts[first_key..]
        .iter()
        .position(|part| is_key(&lower(part)));
    let key = found.map_or(parts.len() - 1, |found| first_key + found);
    let name: Vec<String> = parts[1..key].iter().map(lower).collect();
    [SECTION.to_owned(), name.join(".")]
        .into_iter()
        .chain(owned().skip(key))
        .collect()
}

/// The path of the settings of a handler, in the form without quotes.
fn path(name: &str) -> KeyPath {
    KeyPath::from([SECTION]).join(name.split('.').map(Step::from))
}

/// True for a name with enough segments.
fn is_whole(name: &str) -> bool {
    name.split('.').count() >= SEGMENTS_MIN
}

/// The fault of an entry that is not the table of a handler.
fn no_table(name: &str, entry: &Entry) -> Fault {
    let reason = format!(
        "expected the settings of a handler, as in `[handlers.stock.reserve]`, found {}",
        entry.node.what()
    );
    Fault::invalid(path(name), entry.origin.clone(), reason)
}

fn is_key(key: &str) -> bool {
    let key = key.strip_suffix("_file").unwrap_or(key);
    HandlerSettings::KEYS.contains(&key)
}

/// True for a table under a key that is nearly one of the settings, and that holds no settings of
/// another handler.
fn is_mistyped(key: &str, entry: &Entry) -> bool {
    nearest(key, HandlerSettings::KEYS).is_some() && !has_settings(entry)
}

fn has_settings(entry: &Entry) -> bool {
    let Node::Table(table) = &entry.node else {
        return false;
    };
    table
        .iter()
        .any(|(key, entry)| is_key(key) || has_settings(entry))
}
