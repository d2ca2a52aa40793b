//! A session that is not fit for another transaction is closed, and a transaction that the server
//! has ended is not taken for one.

use std::time::Duration;

use bento_relay::store::{Heartbeat, RelayId, RelayStore};
use bento_seaorm::{Error, OutboxConnection, OutboxStore, TransactionError, bento_error};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::shop::{self, Order, orders};
use crate::support::proxy::Proxy;
use crate::support::{TestDatabase, in_database, on_every_back_end};

on_every_back_end!(
    a_read_only_session_is_closed_at_its_first_refusal,
    a_read_only_session_is_closed_outside_of_a_transaction_too,
    a_read_only_session_stops_no_relay,
    a_lost_connection_has_one_name,
    a_commit_that_is_cut_off_is_unclear,
    a_lock_wait_timeout_ends_what_the_server_says_it_ends,
    a_transaction_that_a_procedure_ended_is_found_out,
    a_statement_that_the_driver_refuses_costs_no_connection,
    text_that_ends_the_transaction_is_refused,
);

/// Makes the one session of the pool read-only, as one is after a failover. False for SQLite, which
/// has no servers.
async fn made_read_only(db: &OutboxConnection) -> bool {
    let sql = match db.get_database_backend() {
        DbBackend::Postgres => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        DbBackend::MySql => "SET SESSION TRANSACTION READ ONLY",
        _ => return false,
    };
    db.execute_unprepared(sql).await.unwrap();
    true
}

async fn one_session(database: &TestDatabase) -> OutboxConnection {
    shop::create_tables(&database.db).await;
    OutboxConnection::new(database.connect(1).await)
}

async fn placed(db: &OutboxConnection, id: i64) -> Result<(), TransactionError<DbErr>> {
    db.transaction_async(async |tx| Order::place(id).insert(tx).await)
        .await
}

async fn a_read_only_session_is_closed_at_its_first_refusal(database: &TestDatabase) {
    let db = one_session(database).await;
    if made_read_only(&db).await {
        placed(&db, 1).await.expect_err("the session is read-only");
    }
    placed(&db, 2).await.unwrap();
    assert_eq!(orders(database).await, [2]);
}

async fn a_read_only_session_is_closed_outside_of_a_transaction_too(database: &TestDatabase) {
    let db = one_session(database).await;
    if made_read_only(&db).await {
        Order::place(1)
            .insert(db.inner())
            .await
            .expect_err("the session is read-only");
        let insert = "INSERT INTO orders (id, total) VALUES (1, 1)";
        db.execute_unprepared(insert)
            .await
            .expect_err("the session is read-only");
    }
    db.execute_unprepared("INSERT INTO orders (id, total) VALUES (2, 2)")
        .await
        .unwrap();
    assert_eq!(orders(database).await, [2]);
}

async fn a_read_only_session_stops_no_relay(database: &TestDatabase) {
    let db = one_session(database).await;
    let store = OutboxStore::new(db.inner().clone());
    let relay = RelayId::new();
    let beat = || Heartbeat {
        relay,
        ttl: Duration::from_secs(60),
        lanes: None,
        claim: true,
        publishes: true,
        handlers: Vec::new(),
        idle: Vec::new(),
    };
    store.open().await.unwrap();
    if made_read_only(&db).await {
        store
            .heartbeat(beat())
            .await
            .expect_err("the session is read-only");
    }
    assert!(!store.heartbeat(beat()).await.unwrap().leases.is_empty());
}

/// Ends the session of a transaction from outside.
async fn cut_off(database: &TestDatabase, tx: &impl ConnectionTrait) {
    let (ask, kill) = match database.backend() {
        DbBackend::Postgres => (
            "SELECT pg_backend_pid()::bigint",
            "SELECT pg_terminate_backend(",
        ),
        _ => ("SELECT CAST(CONNECTION_ID() AS SIGNED)", "KILL ("),
    };
    let session = tx
        .query_one_raw(Statement::from_string(database.backend(), ask))
        .await
        .unwrap()
        .unwrap();
    let session: i64 = session.try_get_by_index(0).unwrap();
    let kill = if database.is(DbBackend::Postgres) {
        format!("{kill}{session}::int)")
    } else {
        format!("{kill}{session})")
    };
    database.db.execute_unprepared(&kill).await.unwrap();
}

