//! A server of our own, with its data in a temporary directory and a port that was free.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{
    Kind, Probe, Running, Server, brokers, mysql, postgres, tansu, temporary_folder,
    wait_until_ready,
};
use crate::Result;
use crate::workspace::{output, succeed};

const STOP_PATIENCE: Duration = Duration::from_secs(10);
const STOP_POLL: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 5;

/// The set-up and start of one kind of server.
#[derive(Debug)]
pub(super) struct Plan {
    /// The program that lays out the data directory, where the server does not do it itself.
    pub(super) initialise: Option<Command>,
    pub(super) serve: Command,
    pub(super) url: String,
    /// The account that root must step down to, where the server does not like to be root.
    pub(super) account: Option<&'static str>,
    /// The signal at which it shuts down without waiting for its clients.
    pub(super) stop_signal: &'static str,
}

/// A server's process and the directory that goes with it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    directory: PathBuf,
    stop_signal: &'static str,
}

/// The folder and the port that a plan may use.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) port: u16,
}

/// Starts the server whose programs are installed.
pub(super) fn start(kind: Kind, probe: &Probe<'_>) -> Result<Server> {
    let name = format!("bento-xtask-{}-{}", std::process::id(), kind.name());
    // A broker has little to write, and some give less room to others if their disk is small.
    let directory = if kind.is_broker() {
        env::temp_dir().join(name)
    } else {
        temporary_folder().join(name)
    };
    let place = Place {
        port: free_port()?,
        directory,
    };
    let mut plan = match kind {
        Kind::Sqlite => return Err("SQLite needs no server".into()),
        Kind::Postgres => postgres::plan(&place)?,
        Kind::Mysql => mysql::plan(&place)?,
        Kind::Nats => brokers::nats(&place)?,
        Kind::Rabbitmq => brokers::rabbitmq(&place)?,
        Kind::Redis => brokers::redis(&place)?,
        Kind::Kafka => brokers::kafka(&place)?,
    };
    println!("starting a private {} on port {}", kind.name(), place.port);
    fs::create_dir_all(&place.directory)?;
    let log = File::create(place.directory.join("log"))?;
    if is_root()? {
        step_down(&mut plan, &place.directory)?;
    }
    if let Some(initialise) = &mut plan.initialise {
        output(initialise.current_dir(&place.directory))?;
    }
    let child = plan
        .serve
        .current_dir(&place.directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let running = Running::Process(Process {
        child,
        directory: place.directory,
        stop_signal: plan.stop_signal,
    });
    wait_until_ready(
        plan.url,
        format!("started for this run on port {}", place.port),
        running,
        probe,
    )
}

impl Process {
    /// Fails with the end of its log if the server has ended.
    pub(super) fn still_there(&mut self) -> Result {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ");
        Err(format!("ended with {status}: {end}").into())
    }

    pub(super) fn stop(&mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill")
            .args(["-s", self.stop_signal, &id])
            .status();
        if !(asked.is_ok_and(|status| status.success()) && self.has_ended()) {
            // Its data is about to go anyway.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }

    fn has_ended(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < STOP_PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(STOP_POLL);
        }
        false
    }
}

/// Installs Debian's package, or builds the crate, then starts its server privately.
pub(super) fn install_and_start(kind: Kind, probe: &Probe<'_>) -> Result<Server> {
    match kind.package() {
        Some(package) => install(package)?,
        None => tansu::install()?,
    }
    start(kind, probe)
}

fn install(package: &str) -> Result {
    if !is_root()? {
        return Err(format!("only root can install Debian's {package}").into());
    }
    println!("installing {package}");
    apt_get(&["update", "--quiet=2"])?;
    apt_get(&[
        "install",
        "--quiet=2",
        "--yes",
        "--no-install-recommends",
        package,
    ])
}

/// The path of a program: in one of these directories, else in `PATH`.
pub(super) fn find_program(names: &[&str], directories: &[PathBuf]) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = directories
        .iter()
        .cloned()
        .chain(env::split_paths(&path))
        .chain([PathBuf::from("/usr/sbin")])
        .collect();
    names
        .iter()
        .flat_map(|name| {
            directories
                .iter()
                .map(move |directory| directory.join(name))
        })
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("{} not found", names.join(" or ")).into())
}

fn apt_get(arguments: &[&str]) -> Result {
    succeed(
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn step_down(plan: &mut Plan, directory: &Path) -> Result {
    let Some(account) = plan.account else {
        return Ok(());
    };
    let id = |flag| -> Result<u32> {
        Ok(output(Command::new("id").args([flag, account]))?
            .trim()
            .parse()?)
    };
    let (user, group) = (id("-u")?, id("-g")?);
    std::os::unix::fs::chown(directory, Some(user), Some(group))?;
    if let Some(initialise) = &mut plan.initialise {
        initialise.uid(user).gid(group);
    }
    plan.serve.uid(user).gid(group);
    Ok(())
}

fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
