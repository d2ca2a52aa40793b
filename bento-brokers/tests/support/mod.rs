//! The common parts of the publishers' tests.

#![allow(dead_code, reason = "each test of a broker uses a part of it")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The server's URL in this variable of the environment; without it its tests are skipped.
pub(crate) fn url(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

/// A name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", bento_core::EventId::new())
}

/// A port that is free now, and stays so while no server listens there: the system gives none below
/// 32,768 to a connection that goes out.
pub(crate) fn free_port() -> u16 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let first = (hasher.finish() % 10_000) as u16;
    let ports = (0..10_000).map(|offset| 20_000 + (first + offset) % 10_000);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("one of these ports is free")
}

/// Listens at a port that a listener, or a connection of another test, may just be leaving.
pub(crate) fn listen(port: u16) -> TcpListener {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return listener,
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && begun.elapsed() < Duration::from_secs(30) =>
            {
                // The system does not tell when a port is free again.
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("cannot listen at port {port}: {error}"),
        }
    }
}

/// The time within which a server listens: on a busy machine RabbitMQ takes minutes.
const STARTS_WITHIN: Duration = Duration::from_secs(300);

/// Waits until a server listens there.
pub(crate) fn wait_for_listener(port: u16) {
    wait_while_it_runs(port, || true);
}

/// Waits until a server listens there, as long as it runs.
fn wait_while_it_runs(port: u16, mut runs: impl FnMut() -> bool) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(runs(), "the private server has ended");
        assert!(
            begun.elapsed() < STARTS_WITHIN,
            "the private server does not listen"
        );
        // A process has no way to tell us.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An error with its causes, as a log shows it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Makes the command for a port and a directory.
type CommandFor = dyn Fn(u16, &Path) -> Command + Send + Sync;

/// A server process of one test, with a directory of its own; both go when this is dropped.
pub(crate) struct PrivateServer {
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    command: Box<CommandFor>,
    process: Mutex<Option<Child>>,
}

impl PrivateServer {
    /// Starts a server by the command that `command` makes for a port and a directory. `None` if
    /// the program is not installed.
    pub(crate) fn start_new(
        command: impl Fn(u16, &Path) -> Command + Send + Sync + 'static,
    ) -> Option<Self> {
        let directory = std::env::temp_dir().join(unique("bento-test"));
        std::fs::create_dir_all(&directory).unwrap();
        let command = Box::new(command);
        let server = Self {
            port: free_port(),
            directory,
            command,
            process: Mutex::default(),
        };
        server.start().then_some(server)
    }

    /// Starts it and waits until it listens. `false` if the program is not installed.
    pub(crate) fn start(&self) -> bool {
        let mut command = (self.command)(self.port, &self.directory);
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(mut process) = quiet.spawn() else {
            return false;
        };
        wait_while_it_runs(self.port, || process.try_wait().unwrap().is_none());
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        true
    }

    /// Tells it to read its settings again.
    pub(crate) fn reload(&self) {
        self.signal("HUP");
    }

    /// Sends it a signal: `STOP` lets it stand still, and `CONT` go on.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let id = process.as_ref().expect("it runs").id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&self) {
        if let Some(mut process) = self
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
