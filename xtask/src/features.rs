//! `cargo xtask features`: each cargo feature of each published crate compiles alone without a warning, and so does none.

use crate::Result;
use crate::workspace::{Package, cargo, packages};

pub(crate) fn run() -> Result {
    for package in packages()?.iter().filter(|package| package.published) {
        check(package, None)?;
        for feature in &package.features {
            check(package, Some(feature))?;
        }
    }
    Ok(())
}

fn check(package: &Package, feature: Option<&str>) -> Result {
    println!("{} with {}", package.name, feature.unwrap_or("no feature"));
    let mut command = cargo();
    command.args(["check", "--quiet", "--package", &package.name, "--no-default-features"]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let printed = command.output()?;
    let said = String::from_utf8_lossy(&printed.stderr);
    eprint!("{said}");
    // `-D warnings` as a flag of the compiler would build every dependency anew.
    if printed.status.success() && !said.lines().any(|line| line.starts_with("warning")) {
        Ok(())
    } else {
        Err(format!("{} fails or warns with {}", package.name, feature.unwrap_or("no feature")).into())
    }
}
