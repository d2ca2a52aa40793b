//! The configuration as it was written, before it is read: values, each with its origin.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bento_relay::route::{KeyPath, Step};
use toml::de::{DeArray, DeTable, DeValue};

use super::fault::{Fault, FaultKind};
use super::origin::Origin;

/// A value and where it comes from.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) origin: Origin,
}

#[derive(Clone)]
pub(super) enum Node {
    Table(Table),
    List(Vec<Entry>),
    Bool(bool),
    Integer(i64),
    /// An integer beyond `i64`, as it is written.
    Large(String),
    Float(f64),
    Text(String),
    /// As the environment has it: what it is depends on what is wanted.
    Raw(String),
}

pub(super) type Table = BTreeMap<String, Entry>;

impl Node {
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Large(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) | Self::Raw(_) => "a text",
        }
    }
}

/// Reads TOML.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Table, SyntaxError> {
    let document = DeTable::parse(text).map_err(|error| SyntaxError {
        origin: Origin::File {
            path: Arc::clone(path),
            line: error.span().map(|span| line(text, span)),
        },
        message: error.message().to_owned(),
    })?;
    let file = File { text, path };
    Ok(file.table(document.into_inner()))
}

/// The text of a file is not of its format.
pub(super) struct SyntaxError {
    pub(super) origin: Origin,
    /// Without anything that the file holds.
    pub(super) message: String,
}

fn line(text: &str, span: Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

struct File<'a> {
    text: &'a str,
    path: &'a Arc<Path>,
}

impl File<'_> {
    fn table(&self, table: DeTable<'_>) -> Table {
        let read = |(key, value): (toml::Spanned<Cow<'_, str>>, toml::Spanned<DeValue<'_>>)| {
            // The key's line, since a table's own span is that of its header.
            let span = key.span();
            (
                key.into_inner().into_owned(),
                self.entry(value.into_inner(), span),
            )
        };
        table.into_iter().map(read).collect()
    }

    fn list(&self, list: DeArray<'_>) -> Vec<Entry> {
        let read = |value: toml::Spanned<DeValue<'_>>| {
            let span = value.span();
            self.entry(value.into_inner(), span)
        };
        list.into_iter().map(read).collect()
    }

    fn entry(&self, value: DeValue<'_>, span: Range<usize>) -> Entry {
        let origin = Origin::File {
            path: Arc::clone(self.path),
            line: Some(line(self.text, span)),
        };
        let node = match value {
            DeValue::String(text) => Node::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Node::Integer(number),
                    Err(_) => Node::Large(number.to_string()),
                }
            }
            // The parser has checked the form; what is too large for it is infinite.
            DeValue::Float(number) => Node::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Node::Bool(value),
            DeValue::Datetime(time) => Node::Text(time.to_string()),
            DeValue::Array(list) => Node::List(self.list(list)),
            DeValue::Table(table) => Node::Table(self.table(table)),
        };
        Entry { node, origin }
    }
}

/// Reads one value as TOML writes it.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    let document = format!("value = {text}");
    let mut table = parse(&document, &Arc::from(Path::new(""))).ok()?;
    // Anything behind the value would be a second key.
    if table.len() > 1 {
        return None;
    }
    let mut node = table.remove("value")?.node;
    give_origin(&mut node, origin);
    Some(node)
}

pub(super) fn give_origin(node: &mut Node, origin: &Origin) {
    let mut give = |entry: &mut Entry| {
        entry.origin = origin.clone();
        give_origin(&mut entry.node, origin);
    };
    match node {
        Node::Table(table) => table.values_mut().for_each(&mut give),
        Node::List(list) => list.iter_mut().for_each(give),
        _ => {}
    }
}

/// Lays `upper` over `lower`: tables are joined, anything else is replaced.
pub(super) fn overlay(lower: &mut Table, upper: Table) {
    for (key, entry) in upper {
        match lower.entry(key) {
            Place::Vacant(place) => {
                place.insert(entry);
            }
            Place::Occupied(mut place) => match (&mut place.get_mut().node, entry) {
                (
                    Node::Table(lower),
                    Entry {
                        node: Node::Table(upper),
                        ..
                    },
                ) => overlay(lower, upper),
                (_, entry) => {
                    place.insert(entry);
                }
            },
        }
    }
}

/// Puts what a variable says into its place.
///
/// A key that differs from the variable's part in case and in `-` for `_` alone is the one that is
/// meant.
pub(super) fn set(
    table: &mut Table,
    variable: &Arc<str>,
    parts: &[impl AsRef<str>],
    value: &str,
) -> Result<(), Fault> {
    let mut table = table;
    let (last, tables) = parts.split_last().expect("a split text has a part");
    let mut path = KeyPath::default();
    for part in tables {
        let key = meant(table, part.as_ref());
        path = path.join([Step::Key(key.clone())]);
        let origin = Origin::Variable(Arc::clone(variable));
        let entry = table.entry(key).or_insert_with(|| Entry {
            node: Node::Table(Table::new()),
            origin: origin.clone(),
        });
        let what = entry.node.what();
        let Node::Table(inner) = &mut entry.node else {
            let reason = format!("{} sets this to {what}, which has no keys", entry.origin);
            return Err(Fault {
                path,
                origin,
                kind: FaultKind::Invalid { reason },
            });
        };
        table = inner;
    }
    let entry = Entry {
        node: Node::Raw(value.to_owned()),
        origin: Origin::Variable(Arc::clone(variable)),
    };
    table.insert(meant(table, last.as_ref()), entry);
    Ok(())
}

fn meant(table: &Table, part: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let part = plain(part);
    table
        .keys()
        .find(|key| plain(key) == part)
        .cloned()
        .unwrap_or(part)
}
