//! The other process: this program again, as a relay. It works until its input ends, then writes
//! down when each event came.

use std::collections::HashMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bento_benchmarks::Result;
use bento_relay::{Relay, Wake};
use bento_seaorm::OutboxStore;
use bento_seaorm::wake::PostgresWake;
use sqlx::postgres::PgPoolOptions;

use crate::probe::Probe;

/// The option that makes this program the relay.
pub(crate) const ROLE: &str = "relay";
/// It finds events by polling.
pub(crate) const POLLS: &str = "polls";
/// It is notified as well.
pub(crate) const NOTIFIED: &str = "notified";
/// The option with the address of the database.
pub(crate) const ADDRESS: &str = "database";

/// The relay of another process.
pub(crate) struct Other(Child);

impl Other {
    pub(crate) fn start(role: &str, address: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([&format!("--{ROLE}"), role, &format!("--{ADDRESS}"), address]);
        Ok(Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        ))
    }

    /// The time at which each order's event came, on the clock of [`now`](crate::probe::now).
    pub(crate) fn stop(self) -> Result<HashMap<String, Duration>> {
        // Its input ends with this.
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            return Err("the relay of the other process failed".into());
        }
        let text = String::from_utf8(output.stdout)?;
        let line = |line: &str| {
            let (order, nanos) = line.split_once(' ')?;
            Some((order.to_owned(), Duration::from_nanos(nanos.parse().ok()?)))
        };
        text.lines()
            .map(line)
            .collect::<Option<_>>()
            .ok_or_else(|| "the relay's times cannot be read".into())
    }
}

/// The life of the other process.
pub(crate) async fn serve(role: &str, address: &str) -> Result {
    let (wake, probe) = (Wake::new(), Probe::default());
    let _receives = match role {
        NOTIFIED => Some(PostgresWake::start(address, &wake)?),
        POLLS => None,
        _ => return Err(format!("a relay cannot be `{role}`").into()),
    };
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .connect(address)
        .await?;
    let relay = Relay::builder(OutboxStore::new(pool.into()), probe.clone())
        .wake(&wake)
        .start()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    relay.stop().await?;
    for (order, at) in probe.picked_up() {
        println!("{order} {}", at.as_nanos());
    }
    Ok(())
}
