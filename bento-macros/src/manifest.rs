//! The name by which the package being compiled calls Bento, as its `Cargo.toml` says.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, fs};

use toml::de::{DeTable, DeValue};

/// A crate that has the module which an expansion names.
pub(crate) struct Door {
    pub(crate) package: &'static str,
    /// The path to the parent of the module, where a dependency is not renamed.
    pub(crate) path: &'static str,
}

/// The crates that have the module, the preferred one first.
pub(crate) type Doors = [Door; 2];

/// The crates through which events and aggregates are declared.
pub(crate) static EVENTS: Doors = [
    Door {
        package: "bento-core",
        path: "bento_core",
    },
    Door {
        package: "bento-events",
        path: "bento",
    },
];

/// The crates through which handlers are declared.
pub(crate) static HANDLERS: Doors = [
    Door {
        package: "bento-handlers",
        path: "bento_handlers",
    },
    Door {
        package: "bento-events",
        path: "bento::handlers",
    },
];

impl Door {
    /// The path through a dependency of this name in Rust.
    fn renamed(&self, name: &str) -> String {
        match self.path.split_once("::") {
            Some((_, within)) => format!("{name}::{within}"),
            None => name.to_owned(),
        }
    }
}

/// The dependency on Bento of the package being compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// The path to the parent of the module in Rust.
    Named(String),
    /// The package has no such dependency.
    Absent,
    /// No manifest that can be understood: another build system, or a script.
    Unknown,
}

/// The path to one of the doors in the package being compiled.
///
/// Each manifest is read once in a process for the same doors: the compiler has one, an editor's
/// server may have many.
pub(crate) fn dependency(doors: &'static Doors) -> Dependency {
    type Known = HashMap<(PathBuf, &'static str), Dependency>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let Some(manifest) = env::var_os("CARGO_MANIFEST_PATH").map(PathBuf::from) else {
        return Dependency::Unknown;
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry((manifest, doors[0].package))
        .or_insert_with_key(|(manifest, _)| read(manifest, doors))
        .clone()
}

fn read(manifest: &Path, doors: &Doors) -> Dependency {
    // The manifest of a script is part of the script.
    if manifest.file_name().is_none_or(|name| name != "Cargo.toml") {
        return Dependency::Unknown;
    }
    let Ok(text) = fs::read_to_string(manifest) else {
        return Dependency::Unknown;
    };
    find(&text, doors, || workspace(manifest))
}

/// Looks for a door in the text of a manifest, in `dependencies` before the other tables. Within a
/// table the preferred door comes first: the other one may lack the feature.
///
/// `workspace` is asked for the text of the workspace's manifest where a dependency may be
/// inherited under another name.
fn find(manifest: &str, doors: &Doors, workspace: impl FnOnce() -> Option<String>) -> Dependency {
    let Ok(manifest) = DeTable::parse(manifest) else {
        return Dependency::Unknown;
    };
    let manifest = manifest.get_ref();
    let place = |package: &str| doors.iter().position(|door| door.package == package);
    let own = table(manifest, "package").and_then(|own| text(own, "name"));
    if let Some(door) = own.and_then(place) {
        return Dependency::Named(doors[door].path.to_owned());
    }
    let shared = LazyCell::new(|| workspace().and_then(|text| renamed_in_workspace(&text)));
    let mut otherwise = Dependency::Absent;
    for dependencies in dependency_tables(manifest) {
        let mut found: Option<(usize, String)> = None;
        for (name, value) in dependencies {
            let (name, value) = (name.get_ref().as_ref(), value.get_ref());
            let renamed = match package_of(value) {
                None if is_inherited(value) && place(name).is_none() => match &*shared {
                    Some(shared) => shared.get(name).map(String::as_str),
                    None => {
                        otherwise = Dependency::Unknown;
                        continue;
                    }
                },
                package => package,
            };
            let Some(door) = place(renamed.unwrap_or(name)) else {
                continue;
            };
            let path = match renamed {
                Some(_) => doors[door].renamed(&rust_name(name)),
                None => doors[door].path.to_owned(),
            };
            if found.as_ref().is_none_or(|(best, _)| door < *best) {
                found = Some((door, path));
            }
        }
        if let Some((_, path)) = found {
            return Dependency::Named(path);
        }
    }
    otherwise
}

/// The packages of the workspace's dependencies that are called otherwise, by their names there.
fn renamed_in_workspace(manifest: &str) -> Option<HashMap<String, String>> {
    let manifest = DeTable::parse(manifest).ok()?;
    let shared = table(table(manifest.get_ref(), "workspace")?, "dependencies")?;
    let renamed = shared.iter().filter_map(|(name, value)| {
        Some((
            name.get_ref().clone().into_owned(),
            package_of(value.get_ref())?.to_owned(),
        ))
    });
    Some(renamed.collect())
}

/// The text of the manifest of the workspace that the package is in.
fn workspace(manifest: &Path) -> Option<String> {
    manifest
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("Cargo.toml"))
        .find_map(|candidate| {
            let text = fs::read_to_string(candidate).ok()?;
            let is_workspace = DeTable::parse(&text)
                .is_ok_and(|parsed| parsed.get_ref().contains_key("workspace"));
            is_workspace.then_some(text)
        })
}

