//! A server in a container, on a port of the engine's choice.

use std::process::Command;

use super::{BackEnd, Probe, Running, Server, wait_until_ready};
use crate::Result;
use crate::workspace::output;

pub(super) fn start(back_end: BackEnd, probe: &Probe<'_>) -> Result<Server> {
    output(docker().args(["info", "--format", "{{.ServerVersion}}"]))?;
    let (image, setting, port) = match back_end {
        BackEnd::Postgres => ("postgres:17", "POSTGRES_HOST_AUTH_METHOD=trust", 5432),
        BackEnd::Mysql => ("mariadb:11.4", "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1", 3306),
        BackEnd::Sqlite => return Err("SQLite needs no server".into()),
    };
    println!("starting {image} in Docker");
    let publish = format!("127.0.0.1::{port}");
    let id = output(docker().args(["run", "--rm", "--detach", "--env", setting, "--publish", &publish, image]))?;
    let running = Running::Container(id.trim().to_owned());
    let address = output(docker().args(["port", id.trim(), &port.to_string()]))?;
    let address = address.lines().next().ok_or("Docker published no port")?.trim().to_owned();
    let url = match back_end {
        BackEnd::Postgres => format!("postgres://postgres@{address}/postgres"),
        _ => format!("mysql://root@{address}/"),
    };
    wait_until_ready(url, format!("{image} in Docker"), running, probe)
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
