//! `cargo xtask features`: each cargo feature of each published crate compiles alone without a
//! warning, and so does none, or it says which to choose.

use crate::Result;
use crate::workspace::{Package, cargo, packages};

/// What a crate says that cannot do without a feature.
const NEEDS_ONE: &[(&str, &str)] = &[("bento-seaorm", "error: bento-seaorm needs a back end")];

pub(crate) fn run() -> Result {
    for package in packages()?.iter().filter(|package| package.published) {
        match NEEDS_ONE.iter().find(|(name, _)| *name == package.name) {
            Some((_, message)) => is_refused(package, message)?,
            None => check(package, None)?,
        }
        for feature in &package.features {
            check(package, Some(feature))?;
        }
    }
    Ok(())
}

fn check(package: &Package, feature: Option<&str>) -> Result {
    println!("{} with {}", package.name, feature.unwrap_or("no feature"));
    let (succeeds, said) = compile(package, feature)?;
    eprint!("{said}");
    // `-D warnings` as a flag of the compiler would build every dependency anew.
    if succeeds && !said.lines().any(|line| line.starts_with("warning")) {
        Ok(())
    } else {
        Err(format!(
            "{} fails or warns with {}",
            package.name,
            feature.unwrap_or("no feature")
        )
        .into())
    }
}

fn is_refused(package: &Package, message: &str) -> Result {
    println!("{} with no feature is refused", package.name);
    let (succeeds, said) = compile(package, None)?;
    if !succeeds && said.contains(message) {
        Ok(())
    } else {
        Err(format!("{} does not say `{message}`:\n{said}", package.name).into())
    }
}

fn compile(package: &Package, feature: Option<&str>) -> Result<(bool, String)> {
    let mut command = cargo();
    command.args([
        "check",
        "--quiet",
        "--package",
        &package.name,
        "--no-default-features",
    ]);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let output = command.output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}
