//! `cargo xtask wasm`: the crates without a database or a broker build for wasm32.

use std::process::Command;

use crate::Result;
use crate::workspace::{cargo, output, succeed};

const TARGET: &str = "wasm32-unknown-unknown";

pub(crate) fn run() -> Result {
    if !target_is_installed()? {
        println!(
            "skipped: the standard library for {TARGET} is not installed (`rustup target add \
             {TARGET}`)"
        );
        return Ok(());
    }
    // `bento-macros` is built for the host by nature; naming it proves that it does not get in the
    // way.
    succeed(cargo().args([
        "build",
        "--package=bento-core",
        "--package=bento-macros",
        "--target",
        TARGET,
    ]))
}

fn target_is_installed() -> Result<bool> {
    let directory =
        output(Command::new("rustc").args(["--print=target-libdir", "--target", TARGET]))?;
    Ok(std::path::Path::new(directory.trim()).is_dir())
}
