//! A handler is declared once in a program, and so is a version of a projection: what `cargo build`
//! says to crates that do not keep to it, and to crates that name the framework otherwise.
//!
//! The crates are in `tests/declarations/`. They are built in a copy, because cargo writes a lock
//! file beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

const SYMBOL: &str = "bento__handler__stock__reserve__is_declared_twice";

const PROJECTION: &str = "bento__projection__parts__v1__is_declared_twice";

static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(copy_of_the_fixtures);

#[test]
fn two_crates_with_handlers_of_one_name_do_not_link() {
    let output = build("twice-bin");
    let message = text(&output);
    assert!(
        !output.status.success(),
        "linked with two handlers of one name"
    );
    for part in [SYMBOL, "stock", "warehouse"] {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
    assert_built(&build("once-bin"));
}

#[test]
fn one_crate_with_two_handlers_of_one_name_is_told_at_the_attribute() {
    let output = build("twice-in-one-crate");
    let message = text(&output);
    assert!(
        !output.status.success(),
        "built with two handlers of one name"
    );
    for part in [
        &format!("{SYMBOL}` is already defined"),
        "#[event_handler(name = \"stock.reserve\")]",
    ] {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
}

#[test]
fn one_crate_with_two_projections_of_one_name_and_version_is_told_at_the_attribute() {
    let output = build("projected-twice");
    let message = text(&output);
    assert!(
        !output.status.success(),
        "built with two projections of one name and version"
    );
    for part in [
        &format!("{PROJECTION}` is already defined"),
        "#[projection(name = \"parts\", version = 1)]",
    ] {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
}

#[test]
fn the_framework_is_found_under_the_name_that_a_package_gives_it() {
    assert_built(&build("renamed"));
}

#[test]
fn a_package_without_the_framework_is_told_what_to_write() {
    let output = build("unnamed");
    let message = text(&output);
    assert!(!output.status.success(), "built without the framework");
    assert!(
        message.contains(
            "this package depends on neither `bento-events` nor `bento-handlers`: add one of them \
             to `Cargo.toml`, or name the module that exports it with `crate = \
             path::to::bento_handlers`"
        ),
        "{message}"
    );
}

fn assert_built(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn build(package: &str) -> Output {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("handler-declarations-target");
    Command::new(env!("CARGO"))
        .args(["build", "--package", package, "--offline", "--quiet"])
        .current_dir(&*WORKSPACE)
        .env("CARGO_TARGET_DIR", target_dir)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs")
}

fn copy_of_the_fixtures() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().expect("the package is in the workspace");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("handler-declarations");
    copy_folder(&package.join("tests/declarations"), &copy);
    let manifest = fs::read_to_string(copy.join("Cargo.toml")).expect("the manifest was copied");
    let manifest = manifest
        .replace(
            "\"../../../bento-core\"",
            &toml_string(&workspace.join("bento-core")),
        )
        .replace(
            "\"../../../bento-seaorm\"",
            &toml_string(&workspace.join("bento-seaorm")),
        )
        .replace("\"../..\"", &toml_string(package));
    fs::write(copy.join("Cargo.toml"), manifest).expect("the copy can be written");
    // The versions this workspace has been built with are those that are there without a network.
    fs::copy(workspace.join("Cargo.lock"), copy.join("Cargo.lock"))
        .expect("the workspace has a lock file");
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target directory can be written");
    for entry in fs::read_dir(from).expect("the fixtures are there") {
        let entry = entry.expect("the fixtures can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if fs::read(&target).ok() != fs::read(entry.path()).ok() {
            fs::copy(entry.path(), &target).expect("the target directory can be written");
        }
    }
}

fn toml_string(path: &Path) -> String {
    let path = path.to_str().expect("the path of the repository is UTF-8");
    format!("{path:?}")
}
