//! The workspace as cargo sees it: its root, its packages, and how to call cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// A member of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) features: Vec<String>,
    pub(crate) published: bool,
}

/// The directory of the root `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a directory of the workspace")
}

/// `cargo`, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    at_the_root(&mut command);
    command
}

/// Gives a command the root of the workspace, and the environment that a shell there has.
///
/// `cargo run` describes this package in variables. Some build scripts, that of ring for one, run
/// anew when they differ, and with them all that depends on it is compiled anew: once below
/// `cargo xtask`, and once more by hand.
pub(crate) fn at_the_root(command: &mut Command) {
    command.current_dir(root());
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(variable);
        }
    }
}

/// Runs a command to its end and fails if it did.
pub(crate) fn succeed(command: &mut Command) -> Result {
    let status = command
        .status()
        .map_err(|error| format!("{}: {error}", display(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed: {status}", display(command)).into())
    }
}

/// The text that a command prints to stdout; its stderr is the error if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", display(command)))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{}` failed: {}", display(command), reason.trim()).into())
    }
}

/// The directory that cargo builds into.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let directory = metadata()?["target_directory"].as_str().map(PathBuf::from);
    directory.ok_or_else(|| "cargo metadata names no target directory".into())
}

/// The members of the workspace, by name.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let metadata = metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    packages.iter().map(package).collect()
}

fn metadata() -> Result<Value> {
    Ok(serde_json::from_str(&output(cargo().args([
        "metadata",
        "--no-deps",
        "--format-version=1",
    ]))?)?)
}

fn package(metadata: &Value) -> Result<Package> {
    let text = |key: &str| {
        metadata[key]
            .as_str()
            .ok_or_else(|| format!("a package without {key}"))
    };
    let features = metadata["features"]
        .as_object()
        .ok_or("a package without features")?;
    Ok(Package {
        name: text("name")?.to_owned(),
        directory: Path::new(text("manifest_path")?)
            .parent()
            .ok_or("a manifest without a directory")?
            .to_owned(),
        features: features.keys().cloned().collect(),
        // `null` is "anywhere", an empty list is `publish = false`.
        published: metadata["publish"].is_null(),
    })
}

/// Builds every target with the features that `cargo test` uses, and lists the programs by target
/// name.
///
/// One set of features for all that is run, so that nothing is built twice.
pub(crate) fn build_programs() -> Result<Vec<(String, PathBuf)>> {
    let messages = {
        let mut command = cargo();
        command.args([
            "build",
            "--workspace",
            "--all-features",
            "--all-targets",
            "--message-format=json-render-diagnostics",
        ]);
        command.stderr(std::process::Stdio::inherit());
        output(&mut command)?
    };
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)?;
        let kind = message["target"]["kind"][0].as_str();
        let is_test = message["profile"]["test"].as_bool() == Some(true);
        if let (Some("bin"), false, Some(name), Some(path)) = (
            kind,
            is_test,
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
        ) {
            programs.push((name.to_owned(), PathBuf::from(path)));
        }
    }
    Ok(programs)
}

/// The program of a bin target among those that were built.
pub(crate) fn program<'a>(programs: &'a [(String, PathBuf)], name: &str) -> Result<&'a Path> {
    programs
        .iter()
        .find(|(target, _)| target == name)
        .map(|(_, path)| path.as_path())
        .ok_or_else(|| format!("the workspace has no program `{name}`").into())
}

fn display(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
