//! A hundredth of the events take five seconds: the rest is as fast as without them.

use std::collections::BTreeMap;
use std::time::Duration;

use bento_handlers::{HandleError, Handlers, event_handler};
use bento_relay::publish::{Destination, MemoryPublisher, Publishers};
use bento_relay::route::Router;
use bento_seaorm::OutboxTransaction;
use sea_orm::ConnectionTrait as _;
use tokio::time::{Instant, interval, sleep};

use crate::log::Noted;
use crate::stage::{Committed, JobQueued, Stage, events, tell};
use crate::support::TestDatabase;

/// The time of a slow job, in milliseconds.
const SLOW: u64 = 5000;

/// From one commit to the next.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest delay that slow jobs may add to 99 of 100 others.
const BOUND: Duration = Duration::from_millis(250);

/// Two handlers and a broker: one handler has slow jobs.
const NAMES: [&str; 3] = ["jobs.work", "jobs.count", "broker"];

#[event_handler(name = "jobs.work", concurrency = 16, from = beginning)]
async fn work(event: JobQueued, tx: &OutboxTransaction) -> Result<(), HandleError> {
    sleep(Duration::from_millis(event.takes)).await;
    let done = format!("INSERT INTO done VALUES ({})", event.number);
    tx.execute_unprepared(&done).await?;
    Ok(())
}

#[event_handler(name = "jobs.count", concurrency = 4, from = beginning)]
async fn count(event: JobQueued, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let counted = format!("INSERT INTO counted VALUES ({})", event.number);
    tx.execute_unprepared(&counted).await?;
    Ok(())
}

pub async fn a_slow_call_delays_no_event_of_another_aggregate(database: &TestDatabase) {
    for table in ["done", "counted"] {
        let create = format!("CREATE TABLE {table} (number BIGINT PRIMARY KEY)");
        database.db.execute_unprepared(&create).await.unwrap();
    }
    let stage = Stage::on(database).await;
    let handlers = Handlers::new(()).add(work::handler()).add(count::handler());
    let dispatcher = handlers.build(&stage.handlers_db().await).unwrap();
    let broker = Noted(MemoryPublisher::new(), stage.log.clone());
    let publishers = Publishers::new().with("broker", broker);
    let relay = stage.relay(publishers, dispatcher).await;
    let relay = relay
        .router(Router::to(Destination::new("broker")))
        .start()
        .unwrap();

    // By turns, so that both have to do with the same machine.
    let (rounds, each) = (4, events(1200) / 4);
    let is_slow = |job: usize| job / each % 2 == 1;
    for round in 0..rounds {
        let jobs = round * each..(round + 1) * each;
        play(&stage, jobs, |job| {
            let takes = is_slow(job) && job % 100 == 50;
            if takes { SLOW } else { 0 }
        })
        .await;
        for name in NAMES {
            stage.log.reaches(name, (round + 1) * each).await;
        }
    }
    stage.drained().await;
    relay.stop().await.unwrap();

    let committed = stage.committed();
    let slow = committed.values().filter(|job| job.takes > 0).count();
    let mut numbers = format!(
        "{} events, half of them beside {slow} of {SLOW} ms\n",
        committed.len()
    );
    let mut added = BTreeMap::new();
    for name in NAMES {
        let done = stage.log.of(name);
        let delays = |slow| Delays::of(&committed, &done, |job| is_slow(job) == slow);
        let (quiet, beside_slow) = (delays(false), delays(true));
        added.insert(name, beside_slow.p99.saturating_sub(quiet.p99));
        numbers += &format!("{name}: alone {quiet}; beside slow ones {beside_slow}\n");
    }
    tell("delays", &numbers);
    let all = i64::try_from(committed.len()).unwrap();
    for table in ["done", "counted"] {
        let effects = format!("SELECT count(*) FROM {table}");
        assert_eq!(database.number(&effects).await, all, "{table}");
    }
    assert!(added.values().all(|added| *added <= BOUND), "{added:?}");
}

/// Commits jobs one after the other.
async fn play(stage: &Stage<'_>, jobs: std::ops::Range<usize>, takes: impl Fn(usize) -> u64) {
    let mut ticks = interval(PAUSE);
    for job in jobs {
        ticks.tick().await;
        stage
            .commit(&[(i64::try_from(job).unwrap(), takes(job))])
            .await;
    }
}

/// The times from the commit to the end, of jobs that are not slow and not behind a slow one of
/// their queue.
struct Delays {
    count: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Delays {
    fn of(
        committed: &BTreeMap<i64, Committed>,
        done: &BTreeMap<i64, Instant>,
        is_of: impl Fn(usize) -> bool,
    ) -> Self {
        let mut slow: BTreeMap<i64, Instant> = BTreeMap::new();
        let mut delays = Vec::new();
        let of = |number: &i64| is_of(usize::try_from(*number).unwrap());
        for (&number, job) in committed.iter().filter(|(number, _)| of(number)) {
            if job.takes > 0 {
                slow.insert(job.queue, done[&number]);
            } else if slow.get(&job.queue).is_none_or(|end| *end < job.at) {
                delays.push(done[&number].saturating_duration_since(job.at));
            }
        }
        delays.sort_unstable();
        let at = |share: usize| delays[(delays.len() - 1) * share / 100];
        Self {
            count: delays.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            count,
            p50,
            p99,
            max,
        } = self;
        let [p50, p99, max] = [p50, p99, max].map(Duration::as_millis);
        write!(
            f,
            "{count} events, p50 {p50} ms, p99 {p99} ms, max {max} ms"
        )
    }
}
