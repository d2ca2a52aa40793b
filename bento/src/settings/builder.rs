//! Putting settings together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use bento_core::names::{Hint, Listed};
#[cfg(feature = "handlers")]
use bento_handlers::{ConsumerSettings, HandlerSettings, ProjectionSettings};
use bento_relay::RelaySettings;
use bento_relay::route::{KeyPath, RouterConfig, Step};

#[cfg(not(feature = "handlers"))]
use super::fault::FaultKind;
use super::fault::{ConfigError, Fault, Faults};
#[cfg(feature = "handlers")]
use super::handlers;
#[cfg(feature = "handlers")]
use super::projections;
use super::publishers::{PublisherSettings, WITHOUT_SECTION};
use super::read::{Part, origin, unknown_key};
#[cfg(feature = "handlers")]
use super::sources::{self, ConfiguredSource};
use super::tree::{self, Entry, Node, Table};
use super::{Settings, kubernetes, router};

const PREFIX: &str = "BENTO_";
const KEYS: [&str; 9] = [
    "application",
    "publisher",
    "relay",
    "router",
    "publishers",
    "handlers",
    "projections",
    "consumer",
    "sources",
];

/// The files and variables that settings are read from; what comes later goes before what came
/// earlier.
///
/// Variables go before files, in whatever order they are named.
///
/// ```
/// use bento::Settings;
///
/// let settings = Settings::builder()
///     .vars([("BENTO_RELAY__WORKERS", "2")])
///     .toml("relay.workers = 8\nrelay.batch = 50")?
///     .build()?;
/// assert_eq!((settings.relay.workers, settings.relay.batch), (2, 50));
/// # Ok::<_, bento::settings::ConfigError>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing is read until it is built"]
pub struct SettingsBuilder {
    files: Table,
    variables: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

/// Shows no value: it may be a secret.
impl fmt::Debug for SettingsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.files.keys().collect();
        let variables: Vec<_> = self.variables.keys().collect();
        f.debug_struct("SettingsBuilder")
            .field("keys", &keys)
            .field("variables", &variables)
            .finish()
    }
}

impl SettingsBuilder {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// If it cannot be read, or is not TOML.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.text(&text, path)
    }

    /// Reads TOML as if it stood in a file `bento.toml`.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn toml(self, text: &str) -> Result<Self, ConfigError> {
        self.text(text, Path::new("bento.toml"))
    }

    /// Reads the environment of the process: the variables that begin with `BENTO_`.
    ///
    /// # Errors
    /// If one of them is not UTF-8.
    pub fn env(self) -> Result<Self, ConfigError> {
        let mut variables = Vec::new();
        for (name, value) in env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let value = value.into_string().map_err(|_| ConfigError::Variable {
                name: name.to_owned(),
            })?;
            variables.push((name.to_owned(), value));
        }
        Ok(self.vars(variables))
    }

    /// Reads variables as if they were the environment's. Passes over what does not begin with
    /// `BENTO_`, and what Kubernetes makes for a Service whose name begins with `bento`, such as
    /// `BENTO_RELAY_SERVICE_HOST`.
    pub fn vars<N: AsRef<str>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        for (name, value) in variables {
            let (name, value) = (name.as_ref(), value.into());
            let is_ours = name.starts_with(PREFIX)
                && name != "BENTO_CONFIG"
                && !name.starts_with("BENTO_TEST_");
            if is_ours && !value.is_empty() && !is_of_kubernetes(name, &value) {
                self.variables.insert(name.to_owned(), value);
            }
        }
        self
    }

    /// The settings.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(mut self) -> Result<Settings, ConfigError> {
        let mut faults = std::mem::take(&mut self.faults);
        let table = self.merged(&mut faults);
        let settings = Reading {
            table,
            faults: &mut faults,
        }
        .settings();
        faults.sort_by(|a, b| a.origin.cmp(&b.origin));
        if faults.is_empty() {
            Ok(settings)
        } else {
            Err(Faults(faults).into())
        }
    }

    pub(super) fn text(mut self, text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed = tree::parse(text, &Arc::from(path)).map_err(|error| ConfigError::Syntax {
            origin: error.origin,
            message: error.message,
        });
        #[cfg_attr(
            not(feature = "handlers"),
            expect(unused_mut, reason = "nothing to gather")
        )]
        let mut table = parsed?;
        #[cfg(feature = "handlers")]
        handlers::gather(&mut table, &mut self.faults);
        tree::overlay(&mut self.files, table);
        Ok(self)
    }

    fn merged(self, faults: &mut Vec<Fault>) -> Table {
        let mut table = self.files;
        for (name, value) in &self.variables {
            let variable = Arc::from(name.as_str());
            let parts: Vec<&str> = name[PREFIX.len()..].split("__").collect();
            #[cfg(feature = "handlers")]
            let parts = handlers::parts(parts);
            if let Err(fault) = tree::set(&mut table, &variable, &parts, value) {
                faults.push(fault);
            }
        }
        table
    }
}

