//! The Kafka-compatible broker of the tests: the crate `tansu`, built once for each user and shared
//! by all clones.

use std::env;
use std::path::PathBuf;

use crate::Result;
use crate::workspace::{cargo, succeed};

const VERSION: &str = "0.6.0";

/// The program, if it was built before.
pub(super) fn installed() -> Option<PathBuf> {
    let program = folder().ok()?.join("bin/tansu");
    program.is_file().then_some(program)
}

/// Builds it, which takes about ten minutes.
pub(super) fn install() -> Result {
    let folder = folder()?;
    println!(
        "building tansu {VERSION} into {}, once for this user; it takes about ten minutes",
        folder.display()
    );
    // A target directory of the workspace would be removed with its clone, and would mix both
    // builds.
    let target = folder.join("build");
    let mut command = cargo();
    command.args([
        "install",
        "tansu",
        "--version",
        VERSION,
        "--locked",
        "--features",
        "dynostore",
        "--root",
    ]);
    succeed(command.arg(&folder).arg("--target-dir").arg(&target))?;
    std::fs::remove_dir_all(&target)?;
    Ok(())
}

/// `bento/tansu` in the folder where programs keep what they can make again.
fn folder() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|cache| cache.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    Ok(cache
        .ok_or("neither XDG_CACHE_HOME nor HOME is set")?
        .join("bento/tansu"))
}
