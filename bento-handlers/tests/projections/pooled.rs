//! Connections: a build needs one, and a wait that is given up keeps none.

use std::time::Duration;

use bento_relay::publish::{FailureClass, Publisher as _, RelayTerms};
use bento_relay::store::RelayStore as _;
use bento_seaorm::OutboxConnection;
use sea_orm::{ConnectionTrait, DbBackend, TransactionTrait};
use tokio::time::timeout;

use crate::scene::{Scene, deliver, number_of_waiting, v1, v2};
use crate::support::{TestDatabase, in_database, on_every_back_end};

on_every_back_end!(a_version_is_built_with_one_connection);

async fn a_version_is_built_with_one_connection(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.credit("A", [1, 2, 3]).await;
    scene.credit("B", [4]).await;
    let pool = OutboxConnection::new(database.connect(1).await);
    let dispatcher = scene.both().build(&pool).unwrap();
    let store = scene.store().await;
    store.open().await.unwrap();
    store.record_handlers(&dispatcher.handlers()).await.unwrap();
    let (lease, call) = (Duration::from_secs(10), Duration::from_secs(30));
    dispatcher.prepare(&RelayTerms::new(lease, call)).unwrap();
    scene.until_live(&v2()).await;
    scene.until_equal("balance_v1").await;
    scene.until_equal("balance").await;
}

/// The number of statements that wait for a lock.
fn waiting(database: &TestDatabase) -> &'static str {
    match database.backend() {
        DbBackend::Postgres => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
             wait_event_type = 'Lock'"
        }
        _ => {
            "SELECT count(*) FROM information_schema.innodb_trx t JOIN \
             information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = \
             DATABASE() AND t.trx_state = 'LOCK WAIT'"
        }
    }
}

/// A batch of the version goes on, and relays renew and advance meanwhile.
async fn an_end_waits_for_a_batch_without_the_leases(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    relay.stop().await.unwrap();
    let row = database.db.begin().await.unwrap();
    let lock = "SELECT 1 FROM bento_projection FOR UPDATE";
    row.execute_unprepared(lock).await.unwrap();
    let projections = scene.projections().await;
    let forgetting = tokio::spawn(async move { projections.forget(&v1()).await });
    let look = async { while number_of_waiting(database, waiting(database)).await == 0 {} };
    timeout(Duration::from_secs(60), look).await.unwrap();
    let leases = "SELECT shard FROM bento_relay_shard FOR UPDATE NOWAIT";
    database.db.execute_unprepared(leases).await.unwrap();
    row.rollback().await.unwrap();
    forgetting.await.unwrap().unwrap();
}

/// Somebody has the row of the version for longer than a batch waits.
async fn a_wait_that_is_over_keeps_no_connection(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    relay.stop().await.unwrap();
    scene.credit("A", [1]).await;
    let row = database.db.begin().await.unwrap();
    let lock = "SELECT 1 FROM bento_projection FOR UPDATE";
    row.execute_unprepared(lock).await.unwrap();
    let dispatcher = scene.dispatcher(scene.first()).await;
    let deliveries = scene.deliveries(&v1()).await;
    let answers = deliver(&dispatcher, &deliveries).await;
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.class(), FailureClass::NotTried, "{error}");
    // What MariaDB says of its transactions may be old, if others ask as well.
    let running = match database.backend() {
        DbBackend::Postgres => waiting(database),
        _ => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND command \
             <> 'Sleep' AND id <> CONNECTION_ID()"
        }
    };
    let running = database.number(running).await;
    assert_eq!(running, 0, "nothing waits any more");
    row.rollback().await.unwrap();
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    assert_eq!(scene.balances("balance_v1").await, scene.by_hand().await);
}

mod behind_a_lock {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wait_keeps_no_connection_on_postgres() {
        in_database(DbBackend::Postgres, a_wait_that_is_over_keeps_no_connection).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_end_leaves_the_leases_on_postgres() {
        in_database(
            DbBackend::Postgres,
            an_end_waits_for_a_batch_without_the_leases,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_end_leaves_the_leases_on_mysql() {
        in_database(
            DbBackend::MySql,
            an_end_waits_for_a_batch_without_the_leases,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wait_keeps_no_connection_on_mysql() {
        in_database(DbBackend::MySql, a_wait_that_is_over_keeps_no_connection).await;
    }
}
