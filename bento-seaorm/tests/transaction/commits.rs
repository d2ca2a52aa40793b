//! The cost of a commit, its wakes, and commits that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_core::outbox::Sharding;
use bento_seaorm::{Error, OutboxConnection, OutboxTransaction, TablePrefix};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

use crate::shop::{self, Order, is_untouched, orders};
use crate::support::{TestDatabase, in_empty_database, on_every_back_end};

on_every_back_end!(
    a_transaction_costs_one_statement_more_with_events,
    beyond_the_bind_limit_each_chunk_costs_a_statement,
    a_failed_commit_gives_back_what_was_collected,
    a_connection_lost_in_the_commit_leaves_it_unclear,
    a_database_gone_during_the_flush_is_a_typed_error,
    a_missing_table_names_the_migration,
    another_sharding_than_the_recorded_one_names_both,
    another_prefix_is_another_outbox,
    an_adopted_transaction_carries_an_outbox,
);

/// A connection that counts the statements that SeaORM reports, which are all but those that begin
/// and end transactions.
async fn counting(database: &TestDatabase) -> (DatabaseConnection, Arc<AtomicUsize>) {
    let mut connection = database.connect(1).await;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    connection.set_metric_callback(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (connection, count)
}

/// The number of statements that the server has seen on this connection, with those that begin and
/// end transactions.
async fn questions(connection: &DatabaseConnection) -> i64 {
    let sql = "SHOW SESSION STATUS LIKE 'Questions'";
    let row = connection
        .query_one_raw(Statement::from_string(DbBackend::MySql, sql))
        .await
        .unwrap()
        .unwrap();
    row.try_get_by_index::<String>(1).unwrap().parse().unwrap()
}

async fn insert_three(db: &impl ConnectionTrait, first: i64) -> Result<(), DbErr> {
    for id in first..first + 3 {
        Order {
            id,
            total: 1,
            events: Default::default(),
        }
        .insert(db)
        .await?;
    }
    Ok(())
}

async fn insert_three_with_a_savepoint<C: TransactionTrait>(
    db: &C,
    first: i64,
) -> Result<(), DbErr> {
    use sea_orm::TransactionSession as _;
    let tx = db.begin().await?;
    let nested = tx.begin().await?;
    insert_three(&nested, first).await?;
    nested.commit().await?;
    tx.begin().await?.rollback().await?;
    tx.commit().await
}

/// The same statements as [`insert_three_with_a_savepoint`], and six events of three aggregates.
async fn place_three_with_a_savepoint(db: &OutboxConnection, first: i64) -> Result<(), Error> {
    let work = async |tx: &OutboxTransaction| {
        let nested = tx.begin().await?;
        for id in first..first + 3 {
            let mut order = Order::place(id);
            order.insert(&nested).await?;
            order.pay();
        }
        nested.commit().await?;
        tx.begin().await?.rollback().await
    };
    Ok(db.transaction_async(work).await?)
}

async fn a_transaction_costs_one_statement_more_with_events(database: &TestDatabase) {
    shop::create_tables(&database.db).await;
    let (connection, count) = counting(database).await;
    let db = OutboxConnection::new(connection.clone());
    // The first flush of a connection reads how the outbox is divided.
    db.transaction_async(async |tx| Order::place(1).insert(tx).await)
        .await
        .unwrap();

    let before = count.load(Ordering::Relaxed);
    insert_three_with_a_savepoint(&connection, 10)
        .await
        .unwrap();
    let plain = count.load(Ordering::Relaxed) - before;

    let before = count.load(Ordering::Relaxed);
    insert_three_with_a_savepoint(&db, 20).await.unwrap();
    assert_eq!(
        count.load(Ordering::Relaxed) - before,
        plain,
        "without events"
    );

    let before = count.load(Ordering::Relaxed);
    place_three_with_a_savepoint(&db, 30).await.unwrap();
    assert_eq!(
        count.load(Ordering::Relaxed) - before,
        plain + 1,
        "with events of three aggregates"
    );

    if database.is(DbBackend::MySql) {
        let before = questions(&connection).await;
        insert_three_with_a_savepoint(&connection, 40)
            .await
            .unwrap();
        let between = questions(&connection).await;
        insert_three_with_a_savepoint(&db, 50).await.unwrap();
        let after = questions(&connection).await;
        assert_eq!(
            after - between,
            between - before,
            "also counting BEGIN, SAVEPOINT, RELEASE, ROLLBACK and COMMIT"
        );
        place_three_with_a_savepoint(&db, 60).await.unwrap();
        let with_events = questions(&connection).await;
        assert_eq!(
            with_events - after,
            after - between + 1,
            "and with events exactly one more"
        );
    }
}

async fn beyond_the_bind_limit_each_chunk_costs_a_statement(database: &TestDatabase) {
    let (connection, count) = counting(database).await;
    let db = OutboxConnection::new(connection);
    db.transaction_async(async |tx| tx.enqueue("first", "", ""))
        .await
        .unwrap();
    let before = count.load(Ordering::Relaxed);
    let events = 10_000_usize;
    db.transaction_async(async |tx| (0..events).try_for_each(|_| tx.enqueue("many", "key", "{}")))
        .await
        .unwrap();
    let limit: usize = match database.backend() {
        DbBackend::Postgres => usize::MAX,
        DbBackend::MySql => 65_535 / 17,
        _ => 32_766 / 17,
    };
    assert_eq!(
        count.load(Ordering::Relaxed) - before,
        events.div_ceil(limit)
    );
    assert_eq!(
        database.number("SELECT count(*) FROM bento_outbox").await,
        10_001
    );
}

async fn a_failed_commit_gives_back_what_was_collected(database: &TestDatabase) {
    let db = shop::open(database).await;
    let deferred = match database.backend() {
        DbBackend::Postgres | DbBackend::Sqlite => {
            "CREATE TABLE late (order_id BIGINT REFERENCES orders (id) DEFERRABLE INITIALLY \
             DEFERRED)"
        }
        // It has no constraint that is checked at the commit.
        _ => return,
    };
    database.db.execute_unprepared(deferred).await.unwrap();
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.execute_unprepared("INSERT INTO late VALUES (2)")
        .await
        .unwrap();
    let refused = tx.commit().await.unwrap_err();
    assert!(matches!(refused, Error::Database(_)), "{refused}");
    assert!(is_untouched(database).await);

    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.schemas().await, ["order.placed"]);
}

