//! The messages about a handler that breaks a rule, and about a test that asks for what cannot be.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_handlers::Handlers;
use bento_seaorm::OutboxConnection;
use bento_testkit::{Handling, database_in_memory, handling, handling_envelopes};
use expect_test::{Expect, expect};
use futures_util::FutureExt as _;
use sea_orm::DbBackend;

use crate::handlers::{
    Beside, Mailer, OrderCancelled, beside, careless, confirm, raise_again, raise_beside, ready,
    reserve, stock,
};
use crate::support::{TestDatabase, in_database};
use crate::{confirmed, scene};

/// The message of the panic in which a test ends, without its place.
async fn panic_of(test: impl Future) -> String {
    let panic = AssertUnwindSafe(test).catch_unwind().await.err();
    let panic = panic.expect("it panics");
    let message = match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(literal) => (*literal.downcast::<&str>().unwrap()).to_owned(),
    };
    let place = "bento-testkit/tests/handling/told.rs:";
    let words = message
        .split(' ')
        .map(|word| match word.starts_with(place) {
            true => "<place>:",
            false => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

/// The text in lines that fit into this file.
fn in_lines(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        lines.push(String::new());
        for word in line.split(' ') {
            let last = lines.last_mut().unwrap();
            if !last.is_empty() && last.len() + word.len() > 80 {
                lines.push(word.to_owned());
            } else {
                last.push_str(if last.is_empty() { "" } else { " " });
                last.push_str(word);
            }
        }
    }
    lines.join("\n")
}

async fn assert_told(test: impl Future, expected: Expect) {
    let mut told = panic_of(test).await;
    // The two keys are one, and differ from run to run.
    if let Some((begin, rest)) = told.split_once("one key (") {
        let (keys, end) = rest.split_once(')').unwrap();
        let (one, two) = keys.split_once(", ").unwrap();
        assert_eq!(one, two);
        told = format!("{begin}one key (…){end}");
    }
    expected.assert_eq(&in_lines(&told));
}

/// A handler with a transaction on `db` that writes on `other`.
async fn assert_beside_is_told(db: &OutboxConnection, other: OutboxConnection) {
    let test = handling(confirmed(2))
        .with_state(Beside(other.clone()))
        .by(beside::handler(), db)
        .once(async || stock(&other).await);
    let expected = expect![[r#"
        `stock.beside`, tested at <place>: its effect is there after a crash before the
        commit: 10 before the call, and 8 after it. The effect has to be in the
        transaction `tx`: what another connection writes, or another system gets, stays
        when the transaction is rolled back, and comes a second time with the next
        attempt"#]];
    assert_told(test, expected).await;
}

async fn on_another_connection(database: &TestDatabase) {
    let other = OutboxConnection::new(database.connect(2).await);
    assert_beside_is_told(&scene(database).await, other).await;
}

#[tokio::test]
async fn an_effect_on_another_connection_is_told_on_postgres() {
    in_database(DbBackend::Postgres, on_another_connection).await;
}

#[tokio::test]
async fn an_effect_on_another_connection_is_told_on_mysql() {
    in_database(DbBackend::MySql, on_another_connection).await;
}

#[tokio::test]
async fn an_effect_in_another_database_is_told() {
    let (db, other) = (database_in_memory().await, database_in_memory().await);
    ready(&other).await;
    assert_beside_is_told(&db, other).await;
}

#[tokio::test]
async fn an_event_of_another_transaction_is_told() {
    in_database(DbBackend::Postgres, async |database| {
        let db = scene(database).await;
        let other = OutboxConnection::new(database.connect(2).await);
        let test = handling(confirmed(2))
            .with_state(Beside(other))
            .by(raise_beside::handler(), &db)
            .once(async || ());
        assert_told(
            test,
            expect![[r#"
            `stock.raise_beside`, tested at <place>: events are in the outbox after a crash
            before the commit: none was expected, but what was raised is:
            `stock.low` v1 {"left":1}
            They have to be raised in the transaction `tx`, or returned"#]],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_raised_with_each_call_is_told() {
    let db = database_in_memory().await;
    let test = handling(confirmed(2))
        .with_state(Beside(db.clone()))
        .by(raise_again::handler(), &db)
        .once(async || ());
    assert_told(
        test,
        expect![[r#"
        `mail.raise_again`, tested at <place>: its effect changed when it was called
        again after a crash before the record: (), then (). Both calls have one key
        (…): the other system has to get the key and to do its work once for it, and so
        does its fake
        Nothing was to be raised again, but what was raised is:
        `stock.low` v1 {"left":1}"#]],
    )
    .await;
}

#[tokio::test]
async fn a_key_that_is_not_handed_on_is_told() {
    let (db, mailer) = (database_in_memory().await, Mailer::default());
    let test = handling(confirmed(1))
        .with_state(mailer.clone())
        .by(careless::handler(), &db)
        .once(async || mailer.mails());
    assert_told(
        test,
        expect![[r#"
        `mail.careless`, tested at <place>: its effect changed when it was called again
        after a crash before the record: 1, then 2. Both calls have one key (…): the
        other system has to get the key and to do its work once for it, and so does its
        fake"#]],
    )
    .await;
}

#[tokio::test]
async fn an_effect_that_is_missing_is_told() {
    let db = database_in_memory().await;
    ready(&db).await;
    let test = handling(confirmed(2))
        .by(reserve::handler(), &db)
        .once(async || 10);
    assert_told(
        test,
        expect![[r#"
        `stock.reserve`, tested at <place>: it has handled the event without an effect:
        10 before and after it, and no event was raised. Read what the handler changes;
        for an event without an effect take `run` in place of `once`"#]],
    )
    .await;
}

#[tokio::test]
async fn an_effect_that_goes_on_is_told() {
    let (db, reads) = (database_in_memory().await, AtomicUsize::new(0));
    ready(&db).await;
    let test = handling(confirmed(2))
        .by(reserve::handler(), &db)
        .once(async || [10, 10, 8, 6][reads.fetch_add(1, Ordering::SeqCst)]);
    assert_told(
        test,
        expect![[r#"
        `stock.reserve`, tested at <place>: its effect changed when the event came again,
        though it was recorded as handled: 8, then 6. Something goes on when the call has
        ended, a task that was spawned for example: await it in the handler"#]],
    )
    .await;
}

#[tokio::test]
async fn once_is_not_for_an_event_that_fails_or_is_skipped() {
    let db = database_in_memory().await;
    ready(&db).await;
    let once = async |quantity| {
        let by = handling(confirmed(quantity)).by(reserve::handler(), &db);
        by.once(async || stock(&db).await).await
    };
    assert_told(
        once(11),
        expect![[r#"
        `stock.reserve`, tested at <place>: it failed: there is too little in stock
        (`permanent`). For an event that it cannot handle take `run` in place of `once`"#]],
    )
    .await;
    assert_told(
        once(0),
        expect![[r#"
        `stock.reserve`, tested at <place>: it skipped the event: take `run` in place of
        `once`"#]],
    )
    .await;
}

/// The message of `by`, for `mail.confirmation` and `stock.reserve`.
async fn refused(handling: Handling, has_state: bool) -> String {
    let db = database_in_memory().await;
    panic_of(async {
        if has_state {
            let _ = handling.by(reserve::handler(), &db);
        } else {
            let _ = handling.by(confirm::handler(), &db);
        }
    })
    .await
}

#[tokio::test]
async fn a_test_that_does_not_fit_its_handler_is_refused() {
    let texts = [
        refused(handling(confirmed(1)), false).await,
        refused(handling(OrderCancelled {}), true).await,
        refused(handling([confirmed(1), confirmed(2)]), true).await,
        panic_of(async { handling_envelopes([]) }).await,
        panic_of(async {
            let handling = handling(confirmed(1)).with_state(Mailer::default());
            let db = database_in_memory().await;
            let _ = handling.by_named(Handlers::registered(), "mail.confirmation", &db);
        })
        .await,
    ];
    expect![[r#"
        the handlers cannot be built: handler `mail.confirmation` takes
        `State<handling::handlers::Mailer>`, which is missing: add `.state(…)` with a
        value of this type; in this test that is `with_state`
        `stock.reserve` does not take `order.cancelled`: it takes `order.confirmed`
        `stock.reserve` takes one event in each call, and there are 2: test it with one
        after the other, or take a `Batch`
        there is no event to handle
        `by_named` takes the states of its set: give `mail.confirmation` its state there,
        in place of `with_state`"#]]
    .assert_eq(&in_lines(&texts.join("\n")));
}

#[tokio::test]
async fn what_is_asserted_and_not_so_is_told() {
    let db = database_in_memory().await;
    ready(&db).await;
    let run = async |quantity| {
        handling(confirmed(quantity))
            .by(reserve::handler(), &db)
            .run()
            .await
    };
    let texts = [
        panic_of(async { run(11).await.succeeds() }).await,
        panic_of(async { run(0).await.succeeds() }).await,
        panic_of(async { run(1).await.skips() }).await,
        panic_of(async { run(11).await.skips() }).await,
        panic_of(async { run(1).await.fails_permanently() }).await,
        panic_of(async { run(11).await.fails_transiently() }).await,
    ];
    expect![[r#"
        `stock.reserve` failed: there is too little in stock (`permanent`)
        `stock.reserve` skipped the event
        `stock.reserve` was to skip the event, and handled it
        `stock.reserve` was to skip the event, and failed: there is too little in stock
        (`permanent`)
        `stock.reserve` was to fail (`permanent`), and did not
        `stock.reserve` was to fail (`transient`), and failed otherwise: there is too
        little in stock (`permanent`)"#]]
    .assert_eq(&in_lines(&texts.join("\n")));
}