async fn a_lost_connection_has_one_name(database: &TestDatabase) {
    if database.is(DbBackend::Sqlite) {
        return;
    }
    let db = one_session(database).await;
    let tx = db.begin().await.unwrap();
    cut_off(database, &tx).await;
    for _ in 0..3 {
        let failure = Order::place(1)
            .insert(&tx)
            .await
            .expect_err("the session is gone");
        assert!(
            matches!(bento_error(&failure), Some(Error::ConnectionLost { .. })),
            "{failure:?}"
        );
        assert!(matches!(Error::from(failure), Error::ConnectionLost { .. }));
    }
    let nested = tx.begin().await.expect_err("the session is gone");
    assert!(matches!(nested, Error::ConnectionLost { .. }), "{nested:?}");
    let commit = tx.commit().await.unwrap_err();
    assert!(matches!(commit, Error::ConnectionLost { .. }), "{commit:?}");

    let tx = db.begin().await.unwrap();
    let mut order = Order::place(1);
    tx.collect(&mut order).unwrap();
    cut_off(database, &tx).await;
    let flush = tx.flush().await.unwrap_err();
    assert!(matches!(flush, Error::ConnectionLost { .. }), "{flush:?}");
    tx.rollback()
        .await
        .expect("it is rolled back with its session");
    assert_eq!(order.take().len(), 1, "its event is back");
    placed(&db, 2).await.unwrap();
}

/// PostgreSQL ends the session while it commits.
async fn a_commit_that_is_cut_off_is_unclear(database: &TestDatabase) {
    if !database.is(DbBackend::Postgres) {
        return;
    }
    let db = one_session(database).await;
    let cut = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM \
               pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NULL; END $$; \
               CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED \
               FOR EACH ROW EXECUTE FUNCTION cut()";
    database.db.execute_unprepared(cut).await.unwrap();
    let unclear = placed(&db, 1).await.unwrap_err();
    assert!(
        matches!(
            unclear,
            TransactionError::Connection(Error::CommitUnclear { .. })
        ),
        "{unclear:?}"
    );
    database
        .db
        .execute_unprepared("DROP TRIGGER cut ON orders")
        .await
        .unwrap();
    placed(&db, 2).await.unwrap();
}

/// `innodb_rollback_on_timeout` says whether the statement is rolled back, or the transaction.
async fn a_lock_wait_timeout_ends_what_the_server_says_it_ends(database: &TestDatabase) {
    use sea_orm::TransactionTrait as _;
    if !database.is(DbBackend::MySql) {
        return;
    }
    let db = one_session(database).await;
    database
        .db
        .execute_unprepared("INSERT INTO orders (id, total) VALUES (1, 1)")
        .await
        .unwrap();
    let ends = database
        .number("SELECT CAST(@@innodb_rollback_on_timeout AS SIGNED)")
        .await
        == 1;
    let holder = database.db.begin().await.unwrap();
    holder
        .execute_unprepared("UPDATE orders SET total = 2 WHERE id = 1")
        .await
        .unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SET SESSION innodb_lock_wait_timeout = 1")
        .await
        .unwrap();
    tx.execute_unprepared("INSERT INTO orders (id, total) VALUES (2, 2)")
        .await
        .unwrap();
    tx.execute_unprepared("UPDATE orders SET total = 3 WHERE id = 1")
        .await
        .expect_err("it is locked");
    holder.rollback().await.unwrap();
    let answer = tx.commit().await;
    assert_eq!(
        matches!(answer, Err(Error::Aborted { .. })),
        ends,
        "{answer:?}"
    );
    assert_eq!(orders(database).await.contains(&2), !ends);
}

/// The call fails without telling that the transaction has ended, like a lock wait timeout with
/// `innodb_rollback_on_timeout`.
async fn a_transaction_that_a_procedure_ended_is_found_out(database: &TestDatabase) {
    if !database.is(DbBackend::MySql) {
        return;
    }
    let db = one_session(database).await;
    let procedure = "CREATE PROCEDURE ends() BEGIN ROLLBACK; SIGNAL SQLSTATE '45000'; END";
    database.db.execute_unprepared(procedure).await.unwrap();
    let tx = db.begin().await.unwrap();
    let mut order = Order::place(1);
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.execute_unprepared("CALL ends()")
        .await
        .expect_err("it signals an error");
    tx.keep_pending().unwrap();
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Aborted { .. }), "{refused:?}");
    assert!(shop::is_untouched(database).await);
    assert_eq!(order.take().len(), 1, "its event is back");
    placed(&db, 2).await.unwrap();
}

