//! The name that the package being compiled gives a dependency, as its `Cargo.toml` says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, fs};

use toml::de::{DeTable, DeValue};

/// A dependency of the package being compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// The name of the crate in Rust.
    Named(String),
    /// The package has no such dependency.
    Absent,
    /// There is no manifest, or it could not be understood: another build system, or a script.
    Unknown,
}

/// The name of `package` in the package being compiled.
///
/// Each manifest is read once in a process: the compiler has one, an editor's server may have many.
pub(crate) fn dependency(package: &str) -> Dependency {
    static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Dependency>>> = LazyLock::new(Mutex::default);
    let Some(manifest) = env::var_os("CARGO_MANIFEST_PATH").map(PathBuf::from) else { return Dependency::Unknown };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(manifest).or_insert_with_key(|manifest| read(manifest, package)).clone()
}

fn read(manifest: &Path, package: &str) -> Dependency {
    // The manifest of a script is part of the script.
    if manifest.file_name().is_none_or(|name| name != "Cargo.toml") {
        return Dependency::Unknown;
    }
    let Ok(text) = fs::read_to_string(manifest) else { return Dependency::Unknown };
    find(&text, package, || workspace(manifest))
}

/// Looks for `package` in the text of a manifest. `workspace` is asked for the text of the workspace's manifest where a
/// dependency is inherited under another name.
fn find(manifest: &str, package: &str, workspace: impl FnOnce() -> Option<String>) -> Dependency {
    let Ok(manifest) = DeTable::parse(manifest) else { return Dependency::Unknown };
    let manifest = manifest.get_ref();
    let itself = table(manifest, "package").and_then(|own| text(own, "name")) == Some(package);
    let dependencies: Vec<_> = dependency_tables(manifest).flat_map(DeTable::iter).collect();
    if itself
        || dependencies.iter().any(|(name, value)| name.get_ref() == package && !is_another(value.get_ref(), package))
    {
        return Dependency::Named(rust_name(package));
    }
    if let Some((name, _)) = dependencies.iter().find(|(_, value)| package_of(value.get_ref()) == Some(package)) {
        return Dependency::Named(rust_name(name.get_ref()));
    }
    let mut inherited = dependencies.iter().filter(|(_, value)| is_inherited(value.get_ref())).peekable();
    if inherited.peek().is_none() {
        return Dependency::Absent;
    }
    let Some(workspace) = workspace() else { return Dependency::Unknown };
    let Ok(workspace) = DeTable::parse(&workspace) else { return Dependency::Unknown };
    let shared = table(workspace.get_ref(), "workspace").and_then(|workspace| table(workspace, "dependencies"));
    let Some(shared) = shared else { return Dependency::Unknown };
    let renamed = inherited.find(|(name, _)| {
        shared.get(name.get_ref().as_ref()).is_some_and(|value| package_of(value.get_ref()) == Some(package))
    });
    renamed.map_or(Dependency::Absent, |(name, _)| Dependency::Named(rust_name(name.get_ref())))
}

/// The text of the manifest of the workspace that the package is in.
fn workspace(manifest: &Path) -> Option<String> {
    manifest.ancestors().skip(1).map(|folder| folder.join("Cargo.toml")).find_map(|candidate| {
        let text = fs::read_to_string(candidate).ok()?;
        let is_workspace = DeTable::parse(&text).is_ok_and(|parsed| parsed.get_ref().contains_key("workspace"));
        is_workspace.then_some(text)
    })
}

/// Every table of dependencies, those for one platform too.
fn dependency_tables<'t, 'i>(manifest: &'t DeTable<'i>) -> impl Iterator<Item = &'t DeTable<'i>> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = table(manifest, "target").into_iter().flat_map(DeTable::values);
    let targets = targets.filter_map(|target| target.get_ref().as_table());
    [manifest].into_iter().chain(targets).flat_map(|within| KINDS.into_iter().filter_map(|kind| table(within, kind)))
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

/// True of `bento-core = { package = "something-else" }`.
fn is_another(dependency: &DeValue, package: &str) -> bool {
    package_of(dependency).is_some_and(|named| named != package)
}

fn is_inherited(dependency: &DeValue) -> bool {
    let table = dependency.as_table();
    table.and_then(|table| table.get("workspace")?.get_ref().as_bool()).unwrap_or(false)
}

fn rust_name(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::{Dependency, find};

    fn found(manifest: &str) -> Dependency {
        find(manifest, "bento-core", || None)
    }

    fn named(name: &str) -> Dependency {
        Dependency::Named(name.to_owned())
    }

    #[test]
    fn a_dependency_has_the_name_of_its_package_unless_it_is_renamed() {
        assert_eq!(found("[dependencies]\nbento-core = \"0.1\""), named("bento_core"));
        assert_eq!(found("[dependencies.bento-core]\nworkspace = true"), named("bento_core"));
        assert_eq!(found("dependencies.bento-core.version = '0.1'"), named("bento_core"));
        assert_eq!(
            found("[dev-dependencies]\nmy-events = { version = \"0.1\", package = \"bento-core\" }"),
            named("my_events")
        );
        assert_eq!(
            found("[target.'cfg(unix)'.dependencies.events]\npackage = \"bento-core\""),
            named("events"),
            "for one platform"
        );
    }

    #[test]
    fn the_crate_itself_goes_by_its_own_name() {
        assert_eq!(found("[package]\nname = \"bento-core\""), named("bento_core"));
    }

    #[test]
    fn an_inherited_dependency_may_be_renamed_in_the_workspace() {
        let manifest = "[dependencies]\nserde = \"1\"\nevents.workspace = true";
        let workspace = "[workspace.dependencies]\nevents = { package = \"bento-core\", version = \"0.1\" }";
        assert_eq!(find(manifest, "bento-core", || Some(workspace.to_owned())), named("events"));
        assert_eq!(find(manifest, "bento-core", || Some("[workspace]".to_owned())), Dependency::Unknown);
        assert_eq!(found(manifest), Dependency::Unknown, "without the workspace nothing is certain");
    }

    #[test]
    fn a_package_without_it_is_told_from_one_that_is_not_understood() {
        assert_eq!(found("[dependencies]\nserde = \"1\""), Dependency::Absent);
        assert_eq!(found("[dependencies]\nbento-core = { package = \"other\" }"), Dependency::Absent);
        assert_eq!(found("[dependencies"), Dependency::Unknown);
    }
}
