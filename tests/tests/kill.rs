//! A relay is killed at each point where it matters, and another one takes over: nothing is lost,
//! order holds, and only what was on its way arrives twice.
//!
//! The relays are processes of their own. The first one aborts at the named point; the counts of
//! each are printed, and written to `kill-<point>-<back end>.txt` in cargo's directory for tests.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its counts"
)]
#![cfg(unix)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "kill/scene.rs"]
mod scene;
#[path = "kill/slow_settling.rs"]
mod slow_settling;

use bento_tests::kill::{BATCH, Point, WORKERS};

use crate::scene::{PER_ROUND, Scene};
use crate::support::{TestDatabase, on_every_back_end};

/// The rounds of each aggregate, enough for a full batch in each shard that has any.
const ROUNDS: usize = 2 * BATCH;
const MANY: usize = ROUNDS * PER_ROUND;

async fn a_relay_killed_after_its_claim_costs_no_duplicate(database: &TestDatabase) {
    let mut scene = Scene::on(database, Point::AfterClaim).await;
    scene.commit(ROUNDS).await;
    scene.first_aborts().await;
    scene.second_takes_over().await;
    assert_eq!(
        scene.delivered_by_first().await,
        0,
        "it aborts before it publishes"
    );
    let account = scene.settle().await;
    account.assert_exact();
    assert_eq!(account.committed, 2 * MANY);
}

async fn a_relay_killed_between_publishing_and_settling_costs_what_was_in_flight(
    database: &TestDatabase,
) {
    let mut scene = Scene::on(database, Point::AfterPublish).await;
    scene.commit(ROUNDS).await;
    scene.first_aborts().await;
    scene.second_takes_over().await;
    let (account, in_flight) = (scene.settle().await, scene.delivered_by_first().await);
    account.assert_nothing_lost_and_in_order();
    assert!(
        (1..=BATCH * WORKERS).contains(&in_flight),
        "{in_flight} were in flight"
    );
    assert_eq!(
        account.duplicates, in_flight,
        "nothing was settled, and nothing else comes twice"
    );
}

async fn a_relay_killed_in_the_middle_of_settling_costs_what_was_in_flight(
    database: &TestDatabase,
) {
    let mut scene = Scene::on(database, Point::DuringSettle).await;
    scene.commit(ROUNDS).await;
    slow_settling::begin(&database.db).await;
    scene.first_aborts().await;
    slow_settling::end(&database.db).await;
    scene.second_takes_over().await;
    let (account, in_flight) = (scene.settle().await, scene.delivered_by_first().await);
    account.assert_nothing_lost_and_in_order();
    assert!(
        (1..=BATCH * WORKERS).contains(&in_flight),
        "{in_flight} were in flight"
    );
    assert_eq!(
        account.duplicates, in_flight,
        "the transaction was rolled back, all of it and no other"
    );
}

async fn a_relay_killed_while_it_only_holds_leases_costs_no_duplicate(database: &TestDatabase) {
    let mut scene = Scene::on(database, Point::WhileIdle).await;
    scene.commit(ROUNDS).await;
    scene.first_drains_and_aborts().await;
    scene.second_takes_over().await;
    assert_eq!(scene.delivered_by_first().await, MANY);
    scene.settle().await.assert_exact();
}

on_every_back_end!(
    a_relay_killed_after_its_claim_costs_no_duplicate,
    a_relay_killed_between_publishing_and_settling_costs_what_was_in_flight,
    a_relay_killed_in_the_middle_of_settling_costs_what_was_in_flight,
    a_relay_killed_while_it_only_holds_leases_costs_no_duplicate,
);
