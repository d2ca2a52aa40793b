//! A relay behind pgbouncer in transaction mode: it works where prepared statements are followed,
//! and warns where they are not.
//!
//! `BENTO_TEST_PGBOUNCER` names the program of version 1.21 or newer. Debian's own, which is older,
//! is used if it is installed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bento_relay::store::{Heartbeat, RelayId, RelayStore};
use bento_seaorm::{OutboxConnection, OutboxStore};
use sea_orm::DbBackend;

use self::support::log::Log;
use self::support::{TestDatabase, connect, in_database};

/// A pooler in front of a test's database. It is killed when it is dropped.
struct PgBouncer {
    process: Child,
    directory: PathBuf,
    url: String,
}

impl PgBouncer {
    fn start(program: &Path, database: &TestDatabase, settings: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let (_, rest) = database.url().split_once("://").unwrap();
        let (authority, name) = rest.split_once('/').unwrap();
        let (user, server) = authority.rsplit_once('@').unwrap();
        let (host, server_port) = server.rsplit_once(':').unwrap_or((server, "5432"));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let directory = std::env::temp_dir().join(format!("{name}_pgbouncer"));
        std::fs::create_dir(&directory).unwrap();
        let (users, file) = (directory.join("users.txt"), directory.join("pgbouncer.ini"));
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).unwrap();
        let text = format!(
            "[databases]\n{name} = host={host} port={server_port} \
             dbname={name}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = \
             {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = \
             transaction\nignore_startup_parameters = extra_float_digits\n{settings}\n",
            users.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(program);
        // It refuses to run as root.
        if std::env::var("USER").is_ok_and(|user| user == "root")
            || Path::new("/root").read_dir().is_ok()
        {
            command.args(["-u", "nobody"]);
            Command::new("chmod")
                .args(["-R", "a+rX"])
                .arg(&directory)
                .status()
                .unwrap();
        }
        let process = command
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            directory,
            url: format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}"),
        }
    }

    /// A pool that leads through it.
    async fn connect(&self) -> sea_orm::DatabaseConnection {
        let (_, address) = self.url.rsplit_once('@').unwrap();
        let (address, _) = address.split_once('/').unwrap();
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        connect(&self.url, 2).await
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const WARNING: &[&str] = &["WARN", "bento::relay", "pooler"];

mod postgres {
    use super::*;

    #[tokio::test]
    async fn a_pooler_that_loses_prepared_statements_is_warned_of() {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !is_older(program) {
            println!("skipped: there is no pgbouncer older than 1.21");
            return;
        }
        in_database(DbBackend::Postgres, async |database| {
            let pooler = PgBouncer::start(program, database, "");
            let db = pooler.connect().await;
            let (log, _guard) = Log::start();
            // It may fail by what it is warned of.
            let _ = OutboxStore::new(db.clone()).open().await;
            assert_eq!(log.lines(WARNING).len(), 1);
            db.close().await.unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_pooler_that_follows_prepared_statements_works() {
        let Ok(program) = std::env::var("BENTO_TEST_PGBOUNCER") else {
            println!("skipped: BENTO_TEST_PGBOUNCER is not set");
            return;
        };
        in_database(DbBackend::Postgres, async |database| {
            let pooler = PgBouncer::start(
                Path::new(&program),
                database,
                "max_prepared_statements = 200",
            );
            let db = pooler.connect().await;
            let (log, _guard) = Log::start();
            let store = OutboxStore::new(db.clone());
            store.open().await.unwrap();
            assert!(log.lines(WARNING).is_empty());
            for _ in 0..10 {
                let relay = RelayId::new();
                let ttl = Duration::from_secs(60);
                store
                    .heartbeat(Heartbeat {
                        relay,
                        ttl,
                        lanes: None,
                        claim: true,
                        publishes: true,
                        handlers: Vec::new(),
                        idle: Vec::new(),
                    })
                    .await
                    .unwrap();
                store.release(relay).await.unwrap();
            }
            let outbox = OutboxConnection::new(db.clone());
            let writers = (0..8_u8).map(|writer| write(outbox.clone(), writer));
            futures_util::future::join_all(writers).await;
            assert_eq!(database.outbox().await.len(), 8 * 25);
            db.close().await.unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn no_pooler_is_not_warned_of() {
        in_database(DbBackend::Postgres, async |database| {
            let (log, _guard) = Log::start();
            OutboxStore::new(database.db.clone()).open().await.unwrap();
            assert!(log.lines(WARNING).is_empty());
        })
        .await;
    }

    async fn write(outbox: OutboxConnection, writer: u8) {
        for nth in 0..25 {
            let tx = outbox.begin().await.unwrap();
            tx.enqueue("things", &writer.to_string(), vec![writer, nth])
                .unwrap();
            tx.commit().await.unwrap();
        }
    }

    fn is_older(program: &Path) -> bool {
        let Ok(version) = Command::new(program).arg("--version").output() else {
            return false;
        };
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let minor = version
            .split_whitespace()
            .nth(1)
            .and_then(|version| version.split('.').nth(1)?.parse::<u32>().ok());
        minor.is_some_and(|minor| minor < 21)
    }
}
