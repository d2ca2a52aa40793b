//! A RabbitMQ of the test's own, which it may kill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{PrivateServer, free_port};

pub(crate) const PROGRAM: &str = "BENTO_TEST_RABBITMQ_SERVER";

/// Dropping it ends it.
pub(crate) struct Broker {
    pub(crate) server: PrivateServer,
    program: PathBuf,
    distribution: u16,
}

impl Broker {
    /// Starts one with these settings. `None` if its program is not there.
    pub(crate) fn start(settings: impl Into<String>) -> Option<Self> {
        let program = PathBuf::from(std::env::var_os(PROGRAM)?);
        let distribution = free_port();
        let (own, settings) = (program.clone(), settings.into());
        let server = PrivateServer::start_new(move |port, directory| {
            fs::write(directory.join("enabled_plugins"), "[].").unwrap();
            let settings = format!("listeners.tcp.local = 127.0.0.1:{port}\n{settings}");
            fs::write(directory.join("rabbitmq.conf"), settings).unwrap();
            command(&own, port, distribution, directory)
        })?;
        Some(Self {
            server,
            program,
            distribution,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.server.port)
    }

    /// Runs `rabbitmqctl`.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let program = self.program.with_file_name("rabbitmqctl");
        let mut command = command(
            &program,
            self.server.port,
            self.distribution,
            &self.server.directory,
        );
        let output = command.args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// With its own settings, and none of the machine's. As under systemd the server is one process,
/// which signals reach.
fn command(program: &Path, port: u16, distribution: u16, directory: &Path) -> Command {
    let inside = |name: &str| directory.join(name);
    let mut command = Command::new(program);
    command
        .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", inside("none"));
    command
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", inside("pid"));
    command
        .env("RABBITMQ_MNESIA_BASE", inside("data"))
        .env("RABBITMQ_LOG_BASE", directory);
    command.env("RABBITMQ_NODENAME", format!("bento-{port}@localhost"));
    command
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command.env(
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        "-kernel inet_dist_use_interface {127,0,0,1}",
    );
    command
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("HOME", directory);
    command
}
