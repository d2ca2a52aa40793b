//! Events that a version raises while it is built.

use std::time::Duration;

use bento_relay::publish::{Publisher as _, RelayTerms};
use bento_relay::store::RelayStore as _;
use bento_seaorm::ProjectionStatus;
use sea_orm::{ConnectionTrait, DbBackend};

use crate::scene::{BAD, LARGE, Scene, deliver, v1};
use crate::support::{TestDatabase, in_database, on_every_back_end};

on_every_back_end!(
    what_a_build_raises_is_released_in_parts_and_in_order,
    what_is_raised_before_the_rest_is_released_waits_behind_it,
);

/// The events of a build that one transaction does not release.
const MANY: i64 = 2_500;

/// A dispatcher whose relay is none of the test's: what is in the outbox stays there.
async fn prepared(scene: &Scene<'_>) -> bento_handlers::Dispatcher {
    let dispatcher = scene.dispatcher(scene.first()).await;
    let store = scene.store().await;
    store.open().await.unwrap();
    store.record_handlers(&dispatcher.handlers()).await.unwrap();
    let (lease, call) = (Duration::from_secs(10), Duration::from_secs(30));
    dispatcher.prepare(&RelayTerms::new(lease, call)).unwrap();
    dispatcher
}

/// The cents of the events that were raised, in the order of the outbox.
async fn raised(database: &TestDatabase) -> Vec<i64> {
    let rows = database.outbox().await;
    let rows = rows
        .into_iter()
        .filter(|row| row.event_type == "balance.large");
    let cents = |payload: String| {
        let cents = payload.strip_prefix(r#"{"cents":"#).unwrap();
        cents.strip_suffix('}').unwrap().parse().unwrap()
    };
    rows.map(|row| cents(row.payload)).collect()
}

async fn what_a_build_raises_is_released_in_parts_and_in_order(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.credit("A", (0..MANY).map(|nth| LARGE + nth)).await;
    let delete = "DELETE FROM bento_outbox";
    database.db.execute_unprepared(delete).await.unwrap();
    let _dispatcher = prepared(&scene).await;
    scene.until_live(&v1()).await;
    let held = "SELECT count(*) FROM bento_projection_effect";
    scene.until_number(held, 0).await;
    let expected: Vec<i64> = (0..MANY).map(|nth| LARGE + nth).collect();
    assert_eq!(raised(database).await, expected);
    let releases = "SELECT count(*) FROM bento_projection WHERE releases";
    scene.until_number(releases, 0).await;
}

async fn what_is_raised_before_the_rest_is_released_waits_behind_it(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    relay.stop().await.unwrap();
    let more = "UPDATE bento_projection SET releases = TRUE";
    database.db.execute_unprepared(more).await.unwrap();
    scene.credit("A", [LARGE]).await;
    let dispatcher = scene.dispatcher(scene.first()).await;
    let deliveries = scene.deliveries(&v1()).await;
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    assert!(
        raised(database).await.is_empty(),
        "it is held behind the others"
    );
    assert_eq!(scene.db.release_projection(&v1()).await.unwrap(), 1);
    assert_eq!(raised(database).await, [LARGE]);
    assert_eq!(scene.db.release_projection(&v1()).await.unwrap(), 0);
}

/// A page that raises events, beside a transaction that has raised one and is open.
async fn a_page_that_raises_waits_for_no_writer(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.credit("A", (0..8).map(|nth| LARGE + nth)).await;
    // The build stops behind what it has raised.
    scene.credit("Z", [BAD]).await;
    let delete = "DELETE FROM bento_outbox";
    database.db.execute_unprepared(delete).await.unwrap();
    let open = scene.db.begin().await.unwrap();
    open.scope(async { bento_core::raise(crate::scene::Large { cents: 1 }) })
        .await
        .unwrap();
    open.flush().await.unwrap();
    let _dispatcher = prepared(&scene).await;
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.status, ProjectionStatus::Building);
    let held = "SELECT count(*) FROM bento_projection_effect";
    assert_eq!(database.number(held).await, 8);
    open.rollback().await.unwrap();
}

mod beside_a_writer {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_page_waits_for_none_on_postgres() {
        in_database(DbBackend::Postgres, a_page_that_raises_waits_for_no_writer).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_page_waits_for_none_on_mysql() {
        in_database(DbBackend::MySql, a_page_that_raises_waits_for_no_writer).await;
    }
}
