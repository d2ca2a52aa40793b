//! A server in a container, on a port of the engine's choice.

use std::process::Command;

use super::{Kind, Probe, Running, Server, wait_until_ready};
use crate::Result;
use crate::workspace::output;

pub(super) fn start(kind: Kind, probe: &Probe<'_>) -> Result<Server> {
    let Some(Container {
        image,
        port,
        options,
        arguments,
    }) = container(kind)
    else {
        return Err(format!("no image is named for {}", kind.name()).into());
    };
    output(docker().args(["info", "--format", "{{.ServerVersion}}"]))?;
    println!("starting {image} in Docker");
    let publish = format!("127.0.0.1::{port}");
    let mut run = docker();
    run.args(["run", "--rm", "--detach", "--publish", &publish])
        .args(options)
        .arg(image)
        .args(arguments);
    let id = output(&mut run)?;
    let running = Running::Container(id.trim().to_owned());
    let address = output(docker().args(["port", id.trim(), &port.to_string()]))?;
    let address = address
        .lines()
        .next()
        .ok_or("Docker published no port")?
        .trim()
        .to_owned();
    let url = kind
        .local_url()
        .replace(&format!("127.0.0.1:{port}"), &address);
    wait_until_ready(url, format!("{image} in Docker"), running, probe)
}

/// The arguments of `docker run`.
struct Container {
    image: &'static str,
    port: u16,
    options: &'static [&'static str],
    arguments: &'static [&'static str],
}

fn container(kind: Kind) -> Option<Container> {
    let (image, options, arguments): (_, &[_], &[_]) = match kind {
        // Kafka tells its clients the address it was started with, and the port is known only
        // afterwards.
        Kind::Sqlite | Kind::Kafka => return None,
        Kind::Postgres => (
            "postgres:17",
            &["--env", "POSTGRES_HOST_AUTH_METHOD=trust"],
            &[],
        ),
        Kind::Mysql => (
            "mariadb:11.4",
            &["--env", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1"],
            &[],
        ),
        Kind::Nats => ("nats:2.11", &[], &["-js"]),
        Kind::Rabbitmq => ("rabbitmq:4", &[], &[]),
        Kind::Redis => ("redis:8", &[], &[]),
    };
    let (_, port) = kind.local_address();
    Some(Container {
        image,
        port,
        options,
        arguments,
    })
}

pub(super) fn stop(container: &str) {
    // The container was started with `--rm`; failing to stop it can only be told.
    if let Err(error) = output(docker().args(["stop", "--time", "1", container])) {
        eprintln!("cannot stop the container {container}: {error}");
    }
}

fn docker() -> Command {
    Command::new("docker")
}
