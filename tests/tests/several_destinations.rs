//! Several destinations, tenants and lanes on real databases: each goes its own way, and none stops
//! another.
//!
//! `BENTO_LANE_BACKLOG` sets how many events wait in a lane while another one is measured; 50,000
//! unless set. The delays are printed, and written to `delays-<back end>.txt` and
//! `lanes-<back end>.txt` in cargo's directory for tests.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test that prints its numbers"
)]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "several_destinations/broker.rs"]
mod broker;
#[path = "several_destinations/lanes.rs"]
mod lanes;
#[path = "several_destinations/stage.rs"]
mod stage;

use std::time::Duration;

use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters};
use bento_relay::publish::PublishError;
use bento_relay::route::Rule;
use bento_relay::store::NewDeadLetter;
use bento_relay::tenant::Pauses;

use crate::broker::account;
use crate::lanes::a_backlog_in_one_lane_does_not_delay_another_lane;
use crate::stage::{AGGREGATES, Stage};
use crate::support::{TestDatabase, on_every_back_end};

/// The time of the slow destination for each wave.
const SLOW: Duration = Duration::from_millis(100);
/// The longest delay of an event at a healthy destination: a few waves of the slow one, on a
/// machine that is busy with other things.
const BOUND: Duration = Duration::from_secs(3);
/// The time for which a call that hangs would block its shard, if the relay waited for it.
const HANG: Duration = Duration::from_secs(6);

async fn a_refusing_and_a_slow_destination_leave_the_third_at_its_speed(database: &TestDatabase) {
    let stage = Stage::on(database, ["refusing", "slow", "fine"]).await;
    let relay = stage
        .relay(Rule::new("all").to(["refusing", "slow", "fine"]))
        .workers(16)
        .start()
        .unwrap();
    let alone = stage.play(20).await;
    stage.delivered(["refusing", "slow", "fine"], alone).await;
    let undisturbed = stage.broker("fine").take_delays();

    stage
        .broker("refusing")
        .inner()
        .fail(|_| Some(PublishError::unavailable("connection refused")));
    stage.broker("slow").inner().answer_after(SLOW);
    let all = alone + stage.play(30).await;
    stage.delivered(["slow", "fine"], all).await;
    let disturbed = stage.broker("fine").take_delays();
    assert!(
        stage.is_open(&relay, "refusing") && !stage.is_open(&relay, "slow"),
        "{:?}",
        relay.health()
    );
    stage.counted("held", all - alone).await;
    stage.tell(
        "delays",
        &format!("fine alone: {undisturbed}; beside a slow and a refusing one: {disturbed}\n"),
    );
    assert!(disturbed.p95 < BOUND, "{disturbed}");

    stage.broker("refusing").inner().recover();
    stage.delivered(["refusing"], all).await;
    stage.drained().await;
    assert!(!stage.is_open(&relay, "refusing"));
    relay.stop().await.unwrap();
    ["refusing", "slow", "fine"]
        .iter()
        .for_each(|name| stage.account(name).assert_exact());
}

async fn a_destination_that_hangs_costs_the_others_nothing_and_gets_everything_in_order(
    database: &TestDatabase,
) {
    let stage = Stage::on(database, ["hanging", "fine"]).await;
    let relay = stage
        .relay(Rule::new("both").to(["hanging", "fine"]))
        .start()
        .unwrap();
    let alone = stage.play(20).await;
    stage.delivered(["hanging", "fine"], alone).await;
    let undisturbed = stage.broker("fine").take_delays();

    stage.broker("hanging").inner().block();
    let all = alone + stage.play(30).await;
    stage.delivered(["fine"], all).await;
    let disturbed = stage.broker("fine").take_delays();
    stage.tell(
        "hanging",
        &format!("fine alone: {undisturbed}; beside one that hangs: {disturbed}\n"),
    );
    assert!(disturbed.p95 < BOUND && disturbed.max < HANG, "{disturbed}");
    assert_eq!(
        stage.broker("hanging").inner().published().len(),
        alone,
        "it still hangs"
    );
    stage.counted("held", all - alone).await;

    stage.broker("hanging").inner().unblock();
    stage.delivered(["hanging"], all).await;
    stage.drained().await;
    relay.stop().await.unwrap();
    ["hanging", "fine"]
        .iter()
        .for_each(|name| stage.account(name).assert_exact());
}

