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

/// The package beside which the crates that reach SeaORM are checked: with it all features have the
/// same dependencies, or nearly, and SeaORM is built once for each back end. Its `Cargo.toml` says
/// more.
///
/// Cargo gives what it asks of other crates to ours as well, which may so have forgotten to ask for
/// it. Hence [`ALONE`].
const NEIGHBOUR: &str = "xtask-neighbour";

/// The checks without the neighbour, one for each crate with code of its own on SeaORM that no
/// other step compiles alone. A crate without SeaORM never has the neighbour, and the step
/// "packages" compiles each published crate but the front door alone.
const ALONE: [(&str, &str); 2] = [
    ("bento-events", "sqlite,default"),
    ("bento-handlers", "sqlite"),
];

pub(crate) fn run() -> Result {
    for package in packages()?.iter().filter(|package| package.published) {
        let needs_a_back_end = NEED_A_BACK_END.contains(&&*package.name);
        if needs_a_back_end {
            is_refused(package)?;
        } else {
            check(package, "", false)?;
        }
        // An underscore marks what several features share: alone it is not of use.
        let meant = |feature: &&String| !feature.starts_with('_');
        for feature in package.features.iter().filter(meant) {
            let does_it_need_one = needs_a_back_end
                || FEATURES_WITH_A_BACK_END.contains(&(&*package.name, &**feature));
            let is_enough = !does_it_need_one || BACK_ENDS.contains(&&**feature);
            let features = if is_enough {
                feature.clone()
            } else {
                format!("sqlite,{feature}")
            };
            let is_alone = !does_it_need_one || ALONE.contains(&(&*package.name, &*features));
            check(package, &features, !is_alone)?;
        }
    }
    Ok(())
}

fn check(package: &Package, features: &str, has_neighbour: bool) -> Result {
    let named = if features.is_empty() {
        "no feature"
    } else {
        features
    };
    println!("{} with {named}", package.name);
    let (succeeds, said) = compile(package, features, has_neighbour)?;
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
    let (succeeds, said) = compile(package, "", true)?;
    if !succeeds && said.contains(MESSAGE) {
        Ok(())
    } else {
        Err(format!("{} does not say `{MESSAGE}`:\n{said}", package.name).into())
    }
}

fn compile(package: &Package, features: &str, has_neighbour: bool) -> Result<(bool, String)> {
    let mut command = cargo();
    command.args([
        "check",
        "--quiet",
        "--package",
        &package.name,
        "--no-default-features",
    ]);
    command.args(["--features", features]);
    if has_neighbour {
        command.args(["--package", NEIGHBOUR]);
    }
    let output = command.output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}