/// Every table of dependencies, kind by kind, those for one platform too.
fn dependency_tables<'t, 'i>(manifest: &'t DeTable<'i>) -> impl Iterator<Item = &'t DeTable<'i>> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = table(manifest, "target")
        .into_iter()
        .flat_map(DeTable::values);
    let targets: Vec<_> = targets
        .filter_map(|target| target.get_ref().as_table())
        .collect();
    KINDS.into_iter().flat_map(move |kind| {
        let within = [manifest].into_iter().chain(targets.clone());
        within.filter_map(move |within| table(within, kind))
    })
}

fn table<'t, 'i>(within: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    within.get(key)?.get_ref().as_table()
}

fn text<'t>(within: &'t DeTable<'_>, key: &str) -> Option<&'t str> {
    within.get(key)?.get_ref().as_str()
}

/// The package that a dependency names if it is called otherwise.
fn package_of<'t>(dependency: &'t DeValue<'_>) -> Option<&'t str> {
    text(dependency.as_table()?, "package")
}

fn is_inherited(dependency: &DeValue) -> bool {
    let table = dependency.as_table();
    table
        .and_then(|table| table.get("workspace")?.get_ref().as_bool())
        .unwrap_or(false)
}

fn rust_name(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::{Dependency, EVENTS, HANDLERS, find};

    fn found(manifest: &str) -> Dependency {
        find(manifest, &EVENTS, || None)
    }

    fn named(name: &str) -> Dependency {
        Dependency::Named(name.to_owned())
    }

    #[test]
    fn a_dependency_has_the_name_of_its_library_unless_renamed() {
        assert_eq!(
            found("[dependencies]\nbento-core = \"0.1\""),
            named("bento_core")
        );
        assert_eq!(
            found("[dependencies.bento-core]\nworkspace = true"),
            named("bento_core")
        );
        assert_eq!(
            found("dependencies.bento-core.version = '0.1'"),
            named("bento_core")
        );
        assert_eq!(
            found("[dependencies]\nbento-events = \"0.1\""),
            named("bento")
        );
        assert_eq!(
            found("[dependencies.bento-events]\nworkspace = true"),
            named("bento")
        );
        assert_eq!(
            found(
                "[dev-dependencies]\nmy-events = { version = \"0.1\", package = \"bento-core\" }"
            ),
            named("my_events")
        );
        assert_eq!(
            found("[target.'cfg(unix)'.dependencies.events]\npackage = \"bento-events\""),
            named("events"),
            "for one platform"
        );
    }

    #[test]
    fn a_package_key_makes_the_key_of_the_dependency_the_name() {
        let manifest = "[dependencies]\nbento-events = { package = \"bento-events\" }";
        assert_eq!(found(manifest), named("bento_events"), "as cargo does");
    }

    #[test]
    fn a_dependency_for_tests_alone_comes_last() {
        let manifest = "[dev-dependencies]\nbento-core = \
                        \"0.1\"\n[target.x.dependencies]\nbento-events = \"0.1\"";
        assert_eq!(found(manifest), named("bento"));
    }

    #[test]
    fn the_crates_themselves_go_by_their_own_names() {
        assert_eq!(
            found("[package]\nname = \"bento-core\""),
            named("bento_core")
        );
        assert_eq!(found("[package]\nname = \"bento-events\""), named("bento"));
    }

    #[test]
    fn an_inherited_dependency_may_be_renamed_in_the_workspace() {
        let manifest = "[dependencies]\nserde.workspace = true\nevents.workspace = true";
        let workspace =
            "[workspace.dependencies]\nevents = { package = \"bento-events\", version = \"0.1\" }";
        assert_eq!(
            find(manifest, &EVENTS, || Some(workspace.to_owned())),
            named("events")
        );
        let without = "[workspace.dependencies]\nserde = \"1\"";
        assert_eq!(
            find(manifest, &EVENTS, || Some(without.to_owned())),
            Dependency::Absent
        );
        assert_eq!(
            find(manifest, &EVENTS, || Some("[workspace]".to_owned())),
            Dependency::Unknown
        );
        assert_eq!(
            found(manifest),
            Dependency::Unknown,
            "without the workspace nothing is certain"
        );
    }

    #[test]
    fn the_front_door_has_the_handlers_in_a_module() {
        let handlers = |manifest| find(manifest, &HANDLERS, || None);
        for (manifest, path) in [
            ("[dependencies]\nbento-events = \"0.1\"", "bento::handlers"),
            (
                "[dependencies]\nevents = { package = \"bento-events\" }",
                "events::handlers",
            ),
            ("[dependencies]\nbento-handlers = \"0.1\"", "bento_handlers"),
            (
                "[dependencies]\nmine = { package = \"bento-handlers\" }",
                "mine",
            ),
            (
                "[dependencies]\nbento-events = \"0.1\"\nbento-handlers = \"0.1\"",
                "bento_handlers",
            ),
            (
                "[dev-dependencies]\nbento-handlers = \"0.1\"\n[dependencies]\nbento-events = \
                 \"0.1\"",
                "bento::handlers",
            ),
            ("[package]\nname = \"bento-handlers\"", "bento_handlers"),
        ] {
            assert_eq!(handlers(manifest), named(path), "{manifest}");
        }
        assert_eq!(
            handlers("[dependencies]\nbento-core = \"0.1\""),
            Dependency::Absent
        );
    }

    #[test]
    fn a_package_without_it_is_told_from_an_unreadable_one() {
        assert_eq!(found("[dependencies]\nserde = \"1\""), Dependency::Absent);
        assert_eq!(
            found("[dependencies]\nbento-core = { package = \"other\" }"),
            Dependency::Absent
        );
        assert_eq!(found("[dependencies"), Dependency::Unknown);
    }
}
