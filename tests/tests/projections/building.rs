//! A version that is built beside a live one, while others write and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bento_seaorm::ProjectionStatus;
use bento_tests::projecting::{PAGE, Point, Release};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::scene::{Scene, asked};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(readers_find_a_whole_read_model_while_a_version_is_built);

/// The events of one append of the live writes, and the time between two: 200 events a second.
const WRITES: i64 = 5;
const PAUSE: Duration = Duration::from_millis(25);

/// Looks at the view all the time, until it is told to end.
struct Reader {
    is_over: Arc<AtomicBool>,
    looks: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Reader {
    /// A read model is whole that has at least these events, and no row less than before.
    fn start(db: DatabaseConnection, events: i64) -> Self {
        let (is_over, looks): (Arc<AtomicBool>, Arc<AtomicI64>) = Default::default();
        let (over, looked) = (Arc::clone(&is_over), Arc::clone(&looks));
        let task = tokio::spawn(async move {
            let sql = "SELECT id, entries FROM balances";
            let select = Statement::from_string(db.get_database_backend(), sql);
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                let rows = db.query_all_raw(select.clone()).await.unwrap();
                assert!(rows.len() >= most, "{} rows after {most}", rows.len());
                most = rows.len();
                let entries = rows.iter().map(|row| row.try_get_by_index::<i64>(1));
                let entries: i64 = entries.sum::<Result<_, _>>().unwrap();
                assert!(entries >= events, "{entries} of {events} events");
                looked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
            }
        });
        Self {
            is_over,
            looks,
            task,
        }
    }

    /// Returns the number of times that it has looked.
    async fn end(self) -> i64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.looks.load(Ordering::SeqCst)
    }
}

/// Writes until a condition of the database holds.
async fn write_until(scene: &mut Scene<'_>, holds: impl AsyncFn(&Scene<'_>) -> bool) -> i64 {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = 0;
    loop {
        ticks.tick().await;
        scene.append(WRITES).await;
        written += WRITES;
        if holds(scene).await {
            return written;
        }
    }
}

/// The relay of the old release runs beside the new one; on SQLite, which has one process at a
/// time, before it.
async fn readers_find_a_whole_read_model_while_a_version_is_built(database: &TestDatabase) {
    let events = asked("BENTO_TEST_PROJECTION_EVENTS", 10_000);
    let mut scene = Scene::on(database).await;
    scene.with_history(events).await;
    let first = Instant::now();
    let mut old = Some(scene.steady(Release::First));
    scene.until_live(1).await;
    let first = first.elapsed();
    // On MySQL the view is there right after the first swap.
    while scene.rows("SELECT 1 FROM balances").await.is_err() {
        sleep(PAUSE).await;
    }
    let reader = Reader::start(database.connect(1).await, events);
    if database.is(DbBackend::Sqlite) {
        old.take().unwrap().stop().await;
    }

    let began = Instant::now();
    let half = u32::try_from(events).unwrap() / PAGE as u32 / 2;
    let mut new = scene.start(Release::Both, Point::BeforeProject, half, 0);
    let killed = tokio::spawn(async move {
        while !new.is_there().await {}
        new.kill().await;
    });
    let mut written = write_until(&mut scene, async |_| killed.is_finished()).await;
    killed.await.unwrap();
    let state = scene.state(2).await.unwrap();
    assert_eq!(
        state.status,
        ProjectionStatus::Building,
        "it is killed in between"
    );
    let raised = "SELECT count(*) FROM noted WHERE version = 2";
    assert_eq!(scene.number_of(raised).await, 0, "they come with the swap");
    let held = "SELECT count(*) FROM bento_projection_effect";
    assert!(scene.number_of(held).await > 0);

    let new = scene.steady(Release::Both);
    written += write_until(&mut scene, async |scene| scene.is_live(2).await).await;
    let took = began.elapsed();
    let rate = written as f64 / took.as_secs_f64();
    if let Some(old) = old {
        old.stop().await;
    }
    scene.append(WRITES).await;
    scene.until_drained().await;
    let looks = reader.end().await;
    for version in [1, 2] {
        scene.assert_exact(version, "beside writes").await;
    }
    assert_eq!(scene.number_of(held).await, 0);
    assert_eq!(scene.db.live_version("balances").await.unwrap(), Some(2));
    new.stop().await;
    println!(
        "build beside writes on {:?}: {events} events, the first version in {:.1} s, the second \
         in {:.1} s with a kill, {rate:.0} writes a second, {looks} looks",
        database.backend(),
        first.as_secs_f64(),
        took.as_secs_f64(),
    );
}
