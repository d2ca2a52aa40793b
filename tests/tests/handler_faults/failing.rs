//! A handler that always fails, and one that fails for some aggregates.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bento_handlers::{HandleError, Handlers, IdempotencyKey, event_handler};
use bento_relay::Relay;
use bento_relay::publish::Publishers;
use bento_relay::retry::RetryPolicy;
use bento_seaorm::OutboxTransaction;
use sea_orm::{ConnectionTrait as _, DbBackend};
use tokio::time::{Instant, interval};

use crate::log::{Log, Noted};
use crate::scene::{OrderPlaced, Scene};
use crate::support::TestDatabase;

/// The customers, each an aggregate, and the orders of each.
const CUSTOMERS: i64 = 60;
const ORDERS: i64 = 2;

/// From one order to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest time from the commit to the end for what does not fail, on a machine that is busy
/// with other things. Without retries in the way it is milliseconds.
const BOUND: Duration = Duration::from_secs(10);

const ATTEMPTS: u32 = 5;

#[event_handler(name = "orders.check", from = beginning)]
async fn check(event: OrderPlaced, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let insert = format!(
        "INSERT INTO effect VALUES ('orders.check', {})",
        event.number
    );
    tx.execute_unprepared(&insert).await?;
    match &*event.mood {
        "fails" => Err(full_disk())?,
        "commits" => {
            tx.execute_unprepared("COMMIT").await?;
        }
        "swallows" => drop(
            tx.execute_unprepared("INSERT INTO nowhere VALUES (1)")
                .await,
        ),
        _ => {}
    }
    Ok(())
}

#[event_handler(name = "orders.audit", from = beginning)]
async fn audit(_: OrderPlaced, _: IdempotencyKey) -> Result<(), HandleError> {
    Err(full_disk())?
}

#[event_handler(name = "orders.count", from = beginning)]
async fn count(event: OrderPlaced, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let insert = format!(
        "INSERT INTO effect VALUES ('orders.count', {})",
        event.number
    );
    tx.execute_unprepared(&insert).await?;
    Ok(())
}

fn full_disk() -> std::io::Error {
    std::io::Error::other("the disk is full")
}

/// The mood of a customer's orders: a quarter of them fail, each in one way.
fn mood(customer: i64, database: &TestDatabase) -> &'static str {
    match customer % 12 {
        0 => "fails",
        1 => "commits",
        // The other back ends go on after an error.
        2 if database.is(DbBackend::Postgres) => "swallows",
        2 => "fails",
        _ => "fine",
    }
}

pub async fn handlers_that_fail_starve_no_other(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let handlers = Handlers::new(())
        .add(check::handler())
        .add(audit::handler())
        .add(count::handler());
    let dispatcher = handlers.build(&scene.handlers_db().await).unwrap();
    let log = Log::default();
    let publishers = Publishers::new().with_handlers(Noted(dispatcher, log.clone()));
    let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
    let relay = Relay::builder(scene.store().await, publishers)
        .wake(&scene.wake)
        .retry(RetryPolicy::exponential(base, cap, ATTEMPTS))
        .start()
        .unwrap();

    let all = CUSTOMERS * ORDERS;
    let mut committed = BTreeMap::new();
    let mut ticks = interval(PAUSE);
    for number in 0..all {
        ticks.tick().await;
        let customer = number % CUSTOMERS;
        scene
            .place(customer, number, mood(customer, database))
            .await;
        committed.insert(number, Instant::now());
    }
    let is_fine = |number: &i64| mood(number % CUSTOMERS, database) == "fine";
    let fine: BTreeSet<_> = (0..all).filter(is_fine).collect();
    log.reaches("orders.count", committed.len()).await;
    log.reaches("orders.check", fine.len()).await;

    // The first order of a customer parks the others.
    let failing = CUSTOMERS / 4;
    let dead = CUSTOMERS + failing;
    scene.counted([0, dead * (ORDERS - 1), dead]).await;
    assert_eq!(relay.health().degraded, [], "no circuit is open");
    relay.stop().await.unwrap();

    let back_end = database.backend();
    for name in ["orders.count", "orders.check"] {
        let done = log.of(name);
        let delays = done.iter().map(|(number, at)| *at - committed[number]);
        let mut delays: Vec<_> = delays.collect();
        delays.sort_unstable();
        let p99 = delays[(delays.len() - 1) * 99 / 100];
        println!("{back_end:?}: {name} beside handlers that fail: p99 {p99:?}");
        assert!(p99 <= BOUND, "`{name}`: {p99:?}");
    }
    let checked: BTreeSet<_> = log.of("orders.check").into_keys().collect();
    assert_eq!(checked, fine);
    let effects = i64::try_from(fine.len()).unwrap();
    assert_eq!(scene.effects("orders.check").await, effects);
    assert_eq!(scene.effects("orders.count").await, all);
    for dead in scene.dead().await {
        assert_eq!(dead.attempts, ATTEMPTS, "{}", dead.error);
        let customer = dead.envelope.aggregate_id.parse().unwrap();
        let expected = match (&*dead.route, mood(customer, database)) {
            ("orders.check", "commits") => "`COMMIT` cannot be sent as text",
            ("orders.check", "swallows") => "abort",
            _ => "the disk is full",
        };
        assert!(dead.error.contains(expected), "{}", dead.error);
    }
}