/// The statements that show that the flush waits, and that end its connection.
struct Killer {
    id: &'static str,
    lock: &'static str,
    waiting: &'static str,
    kill: fn(i64) -> String,
    alive: fn(i64) -> String,
}

fn killer(backend: DbBackend) -> Option<Killer> {
    match backend {
        DbBackend::Postgres => Some(Killer {
            id: "SELECT pg_backend_pid()::bigint",
            lock: "BEGIN; LOCK TABLE bento_outbox IN ACCESS EXCLUSIVE MODE",
            waiting: "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = \
                      'bento_outbox'::regclass",
            kill: |id| format!("SELECT pg_terminate_backend({id})"),
            alive: |id| format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {id}"),
        }),
        DbBackend::MySql => Some(Killer {
            id: "SELECT CAST(CONNECTION_ID() AS SIGNED)",
            lock: "LOCK TABLES bento_outbox WRITE",
            waiting: "SELECT count(*) FROM information_schema.processlist \
                      WHERE db = DATABASE() AND state LIKE 'Waiting for table%'",
            kill: |id| format!("KILL {id}"),
            alive: |id| {
                format!("SELECT count(*) FROM information_schema.processlist WHERE id = {id}")
            },
        }),
        // It is in this process.
        _ => None,
    }
}

impl Killer {
    /// The server's id of the connection of `tx`.
    async fn id(&self, tx: &OutboxTransaction) -> i64 {
        let asked = Statement::from_string(tx.get_database_backend(), self.id);
        tx.query_one_raw(asked)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }
}

async fn a_connection_lost_in_the_commit_leaves_it_unclear(database: &TestDatabase) {
    let db = shop::open(database).await;
    let Some(killer) = killer(database.backend()) else {
        return;
    };
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.flush().await.unwrap();
    let flushed = Statement::from_string(database.backend(), "SELECT event_id FROM bento_outbox");
    let flushed: uuid::Uuid = tx
        .query_one_raw(flushed)
        .await
        .unwrap()
        .unwrap()
        .try_get_by_index(0)
        .unwrap();
    let id = killer.id(&tx).await;
    database
        .db
        .execute_unprepared(&(killer.kill)(id))
        .await
        .unwrap();
    while database.number(&(killer.alive)(id)).await > 0 {
        tokio::task::yield_now().await;
    }
    let unclear = tx.commit().await.unwrap_err();
    assert!(
        matches!(unclear, Error::CommitUnclear { .. }),
        "{unclear:?}"
    );
    assert!(
        unclear.to_string().contains("check if its rows exist"),
        "{unclear}"
    );
    assert_eq!(order.pending().len(), 1, "its event is back");
    assert!(is_untouched(database).await);

    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(orders(database).await, [1]);
    let written: Vec<_> = database
        .outbox()
        .await
        .iter()
        .map(|row| row.event_id)
        .collect();
    assert_eq!(written, [flushed], "once, under the id that it had");
}

