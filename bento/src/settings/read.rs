//! From what was configured to settings: every fault, all of them at once.

use std::fs;

use bento_core::names::nearest;
use bento_relay::reading::{ReadError, Why};
use bento_relay::route::{KeyPath, Step};
use serde::de::DeserializeOwned;

use super::fault::{Fault, FaultKind, owned, written};
use super::origin::Origin;
use super::tree::{Entry, Node};
use super::value::Reader;

/// A part of the configuration, while it is read.
pub(super) struct Part<'f> {
    path: KeyPath,
    entry: Entry,
    faults: &'f mut Vec<Fault>,
}

/// The next step after an error.
enum Next {
    Again,
    Stop,
}

impl<'f> Part<'f> {
    pub(super) fn new(path: impl Into<KeyPath>, entry: Entry, faults: &'f mut Vec<Fault>) -> Self {
        Self {
            path: path.into(),
            entry,
            faults,
        }
    }

    /// Reads it as a `T`. A value that does not fit is noted and taken out, so that the ones behind
    /// it are read too.
    pub(super) fn read<T: DeserializeOwned>(mut self) -> Option<T> {
        let found = self.faults.len();
        loop {
            match T::deserialize(Reader(&self.entry)) {
                Ok(value) => return (self.faults.len() == found).then_some(value),
                Err(error) => match self.note(error) {
                    Next::Again => {}
                    Next::Stop => return None,
                },
            }
        }
    }

    fn note(&mut self, error: ReadError) -> Next {
        let (path, why) = error.into_parts();
        if let Why::UnknownKey { known } = why
            && let Some(key) = self.is_in_a_file(path.steps(), known)
        {
            return self.take_from_file(path.steps(), key);
        }
        if let Why::Missing { key } = why {
            self.add(path.join([key.into()]).steps(), FaultKind::Missing);
            return Next::Stop;
        }
        let kind = self.kind(path.steps(), why);
        self.add(path.steps(), kind);
        if self.remove(path.steps()).is_some() {
            Next::Again
        } else {
            Next::Stop
        }
    }

    fn kind(&self, path: &[Step], why: Why) -> FaultKind {
        match why {
            Why::UnknownKey { known } => {
                let whole = self.whole(path);
                let Some((Step::Key(wrong), above)) = whole.steps().split_last() else {
                    return FaultKind::Missing;
                };
                unknown_key(above, wrong, &self.origin(path), known)
            }
            Why::UnknownValue { meant, known } => FaultKind::UnknownValue {
                meant: meant.map(str::to_owned),
                known: owned(known),
            },
            Why::Missing { .. } => FaultKind::Missing,
            Why::Duplicate { .. } => FaultKind::Invalid {
                reason: "the key is there twice".to_owned(),
            },
            Why::Invalid { reason } => FaultKind::Invalid { reason },
        }
    }

