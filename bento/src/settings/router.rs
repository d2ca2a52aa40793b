//! The rules of the router: in the configuration itself, or in a file of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bento_core::names::nearest;
use bento_relay::publish::Destination;
use bento_relay::route::{KeyPath, RouterConfig, RouterErrors};

use super::Settings;
use super::fault::{Fault, FaultKind};
use super::origin::Origin;
use super::publishers::WITHOUT_SECTION;
use super::read::{Part, origin};
use super::tree::{self, Entry, Node, Table};
use super::value::Reader;

/// The text of a router, and the form in which its faults are shown.
struct Source {
    /// The beginning of each path: empty in a file of its own.
    prefix: KeyPath,
    entry: Entry,
}

/// Reads the rules, whose destinations name only publishers that are `there`.
pub(super) fn read(
    mut entry: Entry,
    there: &BTreeSet<String>,
    faults: &mut Vec<Fault>,
) -> Option<RouterConfig> {
    let found = faults.len();
    let (source, config) = match take_file(&mut entry, faults) {
        Some(file) => from_file(file?, faults)?,
        None => {
            let source = Source {
                prefix: ["router"].into(),
                entry,
            };
            let config = RouterConfig::read(Reader(&source.entry));
            (source, config)
        }
    };
    match config.and_then(|config| config.build().map(|_| config)) {
        Ok(config) => {
            source.refuse_unknown_publishers(&config, there, faults);
            (faults.len() == found).then_some(config)
        }
        Err(errors) => {
            let fault = |error: &bento_relay::route::RouterError| {
                source.fault(&error.path, FaultKind::Router(error.fault.clone()))
            };
            faults.extend(errors.iter().map(fault));
            None
        }
    }
}

/// The file that holds the rules, if there is one.
fn take_file(entry: &mut Entry, faults: &mut Vec<Fault>) -> Option<Option<(PathBuf, Origin)>> {
    let Node::Table(table) = &mut entry.node else {
        return None;
    };
    let named = table.remove("file")?;
    let origin = named.origin.clone();
    if let Some((key, other)) = table.iter().next() {
        let reason = format!("the rules are in the file that {origin} names; remove them here");
        faults.push(Fault::invalid(
            ["router", key],
            other.origin.clone(),
            reason,
        ));
        return Some(None);
    }
    let path = Part::new(["router", "file"], named, faults).read::<PathBuf>();
    Some(path.map(|path| (beside(&origin, &path), origin)))
}

/// A path in a file starts where that file is.
fn beside(origin: &Origin, path: &Path) -> PathBuf {
    match origin {
        Origin::File { path: file, .. } => file.parent().unwrap_or(Path::new("")).join(path),
        Origin::Variable(_) => path.to_owned(),
    }
}

fn from_file(
    (path, origin): (PathBuf, Origin),
    faults: &mut Vec<Fault>,
) -> Option<(Source, Result<RouterConfig, RouterErrors>)> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let reason = format!("{} cannot be read: {error}", path.display());
            faults.push(Fault::invalid(["router", "file"], origin, reason));
            return None;
        }
    };
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let path: Arc<Path> = path.into();
    let whole = Origin::File {
        path: Arc::clone(&path),
        line: None,
    };
    let source = |node| Source {
        prefix: KeyPath::default(),
        entry: Entry {
            node,
            origin: whole.clone(),
        },
    };
    if is_json {
        return Some((
            source(Node::Table(Table::new())),
            RouterConfig::from_json(&text),
        ));
    }
    match tree::parse(&text, &path) {
        Ok(table) => {
            let source = source(Node::Table(table));
            let config = RouterConfig::read(Reader(&source.entry));
            Some((source, config))
        }
        Err(error) => {
            let kind = FaultKind::Syntax {
                message: error.message,
            };
            faults.push(Fault {
                path: ["router", "file"].into(),
                origin: error.origin,
                kind,
            });
            None
        }
    }
}

impl Source {
    fn fault(&self, path: &KeyPath, kind: FaultKind) -> Fault {
        Fault {
            path: self.prefix.join(path.steps().iter().cloned()),
            origin: origin(&self.entry, path.steps()),
            kind,
        }
    }

    fn refuse_unknown_publishers(
        &self,
        config: &RouterConfig,
        there: &BTreeSet<String>,
        faults: &mut Vec<Fault>,
    ) {
        for destination in &config.destinations {
            let Some(publisher) = destination
                .publisher
                .as_deref()
                .filter(|name| !there.contains(*name))
            else {
                continue;
            };
            let meant = nearest(publisher, there).map(str::to_owned);
            let kind = FaultKind::UnknownValue {
                meant,
                known: there.iter().cloned().collect(),
            };
            let path = ["destinations", &destination.name, "publisher"].into();
            faults.push(self.fault(&path, kind));
        }
    }
}

/// True if the default publisher serves a destination.
pub(super) fn relies_on_default(config: &RouterConfig, sections: &Table) -> bool {
    config
        .destinations
        .iter()
        .any(|destination| is_for_default(destination, |name| sections.contains_key(name)))
}

/// The rules with a publisher for each destination.
pub(super) fn with_publishers(config: &RouterConfig, settings: &Settings) -> RouterConfig {
    let mut config = config.clone();
    for destination in &mut config.destinations {
        if is_for_default(destination, |name| settings.publishers.contains_key(name)) {
            destination.publisher = Some(settings.publisher.as_str().into());
        }
    }
    config
}

fn is_for_default(destination: &Destination, has_section: impl Fn(&str) -> bool) -> bool {
    let name = &*destination.name;
    destination.publisher.is_none() && !has_section(name) && !WITHOUT_SECTION.contains(&name)
}
