//! The warning of a relay that the database does not commit durably, where it cannot change that
//! itself.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bento_relay::RelayStore;
use bento_seaorm::OutboxStore;
use sea_orm::{ConnectionTrait, DbBackend};

use self::support::log::Log;
use self::support::{TestDatabase, in_database};

/// The warnings of a store that is opened, over one connection that is prepared so.
async fn warnings(database: &TestDatabase, prepare: &str, setting: &str) -> usize {
    let connection = database.connect(1).await;
    connection.execute_unprepared(prepare).await.unwrap();
    let (log, _guard) = Log::start();
    OutboxStore::new(connection).open().await.unwrap();
    log.lines(&["WARN", "bento::relay", setting, "be lost"])
        .len()
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn a_connection_without_durable_commits_is_warned_of_once() {
        in_database(DbBackend::Sqlite, async |database| {
            assert_eq!(
                warnings(
                    database,
                    "PRAGMA synchronous = NORMAL",
                    "PRAGMA synchronous"
                )
                .await,
                1
            );
            assert_eq!(
                warnings(database, "PRAGMA synchronous = FULL", "PRAGMA synchronous").await,
                0
            );
        })
        .await;
    }
}

mod mysql {
    use super::*;

    /// The setting belongs to the whole server, so the test takes it as it is. What is said of each
    /// value is tested beside the code.
    #[tokio::test]
    async fn a_server_that_flushes_its_log_late_is_warned_of_once() {
        in_database(DbBackend::MySql, async |database| {
            let setting = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)";
            let expected = usize::from(database.number(setting).await != 1);
            assert_eq!(
                warnings(database, "SELECT 1", "innodb_flush_log_at_trx_commit").await,
                expected
            );
        })
        .await;
    }
}
