//! The migration runs again after every state in which it can be left.

use std::collections::BTreeSet;

use bento_core::envelope::Envelope;
use bento_core::outbox::OutboxEntry;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};

use super::create_tables::create;
use crate::dialect;
use crate::tables::Tables;
use crate::test_database::on_every_back_end;

/// Everything that the migration has made, as the database describes it.
async fn catalogue(db: &DatabaseConnection) -> BTreeSet<String> {
    let backend = db.get_database_backend();
    let asked: &[&str] = match backend {
        DbBackend::Postgres => &[
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT concat_ws(' ', c.relname, c.relkind, a.attname, format_type(a.atttypid, \
             a.atttypmod), a.attnotnull, a.attstorage, pg_get_expr(d.adbin, d.adrelid)) FROM \
             pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT \
             a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S')",
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
            "SELECT coalesce(pg_get_serial_sequence('bento_outbox', 'position'), '') WHERE \
             to_regclass('bento_outbox') IS NOT NULL",
        ],
        DbBackend::MySql => &[
            "SELECT CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name, non_unique) \
             FROM information_schema.statistics WHERE table_schema = DATABASE()",
            "SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, \
             collation_name, column_default) FROM information_schema.columns WHERE table_schema = \
             DATABASE()",
        ],
        _ => &["SELECT name || coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"],
    };
    let mut found = BTreeSet::new();
    for sql in asked {
        let rows = db
            .query_all_raw(Statement::from_string(backend, *sql))
            .await
            .unwrap();
        found.extend(
            rows.iter()
                .map(|row| row.try_get_by_index::<String>(0).unwrap()),
        );
    }
    found
}

/// The tables of the outbox, of the inbox, of the event store and of the projections.
fn sides() -> [Tables; 4] {
    let outbox = Tables::default();
    let (inbox, events) = (outbox.inbox(), outbox.events());
    let projections = outbox.projections();
    [outbox, inbox, events, projections]
}

/// Creates what is missing of each.
async fn create_all(db: &DatabaseConnection) {
    for side in sides() {
        create(db, &side).await.unwrap();
    }
}

async fn run_all(db: &DatabaseConnection, statements: &[String]) {
    for statement in statements {
        db.execute_unprepared(statement).await.unwrap();
    }
}

/// The statements that drop one object each.
async fn droppings(db: &DatabaseConnection) -> Vec<String> {
    let backend = db.get_database_backend();
    let cascade = if backend == DbBackend::Postgres {
        " CASCADE"
    } else {
        ""
    };
    let mut droppings = Vec::new();
    let dialect = dialect::of(backend).unwrap();
    for side in sides() {
        let tables = dialect.all_tables(&side);
        let drop = |table: &&str| format!("DROP TABLE {table}{cascade}");
        droppings.extend(tables.iter().map(drop));
        let view = side
            .have_a_direction()
            .then(|| format!("DROP VIEW {}", side.status()));
        droppings.extend(view);
    }
    let asked = match backend {
        DbBackend::Postgres => {
            for side in sides() {
                let shows = side.have_a_direction();
                droppings
                    .extend(shows.then(|| format!("DROP FUNCTION {} CASCADE", side.as_json())));
                if !side.is_projections() {
                    droppings.push(format!("DROP SEQUENCE {} CASCADE", side.positions()));
                }
            }
            "SELECT 'DROP INDEX ' || indexname FROM pg_indexes WHERE schemaname = 'public' AND \
             indexname NOT LIKE '%_pkey'"
        }
        DbBackend::MySql => {
            "SELECT DISTINCT CONCAT('DROP INDEX ', index_name, ' ON ', table_name) FROM \
             information_schema.statistics WHERE table_schema = DATABASE() AND index_name NOT IN \
             ('PRIMARY', 'bento_outbox_position', 'bento_inbox_position', \
             'bento_event_log_position', 'bento_event_log_event_type')"
        }
        _ => {
            "SELECT 'DROP INDEX ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT \
             NULL"
        }
    };
    let rows = db
        .query_all_raw(Statement::from_string(backend, asked))
        .await
        .unwrap();
    droppings.extend(
        rows.iter()
            .map(|row| row.try_get_by_index::<String>(0).unwrap()),
    );
    droppings
}

