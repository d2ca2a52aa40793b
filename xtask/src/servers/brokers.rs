//! The start of private brokers. None of them needs prepared data.

use std::fs;
use std::process::Command;

use super::kind::RABBITMQ_PROGRAMS;
use super::private::{Place, Plan, find_program, free_port};
use super::tansu;
use crate::Result;

pub(super) fn nats(place: &Place) -> Result<Plan> {
    let mut serve = Command::new(find_program(&["nats-server"], &[])?);
    serve
        .args([
            "-a",
            "127.0.0.1",
            "-p",
            &place.port.to_string(),
            "-js",
            "-sd",
        ])
        .arg(place.directory.join("data"));
    Ok(plan(serve, format!("nats://127.0.0.1:{}", place.port)))
}

pub(super) fn redis(place: &Place) -> Result<Plan> {
    let mut serve = Command::new(find_program(&["redis-server"], &[])?);
    serve.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &place.port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
    ]);
    serve.arg(&place.directory);
    Ok(plan(serve, format!("redis://127.0.0.1:{}", place.port)))
}

/// RabbitMQ takes its settings from files and the environment; those of the machine's own server
/// are kept away from it. Its home holds the cookie of its Erlang node. As under systemd there is
/// one process, which signals reach, and not a shell around it.
pub(super) fn rabbitmq(place: &Place) -> Result<Plan> {
    let program = find_program(&["rabbitmq-server"], &[RABBITMQ_PROGRAMS.into()])?;
    let inside = |name: &str| place.directory.join(name);
    fs::create_dir_all(&place.directory)?;
    fs::write(inside("enabled_plugins"), "[].")?;
    fs::write(
        inside("rabbitmq.conf"),
        format!("listeners.tcp.local = 127.0.0.1:{}\n", place.port),
    )?;
    let mut serve = Command::new(program);
    serve
        .env("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", inside("none"));
    serve
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", inside("pid"));
    serve
        .env("RABBITMQ_MNESIA_BASE", inside("data"))
        .env("RABBITMQ_LOG_BASE", &place.directory);
    serve.env(
        "RABBITMQ_NODENAME",
        format!("bento-{}@localhost", place.port),
    );
    serve
        .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1");
    serve.env(
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        "-kernel inet_dist_use_interface {127,0,0,1}",
    );
    serve
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("HOME", &place.directory);
    Ok(plan(
        serve,
        format!("amqp://guest:guest@127.0.0.1:{}", place.port),
    ))
}

pub(super) fn kafka(place: &Place) -> Result<Plan> {
    let mut serve =
        Command::new(tansu::installed().ok_or("tansu was not built yet for this user")?);
    serve.args([
        "broker",
        "--cluster-id",
        "bento",
        "--storage-engine",
        "memory://tansu/",
    ]);
    serve
        .arg("--listener-url")
        .arg(format!("tcp://127.0.0.1:{}", place.port));
    serve
        .arg("--advertised-listener-url")
        .arg(format!("tcp://127.0.0.1:{}", place.port));
    Ok(plan(serve, format!("127.0.0.1:{}", place.port)))
}

fn plan(serve: Command, url: String) -> Plan {
    Plan {
        initialise: None,
        serve,
        url,
        account: None,
        stop_signal: "TERM",
    }
}
