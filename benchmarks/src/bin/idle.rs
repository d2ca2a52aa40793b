//! `cargo run --release --bin idle [-- --seconds 5]`
//!
//! The cost of looking for events when there are none: the processor time of a relay and of its
//! sessions in the database, by how often it polls, on every back end that is there.

use std::time::Duration;

use bento_benchmarks::{Result, arguments, cost, environment};
use bento_relay::Relay;
use bento_relay::publish::MemoryPublisher;
use bento_seaorm::OutboxStore;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement,
};

/// The intervals, in milliseconds.
const INTERVALS: [u64; 6] = [5, 10, 20, 50, 100, 1000];
/// The time after its start at which a relay has its leases and has looked at every shard.
const SETTLED: Duration = Duration::from_millis(500);

/// The URLs of the servers, unless the environment names others.
const SERVERS: [(&str, &str, &str); 2] = [
    (
        "PostgreSQL",
        "BENTO_TEST_POSTGRES_URL",
        "postgres://postgres@127.0.0.1:5432/postgres",
    ),
    (
        "MySQL or MariaDB",
        "BENTO_TEST_MYSQL_URL",
        "mysql://root@127.0.0.1:3306/",
    ),
];

#[tokio::main]
async fn main() -> Result {
    arguments::expect_only(&["seconds"])?;
    let window = Duration::from_secs(arguments::option("seconds", 5)?);
    println!("{}\n", environment::line("16 shards"));
    println!(
        "| database | poll | relays | relay, % of a core | database | µs for a look, both \
         |\n|---|---:|---:|---:|---:|---:|"
    );
    for (name, variable, usual) in SERVERS {
        let url = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
        let Ok(server) = Database::connect(url.as_str()).await else {
            println!("| {name} is not there |");
            continue;
        };
        let database = format!("bento_bench_idle_{}", std::process::id());
        server
            .execute_unprepared(&format!("CREATE DATABASE {database}"))
            .await?;
        let result = measure(name, &address(&url, &database), window).await;
        let force = if server.get_database_backend() == DbBackend::Postgres {
            " WITH (FORCE)"
        } else {
            ""
        };
        server
            .execute_unprepared(&format!("DROP DATABASE {database}{force}"))
            .await?;
        result?;
    }
    let file = std::env::temp_dir().join(format!("bento_bench_idle_{}.sqlite", std::process::id()));
    let result = measure(
        "SQLite",
        &format!("sqlite://{}?mode=rwc", file.display()),
        window,
    )
    .await;
    std::fs::remove_file(file)?;
    result
}

/// The URL of another database on the same server.
fn address(server: &str, database: &str) -> String {
    let slash = server.rfind('/').unwrap_or(server.len());
    format!("{}/{database}", &server[..slash])
}

async fn measure(name: &str, url: &str, window: Duration) -> Result {
    bento_seaorm::migrate(&connect(url).await?).await?;
    for (millis, relays) in INTERVALS
        .map(|millis| (millis, 1))
        .into_iter()
        .chain([(20, 2), (20, 4)])
    {
        let interval = Duration::from_millis(millis);
        let mut running = Vec::new();
        let mut databases = Vec::new();
        for _ in 0..relays {
            let db = connect(url).await?;
            databases.push(db.clone());
            running.push(
                Relay::builder(OutboxStore::new(db), MemoryPublisher::new())
                    .poll(interval, interval)
                    .start()?,
            );
        }
        tokio::time::sleep(SETTLED).await;
        let mut sessions = Vec::new();
        for db in &databases {
            sessions.extend(sessions_of(db).await?);
        }
        sessions.sort_unstable();
        sessions.dedup();
        let processor = || Some((cost::process_time()?, cost::sessions_time(&sessions)?));
        let before = processor();
        tokio::time::sleep(window).await;
        let after = processor();
        for relay in running {
            relay.stop().await?;
        }
        let (Some((own, theirs)), Some((own_before, theirs_before))) = (after, before) else {
            return Err(format!("the processor time of {name} is not known here").into());
        };
        let (own, theirs) = (own - own_before, theirs - theirs_before);
        let share = |time: Duration| time.as_secs_f64() / window.as_secs_f64() * 100.0;
        let looks = window.as_secs_f64() / interval.as_secs_f64() * f64::from(relays);
        let look = (own + theirs).as_secs_f64() / looks * 1e6;
        println!(
            "| {name} | {millis} ms | {relays} | {:.2} | {:.2} | {look:.0} |",
            share(own),
            share(theirs)
        );
    }
    Ok(())
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(2)
        .min_connections(1)
        .sqlx_logging(false);
    Ok(Database::connect(options).await?)
}

/// The threads or processes that serve this database.
async fn sessions_of(db: &DatabaseConnection) -> Result<Vec<i32>> {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> \
             pg_backend_pid() UNION SELECT pg_backend_pid()"
        }
        DbBackend::MySql => {
            "SELECT CAST(tid AS SIGNED) FROM information_schema.processlist WHERE db = database()"
        }
        _ => return Ok(Vec::new()),
    };
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    let session = |row: &sea_orm::QueryResult| match db.get_database_backend() {
        DbBackend::Postgres => row.try_get_by_index::<i32>(0),
        _ => row
            .try_get_by_index::<i64>(0)
            .map(|tid| i32::try_from(tid).unwrap_or_default()),
    };
    Ok(rows
        .iter()
        .map(session)
        .collect::<std::result::Result<_, _>>()?)
}
