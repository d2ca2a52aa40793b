//! A version that fails stops, says why, and goes on when it is told to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bento_handlers::Handlers;
use bento_relay::publish::{Delivery, FailureClass};
use bento_seaorm::{ProjectionError, ProjectionStatus};
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};

use crate::following::live;
use crate::scene::{BAD, Credits, Scene, deliver, v1};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_live_version_stops_at_the_event_that_fails,
    a_build_stops_at_the_event_that_fails,
    a_failure_that_passes_stops_nothing,
    a_failing_event_stops_a_version_beside_others,
    a_version_whose_events_all_fail_stops,
    a_failing_build_stops_beside_live_events,
    an_event_without_a_sequence_is_skipped,
    a_failure_of_the_own_statements_stops_a_version,
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

/// The failures that are noted.
async fn failures(database: &TestDatabase) -> i64 {
    let number = match database.is(sea_orm::DbBackend::MySql) {
        true => "SIGNED",
        false => "BIGINT",
    };
    let sql = format!("SELECT CAST(COALESCE(MAX(failures), 0) AS {number}) FROM bento_projection");
    database.number(&sql).await
}

fn of(deliveries: &[Delivery], ledger: &str) -> Vec<Delivery> {
    let of_ledger = |delivery: &&Delivery| delivery.envelope.aggregate_id == ledger;
    deliveries.iter().filter(of_ledger).cloned().collect()
}

async fn a_failing_event_stops_a_version_beside_others(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.mood.is_transient.store(true, Ordering::SeqCst);
    scene.credit("A", [BAD]).await;
    scene.credit("B", [1, 2, 3]).await;
    let deliveries = scene.deliveries(&v1()).await;
    let (bad, good) = (of(&deliveries, "A"), of(&deliveries, "B"));
    for (attempt, other) in (1..).zip(good.chunks(1)) {
        let answers = deliver(&dispatcher, &bad).await;
        assert_eq!(
            answers[1].as_ref().unwrap_err().class(),
            FailureClass::Unavailable,
            "it waits"
        );
        deliver(&dispatcher, other).await.remove(0).unwrap();
        assert_eq!(failures(database).await, attempt);
    }
    deliver(&dispatcher, &bad).await;
    let stop = scene.until(&v1(), |_| true).await.stop.unwrap();
    assert_eq!(stop.event_id, Some(bad[1].envelope.event_id));
    assert_eq!(stop.reason, "a bad credit, perhaps");
}

async fn a_version_whose_events_all_fail_stops(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.mood.is_transient.store(true, Ordering::SeqCst);
    let ledgers = ["A", "B", "C", "D", "E", "F"];
    for ledger in ledgers {
        scene.credit(ledger, [BAD]).await;
    }
    let deliveries = scene.deliveries(&v1()).await;
    // One reason fails the batches of many shards at once: that is one failure.
    for ledger in ledgers {
        deliver(&dispatcher, &of(&deliveries, ledger)).await;
    }
    assert_eq!(failures(database).await, 1);
    let earlier = "UPDATE bento_projection SET failed_at = '2020-01-01 00:00:00'";
    let fail = async |ledger| {
        database.db.execute_unprepared(earlier).await.unwrap();
        deliver(&dispatcher, &of(&deliveries, ledger)).await
    };
    for (ledger, expected) in [("B", 2), ("C", 3), ("D", 4)] {
        fail(ledger).await;
        assert_eq!(failures(database).await, expected);
    }
    // The first one passes: what failed beside it is counted anew.
    scene.mood.is_mended.store(true, Ordering::SeqCst);
    for answer in fail("A").await {
        answer.unwrap();
    }
    assert_eq!(failures(database).await, 0);
    scene.mood.is_mended.store(false, Ordering::SeqCst);
    for ledger in ["B", "C", "D", "E", "F"] {
        fail(ledger).await;
    }
    let stop = scene.until(&v1(), |_| true).await.stop.unwrap();
    let first = of(&deliveries, "B");
    assert_eq!(stop.event_id, Some(first[1].envelope.event_id));
}

async fn a_failing_build_stops_beside_live_events(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    scene.mood.is_transient.store(true, Ordering::SeqCst);
    scene.credit("A", [BAD]).await;
    // Those of B are of another service, or of an aggregate that is a row.
    scene.credit("B", [1, 2, 3]).await;
    let foreign = of(&scene.deliveries(&v1()).await, "B");
    for delete in [
        "DELETE FROM bento_event WHERE aggregate_id = 'B'",
        "DELETE FROM bento_outbox",
    ] {
        database.db.execute_unprepared(delete).await.unwrap();
    }
    let relay = scene.relay(scene.first()).await;
    let dispatcher = scene.dispatcher(scene.first()).await;
    for (failed, other) in (1..).zip(foreign.chunks(1)) {
        let look = async {
            while failures(database).await < failed {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let failing = timeout(Duration::from_secs(60), look).await;
        failing.unwrap_or_else(|_| panic!("failure {failed} is not counted"));
        deliver(&dispatcher, other).await.remove(0).unwrap();
        assert!(failures(database).await >= failed, "it stays counted");
    }
    let state = scene.until(&v1(), |state| state.stop.is_some()).await;
    assert_eq!(state.status, ProjectionStatus::Building);
    assert_eq!(
        scene.balances("balance_v1").await.last().unwrap(),
        &("B".to_owned(), 6, 4)
    );
    relay.stop().await.unwrap();
}

async fn an_event_without_a_sequence_is_skipped(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [1]).await;
    scene.credit("B", [2]).await;
    let update = "UPDATE bento_outbox SET sequence = NULL WHERE aggregate_id = 'A'";
    database.db.execute_unprepared(update).await.unwrap();
    let deliveries = scene.deliveries(&v1()).await;
    let projections = scene.projections().await;
    for skipped in &deliveries[..2] {
        deliver(&dispatcher, &deliveries).await;
        let stop = scene.until(&v1(), |_| true).await.stop.unwrap();
        assert_eq!(stop.event_id, Some(skipped.envelope.event_id));
        let event = skipped.envelope.event_id;
        let (key, reason) = (v1(), "it has no sequence");
        projections.skip(&key, event, reason, None).await.unwrap();
    }
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    assert_eq!(scene.balances("balance_v1").await, [("B".to_owned(), 2, 2)]);
}

async fn a_failure_of_the_own_statements_stops_a_version(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let dispatcher = live(&scene).await;
    scene.credit("A", [1]).await;
    let deliveries = scene.deliveries(&v1()).await;
    let rename = async |from, to| {
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        database.db.execute_unprepared(&rename).await.unwrap();
    };
    rename("bento_projection_checkpoint", "moved").await;
    for _ in 0..5 {
        let answers = deliver(&dispatcher, &deliveries).await;
        let class = answers[0].as_ref().unwrap_err().class();
        assert_eq!(class, FailureClass::Unavailable, "health tells of it");
    }
    let stop = scene.until(&v1(), |_| true).await.stop.unwrap();
    let reason = stop.reason;
    assert!(reason.contains("bento_projection_checkpoint"), "{reason}");
    rename("moved", "bento_projection_checkpoint").await;
    scene.projections().await.retry(&v1()).await.unwrap();
    for answer in deliver(&dispatcher, &deliveries).await {
        answer.unwrap();
    }
    assert_eq!(scene.balances("balance_v1").await, scene.by_hand().await);
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
