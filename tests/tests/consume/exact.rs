//! Two processes that are killed at one point after the other, while connections are cut and the
//! broker restarts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bento_tests::consuming::{MANY, ONE, Point};

use crate::process::{Process, call};
use crate::scene::{COUNTERS, Processes, Scene};

/// The points of a process that reads the source, and those of one with handlers.
const OF_SOURCE: [Point; 2] = [Point::BeforeAcknowledge, Point::AfterAcknowledge];
const OF_HANDLERS: [Point; 3] = [
    Point::BeforeEffect,
    Point::BeforeCommit,
    Point::BeforeAdvance,
];

/// The extent of a run.
#[derive(Clone, Copy, Debug)]
struct Extent {
    events: i64,
    /// The kills at each point.
    kills: u32,
    /// The cuts of the database's connections, and as many of the broker's.
    cuts: u32,
    restarts: u32,
}

impl Extent {
    fn asked() -> Self {
        let asked = std::env::var("BENTO_TEST_CONSUMED").ok();
        Self::of(asked.map_or(2000, |events| events.parse().unwrap()))
    }

    fn of(events: i64) -> Self {
        let share = u32::try_from(events / 1000).unwrap();
        Self {
            events,
            kills: share.max(3),
            cuts: (share / 5).max(1),
            restarts: (share / 16).clamp(1, 3),
        }
    }
}

/// The kills that were done, and those that are to be.
struct Kills {
    each: u32,
    done: Mutex<BTreeMap<Point, u32>>,
    goal: u32,
    mode: &'static str,
}

impl Kills {
    fn done(&self) -> u32 {
        self.done.lock().unwrap().values().sum()
    }

    fn are_done(&self) -> bool {
        self.done() >= self.goal
    }

    /// Kills a process at each of these points in turn. It is started anew if it ends before.
    async fn run(&self, processes: &Processes, points: &[Point], seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for point in (0..self.each).flat_map(|_| points) {
            loop {
                let call = call(&mut random, *point);
                let mut process = processes.start_with(&[ONE, MANY], *point, call, self.mode);
                if process
                    .until(point.name(), |told| told.is_at_its_point)
                    .await
                {
                    process.kill().await;
                    break;
                }
                // It was cut off while it started, or reached nothing.
                processes.tally.ended.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            *self.done.lock().unwrap().entry(*point).or_default() += 1;
        }
    }

    fn tell(&self) -> String {
        let done = self.done.lock().unwrap();
        let each = done
            .iter()
            .map(|(point, kills)| format!("{kills} {}", point.name()));
        each.collect::<Vec<_>>().join(", ")
    }
}

pub async fn each_event_counts_once(mut scene: Scene<'_>) {
    let extent = Extent::asked();
    let began = Instant::now();
    let relay = scene.relay().await;
    let kills = Kills {
        each: extent.kills,
        done: Mutex::default(),
        goal: extent.kills * 5,
        mode: "once",
    };
    let (cuts, restarts) = play(&mut scene, &kills, extent).await;
    let played = began.elapsed();
    let steady = scene.processes.start(Point::Never, 0);
    scene.drained().await;
    steady.stop().await;
    relay.stop().await.unwrap();
    let (one, many) = (
        scene.counted("one", scene.rounds).await,
        scene.counted("many", scene.rounds).await,
    );
    let committed = scene.committed();
    scene.tell(
        "once",
        &format!(
            "{committed} events; counted one by one {one:?}, in batches {many:?}; killed {}; \
             {cuts} cuts of the database, {cuts} of the broker, {restarts} restarts ({}); {}; \
             {} s, of which {} with kills",
            kills.tell(),
            scene.broker.restarts(),
            scene.messages(committed),
            began.elapsed().as_secs(),
            played.as_secs(),
        ),
    );
    assert_eq!(scene.left().await, 0, "nothing is left behind");
    scene.assert_exact("one", scene.rounds).await;
    scene.assert_exact("many", scene.rounds).await;
    scene.assert_none_dead().await;
    for point in OF_SOURCE.into_iter().chain(OF_HANDLERS) {
        assert_eq!(kills.done.lock().unwrap()[&point], extent.kills);
    }
    scene.broker.clear().await;
}

/// Kills, commits and cuts at the same time. Returns the cuts and restarts.
async fn play(scene: &mut Scene<'_>, kills: &Kills, extent: Extent) -> (u32, u32) {
    let processes = &scene.processes.clone();
    let killing = async {
        tokio::join!(
            async {
                kills.run(processes, &OF_SOURCE, 7).await;
                // One goes on, so that the other is not alone.
                processes.start(Point::Never, 0)
            },
            kills.run(processes, &OF_HANDLERS, 8),
        )
        .0
    };
    let directing = direct(scene, kills, extent);
    let (steady, counts): (Process, _) = tokio::join!(killing, directing);
    steady.stop().await;
    counts
}

/// Keeps events coming until all are committed and all kills done; cuts and restarts in between.
async fn direct(scene: &mut Scene<'_>, kills: &Kills, extent: Extent) -> (u32, u32) {
    let (mut cuts, mut restarts) = (0, 0);
    loop {
        let are_committed = scene.committed() >= extent.events;
        let is_over = kills.are_done() && are_committed;
        if is_over && cuts == extent.cuts && restarts == extent.restarts {
            return (cuts, restarts);
        }
        let handled = scene.sum("one").await.min(scene.sum("many").await);
        if !is_over && scene.committed() - handled < 3 * COUNTERS {
            scene.commit(2).await;
        }
        // The share of the run that is behind.
        let share = f64::from(kills.done()) / f64::from(kills.goal);
        let share = share.min(scene.committed() as f64 / extent.events as f64);
        if cuts < extent.cuts && f64::from(cuts) <= share * f64::from(extent.cuts) - 0.5 {
            cuts += 1;
            scene.cut_database().await;
            scene.broker.cut();
        } else if restarts < extent.restarts
            && f64::from(restarts) <= share * f64::from(extent.restarts) - 0.3
        {
            restarts += 1;
            scene.broker.restart().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same, with messages that are acknowledged before their events are stored. It has to lose
/// what each killed process had received.
pub async fn early_acknowledgements_lose(mut scene: Scene<'_>) {
    let relay = scene.relay().await;
    let kills = Kills {
        each: 4,
        done: Mutex::default(),
        goal: 4,
        mode: "early",
    };
    scene.commit(4).await;
    let processes = &scene.processes;
    kills.run(processes, &[Point::BeforeStore], 7).await;
    let steady = processes.start_with(&[ONE, MANY], Point::Never, 0, "early");
    scene
        .until("nothing is left", async || scene.left().await == 0)
        .await;
    steady.stop().await;
    relay.stop().await.unwrap();
    let (sum, committed) = (scene.sum("one").await, scene.committed());
    scene.tell(
        "early",
        &format!("{committed} events, counted {sum}; killed {}", kills.tell()),
    );
    let most = committed - i64::from(kills.done());
    assert!(sum <= most, "{sum} of {committed}");
    scene.broker.clear().await;
}
