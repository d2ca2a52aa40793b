//! `cargo xtask features`: each cargo feature of each published crate compiles alone without a
//! warning, and so does none, or it says which to choose.

use crate::Result;
use crate::workspace::{Package, cargo, packages};

/// The crates that cannot do without a back end.
const NEED_A_BACK_END: [&str; 3] = ["bento-events", "bento-handlers", "bento-seaorm"];

/// The error of such a crate without one.
const MESSAGE: &str = "error: no back end is enabled";

/// The features that cannot do without one, of a crate that can.
const FEATURES_WITH_A_BACK_END: [(&str, &str); 1] = [("bento-testkit", "handlers")];

const BACK_ENDS: [&str; 3] = ["postgres", "mysql", "sqlite"];

pub(crate) fn run() -> Result {
    for package in packages()?.iter().filter(|package| package.published) {
        let needs_a_back_end = NEED_A_BACK_END.contains(&&*package.name);
        if needs_a_back_end {
            is_refused(package)?;
        } else {
            check(package, "")?;
        }
        // An underscore marks what several features share: alone it is not of use.
        let meant = |feature: &&String| !feature.starts_with('_');
        for feature in package.features.iter().filter(meant) {
            let does_it_need_one = needs_a_back_end
                || FEATURES_WITH_A_BACK_END.contains(&(&*package.name, &**feature));
            let is_enough = !does_it_need_one || BACK_ENDS.contains(&&**feature);
            check(
                package,
                &if is_enough {
                    feature.clone()
                } else {
                    format!("sqlite,{feature}")
                },
            )?;
        }
    }
    Ok(())
}

fn check(package: &Package, features: &str) -> Result {
    let named = if features.is_empty() {
        "no feature"
    } else {
        features
    };
    println!("{} with {named}", package.name);
    let (succeeds, said) = compile(package, features)?;
    eprint!("{said}");
    // `-D warnings` as a flag of the compiler would build every dependency anew.
    if succeeds && !said.lines().any(|line| line.starts_with("warning")) {
        Ok(())
    } else {
        Err(format!("{} fails or warns with {named}", package.name).into())
    }
}

fn is_refused(package: &Package) -> Result {
    println!("{} with no feature is refused", package.name);
    let (succeeds, said) = compile(package, "")?;
    if !succeeds && said.contains(MESSAGE) {
        Ok(())
    } else {
        Err(format!("{} does not say `{MESSAGE}`:\n{said}", package.name).into())
    }
}

fn compile(package: &Package, features: &str) -> Result<(bool, String)> {
    let mut command = cargo();
    command.args([
        "check",
        "--quiet",
        "--package",
        &package.name,
        "--no-default-features",
    ]);
    command.args(["--features", features]);
    let output = command.output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}