#[tokio::test]
async fn a_migration_that_stopped_anywhere_can_be_run_again() {
    on_every_back_end(async |db| {
        let whole = catalogue(&db).await;
        let dialect = dialect::of(db.get_database_backend()).unwrap();
        for side in sides() {
            let statements = dialect.create_schema(&side);
            // Of the indexes, which are many and alike, the first and the last will do.
            let is_worth_it = |done: &usize| {
                statements
                    .get(*done)
                    .is_none_or(|next| !next.contains(" INDEX "))
            };
            for done in (0..=statements.len()).filter(is_worth_it) {
                run_all(&db, &dialect.drop_schema(&side)).await;
                run_all(&db, &statements[..done]).await;
                create(&db, &side).await.unwrap();
                assert_eq!(catalogue(&db).await, whole, "after {done} statements");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_was_dropped_is_made_again_and_nothing_else_changes() {
    on_every_back_end(async |db| {
        let whole = catalogue(&db).await;
        let droppings = droppings(&db).await;
        assert!(droppings.len() > 25, "{droppings:?}");
        for dropping in droppings {
            db.execute_unprepared(&dropping).await.unwrap();
            assert_ne!(catalogue(&db).await, whole, "{dropping}");
            create_all(&db).await;
            assert_eq!(catalogue(&db).await, whole, "{dropping}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_table_is_made_again_by_a_recorded_migration() {
    on_every_back_end(async |db| {
        let whole = catalogue(&db).await;
        let dialect = dialect::of(db.get_database_backend()).unwrap();
        let names = |side: &Tables| dialect.all_tables(side).join(" ");
        let dropped = sides().iter().map(names).collect::<Vec<_>>().join(" ");
        for dropped in dropped.split(' ') {
            let cascade = if db.get_database_backend() == DbBackend::Postgres {
                " CASCADE"
            } else {
                ""
            };
            db.execute_unprepared(&format!("DROP TABLE {dropped}{cascade}"))
                .await
                .unwrap();
            super::migrate(&db).await.unwrap();
            assert_eq!(catalogue(&db).await, whole, "{dropped}");
        }
    })
    .await;
}

/// The position of an event that is written now.
async fn next_position(db: &DatabaseConnection) -> i64 {
    let mut envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    envelope.aggregate_id = "1".to_owned();
    let tx = db.begin().await.unwrap();
    crate::testing::write(
        &tx,
        vec![OutboxEntry {
            shard: 0,
            may_be_known: false,
            envelope,
        }],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let newest = "SELECT max(position) FROM bento_outbox";
    let row = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), newest))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// Otherwise an event would overtake those of its aggregate that are held.
#[tokio::test]
async fn an_outbox_made_again_goes_on_behind_the_used_positions() {
    on_every_back_end(async |db| {
        let tables = Tables::default();
        let first = next_position(&db).await;
        let event = crate::columns::list();
        let hold = format!(
            "INSERT INTO bento_outbox_held (shard, position, route, {event}, ordered) \
             SELECT shard, 1000, 'd', {event}, (1 = 1) FROM bento_outbox"
        );
        db.execute_unprepared(&hold).await.unwrap();
        create(&db, &tables).await.unwrap();
        let second = next_position(&db).await;
        assert!(first < 1000 && second > 1000, "{first} {second}");
        create(&db, &tables).await.unwrap();
        assert_eq!(
            next_position(&db).await,
            second + 1,
            "it is never lowered, and raised no further"
        );
        let cascade = if db.get_database_backend() == DbBackend::Postgres {
            " CASCADE"
        } else {
            ""
        };
        db.execute_unprepared(&format!("DROP TABLE bento_outbox{cascade}"))
            .await
            .unwrap();
        create(&db, &tables).await.unwrap();
        assert_eq!(next_position(&db).await, 1001);
        let rows = db
            .query_all_raw(Statement::from_string(
                db.get_database_backend(),
                "SELECT 1 FROM bento_outbox",
            ))
            .await;
        assert_eq!(rows.unwrap().len(), 1, "nothing else is written");
    })
    .await;
}