/// The driver of MySQL waits for an answer to what it has not sent, and with it every rollback.
async fn a_statement_that_the_driver_refuses_costs_no_connection(database: &TestDatabase) {
    let db = one_session(database).await;
    let (sql, values) = match database.backend() {
        DbBackend::Postgres => ("SELECT $1::bigint, $2::bigint", [1_i64.into()]),
        _ => ("SELECT ?, ?", [1_i64.into()]),
    };
    let too_few = || Statement::from_sql_and_values(database.backend(), sql, values.clone());
    for _ in 0..3 {
        let tx = db.begin().await.unwrap();
        let _ = tx.query_all_raw(too_few()).await;
        drop(tx);
        let tx = db.begin().await.unwrap();
        let _ = tx.query_all_raw(too_few()).await;
        tx.rollback().await.unwrap();
    }
    placed(&db, 1).await.unwrap();
}

async fn text_that_ends_the_transaction_is_refused(database: &TestDatabase) {
    let db = shop::open(database).await;
    db.transaction_async(async |tx| {
        Order::place(1).insert(tx).await?;
        for text in [
            "COMMIT",
            " rollback",
            "/* now */ BEGIN",
            "SAVEPOINT mine",
            "START TRANSACTION",
        ] {
            let refused = tx.execute_unprepared(text).await.expect_err(text);
            assert!(
                matches!(
                    bento_error(&refused),
                    Some(Error::TransactionControl { .. })
                ),
                "{refused:?}"
            );
            let statement = Statement::from_string(database.backend(), text);
            tx.execute_raw(statement.clone()).await.expect_err(text);
            tx.query_one_raw(statement.clone()).await.expect_err(text);
            tx.query_all_raw(statement).await.expect_err(text);
        }
        if database.is(DbBackend::MySql) {
            let refused = tx
                .execute_unprepared("ALTER TABLE orders ADD note INT")
                .await
                .expect_err("it commits");
            assert!(matches!(
                bento_error(&refused),
                Some(Error::TransactionControl {
                    statement: "ALTER",
                    ..
                })
            ));
        }
        Ok::<_, DbErr>(())
    })
    .await
    .unwrap();
    assert_eq!(
        database.schemas().await,
        ["order.placed"],
        "a refused text has not run, so no event is doubtful"
    );
}

/// A server that answers nothing more: time is the only witness.
async fn a_rollback_that_is_not_answered_ends(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let proxy = Proxy::before(database.url(), Duration::ZERO).await;
    let db = OutboxConnection::new(crate::support::connect(proxy.url(), 1).await);
    for rolls_back in [true, false] {
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared("SELECT * FROM no_such_table")
            .await
            .unwrap_err();
        proxy.freeze(true);
        tokio::time::pause();
        if rolls_back {
            let lost = tx.rollback().await.unwrap_err();
            assert!(lost.to_string().contains("10 s"), "{lost}");
        } else {
            drop(tx);
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        tokio::time::resume();
        proxy.freeze(false);
        placed(&db, i64::from(rolls_back) + 1).await.unwrap();
    }
}

#[tokio::test]
async fn a_rollback_that_is_not_answered_ends_on_postgres() {
    in_database(DbBackend::Postgres, a_rollback_that_is_not_answered_ends).await;
}

#[tokio::test]
async fn a_rollback_that_is_not_answered_ends_on_mysql() {
    in_database(DbBackend::MySql, a_rollback_that_is_not_answered_ends).await;
}

/// The statement of a transaction that was dropped, at a server that answers nothing more.
async fn a_statement_that_nobody_awaits_ends(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let proxy = Proxy::before(database.url(), Duration::ZERO).await;
    let db = OutboxConnection::new(crate::support::connect(proxy.url(), 1).await);
    let tx = db.begin().await.unwrap();
    proxy.freeze(true);
    {
        let mut statement = std::pin::pin!(tx.execute_unprepared("SELECT 1"));
        assert!(futures_util::poll!(&mut statement).is_pending());
    }
    drop(tx);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(61)).await;
    tokio::time::resume();
    proxy.freeze(false);
    placed(&db, 1).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_nobody_awaits_ends_on_postgres() {
    in_database(DbBackend::Postgres, a_statement_that_nobody_awaits_ends).await;
}

#[tokio::test]
async fn a_statement_that_nobody_awaits_ends_on_mysql() {
    in_database(DbBackend::MySql, a_statement_that_nobody_awaits_ends).await;
}
