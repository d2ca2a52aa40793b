//! The compiler in a wrapper that notes its processor time.
//!
//! `RUSTC_WORKSPACE_WRAPPER` makes cargo start this program, with the path of `rustc` and its
//! arguments, for the crates of the workspace and not for their dependencies.

use std::path::Path;
use std::process::{Command, exit};
use std::time::Duration;
use std::{env, fs};

use bento_benchmarks::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// The variable that names the file for the processor time.
const REPORT: &str = "BENTO_COMPILE_TIME_REPORT";

/// True if cargo has started the program in place of the compiler.
pub(super) fn is_wrapper() -> bool {
    env::var_os(REPORT).is_some()
}

/// Compiles, and notes the processor time.
pub(super) fn run() -> Result {
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments
        .next()
        .ok_or("a wrapper is given the path of rustc")?;
    let status = Command::new(rustc).args(arguments).status()?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let report = env::var_os(REPORT).ok_or("the report has a path")?;
    fs::write(
        report,
        (micros(usage.user_time()) + micros(usage.system_time())).to_string(),
    )?;
    exit(status.code().unwrap_or(1))
}

fn micros(time: TimeVal) -> i64 {
    time.num_microseconds()
}

/// Lets `cargo` start this program in place of the compiler.
pub(super) fn wrap(cargo: &mut Command, report: &Path) -> Result {
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe()?)
        .env(REPORT, report);
    Ok(())
}

/// The processor time in the report.
pub(super) fn reported(report: &Path) -> Result<Duration> {
    let text = fs::read_to_string(report)?;
    let micros = text.parse().map_err(
        |_| "cargo did not compile anything: its target directory is not used by it alone",
    )?;
    Ok(Duration::from_micros(micros))
}

/// The version of the compiler.
pub(super) fn version() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
