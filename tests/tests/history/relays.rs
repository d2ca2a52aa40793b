//! Three relays in processes of their own, one to be killed, one to be paused.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tokio::process::{Child, Command};

/// The batch size that the relay process is built with, and the most workers it runs at once.
const IN_FLIGHT_AT_MOST: usize = 20 * 4;

/// The relay processes.
pub struct Relays {
    database: DatabaseConnection,
    processes: Vec<(String, Child)>,
}

/// A relay that stopped answering, and what others did about it.
#[derive(Clone)]
pub struct Takeover {
    pub relay: String,
    pub how: &'static str,
    pub in_flight_at_most: usize,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was {}, at most {} in flight",
            self.relay, self.how, self.in_flight_at_most
        )
    }
}

impl Relays {
    pub fn start(url: &str, database: &DatabaseConnection) -> Self {
        let start = |name: &str| {
            let child = Command::new(env!("CARGO_BIN_EXE_history_relay"))
                .args([name, url])
                .stdin(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("the relay process starts");
            (name.to_owned(), child)
        };
        Self {
            database: database.clone(),
            processes: ["first", "second", "third"].map(start).into(),
        }
    }

    /// SIGKILL while it publishes: right after one of its batches reached the broker.
    pub async fn kill_while_publishing(&mut self) -> Takeover {
        let (relay, mut child) = self.processes.remove(0);
        self.next_delivery_of(&relay).await;
        child.kill().await.expect("the relay can be killed");
        Takeover {
            relay,
            how: "killed",
            in_flight_at_most: IN_FLIGHT_AT_MOST,
        }
    }

    /// SIGSTOP while it publishes, until the one relay that is left has taken all it can take; then
    /// SIGCONT.
    pub async fn pause_past_its_lease(&mut self) -> Takeover {
        let (relay, pid) = (
            self.processes[0].0.clone(),
            self.processes[0].1.id().expect("it runs"),
        );
        self.next_delivery_of(&relay).await;
        signal("STOP", pid).await;
        self.taken_over().await;
        signal("CONT", pid).await;
        Takeover {
            relay,
            how: "paused past its lease and resumed",
            in_flight_at_most: IN_FLIGHT_AT_MOST,
        }
    }

    /// Waits until the leases of the paused relay have run out and the shards are taken, but for
    /// those that it locked in the middle of a transaction.
    async fn taken_over(&self) {
        let run_out = "SELECT shard FROM bento_relay_shard WHERE expires_at <= CURRENT_TIMESTAMP \
                       FOR UPDATE SKIP LOCKED";
        let alive = "SELECT count(*) FROM bento_relay WHERE expires_at > CURRENT_TIMESTAMP";
        while self.count(alive).await > 1 || self.has_row(run_out).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing is pending.
    pub async fn drained(&self) {
        let sql = "SELECT count(*) FROM bento_outbox_status";
        while self.count(sql).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets the remaining ones drain and end.
    pub async fn stop(self) {
        for (_, mut child) in self.processes {
            drop(child.stdin.take());
            child.wait().await.expect("the relay ends");
        }
    }

    async fn next_delivery_of(&self, relay: &str) {
        let sql = format!("SELECT count(*) FROM broker_log WHERE relay = '{relay}'");
        let before = self.count(&sql).await;
        while self.count(&sql).await == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn has_row(&self, sql: &str) -> bool {
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        self.database
            .query_one_raw(statement)
            .await
            .expect("the leases can be read")
            .is_some()
    }

    async fn count(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        let row = self
            .database
            .query_one_raw(statement)
            .await
            .expect("the count can be read");
        row.expect("a count has a row")
            .try_get_by_index(0)
            .expect("a number")
    }
}

async fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .await;
    assert!(status.expect("`kill` runs").success());
}
