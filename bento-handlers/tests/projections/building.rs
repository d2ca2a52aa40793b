//! A version is built from the stored events, beside the one that is live.

use std::time::Duration;

use bento_seaorm::ProjectionStatus;
use sea_orm::{ConnectionTrait as _, DbBackend, TransactionTrait as _};
use tokio::time::{sleep, timeout};

use crate::scene::{LARGE, Scene, v1, v2};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_first_version_is_built_from_the_store,
    a_second_version_is_built_while_the_first_goes_on,
    what_a_build_raises_comes_with_the_swap,
    a_version_that_waits_is_built_when_it_is_told_to,
    a_lower_version_is_caught_up_and_not_shown,
    a_reader_that_stays_delays_the_swap_alone,
);

/// A store with events that no relay has in its outbox any more.
async fn with_history(scene: &Scene<'_>) {
    for round in 0..10 {
        for id in ["A", "B", "C", "D"] {
            scene.credit(id, [round, 3]).await;
        }
    }
    let delete = "DELETE FROM bento_outbox";
    scene.database.db.execute_unprepared(delete).await.unwrap();
}

async fn a_first_version_is_built_from_the_store(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    let relay = scene.relay(scene.first()).await;
    let state = scene.until_live(&v1()).await;
    assert_eq!(scene.balances("balance").await, scene.by_hand().await);
    assert_eq!((state.build.read, state.build.total), (84, 84));
    scene.credit("A", [1]).await;
    scene.credit("E", [1]).await;
    scene.until_equal("balance").await;
    relay.stop().await.unwrap();
}

async fn a_second_version_is_built_while_the_first_goes_on(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    let old = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    let new = scene.relay(scene.both()).await;
    for round in 0..20 {
        scene.credit(["A", "B", "F"][round % 3], [7]).await;
    }
    scene.until_live(&v2()).await;
    scene.until_equal("balance").await;
    assert_eq!(scene.db.live_version("balances").await.unwrap(), Some(2));
    old.stop().await.unwrap();
    // The version before is kept up to date as long as a relay serves it.
    scene.credit("A", [11]).await;
    scene.until_equal("balance_v1").await;
    scene.until_equal("balance").await;
    let state = scene.until(&v1(), |_| true).await;
    assert_eq!(state.status, ProjectionStatus::Replaced);
    new.stop().await.unwrap();
    let last = scene.relay(scene.second()).await;
    scene.credit("A", [13]).await;
    scene.until_equal("balance").await;
    let state = scene
        .until(&v1(), |state| state.status == ProjectionStatus::Retired)
        .await;
    assert_eq!(state.held, 0, "no event waits for it");
    last.stop().await.unwrap();
    // A release that has it again builds it on from where it was.
    let back = scene.relay(scene.both()).await;
    scene
        .until(&v1(), |state| state.status == ProjectionStatus::Replaced)
        .await;
    scene.until_equal("balance_v1").await;
    assert_eq!(scene.db.live_version("balances").await.unwrap(), Some(2));
    back.stop().await.unwrap();
}

async fn what_a_build_raises_comes_with_the_swap(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    scene.credit("A", [LARGE, LARGE + 1, LARGE + 2]).await;
    let delete = "DELETE FROM bento_outbox";
    database.db.execute_unprepared(delete).await.unwrap();
    // The build stops behind what it has raised.
    scene.credit("Z", [crate::scene::BAD]).await;
    let relay = scene.relay(scene.first()).await;
    scene.until(&v1(), |state| state.stop.is_some()).await;
    let held = "SELECT count(*) FROM bento_projection_effect";
    assert_eq!(database.number(held).await, 3);
    assert!(
        !database
            .schemas()
            .await
            .contains(&"balance.large".to_owned())
    );
    relay.stop().await.unwrap();
    scene
        .mood
        .is_mended
        .store(true, std::sync::atomic::Ordering::SeqCst);
    scene.projections().await.retry(&v1()).await.unwrap();
    let dispatcher = scene.dispatcher(scene.first()).await;
    let relay = scene.relay_of(dispatcher).await;
    scene.until_live(&v1()).await;
    assert_eq!(database.number(held).await, 0);
    relay.stop().await.unwrap();
}

async fn a_version_that_waits_is_built_when_it_is_told_to(database: &TestDatabase) {
    use bento_handlers::ProjectionSettings;
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    let settings = ProjectionSettings::default().manual();
    let handlers = scene.first().configure_projection("balances", settings);
    let relay = scene.relay_of(scene.dispatcher(handlers).await).await;
    scene
        .until(&v1(), |state| state.status == ProjectionStatus::Waiting)
        .await;
    scene.credit("A", [1]).await;
    let projections = scene.projections().await;
    projections.build(&v1()).await.unwrap();
    scene.until_live(&v1()).await;
    scene.until_equal("balance").await;
    let again = projections.build(&v1()).await.unwrap_err();
    assert!(again.to_string().contains("is live"), "{again}");
    relay.stop().await.unwrap();
}

async fn a_lower_version_is_caught_up_and_not_shown(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    let new = scene.relay(scene.second()).await;
    scene.until_live(&v2()).await;
    let old = scene.relay(scene.first()).await;
    scene
        .until(&v1(), |state| state.status == ProjectionStatus::Replaced)
        .await;
    scene.until_equal("balance_v1").await;
    assert_eq!(scene.db.live_version("balances").await.unwrap(), Some(2));
    let dispatcher = scene.dispatcher(scene.first()).await;
    let faults = dispatcher.projection_faults().await.unwrap();
    assert!(
        faults[0].to_string().contains("below version 2"),
        "{faults:?}"
    );
    old.stop().await.unwrap();
    new.stop().await.unwrap();
}

/// The longest time for which a reader of a view may wait.
const LIMIT: Duration = Duration::from_secs(20);

async fn a_reader_that_stays_delays_the_swap_alone(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    with_history(&scene).await;
    let old = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    let read = "SELECT count(*) FROM balance";
    let reader = database.db.begin().await.unwrap();
    reader.execute_unprepared(read).await.unwrap();
    let new = scene.relay(scene.both()).await;
    let waiting = match database.backend() {
        DbBackend::Postgres => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
             wait_event_type = 'Lock' AND query LIKE 'DROP VIEW%'"
        }
        DbBackend::MySql => {
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND state \
             = 'Waiting for table metadata lock'"
        }
        _ => "SELECT 1",
    };
    let look = async {
        while database.number(waiting).await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, look).await.expect("the swap waits");
    // More than once: each attempt to swap lets the others go.
    for round in 0..3 {
        let reading = timeout(LIMIT, database.number(read)).await;
        assert_eq!(reading.expect("other readers go on"), 4);
        scene.credit("A", [round]).await;
        let equal = timeout(LIMIT, scene.until_equal("balance_v1")).await;
        equal.expect("the live version goes on");
    }
    reader.rollback().await.unwrap();
    scene.until_live(&v2()).await;
    scene.until_equal("balance").await;
    let state = scene.until(&v2(), |_| true).await;
    assert_eq!((state.stop, state.status), (None, ProjectionStatus::Live));
    new.stop().await.unwrap();
    old.stop().await.unwrap();
}
