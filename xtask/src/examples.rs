//! `cargo xtask examples`: runs each example and compares what it prints with its
//! `expected_output.txt`.
//!
//! An example runs alone, as a user starts it, and then once more on every server that is found,
//! with `DATABASE_URL` set to a database made for it. It has to print the same.
//!
//! Each is run with `--demo`, with which a server shows itself and ends; the others have no
//! arguments.
//!
//! Text that differs from run to run is written there as a placeholder, see [`pattern`]. `--bless`
//! rewrites the file from what was printed, keeps every line that still matches, and puts
//! placeholders for ids and times.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::servers::{self, Kind, Probe, Scratch, Server};
use crate::workspace::{Package, build_programs, output, packages, program, root};

mod pattern;

pub(crate) fn run(arguments: &[String]) -> Result {
    let bless = arguments.iter().any(|argument| argument == "--bless");
    let names: Vec<&String> = arguments
        .iter()
        .filter(|argument| *argument != "--bless")
        .collect();
    let examples = examples(&names)?;
    let programs = build_programs()?;
    let probe = Probe {
        program: program(&programs, "xtask-probe")?,
    };
    let servers = servers(&probe)?;
    let mut differing = Vec::new();
    for example in &examples {
        let program = program(&programs, &example.name)?;
        let file = example.directory.join("expected_output.txt");
        let printed = execute(program, &example.name, None)?;
        if bless {
            let old = fs::read_to_string(&file).unwrap_or_default();
            fs::write(&file, pattern::blessed(&old, &printed))?;
            println!("{}: written", example.name);
        } else {
            judge(
                example.name.clone(),
                matches(&file, &printed)?,
                &mut differing,
            );
        }
        for (back_end, server) in &servers {
            let database = Scratch::create(&example.name, server, &probe)?;
            let printed = execute(program, &example.name, Some(&database.url))?;
            let name = format!("{} on {} ({server})", example.name, back_end.name());
            judge(name, matches(&file, &printed)?, &mut differing);
        }
    }
    if differing.is_empty() {
        Ok(())
    } else {
        Err(format!("printed something else: {}", differing.join(", ")).into())
    }
}

fn judge(name: String, as_expected: bool, differing: &mut Vec<String>) {
    if as_expected {
        println!("{name}: as expected");
    } else {
        differing.push(name);
    }
}

/// The servers that are found. Without one the examples run alone.
fn servers(probe: &Probe<'_>) -> Result<Vec<(Kind, Server)>> {
    let mut servers = Vec::new();
    for back_end in [Kind::Postgres, Kind::Mysql] {
        let found = servers::find(back_end, probe, false)?;
        servers.extend(found.map(|server| (back_end, server)));
    }
    Ok(servers)
}

fn examples(names: &[&String]) -> Result<Vec<Package>> {
    let directory = root().join("examples");
    let mut examples = packages()?;
    examples.retain(|package| package.directory.starts_with(&directory));
    if let Some(unknown) = names
        .iter()
        .find(|name| examples.iter().all(|example| example.name != ***name))
    {
        return Err(format!("there is no example `{unknown}`").into());
    }
    if !names.is_empty() {
        examples.retain(|example| names.iter().any(|name| **name == example.name));
    }
    Ok(examples)
}

/// Runs the example in an empty directory, as on a first run, with nothing of ours in its
/// environment but the database.
fn execute(program: &Path, name: &str, database: Option<&str>) -> Result<String> {
    let directory = std::env::temp_dir().join(format!("bento-xtask-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let mut command = Command::new(program);
    command.arg("--demo");
    command
        .current_dir(&directory)
        .env_remove("DATABASE_URL")
        .env_remove("NATS_URL")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command.envs(database.map(|url| ("DATABASE_URL", url)));
    let printed = output(&mut command);
    fs::remove_dir_all(&directory)?;
    printed
}

fn matches(file: &Path, printed: &str) -> Result<bool> {
    let expected = fs::read_to_string(file).map_err(|error| {
        format!(
            "{}: {error}; write it with `cargo xtask examples --bless`",
            file.display()
        )
    })?;
    let differences = pattern::differences(&expected, printed);
    if !differences.is_empty() {
        println!("{} (- expected, + printed):", file.display());
        differences.iter().for_each(|line| println!("{line}"));
    }
    Ok(differences.is_empty())
}