async fn a_paused_tenant_waits_while_another_goes_on(database: &TestDatabase) {
    let stage = Stage::on(database, ["left", "right"]).await;
    let relay = stage
        .relay(Rule::new("both").to(["left", "right"]))
        .start()
        .unwrap();
    let before = stage.play_for("acme", 5).await;
    stage.delivered(["left", "right"], before).await;
    assert!(stage.store().pause("acme", "moving", None).await.unwrap());
    // A worker learns of it with its next call; this is committed afterwards, so no worker can have
    // it in hand.
    let paused = stage.play_for("acme", 5).await;
    let others = before + stage.play_for("umbrella", 5).await;
    stage.delivered(["left", "right"], others).await;
    stage.counted("held", paused).await;
    assert_eq!(
        stage.broker("left").inner().published().len(),
        others,
        "nothing of the paused tenant"
    );
    assert!(stage.store().resume("acme").await.unwrap());
    stage.delivered(["left", "right"], others + paused).await;
    stage.drained().await;
    relay.stop().await.unwrap();
    ["left", "right"]
        .iter()
        .for_each(|name| stage.account(name).assert_exact());
}

async fn all_or_nothing_ends_with_each_event_once_at_both(database: &TestDatabase) {
    let stage = Stage::on(database, ["left", "right"]).await;
    stage
        .broker("right")
        .inner()
        .fail(|delivery| (delivery.attempts < 1).then(|| PublishError::transient("busy")));
    let committed = stage.play(3).await;
    let relay = stage
        .relay(Rule::new("both").to(["left", "right"]).all_or_nothing())
        .failure_threshold(1000)
        .start()
        .unwrap();
    stage.delivered(["left", "right"], committed).await;
    stage.drained().await;
    relay.stop().await.unwrap();
    ["left", "right"]
        .iter()
        .for_each(|name| stage.account(name).assert_exact());
}

async fn what_is_refused_for_good_falls_back_and_what_is_too_late_is_a_dead_letter(
    database: &TestDatabase,
) {
    let stage = Stage::on(database, ["left", "right"]).await;
    stage
        .broker("left")
        .inner()
        .fail(|delivery| match account(delivery) {
            1 => Some(PublishError::permanent("too large")),
            2 => Some(PublishError::transient("busy")),
            _ => None,
        });
    let committed = stage.play(2).await;
    let rule = Rule::new("all")
        .to(["left"])
        .fallback("right")
        .expires_after(Duration::from_secs(3));
    let retry = bento_relay::retry::RetryPolicy::fixed(Duration::from_millis(200), u32::MAX);
    let relay = stage
        .relay(rule)
        .retry(retry)
        .failure_threshold(1000)
        .start()
        .unwrap();
    stage.delivered(["left"], committed - 4).await;
    stage.delivered(["right"], 2).await;
    stage.counted("dead", 2).await;
    relay.stop().await.unwrap();
    assert!(
        stage
            .broker("right")
            .inner()
            .published()
            .iter()
            .all(|delivery| account(delivery) == 1)
    );
    for dead in stage
        .store()
        .list(&DeadLetterQuery::default())
        .await
        .unwrap()
    {
        assert_eq!(
            (&*dead.envelope.aggregate_id, &*dead.cause),
            ("2", NewDeadLetter::EXPIRED)
        );
    }
    assert_eq!(
        stage.account("left").lost.len(),
        4,
        "{AGGREGATES} aggregates but two"
    );
}

on_every_back_end!(
    a_refusing_and_a_slow_destination_leave_the_third_at_its_speed,
    a_destination_that_hangs_costs_the_others_nothing_and_gets_everything_in_order,
    a_paused_tenant_waits_while_another_goes_on,
    all_or_nothing_ends_with_each_event_once_at_both,
    what_is_refused_for_good_falls_back_and_what_is_too_late_is_a_dead_letter,
    a_backlog_in_one_lane_does_not_delay_another_lane,
);
