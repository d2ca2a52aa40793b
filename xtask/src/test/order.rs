//! The order of the test programs, and which of them may run at one time.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Start;
use super::lanes::{Chain, Job, Queue};
use crate::Result;
use crate::workspace::{Package, Program, Role, at_the_root, cargo, output, packages, root};

/// Programs that have cargo compile. They use a core or two all the time and wait for each other at
/// the locks of cargo: a chain, of low priority, in the time that the others wait for servers.
const COMPILING: [&str; 2] = ["declarations", "ui"];

/// Programs that compare times, or give up on what takes some minutes: nothing runs beside them.
const ALONE: [&str; 5] = [
    "handler_faults",
    "handler_load",
    "projections",
    "releases",
    "several_destinations",
];

/// Programs that take long come first, so that no lane is left with one of them at the end.
const LONG: [&str; 10] = [
    "transaction",
    "store",
    "history",
    "kill",
    "outage",
    "consume",
    "rabbitmq",
    "event_store",
    "appends",
    "orders",
];

/// The queues of each phase. A phase begins when the one before has ended.
pub(super) fn phases(programs: &[Program], start: &Start<'_>) -> Result<[Vec<Queue>; 2]> {
    let tests: Vec<&Program> = programs
        .iter()
        .filter(|program| program.role != Role::Binary)
        .collect();
    let surroundings = Surroundings {
        packages: packages()?,
        libraries: compiler_libraries()?,
    };
    let job = |program: &Program, nice| of_program(program, start, &surroundings, nice);
    let named = |program: &Program, names: &[&str]| names.contains(&&*program.name);
    let chain = |names: &[&str], nice| -> Chain {
        let mut programs = tests.clone();
        programs.retain(|program| named(program, names));
        programs.iter().map(|program| job(program, nice)).collect()
    };
    let mut compiling = chain(&COMPILING, true);
    compiling.push(documentation(start));
    let mut others = tests.clone();
    others.retain(|program| {
        [&COMPILING[..], &ALONE]
            .iter()
            .all(|names| !named(program, names))
    });
    let place = |program: &&Program| LONG.iter().position(|name| *name == program.name);
    others.sort_by_key(|program| place(program).unwrap_or(usize::MAX));
    let others = Queue {
        chains: others
            .iter()
            .map(|&other| vec![job(other, false)])
            .collect(),
        lanes: start.lanes.to_vec(),
    };
    let one_by_one = |chain| Queue {
        chains: vec![chain],
        lanes: start.lanes[..1].to_vec(),
    };
    Ok([
        vec![one_by_one(compiling), others],
        vec![one_by_one(chain(&ALONE, false))],
    ])
}

/// The knowledge of cargo that a test program may ask for.
#[derive(Debug)]
struct Surroundings {
    packages: Vec<Package>,
    /// The folder of the compiler's own libraries: the tests of macros are linked to them.
    libraries: PathBuf,
}

/// The start of a program as `cargo test` does it.
fn of_program(program: &Program, start: &Start<'_>, around: &Surroundings, is_nice: bool) -> Job {
    let mut command = if is_nice {
        nice(&program.path)
    } else {
        Command::new(&program.path)
    };
    at_the_root(&mut command);
    command
        .args(start.filters)
        .current_dir(&program.directory)
        .env("CARGO_MANIFEST_DIR", &program.directory)
        .env("CARGO_MANIFEST_PATH", program.directory.join("Cargo.toml"));
    let mut packages = around.packages.iter();
    if let Some(package) = packages.find(|package| package.directory == program.directory) {
        command
            .env("CARGO_PKG_NAME", &package.name)
            .env("CARGO_PKG_VERSION", &package.version);
    }
    let mut paths = vec![around.libraries.clone()];
    if let Some(others) = std::env::var_os(LIBRARY_PATH) {
        paths.extend(std::env::split_paths(&others));
    }
    if let Ok(paths) = std::env::join_paths(paths) {
        command.env(LIBRARY_PATH, paths);
    }
    let source = program.source.strip_prefix(root());
    let source = source.unwrap_or(&program.source).display();
    let is_integration_test = program.role == Role::IntegrationTest;
    Job {
        name: program.name.clone(),
        is_integration_test,
        title: if is_integration_test {
            source.to_string()
        } else {
            format!("unit tests of {source}")
        },
        command,
    }
}

/// The examples in the documentation, which cargo alone can run.
fn documentation(start: &Start<'_>) -> Job {
    let cargo = cargo();
    let mut command = nice(cargo.get_program());
    at_the_root(&mut command);
    command
        .args(["test", "--doc", "--workspace", "--all-features"])
        .args(["--no-fail-fast", "--"])
        .args(start.filters);
    Job {
        name: "documentation".to_owned(),
        is_integration_test: false,
        title: "examples in the documentation".to_owned(),
        command,
    }
}

fn nice(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(program);
    command
}

const LIBRARY_PATH: &str = if cfg!(target_os = "macos") {
    "DYLD_FALLBACK_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

fn compiler_libraries() -> Result<PathBuf> {
    let mut ask = Command::new("rustc");
    at_the_root(&mut ask);
    let sysroot = output(ask.args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib"))
}
