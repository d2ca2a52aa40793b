//! A migrated database of its own for every test, on each back end.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    unreachable_pub,
    reason = "each test program uses a part of it"
)]

pub mod log;
pub mod proxy;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend};
use uuid::Uuid;

/// A database that exists for one test. It is dropped at the end, also when the test fails.
pub struct TestDatabase {
    /// A pool of up to five connections to it.
    pub db: DatabaseConnection,
    backend: DbBackend,
    url: String,
}

impl TestDatabase {
    /// The back end of the database.
    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    /// True if the database is of this back end.
    pub fn is(&self, backend: DbBackend) -> bool {
        self.backend == backend
    }

    /// The URL, for another process.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a schema, on MySQL another database, which is dropped with this one. Returns its
    /// name.
    pub async fn create_schema(&self, name: &str) -> String {
        let (name, create) = match self.backend {
            DbBackend::MySql => (format!("{}-{name}", self.name()), "CREATE DATABASE `"),
            _ => (name.to_owned(), "CREATE SCHEMA \""),
        };
        let quote = create.chars().last().unwrap();
        self.db
            .execute_unprepared(&format!("{create}{name}{quote}"))
            .await
            .unwrap();
        name
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        self.url.rsplit_once('/').unwrap().1
    }

    /// Another pool with this number of connections.
    pub async fn connect(&self, connections: u32) -> DatabaseConnection {
        connect(&self.url, connections).await
    }

    /// Connections that look into this schema by themselves.
    pub async fn connect_to_schema(&self, schema: &str) -> DatabaseConnection {
        match self.backend {
            DbBackend::Postgres => {
                connect(
                    &format!("{}?options=-csearch_path%3D%22{schema}%22", self.url),
                    2,
                )
                .await
            }
            _ => connect(&self.url.replace(self.name(), schema), 2).await,
        }
    }

    /// The number in the first column of the first row.
    pub async fn number(&self, sql: &str) -> i64 {
        let statement = sea_orm::Statement::from_string(self.backend, sql);
        let row = self
            .db
            .query_one_raw(statement)
            .await
            .unwrap()
            .expect("a row");
        row.try_get_by_index(0).unwrap()
    }

    /// The rows of the outbox, in the order of positions.
    pub async fn outbox(&self) -> Vec<OutboxRow> {
        let sql = "SELECT event_id, event_type, aggregate_type, aggregate_id, sequence, \
                   tenant_id, payload, headers, shard FROM bento_outbox ORDER BY position";
        let rows = self
            .db
            .query_all_raw(sea_orm::Statement::from_string(self.backend, sql))
            .await
            .unwrap();
        rows.iter().map(OutboxRow::read).collect()
    }

    /// The schemas of what the outbox holds, in the order of positions.
    pub async fn schemas(&self) -> Vec<String> {
        self.outbox()
            .await
            .into_iter()
            .map(|row| row.event_type)
            .collect()
    }
}

/// A row of the outbox, as far as tests look at it.
#[derive(Debug, PartialEq)]
pub struct OutboxRow {
    pub event_id: Uuid,
    pub event_type: String,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: Option<i64>,
    pub tenant_id: Option<String>,
    pub payload: String,
    pub headers: String,
    pub shard: i32,
}

impl OutboxRow {
    fn read(row: &sea_orm::QueryResult) -> Self {
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
        Self {
            event_id: row.try_get("", "event_id").unwrap(),
            event_type: row.try_get("", "event_type").unwrap(),
            aggregate_type: row.try_get("", "aggregate_type").unwrap(),
            aggregate_id: row.try_get("", "aggregate_id").unwrap(),
            sequence: row.try_get("", "sequence").unwrap(),
            tenant_id: row.try_get("", "tenant_id").unwrap(),
            payload: text(row.try_get("", "payload").unwrap()),
            headers: text(row.try_get("", "headers").unwrap()),
            shard: row.try_get("", "shard").unwrap(),
        }
    }
}

/// Runs a test in a database of its own, with Bento's tables; without a server it says so and
/// returns.
pub async fn in_database(backend: DbBackend, test: impl AsyncFnOnce(&TestDatabase)) {
    in_empty_database(backend, async |database| {
        bento_seaorm::migrate(&database.db).await.unwrap();
        test(database).await;
    })
    .await;
}

/// Runs a test in a database of its own, without any table; without a server it says so and
/// returns.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub async fn in_empty_database(backend: DbBackend, test: impl AsyncFnOnce(&TestDatabase)) {
    // Before anything that logs.
    log::ask_each_time();
    let name = format!("bento_test_{}", Uuid::now_v7().simple());
    match backend {
        DbBackend::Sqlite => in_file(&name, test).await,
        DbBackend::Postgres => {
            on_server("BENTO_TEST_POSTGRES_URL", &name, " WITH (FORCE)", test).await
        }
        DbBackend::MySql => on_server("BENTO_TEST_MYSQL_URL", &name, "", test).await,
        other => panic!("no test database for {other:?}"),
    }
}

async fn in_file(name: &str, test: impl AsyncFnOnce(&TestDatabase)) {
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory).unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.join("test.db").display());
    let db = connect(&url, 5).await;
    db.execute_unprepared("PRAGMA journal_mode = WAL")
        .await
        .unwrap();
    let outcome = run(
        TestDatabase {
            db,
            backend: DbBackend::Sqlite,
            url,
        },
        test,
    )
    .await;
    std::fs::remove_dir_all(&directory).unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
