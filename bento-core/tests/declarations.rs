//! One schema and version, and one aggregate, is declared once in a program: what `cargo build`
//! says to crates that do not keep to it, and to crates that name the framework otherwise.
//!
//! The crates are in `tests/declarations/`. They are built in a copy, because cargo writes a lock
//! file beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

const SYMBOL: &str = "bento__event__order__created__v2__is_declared_twice";

static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(copy_of_the_fixtures);

#[test]
fn two_crates_with_one_event_do_not_link_into_a_program() {
    assert_declared_twice(&build("twice-bin"));
}

#[test]
fn two_crates_with_one_event_do_not_link_into_a_cdylib() {
    assert_declared_twice(&build("twice-cdylib"));
}

#[test]
fn two_crates_with_one_event_do_not_link_into_a_dylib() {
    assert_declared_twice(&build("twice-dylib"));
}

/// cargo does not link a static library; whoever links all of it is told.
#[test]
fn two_crates_with_one_event_do_not_link_from_a_staticlib() {
    assert_built(&build("twice-staticlib"));
    assert_declared_twice(&link_archive("libtwice_staticlib.a"));
}

#[test]
fn one_crate_with_an_event_twice_is_told_at_the_attribute() {
    let output = build("twice-in-one-crate");
    let message = text(&output);
    assert!(
        !output.status.success(),
        "built although the event is declared twice"
    );
    assert!(
        message.contains("bento__event__order__created__v1__is_declared_twice` is already defined"),
        "{message}"
    );
    assert!(
        message.contains("#[domain_event(schema = \"order.created\", version = 1)]"),
        "{message}"
    );
}

#[test]
fn two_aggregates_of_one_name_are_reported_at_the_attribute() {
    let output = build("twice-an-aggregate");
    let message = text(&output);
    assert!(
        !output.status.success(),
        "built although two aggregates are called `order`"
    );
    assert!(
        message.contains("bento__aggregate__order__is_declared_twice` is already defined"),
        "{message}"
    );
    assert!(message.contains("name = \"order\""), "{message}");
}

/// With fat link-time optimisation rustc itself finds the symbol twice, and names one of the
/// crates.
#[test]
fn two_crates_with_one_event_do_not_link_with_fat_lto() {
    let output = cargo(&["build", "--profile", "fat", "--package", "twice-bin"]);
    let message = text(&output);
    assert!(
        !output.status.success(),
        "linked although two crates declare the event"
    );
    assert!(message.contains(SYMBOL), "{message}");
    assert_built(&cargo(&[
        "build",
        "--profile",
        "fat",
        "--package",
        "once-bin",
    ]));
}

#[test]
fn a_view_links_beside_the_event_in_every_kind_of_library() {
    for package in ["once-bin", "once-cdylib", "once-dylib", "once-staticlib"] {
        assert_built(&build(package));
    }
    assert_built(&link_archive("libonce_staticlib.a"));
}

#[test]
fn unit_tests_of_a_crate_may_link_its_normal_build() {
    assert_built(&cargo(&["test", "--lib", "--package", "shop"]));
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
            "this package depends on neither `bento-events` nor `bento-core`: add one of them to \
             `Cargo.toml`"
        ),
        "{message}"
    );
}

fn assert_declared_twice(output: &Output) {
    let message = text(output);
    assert!(
        !output.status.success(),
        "linked although two crates declare the event"
    );
    for part in [SYMBOL, "shop", "billing"] {
        assert!(message.contains(part), "`{part}` is missing in:\n{message}");
    }
}

fn assert_built(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn build(package: &str) -> Output {
    cargo(&["build", "--package", package])
}

fn cargo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(&*WORKSPACE)
        .env("CARGO_TARGET_DIR", target_dir())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs")
}

/// Links every object of a static library, as a C program does that takes all of it.
fn link_archive(archive: &str) -> Output {
    let built = target_dir().join("debug");
    Command::new("cc")
        .args(["-shared", "-Wl,--whole-archive"])
        .arg(built.join(archive))
        .args(["-Wl,--no-whole-archive", "-o"])
        .arg(built.join(format!("{archive}.so")))
        .output()
        .expect("the C compiler that rustc links with runs")
}

fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("declarations-target")
}

fn copy_of_the_fixtures() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("declarations");
    copy_folder(&package.join("tests/declarations"), &copy);
    let manifest = fs::read_to_string(copy.join("Cargo.toml")).expect("the manifest was copied");
    let path_here = toml_string(package);
    fs::write(
        copy.join("Cargo.toml"),
        manifest.replace("\"../..\"", &path_here),
    )
    .expect("the copy can be written");
    // The versions this workspace has been built with are those that are there without a network.
    fs::copy(package.join("../Cargo.lock"), copy.join("Cargo.lock"))
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
    format!(
        "{:?}",
        path.to_str().expect("the path of the repository is UTF-8")
    )
}
