//! Crates that take Bento through each of its doors: `bento-core` alone, the front door, and the
//! front door under another name.
//!
//! `tests/front_door/` holds their manifests and a domain crate; the applications are the
//! quickstart, from which the README quotes. All are built in a copy, because cargo writes a lock
//! file beside them, and in the target directory of this workspace, so that a dependency which
//! both use in the same way is compiled once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const QUICKSTART: &str = "examples/quickstart";

static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(copy_of_the_crates);

#[test]
fn a_domain_crate_that_depends_on_bento_core_alone_is_tested() {
    let output = cargo(&["test", "--lib", "--package", "front-door-domain"]);
    assert!(output.contains("1 passed"), "{output}");
}

#[test]
fn the_readme_example_runs_through_the_front_door() {
    assert_eq!(run("front-door-application"), expected_output());
}

#[test]
fn the_readme_example_runs_through_a_renamed_front_door() {
    assert_eq!(run("front-door-renamed"), expected_output());
}

fn run(package: &str) -> String {
    cargo(&["run", "--package", package])
}

fn expected_output() -> String {
    let file = root().join(QUICKSTART).join("expected_output.txt");
    fs::read_to_string(file).expect("the quickstart has an expected output")
}

/// Runs cargo among the copies, and returns the standard output.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(&*WORKSPACE)
        .env("CARGO_TARGET_DIR", target_dir())
        .env_remove("DATABASE_URL")
        .output()
        .expect("cargo runs");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stderr}{stdout}");
    stdout.into_owned()
}

fn copy_of_the_crates() -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("front_door");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/front_door");
    let path_from_here = format!("{}/", root().display());
    for file in [
        "Cargo.toml",
        "domain/Cargo.toml",
        "domain/src/lib.rs",
        "application/Cargo.toml",
        "renamed/Cargo.toml",
    ] {
        let text = read(&fixtures.join(file)).replace("../../../", &path_from_here);
        write(&copy.join(file), &text);
    }
    for file in ["main.rs", "order.rs", "setup.rs", "warehouse.rs"] {
        let text = read(&root().join(QUICKSTART).join("src").join(file));
        write(&copy.join("application/src").join(file), &text);
        write(
            &copy.join("renamed/src").join(file),
            &text.replace("bento::", "events::"),
        );
    }
    // The versions this workspace has been built with are those that are there without a network.
    write(&copy.join("Cargo.lock"), &read(&root().join("Cargo.lock")));
    copy
}

fn target_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is within the target directory")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace is there")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Writes a file unless it is there already: cargo builds what is newer than its last build.
fn write(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(file.parent().expect("a file is in a folder"))
        .and_then(|()| fs::write(file, text))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
