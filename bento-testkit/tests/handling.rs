//! A handler tested by `handling`: its effect once, on every back end, and what is told of one that
//! does it twice.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

#[path = "handling/handlers.rs"]
mod handlers;
#[path = "handling/told.rs"]
mod told;

use bento_relay::publish::FailureClass;
use bento_seaorm::OutboxConnection;
use bento_testkit::{database_in_memory, given, handling, handling_envelopes, handling_stored};
use serde_json::json;

use crate::handlers::{
    Mailer, Order, OrderConfirmed, Refill, StockLow, announce, confirm, count, facts, ready,
    reserve, stock,
};
use crate::support::{TestDatabase, on_every_back_end};

fn confirmed(quantity: i64) -> OrderConfirmed {
    OrderConfirmed {
        order_id: 7,
        quantity,
    }
}

/// A database with ten packets, and a pool of its own for the handler.
async fn scene(database: &TestDatabase) -> OutboxConnection {
    let db = OutboxConnection::new(database.connect(5).await);
    ready(&db).await;
    db
}

async fn an_effect_in_the_transaction_is_there_once(database: &TestDatabase) {
    let db = scene(database).await;
    let handled = handling(confirmed(8))
        .of("order", 7)
        .by(reserve::handler(), &db)
        .once(async || stock(&db).await)
        .await
        .succeeds()
        .raises(StockLow { left: 2 })
        .and_nothing_else();
    assert_eq!(handled.effect, 2);
    assert_eq!(
        handled.keys.len(),
        2,
        "one call is cut off, and the last event is known"
    );
}

async fn a_batch_has_its_effect_once(database: &TestDatabase) {
    let db = scene(database).await;
    let handled = handling([confirmed(1), confirmed(2), confirmed(3)])
        .of("order", 7)
        .by(count::handler(), &db)
        .once(async || stock(&db).await)
        .await;
    assert_eq!((handled.effect, handled.answers.len()), (4, 3));
}

async fn a_key_is_the_same_after_a_crash(database: &TestDatabase) {
    let (db, mailer) = (scene(database).await, Mailer::default());
    let handled = handling(confirmed(1))
        .with_state(mailer.clone())
        .by(confirm::handler(), &db)
        .once(async || mailer.mails())
        .await;
    assert_eq!((handled.effect, mailer.calls()), (1, 2));
    assert_eq!(handled.keys[0], handled.keys[1]);
    let again = handling(confirmed(1))
        .with_state(mailer.clone())
        .by(confirm::handler(), &db)
        .run_after_crash()
        .await
        .succeeds();
    assert_eq!(
        (mailer.mails(), mailer.calls()),
        (2, 4),
        "it is another event"
    );
    assert_ne!(again.keys[0], handled.keys[0]);
}

on_every_back_end! {
    an_effect_in_the_transaction_is_there_once,
    a_batch_has_its_effect_once,
    a_key_is_the_same_after_a_crash,
}

#[tokio::test]
async fn a_failure_is_in_the_result() {
    let db = database_in_memory().await;
    ready(&db).await;
    let run = async |quantity| {
        let handling = handling(confirmed(quantity)).by(reserve::handler(), &db);
        handling.run().await.and_nothing_else()
    };
    let too_much = run(11).await.fails_permanently();
    assert_eq!(too_much.message().unwrap(), "there is too little in stock");
    run(0).await.skips();
    run(-1).await.fails_transiently();
    run(-2).await.fails(FailureClass::Unavailable);
    assert_eq!(stock(&db).await, 10);
}

#[tokio::test]
async fn a_failure_after_a_crash_is_in_the_result() {
    let db = database_in_memory().await;
    ready(&db).await;
    let handling = handling(confirmed(11)).by(reserve::handler(), &db);
    handling.run_after_crash().await.fails_permanently();
}

#[tokio::test]
async fn an_earlier_version_is_brought_forward() {
    let db = database_in_memory().await;
    ready(&db).await;
    handling_stored("order.confirmed", 1, json!({ "order_id": 7 }))
        .by(reserve::handler(), &db)
        .run()
        .await
        .succeeds();
    assert_eq!(stock(&db).await, 9, "the default of version 2");
}

#[tokio::test]
async fn a_newer_version_waits_and_a_malformed_payload_does_not() {
    let db = database_in_memory().await;
    ready(&db).await;
    let stored = async |version, payload| {
        let handling = handling_stored("order.confirmed", version, payload);
        handling.by(reserve::handler(), &db).run().await
    };
    stored(3, json!({})).await.fails(FailureClass::NotTried);
    stored(2, json!({ "order_id": "x" }))
        .await
        .fails_permanently();
}

#[tokio::test]
async fn the_facts_about_an_event_can_be_set() {
    let db = database_in_memory().await;
    let handled = handling(confirmed(1))
        .of("order", 7)
        .tenant("acme")
        .after_attempts(2)
        .by(facts::handler(), &db)
        .run()
        .await
        .raises(Refill {
            by: "order 7 of acme, attempt 3".to_owned(),
        });
    assert_eq!(handled.raised[0].tenant_id.as_deref(), Some("acme"));
}

#[tokio::test]
async fn the_events_of_an_aggregate_can_be_handled() {
    let db = database_in_memory().await;
    let raised = given(Order::new(7)).when(Order::confirm).raised;
    handling_envelopes(raised)
        .by(facts::handler(), &db)
        .run()
        .await
        .raises(Refill {
            by: "order 7 of nobody, attempt 1".to_owned(),
        });
}

#[tokio::test]
async fn returned_events_are_raised_once() {
    let db = database_in_memory().await;
    handling(confirmed(100))
        .by(announce::handler(), &db)
        .once(async || ())
        .await
        .raises(Refill {
            by: "announce".to_owned(),
        })
        .and_nothing_else();
    let nothing = handling(confirmed(1))
        .by(announce::handler(), &db)
        .run()
        .await;
    nothing.succeeds().and_nothing_else();
}

#[tokio::test]
async fn a_handler_of_a_set_is_named() {
    let (db, mailer) = (database_in_memory().await, Mailer::default());
    let handlers = bento_handlers::Handlers::new(mailer.clone()).add(confirm::handler());
    handling(confirmed(1))
        .by_named(handlers, "mail.confirmation", &db)
        .run()
        .await
        .succeeds();
    assert_eq!(mailer.mails(), 1);
}
