//! Finds a server for each back end and each broker: the one of the environment, the local one, one
//! started for this run.
//!
//! A database that is installed is started for this run even if one runs already: ours does not
//! wait for the disk, and the tests make and drop some two thousand databases.
//!
//! A server counts as found when the tests' own driver has logged in to it, see `xtask/probe`.

use std::env;
use std::fmt;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::workspace::output;

mod brokers;
mod docker;
mod kind;
mod memory;
mod mock;
mod mysql;
mod postgres;
mod private;
mod scratch;
mod tansu;

pub(crate) use self::kind::Kind;
pub(crate) use self::memory::temporary_folder;
pub(crate) use self::scratch::Scratch;

const START_PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);

/// A server that answers; one that was started for this run ends with it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    version: String,
    source: String,
    /// Reports the tests that do not run on the server, and the reason.
    pub(crate) limits: Option<&'static str>,
    /// Kept for its `Drop`, which stops a server that this run started.
    _running: Option<Running>,
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {}", self.version, self.source)
    }
}

/// The program that logs in and asks for the version, or runs a statement.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) program: &'a Path,
}

impl Probe<'_> {
    /// The server's version, or why it could not be asked.
    fn ask(&self, url: &str) -> Result<String> {
        let version = output(Command::new(self.program).arg(url))?;
        let short = version.split(" on ").next().unwrap_or_default();
        Ok(short.trim().to_owned())
    }

    fn execute(&self, url: &str, statement: &str) -> Result {
        output(Command::new(self.program).args([url, statement])).map(drop)
    }
}

/// A server of this kind, or nothing but a printed account of what was tried.
///
/// # Errors
/// If one was asked for, by the environment or by `--only`, and none can be had.
pub(crate) fn find(kind: Kind, probe: &Probe<'_>, asked_for: bool) -> Result<Option<Server>> {
    let variable = kind.variable().ok_or("SQLite needs no server")?;
    if let Ok(url) = env::var(variable) {
        if kind == Kind::Kafka && url == mock::NAME {
            return mock::use_it(kind, probe).map(Some);
        }
        let version = probe
            .ask(&url)
            .map_err(|error| format!("{variable} is set but cannot be used: {error}"))?;
        let source = format!("from {variable}");
        return Ok(Some(Server {
            url,
            version,
            source,
            limits: None,
            _running: None,
        }));
    }
    let mut tried = Vec::new();
    for (way, attempt) in ways(kind, asked_for) {
        match attempt(kind, probe) {
            Ok(server) => return Ok(Some(server)),
            Err(error) => tried.push(format!("  {way}: {error}")),
        }
    }
    let account = format!("no server for {}; tried\n{}", kind.name(), tried.join("\n"));
    if asked_for {
        return Err(format!("{account}\nset {variable} to use one elsewhere").into());
    }
    println!("{account}");
    Ok(None)
}

type Attempt = fn(Kind, &Probe<'_>) -> Result<Server>;

/// The ways to a server, nearest first. A broker that is built from source is built only if it was
/// asked for.
fn ways(kind: Kind, asked_for: bool) -> [(&'static str, Attempt); 4] {
    let third: (_, Attempt) = match kind {
        Kind::Kafka if !asked_for => ("a mock", mock::use_it),
        _ => ("installing it", private::install_and_start),
    };
    let running: (_, Attempt) = ("the usual local port", local);
    let installed: (_, Attempt) = ("installed programs", private::start);
    let (first, second) = if kind.is_broker() {
        (running, installed)
    } else {
        (installed, running)
    };
    [first, second, third, ("Docker", docker::start)]
}

fn local(kind: Kind, probe: &Probe<'_>) -> Result<Server> {
    let url = kind.local_url().to_owned();
    // The driver would go on trying for seconds where nothing listens.
    TcpStream::connect(kind.local_address())?;
    let version = probe.ask(&url)?;
    Ok(Server {
        url,
        version,
        source: "the server on the usual local port".to_owned(),
        limits: None,
        _running: None,
    })
}

/// Waits until a server that is starting lets us in.
fn wait_until_ready(
    url: String,
    source: String,
    mut running: Running,
    probe: &Probe<'_>,
) -> Result<Server> {
    let start = Instant::now();
    loop {
        match probe.ask(&url) {
            Ok(version) => {
                return Ok(Server {
                    url,
                    version,
                    source,
                    limits: None,
                    _running: Some(running),
                });
            }
            Err(error) if start.elapsed() > START_PATIENCE => {
                return Err(
                    format!("started, but not ready after {START_PATIENCE:?}: {error}").into(),
                );
            }
            Err(_) => running.still_there()?,
        }
        thread::sleep(POLL);
    }
}

/// A server that this run started. Dropping it stops it and removes its data.
#[derive(Debug)]
enum Running {
    Process(private::Process),
    Container(String),
}

impl Running {
    fn still_there(&mut self) -> Result {
        match self {
            Self::Process(process) => process.still_there(),
            Self::Container(_) => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::Process(process) => process.stop(),
            Self::Container(id) => docker::stop(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_built_from_source_only_on_request() {
        let names = |kind, asked_for| ways(kind, asked_for).map(|(way, _)| way);
        let mock = [
            "the usual local port",
            "installed programs",
            "a mock",
            "Docker",
        ];
        let installing = [
            "the usual local port",
            "installed programs",
            "installing it",
            "Docker",
        ];
        assert_eq!(names(Kind::Kafka, false), mock);
        assert_eq!(names(Kind::Kafka, true), installing);
        assert_eq!(names(Kind::Nats, false), installing);
    }

    #[test]
    fn a_database_of_ones_own_comes_before_one_that_runs() {
        let [first, second, ..] = ways(Kind::Postgres, true).map(|(way, _)| way);
        assert_eq!(
            [first, second],
            ["installed programs", "the usual local port"]
        );
    }

    #[test]
    fn the_mock_is_told_to_the_tests_and_named_with_its_limits() {
        let probe = Probe {
            program: Path::new("none"),
        };
        let server = mock::use_it(Kind::Kafka, &probe).unwrap();
        assert_eq!(
            (&*server.url, &*server.to_string()),
            ("mock", "librdkafka's mock cluster, in each test")
        );
        assert!(
            server
                .limits
                .unwrap()
                .contains("`cargo xtask test --only kafka`")
        );
        mock::use_it(Kind::Nats, &probe).unwrap_err();
    }
}
