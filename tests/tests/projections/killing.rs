//! Processes that are killed at each point of a batch, of a page and of a swap.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bento_tests::projecting::{Point, Release};
use sea_orm::DbBackend;
use tokio::time::sleep;

use crate::scene::{Process, Scene, asked};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_killed_batch_is_projected_once,
    a_killed_build_projects_each_event_once,
);

/// The stored events of a build that is killed: more than a page.
const STORED: i64 = 5_000;

/// The longest wait before a process is killed that goes on behind its point.
const SOON: u64 = 12;

fn kills() -> u32 {
    u32::try_from(asked("BENTO_TEST_PROJECTION_KILLS", 2)).unwrap()
}

type Counts = BTreeMap<&'static str, u32>;

/// Kills a process that is at its point.
async fn kill(process: Process, point: Point, counts: &mut Counts) {
    if point.goes_on() {
        sleep(Duration::from_millis(fastrand::u64(..SOON))).await;
    }
    process.kill().await;
    *counts.entry(point.name()).or_default() += 1;
}

fn tell(what: &str, database: &TestDatabase, counts: &Counts, began: Instant) {
    println!(
        "{what} on {:?}: killed {counts:?}; {} s",
        database.backend(),
        began.elapsed().as_secs()
    );
}

/// Two processes with a live version, one of which lives; on SQLite one after the other. The killed
/// ones leave batches that come again.
async fn a_killed_batch_is_projected_once(database: &TestDatabase) {
    let (began, mut counts) = (Instant::now(), Counts::new());
    let mut scene = Scene::on(database).await;
    scene.append(10).await;
    let mut steady = Some(scene.steady(Release::First));
    scene.until_live(1).await;
    if database.is(DbBackend::Sqlite) {
        steady.take().unwrap().stop().await;
    }
    for round in 0..kills() {
        for point in Point::LIVE {
            let mut process = scene.start(Release::First, point, 1 + round % 3, 0);
            scene.append(25).await;
            while !process.is_there().await {
                for _ in 0..5 {
                    scene.append(5).await;
                }
            }
            kill(process, point, &mut counts).await;
        }
    }
    let steady = steady.unwrap_or_else(|| scene.steady(Release::First));
    scene.until_drained().await;
    scene.assert_exact(1, "a live version").await;
    steady.stop().await;
    tell("batches", database, &counts, began);
}

/// A new version, built again and again by processes that are killed, beside one that is live.
async fn a_killed_build_projects_each_event_once(database: &TestDatabase) {
    let (began, mut counts) = (Instant::now(), Counts::new());
    let mut scene = Scene::on(database).await;
    scene.with_history(STORED).await;
    let old = scene.steady(Release::First);
    scene.until_live(1).await;
    old.stop().await;
    for round in 0..kills() {
        let points = Point::PAGE.into_iter().chain(Point::END);
        for point in points {
            let last = scene.by_hand().await.0.iter().map(|one| one.2).sum();
            let call = match point {
                Point::BeforeSwap | Point::AroundSwap => 1,
                _ => 1 + round % 3,
            };
            let mut process = scene.start(Release::Both, point, call, last);
            let mut is_there = process.is_there().await;
            while !is_there {
                assert!(!scene.is_live(2).await, "{} is reached first", point.name());
                is_there = process.is_there().await;
            }
            kill(process, point, &mut counts).await;
            // The next process need not wait until the time of this one is over.
            scene
                .run("UPDATE bento_projection SET builder = NULL WHERE version = 2")
                .await;
        }
        // Two processes at once, of which one builds.
        let mut steady = vec![scene.steady(Release::Both)];
        if !database.is(DbBackend::Sqlite) {
            steady.push(scene.steady(Release::Both));
        }
        scene.append(20).await;
        scene.until_live(2).await;
        scene.append(20).await;
        scene.until_drained().await;
        scene.assert_exact(2, "a build").await;
        scene.assert_exact(1, "the version before").await;
        let shown = async || scene.rows("SELECT largest FROM balances").await.is_ok();
        while !shown().await {
            sleep(Duration::from_millis(20)).await;
        }
        for process in steady {
            process.stop().await;
        }
        again(&scene).await;
    }
    tell("builds", database, &counts, began);
}

/// Makes version 2 new again, as before its build.
async fn again(scene: &Scene<'_>) {
    for reset in [
        "UPDATE bento_projection SET status = 'building', place = NULL, built = 0, builder = NULL \
         WHERE version = 2",
        "UPDATE bento_projection SET status = 'live' WHERE version = 1",
        "DELETE FROM bento_projection_checkpoint WHERE version = 2",
        "DELETE FROM balances_v2",
        "DELETE FROM noted WHERE version = 2",
        "DROP VIEW balances",
        "CREATE VIEW balances AS SELECT * FROM balances_v1",
    ] {
        scene.run(reset).await;
    }
}
