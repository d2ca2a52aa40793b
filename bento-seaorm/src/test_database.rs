//! A migrated database of its own for every test and back end, dropped at the end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

/// Runs a test on SQLite, and on the servers that `BENTO_TEST_POSTGRES_URL` and
/// `BENTO_TEST_MYSQL_URL` name.
pub(crate) async fn on_every_back_end(test: impl AsyncFn(DatabaseConnection)) {
    #[cfg(feature = "sqlite")]
    run(&test, connect("sqlite::memory:", 1).await).await;
    #[cfg(feature = "postgres")]
    on_server(&test, "BENTO_TEST_POSTGRES_URL", " WITH (FORCE)").await;
    #[cfg(feature = "mysql")]
    on_server(&test, "BENTO_TEST_MYSQL_URL", "").await;
}

/// Runs a test on the server that `BENTO_TEST_POSTGRES_URL` names, over one connection for each
/// that it uses at a time.
#[cfg(feature = "postgres")]
pub(crate) async fn on_postgres(test: impl AsyncFn(DatabaseConnection)) {
    on_server(&test, "BENTO_TEST_POSTGRES_URL", " WITH (FORCE)").await;
}

async fn run(test: &impl AsyncFn(DatabaseConnection), db: DatabaseConnection) {
    crate::migrate(&db).await.unwrap();
    test(db).await;
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
async fn on_server(test: &impl AsyncFn(DatabaseConnection), variable: &str, force: &str) {
    let Ok(url) = std::env::var(variable) else {
        eprintln!("skipped: {variable} is not set");
        return;
    };
    let admin = connect(&url, 1).await;
    let name = format!("bento_test_{}", uuid::Uuid::now_v7().simple());
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let (server, _) = url
        .rsplit_once('/')
        .expect("the URL names a database or ends with `/`");
    let db = connect(&format!("{server}/{name}"), 5).await;
    let outcome = AssertUnwindSafe(run(test, db.clone())).catch_unwind().await;
    db.close().await.unwrap();
    admin
        .execute_unprepared(&format!("DROP DATABASE {name}{force}"))
        .await
        .unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

async fn connect(url: &str, connections: u32) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(connections).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}