/// True if Kubernetes makes the variable, and it names no key of the settings. That of a header
/// or the like may look the same.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let key = name[PREFIX.len()..]
        .split("__")
        .next()
        .unwrap_or("")
        .to_ascii_lowercase();
    !KEYS.contains(&key.as_str()) && kubernetes::is_made(name, value)
}

/// The whole configuration, while it is read.
struct Reading<'f> {
    table: Table,
    faults: &'f mut Vec<Fault>,
}

impl Reading<'_> {
    fn settings(mut self) -> Settings {
        self.refuse_unknown_keys();
        let relay = self.relay();
        let sections = self.sections("publishers");
        let there: BTreeSet<String> = sections
            .keys()
            .cloned()
            .chain(WITHOUT_SECTION.map(str::to_owned))
            .collect();
        let router = self
            .table
            .remove("router")
            .and_then(|entry| router::read(entry, &there, self.faults));
        let application = self.application();
        #[cfg(feature = "handlers")]
        let (handlers, projections) = (self.handlers(), self.projections());
        #[cfg(feature = "handlers")]
        let (consumer, sources) = (self.consumer(), self.sources());
        #[cfg(not(feature = "handlers"))]
        self.refuse_handlers();
        let publisher = self.publisher(&sections, router.as_ref());
        let publishers = self.publishers(sections);
        Settings {
            application,
            publisher,
            relay,
            router,
            publishers,
            #[cfg(feature = "handlers")]
            handlers,
            #[cfg(feature = "handlers")]
            projections,
            #[cfg(feature = "handlers")]
            consumer,
            #[cfg(feature = "handlers")]
            sources,
        }
    }

    /// The settings of the handlers, by their names.
    #[cfg(feature = "handlers")]
    fn handlers(&mut self) -> BTreeMap<String, HandlerSettings> {
        let section = self.table.remove("handlers");
        let read = section.map(|section| handlers::read(section, self.faults));
        read.unwrap_or_default()
    }

    /// The settings of the projections, by their names.
    #[cfg(feature = "handlers")]
    fn projections(&mut self) -> BTreeMap<String, ProjectionSettings> {
        let sections = self.sections("projections").into_iter();
        let read = |(name, entry): (String, Entry)| {
            let settings = projections::read(&name, entry, self.faults)?;
            Some((name, settings))
        };
        sections.filter_map(read).collect()
    }

    #[cfg(feature = "handlers")]
    fn consumer(&mut self) -> ConsumerSettings {
        let section = self.table.remove("consumer");
        let read = section.map(|section| sources::consumer(section, self.faults));
        read.unwrap_or_default()
    }

    /// The sources, by their names.
    #[cfg(feature = "handlers")]
    fn sources(&mut self) -> BTreeMap<String, ConfiguredSource> {
        let sections = self.sections("sources").into_iter();
        let read = |(name, entry): (String, Entry)| {
            let source = sources::read(&name, entry, self.faults)?;
            Some((name, source))
        };
        sections.filter_map(read).collect()
    }

    /// Refuses settings of handlers and of what brings them events, which this program has none of.
    #[cfg(not(feature = "handlers"))]
    fn refuse_handlers(&mut self) {
        for section in ["handlers", "projections", "consumer", "sources"] {
            if let Some(Entry { origin, .. }) = self.table.remove(section) {
                let feature = "handlers".to_owned();
                self.faults.push(Fault {
                    path: [section].into(),
                    origin,
                    kind: FaultKind::FeatureOff { feature },
                });
            }
        }
    }

    fn refuse_unknown_keys(&mut self) {
        for (key, entry) in self
            .table
            .iter()
            .filter(|(key, _)| !KEYS.contains(&key.as_str()))
        {
            let kind = unknown_key(&[], key, &entry.origin, &KEYS);
            self.faults.push(Fault {
                path: [key.as_str()].into(),
                origin: entry.origin.clone(),
                kind,
            });
        }
    }

    fn relay(&mut self) -> RelaySettings {
        let Some(entry) = self.table.remove("relay") else {
            return RelaySettings::default();
        };
        let said = entry.clone();
        let read = Part::new(["relay"], entry, self.faults).read::<RelaySettings>();
        if let Some(Err(error)) = read.as_ref().map(RelaySettings::validate) {
            let setting: Vec<Step> = error.setting.split('.').map(Step::from).collect();
            let origin = origin(&said, &setting);
            let path = KeyPath::from(["relay"]).join(setting);
            self.faults.push(Fault::invalid(path, origin, error.rule));
        }
        read.unwrap_or_default()
    }

    /// The sections of a group, by their names.
    fn sections(&mut self, group: &'static str) -> Table {
        let Some(Entry { node, origin }) = self.table.remove(group) else {
            return Table::new();
        };
        let Node::Table(sections) = node else {
            self.faults.push(Fault::invalid(
                [group],
                origin,
                format!("expected a table, found {}", node.what()),
            ));
            return Table::new();
        };
        sections
    }

    fn application(&mut self) -> Option<String> {
        let entry = self.table.remove("application")?;
        let origin = entry.origin.clone();
        let name = Part::new(["application"], entry, self.faults).read::<String>()?;
        if name.is_empty() {
            let reason =
                "it must not be empty; leave it out if the application has no name".to_owned();
            self.faults
                .push(Fault::invalid(["application"], origin, reason));
            return None;
        }
        Some(name)
    }

    fn publisher(&mut self, sections: &Table, router: Option<&RouterConfig>) -> String {
        let default = Settings::default().publisher;
        let Some(entry) = self.table.remove("publisher") else {
            let is_used = router.is_none_or(|router| router::relies_on_default(router, sections));
            if let Some((name, entry)) = sections.iter().next().filter(|_| is_used) {
                let reason =
                    format!("choose the publisher of the events, as in `publisher = {name:?}`");
                self.faults
                    .push(Fault::invalid(["publisher"], entry.origin.clone(), reason));
            }
            return default;
        };
        let origin = entry.origin.clone();
        let Some(name) = Part::new(["publisher"], entry, self.faults).read::<String>() else {
            return default;
        };
        if !sections.contains_key(&name) && !WITHOUT_SECTION.contains(&name.as_str()) {
            let there: Vec<&str> = WITHOUT_SECTION
                .into_iter()
                .chain(sections.keys().map(String::as_str))
                .collect();
            let (known, hint) = (Listed(&there), Hint::among(&name, there.iter().copied()));
            let reason = format!(
                "section `[publishers.{name}]` is missing; the publishers are {known}{hint}"
            );
            self.faults
                .push(Fault::invalid(["publisher"], origin, reason));
        }
        name
    }

    fn publishers(&mut self, sections: Table) -> BTreeMap<String, PublisherSettings> {
        let read = |(name, entry): (String, Entry)| {
            let settings = PublisherSettings::read(&name, entry, self.faults)?;
            Some((name, settings))
        };
        sections.into_iter().filter_map(read).collect()
    }
}
