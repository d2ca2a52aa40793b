//! Processes on one outbox, and what they have done.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bento_seaorm::{OutboxConnection, OutboxStore};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tokio::process::{Child, Command};

use crate::load::{ACCOUNTS, Load};
use crate::support::TestDatabase;

/// Longer than any step takes; what does not end has failed.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Scene<'a> {
    database: &'a TestDatabase,
    pub outbox: OutboxConnection,
}

/// Something that processes have done, in their order: the process and the number of the event.
pub type Done = Vec<(String, i64)>;

impl<'a> Scene<'a> {
    pub async fn on(database: &'a TestDatabase) -> Self {
        let id = match database.backend() {
            DbBackend::Postgres => "bigserial PRIMARY KEY",
            DbBackend::MySql => "bigint AUTO_INCREMENT PRIMARY KEY",
            _ => "integer PRIMARY KEY",
        };
        let text = "varchar(40) NOT NULL";
        for table in [
            format!(
                "CREATE TABLE broker_log (id {id}, relay {text}, token {text}, event_type {text})"
            ),
            format!("CREATE TABLE handled (id {id}, handler {text}, process {text}, token {text})"),
        ] {
            database.db.execute_unprepared(&table).await.unwrap();
        }
        let outbox = OutboxConnection::new(database.connect(2).await);
        Self { database, outbox }
    }

    pub fn store(&self) -> OutboxStore {
        OutboxStore::new(self.database.db.clone())
    }

    pub fn load(&self, first: i64) -> Load {
        Load::from(first, self.outbox.clone())
    }

    /// Starts a process with these handlers, which publishes into the log or nowhere.
    pub fn start(&self, name: &str, handlers: &[&str], log: bool) -> Child {
        let handlers = if handlers.is_empty() {
            "none".to_owned()
        } else {
            handlers.join(",")
        };
        let log = if log { "log" } else { "none" };
        Command::new(env!("CARGO_BIN_EXE_release_worker"))
            .args([name, self.database.url(), &handlers, log])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the process starts")
    }

    /// Waits until a query for a number answers what is asked for.
    pub async fn until(&self, what: &str, sql: &str, is_reached: impl Fn(i64) -> bool) {
        let reached = async {
            while !is_reached(self.number(sql).await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(LIMIT, reached).await.is_err() {
            panic!("{what}: `{sql}` is {}", self.number(sql).await);
        }
    }

    /// Waits until this number of events more have been handled.
    pub async fn handles(&self, handler: &str, more: i64) {
        let sql = format!("SELECT count(*) FROM handled WHERE handler = '{handler}'");
        let goal = self.number(&sql).await + more;
        self.until("handled", &sql, |handled| handled >= goal).await;
    }

    /// Waits until a handler has handled the event of this number and those of the 49 before.
    pub async fn handles_up_to(&self, handler: &str, number: i64) {
        let tokens = ((number - ACCOUNTS).max(0)..=number).map(|number| format!("'{number}'"));
        let tokens: Vec<_> = tokens.collect();
        let sql = format!(
            "SELECT count(DISTINCT token) FROM handled WHERE handler = '{handler}' AND token IN \
             ({})",
            tokens.join(", ")
        );
        let goal = i64::try_from(tokens.len()).unwrap();
        self.until("handled", &sql, |handled| handled == goal).await;
    }

    /// Waits until the handler is recorded. Returns the number of the first event that it must not
    /// miss.
    pub async fn recorded(&self, handler: &str, load: &Load) -> i64 {
        let sql = format!("SELECT count(*) FROM bento_handler WHERE name = '{handler}'");
        self.until("recorded", &sql, |recorded| recorded == 1).await;
        load.next()
    }

    /// Waits until this number of events are held for a handler, none of which was tried.
    pub async fn holds_untried(&self, handler: &str, count: i64) {
        let held = format!("SELECT count(*) FROM bento_outbox_held WHERE route = '{handler}'");
        self.until("held", &held, |held| held >= count).await;
        let tried = self.number(&format!("{held} AND attempts > 0")).await;
        assert_eq!(tried, 0, "of those held for `{handler}`");
    }

    /// Waits until nothing is pending, held or dead.
    pub async fn drained(&self) {
        let left = "SELECT count(*) FROM bento_outbox_status";
        self.until("left", left, |left| left == 0).await;
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).await
    }

    /// The events that a handler has handled.
    pub async fn handled(&self, handler: &str) -> Done {
        let sql =
            format!("SELECT process, token FROM handled WHERE handler = '{handler}' ORDER BY id");
        self.done(&sql).await
    }

    /// The events that were published.
    pub async fn published(&self) -> Done {
        self.done("SELECT relay, token FROM broker_log ORDER BY id")
            .await
    }

    async fn done(&self, sql: &str) -> Done {
        let statement = Statement::from_string(self.database.backend(), sql);
        let rows = self.database.db.query_all_raw(statement).await.unwrap();
        let text =
            |row: &sea_orm::QueryResult, index| -> String { row.try_get_by_index(index).unwrap() };
        let read = |row| (text(row, 0), text(row, 1).parse().unwrap());
        rows.iter().map(read).collect()
    }

    pub fn tell(&self, what: &str, counts: &str) {
        let back_end = format!("{:?}", self.database.backend()).to_lowercase();
        let counts = format!("{back_end}: {counts}\n");
        print!("{counts}");
        let name = format!("{what}-{back_end}.txt");
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), counts).unwrap();
    }
}

/// The number of events that each step waits for.
pub fn step() -> i64 {
    let asked = std::env::var("BENTO_TEST_RELEASES").ok();
    asked.map_or(60, |events| events.parse().unwrap())
}

/// Ends a process as a platform does that gives it time.
pub async fn stop(mut process: Child) {
    drop(process.stdin.take());
    let ended = tokio::time::timeout(LIMIT, process.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
}

/// Asserts that each event from `first` to before `end` is there once, and none twice.
pub fn assert_each_once(what: &str, done: &Done, first: i64, end: i64) {
    let mut times: BTreeMap<i64, u32> = BTreeMap::new();
    for (_, number) in done {
        *times.entry(*number).or_default() += 1;
    }
    let missed: Vec<_> = (first..end)
        .filter(|number| !times.contains_key(number))
        .collect();
    times.retain(|_, times| *times > 1);
    assert!(missed.is_empty(), "{what} has missed {missed:?}");
    assert!(times.is_empty(), "{what} has more than once {times:?}");
}

/// Asserts that the events of each account come in order for the first time. Returns the number of
/// repetitions.
pub fn assert_in_order(what: &str, done: &Done) -> usize {
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for (_, number) in done {
        if !seen.insert(*number) {
            continue;
        }
        let before = last.insert(number % ACCOUNTS, *number);
        assert!(
            before.is_none_or(|before| before < *number),
            "{what}: {number} after {before:?}"
        );
    }
    done.len() - seen.len()
}
