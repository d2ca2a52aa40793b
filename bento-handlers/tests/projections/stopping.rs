//! A version that fails stops, says why, and goes on when it is told to.

use std::sync::atomic::Ordering;

use bento_handlers::Handlers;
use bento_seaorm::{ProjectionError, ProjectionStatus};
use sea_orm::ConnectionTrait;

use crate::scene::{BAD, Credits, Scene, v1};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_live_version_stops_at_the_event_that_fails,
    a_build_stops_at_the_event_that_fails,
    a_failure_that_passes_stops_nothing,
    an_event_is_skipped_with_who_said_so,
    a_paused_version_waits,
    a_missing_table_is_told_at_the_start,
    a_checkpoint_ahead_of_the_store_is_told_at_the_start,
    a_projection_with_another_name_is_told,
);

async fn a_live_version_stops_at_the_event_that_fails(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    scene.credit("A", [1, 2, BAD, 4]).await;
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.stop.unwrap().reason, "a bad credit");
    let before = scene.balances("balance_v1").await;
    assert_eq!(
        before,
        [("A".to_owned(), 3, 3)],
        "what came before is there"
    );
    let health = async || format!("{:?}", relay.health().degraded);
    while !health().await.contains("balances@1") {
        tokio::task::yield_now().await;
    }
    scene.mood.is_mended.store(true, Ordering::SeqCst);
    scene.projections().await.retry(&v1()).await.unwrap();
    scene.until_equal("balance_v1").await;
    relay.stop().await.unwrap();
    let dead = "SELECT count(*) FROM bento_dead_letter";
    assert_eq!(database.number(dead).await, 0);
}

async fn a_build_stops_at_the_event_that_fails(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    for cents in [1, 2, 3, BAD, 5, 6] {
        scene.credit("A", [cents, 10]).await;
    }
    let relay = scene.relay(scene.first()).await;
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.status, ProjectionStatus::Building);
    let ledger = scene.balances("balance_v1").await;
    assert_eq!(
        ledger,
        [("A".to_owned(), 36, 7)],
        "what came before is there"
    );
    assert_eq!(scene.db.live_version("balances").await.unwrap(), None);
    scene.mood.is_mended.store(true, Ordering::SeqCst);
    scene.projections().await.retry(&v1()).await.unwrap();
    scene.until_live(&v1()).await;
    scene.until_equal("balance").await;
    relay.stop().await.unwrap();
}

async fn a_failure_that_passes_stops_nothing(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.mood.is_transient.store(true, Ordering::SeqCst);
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    scene.credit("A", [BAD]).await;
    let failures = "SELECT count(*) FROM bento_projection WHERE failures > 0";
    while database.number(failures).await == 0 {
        tokio::task::yield_now().await;
    }
    scene.mood.is_mended.store(true, Ordering::SeqCst);
    scene.until_equal("balance_v1").await;
    let state = scene.until(&v1(), |_| true).await;
    assert_eq!(state.stop, None);
    assert_eq!(database.number(failures).await, 0);
    relay.stop().await.unwrap();
}

async fn an_event_is_skipped_with_who_said_so(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    scene.credit("A", [1, BAD, 3]).await;
    let stop = scene.until(&v1(), |state| state.stop.is_some()).await.stop;
    let event = stop.unwrap().event_id.unwrap();
    let projections = scene.projections().await;
    let other = bento_core::EventId::new();
    let refused = projections
        .skip(&v1(), other, "why", None)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ProjectionError::NotStoppedThere { .. }),
        "{refused}"
    );
    let (key, reason) = (v1(), "a typing error");
    let skipped = projections.skip(&key, event, reason, Some("alice")).await;
    skipped.unwrap();
    while scene.balances("balance_v1").await != [("A".to_owned(), 4, 3)] {
        tokio::task::yield_now().await;
    }
    let actors = scene.texts("SELECT actor FROM bento_projection_skip").await;
    assert_eq!(actors, ["alice"]);
    let refused = projections.retry(&v1()).await.unwrap_err();
    assert!(
        matches!(refused, ProjectionError::NotStopped { .. }),
        "{refused}"
    );
    relay.stop().await.unwrap();
}

async fn a_paused_version_waits(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    let projections = scene.projections().await;
    assert!(
        projections
            .pause(&v1(), "a migration", Some("bob"))
            .await
            .unwrap()
    );
    scene.credit("A", [1]).await;
    let state = scene.until(&v1(), |state| state.held > 0).await;
    assert_eq!(state.pause.unwrap().reason, "a migration");
    assert!(scene.balances("balance_v1").await.is_empty());
    assert!(projections.resume(&v1()).await.unwrap());
    scene.until_equal("balance_v1").await;
    relay.stop().await.unwrap();
}

async fn a_missing_table_is_told_at_the_start(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let drop = "DROP TABLE balance_v1";
    database.db.execute_unprepared(drop).await.unwrap();
    let dispatcher = scene.dispatcher(scene.first()).await;
    let faults = dispatcher.projection_faults().await.unwrap();
    let text = faults[0].to_string();
    assert!(
        text.contains("needs the table `balance_v1`, which is missing"),
        "{text}"
    );
    let relay = scene.relay_of(dispatcher).await;
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.stop.unwrap().reason, text);
    relay.stop().await.unwrap();
}

async fn a_checkpoint_ahead_of_the_store_is_told_at_the_start(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.credit("A", [1, 2]).await;
    scene.until_live(&v1()).await;
    scene.until_equal("balance_v1").await;
    relay.stop().await.unwrap();
    // The store is that of an earlier backup.
    let lower = "UPDATE bento_event_stream SET sequence = 1";
    database.db.execute_unprepared(lower).await.unwrap();
    let dispatcher = scene.dispatcher(scene.first()).await;
    let text = dispatcher.projection_faults().await.unwrap()[0].to_string();
    assert!(text.contains("has seen event 3 of aggregate `A`"), "{text}");
    let relay = scene.relay_of(dispatcher).await;
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert!(state.stop.unwrap().reason.contains("higher version"));
    relay.stop().await.unwrap();
}

async fn a_projection_with_another_name_is_told(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let relay = scene.relay(scene.first()).await;
    scene.until_live(&v1()).await;
    scene.credit("A", [1]).await;
    scene.until_equal("balance_v1").await;
    relay.stop().await.unwrap();
    let renamed = Handlers::new(()).projection(Credits);
    let dispatcher = scene.dispatcher(renamed).await;
    let faults = dispatcher.projection_faults().await.unwrap();
    let text = faults[0].to_string();
    assert!(
        text.contains("`balances` version 1 is recorded, and no relay"),
        "{text}"
    );
    let projections = scene.projections().await;
    projections.forget(&v1()).await.unwrap();
    assert!(projections.list().await.unwrap().is_empty());
    assert!(dispatcher.projection_faults().await.unwrap().is_empty());
    let unknown = projections.retry(&v1()).await.unwrap_err().to_string();
    assert!(unknown.contains("none is recorded"), "{unknown}");
}