    /// The key that a file holds the value of, if this is `<key>_file`.
    fn is_in_a_file(&self, path: &[Step], known: &[&'static str]) -> Option<&'static str> {
        let Some(Step::Key(last)) = path.last() else {
            return None;
        };
        let key = last.strip_suffix("_file")?;
        known.iter().copied().find(|known| *known == key)
    }

    /// Puts what the file holds in the place of its name.
    fn take_from_file(&mut self, path: &[Step], key: &str) -> Next {
        let Some(named) = self.remove(path) else {
            return Next::Stop;
        };
        let Some(Node::Table(table)) =
            find_mut(&mut self.entry, &path[..path.len() - 1]).map(|entry| &mut entry.node)
        else {
            return Next::Stop;
        };
        let held = held_in(&named.node);
        let taken = match (table.get(key).map(|said| &said.origin), &named.origin) {
            (Some(Origin::Variable(_)), Origin::File { .. }) => Ok(()),
            (None, _) | (Some(Origin::File { .. }), Origin::Variable(_)) => held.map(|text| {
                let entry = Entry {
                    node: Node::Raw(text),
                    origin: named.origin.clone(),
                };
                table.insert(key.to_owned(), entry);
            }),
            (Some(other), _) => Err(format!(
                "`{key}` is set as well, by {other}; remove one of them"
            )),
        };
        if let Err(reason) = taken {
            self.add_from(path, named.origin, FaultKind::Invalid { reason });
        }
        Next::Again
    }

    /// Notes what is wrong, unless that follows from a value that was wrong and was taken out, or
    /// whose file cannot be read.
    fn add(&mut self, path: &[Step], kind: FaultKind) {
        let whole = self.whole(path);
        let file = match whole.steps().split_last() {
            Some((Step::Key(last), above)) => {
                let key = Step::Key(format!("{last}_file"));
                Some(KeyPath::default().join(above.iter().cloned().chain([key])))
            }
            _ => None,
        };
        let follows = |fault: &Fault| {
            fault.path.is_within(&whole) || file.as_ref().is_some_and(|file| fault.path == *file)
        };
        if !self.faults.iter().any(follows) {
            let origin = self.origin(path);
            self.add_from(path, origin, kind);
        }
    }

    fn add_from(&mut self, path: &[Step], origin: Origin, kind: FaultKind) {
        let path = self.whole(path);
        self.faults.push(Fault { path, origin, kind });
    }

    fn whole(&self, path: &[Step]) -> KeyPath {
        self.path.join(path.iter().cloned())
    }

    fn origin(&self, path: &[Step]) -> Origin {
        origin(&self.entry, path)
    }

    /// Takes out what is at `path`, or the list that it is in: the elements behind it would have
    /// other numbers.
    fn remove(&mut self, path: &[Step]) -> Option<Entry> {
        let keys = path
            .iter()
            .position(|step| matches!(step, Step::Index(_)))
            .map_or(path, |end| &path[..end]);
        let (Step::Key(last), above) = keys.split_last()? else {
            return None;
        };
        match &mut find_mut(&mut self.entry, above)?.node {
            Node::Table(table) => table.remove(last),
            _ => None,
        }
    }
}

/// The content of the file of this name, without the line break at its end.
fn held_in(name: &Node) -> Result<String, String> {
    let (Node::Text(file) | Node::Raw(file)) = name else {
        return Err(format!(
            "expected the name of a file, found {}",
            name.what()
        ));
    };
    match fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => Err("the file is empty".to_owned()),
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(format!("the file cannot be read: {error}")),
    }
}

/// The origin of the value at `path`, or else of the value that would hold it.
pub(super) fn origin(entry: &Entry, path: &[Step]) -> Origin {
    let mut entry = entry;
    for step in path {
        let inner = match (&entry.node, step) {
            (Node::Table(table), Step::Key(key)) => table.get(key),
            (Node::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        };
        let Some(inner) = inner else { break };
        entry = inner;
    }
    entry.origin.clone()
}

fn find_mut<'a>(entry: &'a mut Entry, path: &[Step]) -> Option<&'a mut Entry> {
    path.iter()
        .try_fold(entry, |entry, step| match (&mut entry.node, step) {
            (Node::Table(table), Step::Key(key)) => table.get_mut(key),
            (Node::List(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        })
}

/// The key `wrong` of the table at `above`, which has only the `known` ones.
pub(super) fn unknown_key(
    above: &[Step],
    wrong: &str,
    origin: &Origin,
    known: &[&str],
) -> FaultKind {
    let meant = nearest(wrong, known.iter().copied())
        .map(str::to_owned)
        .or_else(|| nested(wrong, known));
    let meant = meant.map(|key| {
        let steps = key.split('.').map(|key| Step::Key(key.to_owned()));
        let path: Vec<Step> = above.iter().cloned().chain(steps).collect();
        if matches!(origin, Origin::Variable(_)) {
            variable(&path)
        } else {
            written(&path)
        }
    });
    FaultKind::UnknownKey {
        meant,
        known: owned(known),
    }
}

/// One underscore where two would lead into a table: `relay_batch`.
fn nested(wrong: &str, known: &[&str]) -> Option<String> {
    known.iter().find_map(|table| {
        let rest = wrong.strip_prefix(table)?.strip_prefix('_')?;
        Some(format!("{table}.{rest}"))
    })
}

/// The variable for this path.
fn variable(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.to_ascii_uppercase().replace('-', "_")),
        Step::Index(_) => None,
    });
    format!("BENTO_{}", keys.collect::<Vec<_>>().join("__"))
}
