//! `cargo xtask test`: the tests of the workspace on every back end, and a table of what ran where.
//!
//! The counts are read from libtest's own output, by the naming convention of CONTRIBUTING.md, so a suite that
//! silently did not run on a back end shows as a hole and fails the command.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus};

use crate::Result;
use crate::databases::{self, BackEnd, Probe, Server};
use crate::workspace::{build_programs, cargo, program};

use self::histories::Histories;
use self::report::Report;

mod histories;
mod report;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The back ends named by `--only`; without it, all that can be found.
    only: Option<Vec<BackEnd>>,
    /// Passed on to the test programs.
    filters: Vec<String>,
}

/// A back end and the server that serves it; SQLite needs none.
#[derive(Debug)]
struct Chosen {
    back_end: BackEnd,
    server: Option<Server>,
}

pub(crate) fn run(arguments: &[String]) -> Result {
    let request = Request::parse(arguments)?;
    let programs = build_programs()?;
    let probe = Probe { program: program(&programs, "xtask-probe")? };
    let chosen = choose(&request, &probe)?;
    for Chosen { back_end, server } in &chosen {
        match server {
            Some(server) => println!("{}: {server}", back_end.name()),
            None => println!("{}: a file or memory of each test", back_end.name()),
        }
    }
    let histories = Histories::begin()?;
    let mut report = Report::new(chosen.iter().map(|chosen| chosen.back_end));
    let status = stream(&mut test_command(&request, &chosen), &mut report)?;
    println!("\n{report}");
    histories.print()?;
    report.verdict(status.success(), request.filters.is_empty())
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut request = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--only" => request.only = Some(back_ends(rest.next().map_or("", String::as_str))?),
                "--" => request.filters = rest.by_ref().cloned().collect(),
                other => {
                    return Err(format!("unknown argument `{other}`; filters go behind `--`").into());
                }
            }
        }
        Ok(request)
    }
}

fn back_ends(names: &str) -> Result<Vec<BackEnd>> {
    names
        .split(',')
        .map(|name| {
            BackEnd::from_name(name)
                .ok_or_else(|| format!("`{name}` is no back end; --only takes sqlite, postgres, mysql").into())
        })
        .collect()
}

fn choose(request: &Request, probe: &Probe<'_>) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    for back_end in BackEnd::ALL {
        let asked_for = request.only.as_ref().map(|only| only.contains(&back_end));
        if asked_for == Some(false) {
            continue;
        }
        if back_end == BackEnd::Sqlite {
            chosen.push(Chosen { back_end, server: None });
        } else if let Some(server) = databases::find(back_end, probe, asked_for == Some(true))? {
            chosen.push(Chosen { back_end, server: Some(server) });
        }
    }
    Ok(chosen)
}

/// `cargo test` with the servers in its environment, and only those that were chosen.
fn test_command(request: &Request, chosen: &[Chosen]) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--"]).args(&request.filters);
    for variable in BackEnd::ALL.into_iter().filter_map(BackEnd::variable) {
        command.env_remove(variable);
    }
    for Chosen { back_end, server } in chosen {
        if let (Some(variable), Some(server)) = (back_end.variable(), server) {
            command.env(variable, &server.url);
        }
    }
    command
}

/// Runs the command, showing what it prints while the report reads along.
///
/// Both of its streams go through one pipe: cargo names the test program on stderr, and only their order tells
/// which program a test belongs to.
fn stream(command: &mut Command, report: &mut Report) -> Result<ExitStatus> {
    let (reader, writer) = std::io::pipe()?;
    command.stderr(writer.try_clone()?).stdout(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends; the pipe ends only when they are gone.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut stdout = std::io::stdout().lock();
    while reader.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        report.read_line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn only_and_filters_are_read() {
        let request = Request::parse(&words(&["--only", "sqlite,mysql", "--", "rollback"])).unwrap();
        assert_eq!(request.only, Some(vec![BackEnd::Sqlite, BackEnd::Mysql]));
        assert_eq!(request.filters, ["rollback"]);
    }

    #[test]
    fn an_unknown_back_end_is_refused() {
        let error = Request::parse(&words(&["--only", "oracle"])).unwrap_err();
        assert!(error.to_string().contains("`oracle` is no back end"));
    }
}
