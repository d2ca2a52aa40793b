//! `cargo xtask features`: each cargo feature of each published crate compiles alone, and so does none.

use crate::Result;
use crate::workspace::{Package, cargo, packages, succeed};

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
    succeed(&mut command)
}
