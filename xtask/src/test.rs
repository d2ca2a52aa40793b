//! `cargo xtask test`: the tests of the workspace on every back end and broker, and a table of what
//! ran where.
//!
//! The counts are read from libtest's own output, by the naming convention of CONTRIBUTING.md, so a
//! suite that silently did not run on one of them shows as a hole and fails the command.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus};

use crate::Result;
use crate::servers::{self, Kind, Probe, Server};
use crate::workspace::{build_programs, cargo, program};

use self::histories::Histories;
use self::report::Report;

mod histories;
mod report;

/// The options of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The servers that `--only` names; without the option, all servers that can be found.
    only: Option<Vec<Kind>>,
    /// Passed on to the test programs.
    filters: Vec<String>,
}

/// A back end or broker and the server that serves it; SQLite needs none.
#[derive(Debug)]
struct Chosen {
    kind: Kind,
    server: Option<Server>,
}

impl Chosen {
    fn is_limited(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| server.limits.is_some())
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind.name();
        match &self.server {
            Some(
                server @ Server {
                    limits: Some(limits),
                    ..
                },
            ) => write!(formatter, "{name}: {server}; {limits}"),
            Some(server) => write!(formatter, "{name}: {server}"),
            None => write!(formatter, "{name}: a file or memory of each test"),
        }
    }
}

pub(crate) fn run(arguments: &[String]) -> Result {
    let request = Request::parse(arguments)?;
    let programs = build_programs()?;
    let probe = Probe {
        program: program(&programs, "xtask-probe")?,
    };
    let chosen = choose(&request, &probe)?;
    for one in &chosen {
        println!("{one}");
    }
    let histories = Histories::begin()?;
    let mut report = Report::new(chosen.iter().map(|chosen| chosen.kind));
    let status = stream(&mut test_command(&request, &chosen), &mut report)?;
    println!("\n{report}");
    // What was printed before the tests is far above by now.
    for one in chosen.iter().filter(|one| one.is_limited()) {
        println!("{one}");
    }
    histories.print()?;
    report.verdict(status.success(), request.filters.is_empty())
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut request = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--only" => request.only = Some(kinds(rest.next().map_or("", String::as_str))?),
                "--" => request.filters = rest.by_ref().cloned().collect(),
                other => {
                    return Err(
                        format!("unknown argument `{other}`; filters go behind `--`").into(),
                    );
                }
            }
        }
        Ok(request)
    }
}

fn kinds(names: &str) -> Result<Vec<Kind>> {
    let unknown = |name: &str| {
        let all = Kind::ALL.map(Kind::name).join(", ");
        format!("`{name}` is neither a back end nor a broker; --only takes {all}").into()
    };
    names
        .split(',')
        .map(|name| Kind::from_name(name).ok_or_else(|| unknown(name)))
        .collect()
}

fn choose(request: &Request, probe: &Probe<'_>) -> Result<Vec<Chosen>> {
    let mut chosen = Vec::new();
    for kind in Kind::ALL {
        let asked_for = request.only.as_ref().map(|only| only.contains(&kind));
        if asked_for == Some(false) {
            continue;
        }
        if kind == Kind::Sqlite {
            chosen.push(Chosen { kind, server: None });
        } else if let Some(server) = servers::find(kind, probe, asked_for == Some(true))? {
            chosen.push(Chosen {
                kind,
                server: Some(server),
            });
        }
    }
    Ok(chosen)
}

/// `cargo test` with the servers in its environment, and only those that were chosen.
fn test_command(request: &Request, chosen: &[Chosen]) -> Command {
    let mut command = cargo();
    command
        .args([
            "test",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
            "--",
        ])
        .args(&request.filters);
    for kind in Kind::ALL {
        let variables = kind
            .variable()
            .into_iter()
            .chain(kind.program().map(|(variable, _)| variable));
        for variable in variables {
            command.env_remove(variable);
        }
    }
    for Chosen { kind, server } in chosen {
        if let (Some(variable), Some(server)) = (kind.variable(), server) {
            command.env(variable, &server.url);
        }
        if let Some((variable, Some(program))) = kind.program() {
            command.env(variable, program);
        }
    }
    command
}

/// Runs the command, showing what it prints while the report reads along.
///
/// Both of its streams go through one pipe: cargo names the test program on stderr, and only their
/// order tells which program a test belongs to.
fn stream(command: &mut Command, report: &mut Report) -> Result<ExitStatus> {
    let (reader, writer) = std::io::pipe()?;
    command.stderr(writer.try_clone()?).stdout(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends; the pipe ends only when they are gone.
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
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
        let request =
            Request::parse(&words(&["--only", "sqlite,mysql,kafka", "--", "rollback"])).unwrap();
        assert_eq!(
            request.only,
            Some(vec![Kind::Sqlite, Kind::Mysql, Kind::Kafka])
        );
        assert_eq!(request.filters, ["rollback"]);
    }

    #[test]
    fn an_unknown_back_end_is_refused() {
        let error = Request::parse(&words(&["--only", "oracle"])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`oracle` is neither a back end nor a broker")
        );
    }
}
