//! `cargo xtask test`: the tests of the workspace on every back end and broker, and a table of what
//! ran where.
//!
//! The counts are read from libtest's own output, by the naming convention of CONTRIBUTING.md, so a
//! suite that silently did not run on one of them shows as a hole and fails the command.

use std::fmt;
use std::fs;

use crate::Result;
use crate::servers::{self, Kind, Probe, Server};
use crate::workspace::{build_programs, program, target_directory};

use self::histories::Histories;
use self::lanes::Variables;
use self::report::Report;

mod histories;
mod lanes;
mod order;
mod report;

/// The options of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    /// The servers that `--only` names; without the option, all servers that can be found.
    only: Option<Vec<Kind>>,
    /// Passed on to the test programs.
    filters: Vec<String>,
}

/// The arguments of every test program, and the variables of those in each lane.
#[derive(Debug)]
struct Start<'a> {
    filters: &'a [String],
    lanes: &'a [Variables],
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
    let folder = target_directory()?.join("tmp/outputs");
    let temporary = servers::temporary_folder().join(format!("bento-tests-{}", std::process::id()));
    fs::create_dir_all(&temporary)?;
    // With a filter most programs have nothing to do.
    let others = if request.filters.is_empty() {
        other_databases(&chosen, &probe)?
    } else {
        None
    };
    let mut lanes = vec![variables(&chosen, &[])];
    lanes.extend(others.iter().map(|others| variables(&chosen, others)));
    for lane in &mut lanes {
        lane.push(("TMPDIR", Some(temporary.clone().into())));
    }
    let start = Start {
        filters: &request.filters,
        lanes: &lanes,
    };
    for queues in order::phases(&programs, &start)? {
        lanes::run(queues, &folder, &mut report, &mut std::io::stdout())?;
    }
    if let Err(error) = fs::remove_dir_all(&temporary) {
        eprintln!("cannot remove {}: {error}", temporary.display());
    }
    println!("\n{report}");
    // What was printed before the tests is far above by now.
    for one in chosen.iter().filter(|one| one.is_limited()) {
        println!("{one}");
    }
    histories.print()?;
    report.verdict(request.filters.is_empty())
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

/// The databases of a second lane, if all of the first were started for this run.
///
/// Test programs at one server would wait for each other: PostgreSQL's oldest transaction, behind
/// which the relay does not read, is that of all its databases, and MariaDB answers anew which
/// transactions wait only if nobody has asked for 100 ms.
fn other_databases(chosen: &[Chosen], probe: &Probe<'_>) -> Result<Option<Vec<(Kind, Server)>>> {
    let mut others = Vec::new();
    for Chosen { kind, server } in chosen.iter().filter(|chosen| !chosen.kind.is_broker()) {
        if let Some(server) = server {
            match server.another(*kind, probe)? {
                Some(other) => others.push((*kind, other)),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(others))
}

/// The variables that tell the tests the servers, and only those that were chosen. One of these
/// others takes the place of the one that was chosen first.
fn variables(chosen: &[Chosen], others: &[(Kind, Server)]) -> Variables {
    let mut variables = Vec::new();
    for kind in Kind::ALL {
        let chosen = chosen.iter().find(|chosen| chosen.kind == kind);
        if let Some(variable) = kind.variable() {
            let other = others.iter().find(|(other, _)| *other == kind);
            let server = other
                .map(|(_, server)| server)
                .or_else(|| chosen.and_then(|chosen| chosen.server.as_ref()));
            variables.push((variable, server.map(|server| server.url.clone().into())));
        }
        if let Some((variable, program)) = kind.program() {
            let program = program.filter(|_| chosen.is_some());
            variables.push((variable, program.map(Into::into)));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chosen_servers_are_told_to_the_tests() {
        let chosen = [Chosen {
            kind: Kind::Sqlite,
            server: None,
        }];
        let variables = variables(&chosen, &[]);
        assert!(variables.iter().all(|(_, value)| value.is_none()));
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"BENTO_TEST_POSTGRES_URL"), "{names:?}");
        assert!(names.contains(&"BENTO_TEST_KAFKA_SERVER"), "{names:?}");
    }

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