async fn on_server(variable: &str, name: &str, force: &str, test: impl AsyncFnOnce(&TestDatabase)) {
    let Ok(server) = std::env::var(variable) else {
        eprintln!("skipped: {variable} is not set");
        return;
    };
    let admin = connect(&server, 1).await;
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let (address, _) = server
        .rsplit_once('/')
        .expect("the URL names a database or ends with `/`");
    let url = format!("{address}/{name}");
    let database = TestDatabase {
        db: connect(&url, 5).await,
        backend: admin.get_database_backend(),
        url,
    };
    let outcome = run(database, test).await;
    drop_schemas(&admin, name).await;
    admin
        .execute_unprepared(&format!("DROP DATABASE {name}{force}"))
        .await
        .unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

async fn run(
    database: TestDatabase,
    test: impl AsyncFnOnce(&TestDatabase),
) -> std::thread::Result<()> {
    let outcome = AssertUnwindSafe(test(&database)).catch_unwind().await;
    let _ = database.db.close().await;
    outcome
}

pub async fn connect(url: &str, connections: u32) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

/// A database that exists as long as this value, for tests that are not one closure.
pub struct OwnedDatabase {
    inner: TestDatabase,
    name: String,
}

impl OwnedDatabase {
    /// Without a server it says so and returns nothing.
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    pub async fn create(backend: DbBackend) -> Option<Self> {
        let name = format!("bento_test_{}", Uuid::now_v7().simple());
        let url = match server_variable(backend) {
            None => {
                std::fs::create_dir(std::env::temp_dir().join(&name)).unwrap();
                format!(
                    "sqlite://{}?mode=rwc",
                    std::env::temp_dir().join(&name).join("test.db").display()
                )
            }
            Some(variable) => {
                let Ok(server) = std::env::var(variable) else {
                    eprintln!("skipped: {variable} is not set");
                    return None;
                };
                let admin = connect(&server, 1).await;
                admin
                    .execute_unprepared(&format!("CREATE DATABASE {name}"))
                    .await
                    .unwrap();
                let (address, _) = server
                    .rsplit_once('/')
                    .expect("the URL names a database or ends with `/`");
                format!("{address}/{name}")
            }
        };
        let db = connect(&url, 5).await;
        if backend == DbBackend::Sqlite {
            db.execute_unprepared("PRAGMA journal_mode = WAL")
                .await
                .unwrap();
        }
        Some(Self {
            inner: TestDatabase { db, backend, url },
            name,
        })
    }
}

impl std::ops::Deref for OwnedDatabase {
    type Target = TestDatabase;

    fn deref(&self) -> &TestDatabase {
        &self.inner
    }
}

impl Drop for OwnedDatabase {
    /// From a thread of its own, because dropping a database has to be awaited and this cannot.
    fn drop(&mut self) {
        let Some(variable) = server_variable(self.backend) else {
            let _ = std::fs::remove_dir_all(std::env::temp_dir().join(&self.name));
            return;
        };
        let (name, backend) = (self.name.clone(), self.backend);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let admin = connect(&std::env::var(variable).unwrap(), 1).await;
                drop_database(&admin, backend, &name).await;
            });
        });
        dropped.join().expect("the database is dropped");
    }
}

/// Drops a database, with the connections to it: the pool of the test cannot be closed here.
async fn drop_database(admin: &DatabaseConnection, backend: DbBackend, name: &str) {
    let force = if backend == DbBackend::Postgres {
        " WITH (FORCE)"
    } else {
        ""
    };
    if backend == DbBackend::MySql {
        let connections = format!(
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = '{name}'"
        );
        for row in admin
            .query_all_raw(sea_orm::Statement::from_string(backend, connections))
            .await
            .unwrap()
        {
            let id: i64 = row.try_get_by_index(0).unwrap();
            let _ = admin.execute_unprepared(&format!("KILL {id}")).await;
        }
    }
    drop_schemas(admin, name).await;
    admin
        .execute_unprepared(&format!("DROP DATABASE {name}{force}"))
        .await
        .unwrap();
}

/// On MySQL a schema is a database.
async fn drop_schemas(admin: &DatabaseConnection, name: &str) {
    if admin.get_database_backend() != DbBackend::MySql {
        return;
    }
    let select = format!(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '{name}-%'"
    );
    let select = sea_orm::Statement::from_string(DbBackend::MySql, select);
    for row in admin.query_all_raw(select).await.unwrap() {
        let schema: String = row.try_get_by_index(0).unwrap();
        admin
            .execute_unprepared(&format!("DROP DATABASE `{schema}`"))
            .await
            .unwrap();
    }
}

fn server_variable(backend: DbBackend) -> Option<&'static str> {
    match backend {
        DbBackend::Postgres => Some("BENTO_TEST_POSTGRES_URL"),
        DbBackend::MySql => Some("BENTO_TEST_MYSQL_URL"),
        _ => None,
    }
}

/// Makes a test of each named `async fn(&TestDatabase)` on each back end, in modules named for
/// them.
macro_rules! on_every_back_end {
    ($($rule:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::support::in_database(sea_orm::DbBackend::Sqlite, super::$rule).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::support::in_database(sea_orm::DbBackend::Postgres, super::$rule).await;
            })+
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::support::in_database(sea_orm::DbBackend::MySql, super::$rule).await;
            })+
        }
    };
}
pub(crate) use on_every_back_end;