async fn a_database_gone_during_the_flush_is_a_typed_error(database: &TestDatabase) {
    let db = shop::open(database).await;
    let Some(killer) = killer(database.backend()) else {
        return;
    };
    db.transaction_async(async |tx| tx.enqueue("first", "", ""))
        .await
        .unwrap();
    let mut order = Order::place(1);
    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    let id = killer.id(&tx).await;

    let locker = database.connect(1).await;
    locker.execute_unprepared(killer.lock).await.unwrap();
    let watcher = database.connect(1).await;
    let kill = async {
        let waiting =
            || watcher.query_one_raw(Statement::from_string(database.backend(), killer.waiting));
        while waiting()
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index::<i64>(0)
            .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        watcher
            .execute_unprepared(&(killer.kill)(id))
            .await
            .unwrap();
    };
    let (result, ()) = tokio::join!(tx.commit(), kill);
    let lost = result.unwrap_err();
    assert!(matches!(lost, Error::ConnectionLost { .. }), "{lost:?}");
    assert!(
        lost.to_string().contains("run the transaction again"),
        "{lost}"
    );
    locker.close().await.unwrap();

    let tx = db.begin().await.unwrap();
    tx.collect(&mut order).unwrap();
    order.insert(&tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(orders(database).await, [1]);
    assert_eq!(database.schemas().await, ["first", "order.placed"]);
}

async fn a_missing_table_names_the_migration(database: &TestDatabase) {
    in_empty_database(database.backend(), async |empty| {
        let db = shop::open(empty).await;
        let mut order = Order::place(1);
        let tx = db.begin().await.unwrap();
        tx.collect(&mut order).unwrap();
        order.insert(&tx).await.unwrap();
        let refused = tx.commit().await.unwrap_err();
        assert!(matches!(&refused, Error::NotMigrated { .. }), "{refused:?}");
        assert!(refused.to_string().contains("bento::migrate"), "{refused}");
        assert!(orders(empty).await.is_empty());
        assert_eq!(order.take().len(), 1, "its event is back");
    })
    .await;
}

async fn another_sharding_than_the_recorded_one_names_both(database: &TestDatabase) {
    let db = OutboxConnection::new(database.db.clone());
    db.transaction_async(async |tx| tx.enqueue("topic", "", ""))
        .await
        .unwrap();
    let sharding = Sharding {
        shards: 5.try_into().unwrap(),
        ..Sharding::default()
    };
    let other = OutboxConnection::builder(database.db.clone())
        .sharding(sharding)
        .build();
    let refused = other
        .transaction_async(async |tx| tx.enqueue("topic", "", ""))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("16 shard(s)") && refused.contains("configured for 5"),
        "{refused}"
    );
    assert_eq!(database.outbox().await.len(), 1);
}

async fn another_prefix_is_another_outbox(database: &TestDatabase) {
    let prefix = TablePrefix::new("sales_").unwrap();
    bento_seaorm::migrate_with(&database.db, prefix.clone())
        .await
        .unwrap();
    let db = OutboxConnection::builder(database.db.clone())
        .table_prefix(prefix)
        .build();
    db.transaction_async(async |tx| tx.enqueue("topic", "", ""))
        .await
        .unwrap();
    assert_eq!(
        database.number("SELECT count(*) FROM sales_outbox").await,
        1
    );
    assert!(database.outbox().await.is_empty());
}

async fn an_adopted_transaction_carries_an_outbox(database: &TestDatabase) {
    let db = shop::open(database).await;
    let theirs = database.db.begin().await.unwrap();
    insert_three(&theirs, 1).await.unwrap();
    let tx = bento_seaorm::OutboxTransaction::adopt(theirs);
    tx.scope(async { Order::place(4).insert(&tx).await })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let tx = db.adopt(database.db.begin().await.unwrap());
    tx.scope(async { Order::place(5).insert(&tx).await })
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(orders(database).await, [1, 2, 3, 4]);
    assert_eq!(database.schemas().await, ["order.placed"]);
}
