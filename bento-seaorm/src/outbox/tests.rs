//! The columns of a written event, on each back end.

use std::collections::HashSet;
use std::num::NonZeroU16;

use bento_core::EventId;
use bento_core::envelope::Envelope;
use bento_core::event::EventKind;
use bento_core::outbox::{ClockOffset, OutboxEntry, Sharding, skew_writer};
use chrono::{SubsecRound as _, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement, TransactionTrait};

use super::meta::Expected;
use super::{Chunks, OutboxWriter};
use crate::columns;
use crate::dialect::InsertLimits;
use crate::entity::envelope_at;
use crate::error::Error;
use crate::tables::Tables;
use crate::test_database::on_every_back_end;

fn entry(nth: usize) -> OutboxEntry {
    let mut envelope = Envelope::new(
        "order.created",
        3,
        Utc::now().trunc_subsecs(6),
        format!("{{\"n\":{nth}}}"),
    );
    envelope.aggregate_type = "order".into();
    envelope.aggregate_id = format!("o-{}", nth % 7);
    envelope.sequence = (nth.is_multiple_of(2)).then_some(nth as i64);
    envelope.tenant_id = (nth.is_multiple_of(3)).then(|| "acme".to_owned());
    envelope.headers = if nth.is_multiple_of(2) {
        "{\"actor\":\"me\"}".into()
    } else {
        "".into()
    };
    if nth.is_multiple_of(5) {
        (envelope.routing, envelope.routing_version) = ("{\"to\":[\"x\"]}".into(), u16::MAX);
    }
    OutboxEntry {
        shard: (nth % 4) as i32,
        may_be_known: false,
        envelope,
    }
}

fn entries(count: usize) -> Vec<OutboxEntry> {
    (0..count).map(entry).collect()
}

async fn all(db: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    db.query_all_raw(Statement::from_string(
        db.get_database_backend(),
        sql.to_owned(),
    ))
    .await
    .unwrap()
}

async fn stored(db: &DatabaseConnection) -> Vec<Envelope> {
    let rows = all(
        db,
        &format!(
            "SELECT {} FROM bento_outbox ORDER BY position",
            columns::list()
        ),
    )
    .await;
    rows.iter()
        .map(|row| envelope_at(row, 0).unwrap())
        .collect()
}

async fn write(
    db: &DatabaseConnection,
    entries: Vec<OutboxEntry>,
) -> Result<HashSet<EventId>, Error> {
    let writer = OutboxWriter::new(Tables::default(), Expected::default());
    let tx = db.begin().await.unwrap();
    let known = writer.write(&tx, entries).await?;
    tx.commit().await.unwrap();
    Ok(known)
}

fn sharding(shards: u16, lanes: u16) -> Sharding {
    Sharding {
        shards: NonZeroU16::new(shards).unwrap(),
        lanes: NonZeroU16::new(lanes).unwrap(),
    }
}

#[tokio::test]
async fn what_is_written_is_read_whole_and_in_order_however_many() {
    on_every_back_end(async |db| {
        let mut expected = Vec::new();
        for count in [1, 3, 5, 64, 65, 300] {
            let batch = entries(count);
            expected.extend(batch.iter().map(|entry| entry.envelope.clone()));
            assert!(
                write(&db, batch).await.unwrap().is_empty(),
                "none was known"
            );
        }
        assert_eq!(stored(&db).await, expected);
    })
    .await;
}

/// One event of many whose columns are all the same but the id, with every column or with none of
/// the optional ones.
fn alike(is_full: bool) -> OutboxEntry {
    let mut entry = entry(1);
    if is_full {
        let event = &mut entry.envelope;
        (event.sequence, event.tenant_id, event.topic) =
            (Some(7), Some("acme".to_owned()), Some("t".to_owned()));
        (event.routing_key, event.content_encoding) =
            (Some("r".to_owned()), Some("gzip".to_owned()));
        (event.key_id, event.headers) = (Some("k".to_owned()), "{\"actor\":\"me\"}".into());
        (event.routing, event.routing_version) = ("{}".into(), 1);
    }
    entry
}

#[tokio::test]
async fn a_shared_column_is_stored_like_one_that_differs() {
    type Change = fn(&mut Envelope);
    let changes: [Change; 14] = [
        |_| {},
        |event| event.event_type = "order.paid".into(),
        |event| event.schema_version = 9,
        |event| event.kind = EventKind::Integration,
        |event| event.aggregate_type = "parcel".into(),
        |event| event.aggregate_id = "other".to_owned(),
        |event| event.sequence = Some(8),
        |event| event.tenant_id = Some("other".to_owned()),
        |event| event.topic = None,
        |event| event.routing_key = Some("other".to_owned()),
        |event| (event.routing, event.routing_version) = ("[]".into(), 2),
        |event| event.content_encoding = None,
        |event| event.key_id = Some("other".to_owned()),
        |event| event.headers = "".into(),
    ];
    on_every_back_end(async |db| {
        let mut expected = Vec::new();
        for (change, is_full) in changes
            .iter()
            .flat_map(|change| [(change, true), (change, false)])
        {
            let mut batch: Vec<_> = std::iter::repeat_with(|| alike(is_full)).take(25).collect();
            change(&mut batch[17].envelope);
            expected.extend(batch.iter().map(|entry| entry.envelope.clone()));
            write(&db, batch).await.unwrap();
        }
        assert_eq!(stored(&db).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_thousand_events_fit_into_one_transaction() {
    on_every_back_end(async |db| {
        write(&db, entries(100_000)).await.unwrap();
        let count: i64 = all(&db, "SELECT count(*) FROM bento_outbox").await[0]
            .try_get_by_index(0)
            .unwrap();
        assert_eq!(count, 100_000);
    })
    .await;
}

#[tokio::test]
async fn a_supplied_id_is_written_once_while_its_event_is_stored() {
    on_every_back_end(async |db| {
        let mut batch = entries(4);
        batch.iter_mut().for_each(|entry| entry.may_be_known = true);
        write(&db, batch[..3].to_vec()).await.unwrap();
        move_one(&db, "bento_outbox_held", "ordered", "(1 = 1)", 1).await;
        move_one(
            &db,
            "bento_dead_letter",
            "attempts, error_message, cause, parks, first_failed_at, failed_at",
            DEAD,
            2,
        )
        .await;
        let ids: HashSet<_> = batch[..3]
            .iter()
            .map(|entry| entry.envelope.event_id)
            .collect();
        assert_eq!(write(&db, batch).await.unwrap(), ids);
        let count: i64 = all(&db, "SELECT count(*) FROM bento_outbox").await[0]
            .try_get_by_index(0)
            .unwrap();
        assert_eq!(count, 2, "one is still pending, one is new");
    })
    .await;
}

const DEAD: &str = "1, 'e', 'c', (1 = 1), occurred_at, occurred_at";

async fn move_one(db: &DatabaseConnection, table: &str, columns: &str, values: &str, nth: usize) {
    let event = columns::list();
    let backend = db.get_database_backend();
    let insert = format!(
        "INSERT INTO {table} (shard, position, route, {event}, {columns}) SELECT shard, position, \
         'd', {event}, {values} FROM bento_outbox WHERE aggregate_id = 'o-{nth}'"
    );
    db.execute_raw(Statement::from_string(backend, insert))
        .await
        .unwrap();
    let delete = format!("DELETE FROM bento_outbox WHERE aggregate_id = 'o-{nth}'");
    db.execute_raw(Statement::from_string(backend, delete))
        .await
        .unwrap();
}

/// The same id, for another tenant, event type or aggregate.
fn others(entry: &OutboxEntry) -> Vec<OutboxEntry> {
    let changed = |change: &dyn Fn(&mut Envelope)| {
        let mut other = entry.clone();
        change(&mut other.envelope);
        other
    };
    vec![
        changed(&|event| event.tenant_id = Some("another".to_owned())),
        changed(&|event| event.event_type = "order.cancelled".into()),
        changed(&|event| event.aggregate_type = "parcel".into()),
        changed(&|event| event.aggregate_id = "another".to_owned()),
    ]
}

#[tokio::test]
async fn a_supplied_id_of_another_event_is_refused() {
    on_every_back_end(async |db| {
        let mut batch = entries(4);
        batch.iter_mut().for_each(|entry| entry.may_be_known = true);
        write(&db, batch.clone()).await.unwrap();
        let published = format!(
            "INSERT INTO bento_outbox_published (shard, position, {0}, published_at) SELECT \
             shard, position, {0}, occurred_at FROM bento_outbox WHERE aggregate_id = 'o-3'",
            columns::list()
        );
        db.execute_unprepared(&published).await.unwrap();
        db.execute_unprepared("DELETE FROM bento_outbox WHERE aggregate_id = 'o-3'")
            .await
            .unwrap();
        move_one(&db, "bento_outbox_held", "ordered", "(1 = 1)", 1).await;
        let columns = "attempts, error_message, cause, parks, first_failed_at, failed_at";
        move_one(&db, "bento_dead_letter", columns, DEAD, 2).await;
        for entry in &batch {
            for other in others(entry) {
                let refused = write(&db, vec![other]).await.unwrap_err();
                let id = entry.envelope.event_id;
                assert!(
                    matches!(refused, Error::EventIdTaken { event_id } if event_id == id),
                    "{refused:?}"
                );
            }
            let mut again = entry.clone();
            again.envelope.payload = "{\"raised\":\"later\"}".into();
            assert_eq!(
                write(&db, vec![again]).await.unwrap(),
                HashSet::from([entry.envelope.event_id])
            );
        }
        let mut twice = entry(9);
        twice.may_be_known = true;
        let refused = write(&db, vec![twice.clone(), others(&twice).remove(0)])
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::EventIdTaken { .. }), "{refused:?}");
        write(&db, vec![twice.clone(), twice]).await.unwrap();
        assert_eq!(stored(&db).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_supplied_id_in_another_open_transaction_is_refused() {
    on_every_back_end(async |db| {
        if db.get_database_backend() == sea_orm::DbBackend::Sqlite {
            return;
        }
        let mut first = entry(1);
        first.may_be_known = true;
        for other in others(&first) {
            let tx = db.begin().await.unwrap();
            OutboxWriter::new(Tables::default(), Expected::default())
                .write(&tx, vec![first.clone()])
                .await
                .unwrap();
            let (waiting, committed) = tokio::join!(write(&db, vec![other]), async {
                // The other one waits for this or looks afterwards: either way it must be refused.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                tx.commit().await
            });
            committed.unwrap();
            let refused = waiting.unwrap_err();
            assert!(matches!(refused, Error::EventIdTaken { .. }), "{refused:?}");
            db.execute_unprepared("DELETE FROM bento_outbox")
                .await
                .unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn writing_again_after_an_unclear_statement_changes_nothing() {
    on_every_back_end(async |db| {
        for count in [2, 50] {
            let mut batch = entries(count);
            write(&db, batch.clone()).await.unwrap();
            batch.iter_mut().for_each(|entry| entry.may_be_known = true);
            write(&db, batch).await.unwrap();
            db.execute_unprepared("DELETE FROM bento_outbox WHERE schema_version <> 3")
                .await
                .unwrap();
        }
        assert_eq!(stored(&db).await.len(), 52);
    })
    .await;
}

fn writer(sharding: Sharding) -> OutboxWriter {
    OutboxWriter::new(
        Tables::default(),
        Expected {
            sharding: Some(sharding),
            application: None,
        },
    )
}

fn writer_of(application: &str) -> OutboxWriter {
    OutboxWriter::new(
        Tables::default(),
        Expected {
            sharding: None,
            application: Some(application.to_owned()),
        },
    )
}

/// Asks in a transaction of its own, and commits it.
async fn asked(db: &DatabaseConnection, writer: &OutboxWriter) -> Result<Sharding, Error> {
    let tx = db.begin().await.unwrap();
    let known = writer.look(&tx).await?;
    tx.commit().await.unwrap();
    writer.confirm(known);
    Ok(known.sharding)
}

#[tokio::test]
async fn a_division_that_changes_while_a_writer_runs_is_noticed() {
    on_every_back_end(async |db| {
        let mut running = OutboxWriter::new(Tables::default(), Expected::default());
        assert_eq!(asked(&db, &running).await.unwrap(), Sharding::default());
        db.execute_unprepared("UPDATE bento_outbox_meta SET shards = 8")
            .await
            .unwrap();
        assert_eq!(
            asked(&db, &running).await.unwrap(),
            Sharding::default(),
            "it is not read each time"
        );
        running.reliable = std::time::Duration::ZERO;
        assert_eq!(asked(&db, &running).await.unwrap(), sharding(8, 1));
        db.execute_unprepared("DELETE FROM bento_outbox_meta")
            .await
            .unwrap();
        assert_eq!(asked(&db, &running).await.unwrap(), Sharding::default());
        assert_eq!(
            all(&db, "SELECT 1 FROM bento_outbox_meta").await.len(),
            1,
            "it is recorded again"
        );
    })
    .await;
}

/// The difference of the clocks as a writer takes it, in whole minutes.
async fn minutes(db: &DatabaseConnection, writer: &OutboxWriter) -> i64 {
    asked(db, writer).await.unwrap();
    let offset = writer.known().unwrap().clock().as_delta();
    (offset.as_seconds_f64() / 60.0).round() as i64
}

#[tokio::test]
async fn the_clocks_are_compared_again_when_a_clock_is_set() {
    on_every_back_end(async |db| {
        for wrong in [-5, 5] {
            let writer = OutboxWriter::new(Tables::default(), Expected::default());
            let skew = skew_writer(TimeDelta::minutes(wrong));
            assert_eq!(minutes(&db, &writer).await, -wrong);
            drop(skew);
            assert_eq!(minutes(&db, &writer).await, 0, "the clock is right now");
            assert_eq!(writer.known().unwrap().clock(), ClockOffset::default());
        }
    })
    .await;
}

#[tokio::test]
async fn an_outbox_takes_the_first_name_and_refuses_another() {
    on_every_back_end(async |db| {
        let nameless = OutboxWriter::new(Tables::default(), Expected::default());
        asked(&db, &nameless).await.unwrap();
        asked(&db, &writer_of("shop")).await.unwrap();
        asked(&db, &writer_of("shop")).await.unwrap();
        for other in ["billing", "Shop", "shop "] {
            let refused = asked(&db, &writer_of(other)).await.unwrap_err();
            assert!(
                matches!(&refused, Error::OtherApplication { recorded, configured }
                    if recorded == "shop" && configured == other),
                "{refused:?}"
            );
            assert!(refused.to_string().contains("TablePrefix"), "{refused}");
        }
        asked(&db, &nameless).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn another_sharding_than_the_recorded_one_is_refused() {
    on_every_back_end(async |db| {
        let first = writer(sharding(8, 2));
        let tx = db.begin().await.unwrap();
        assert_eq!(first.look(&tx).await.unwrap().sharding, sharding(8, 2));
        tx.commit().await.unwrap();

        let tx = db.begin().await.unwrap();
        let undecided = OutboxWriter::new(Tables::default(), Expected::default());
        assert_eq!(undecided.look(&tx).await.unwrap().sharding, sharding(8, 2));
        let other = writer(sharding(16, 1));
        let refused = other.look(&tx).await.unwrap_err();
        assert!(
            matches!(refused, Error::ShardingMismatch { recorded, configured }
            if recorded == sharding(8, 2) && configured == sharding(16, 1))
        );
        tx.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_sharding_whose_record_rolled_back_is_recorded_again() {
    on_every_back_end(async |db| {
        let writer = OutboxWriter::new(Tables::default(), Expected::default());
        let tx = db.begin().await.unwrap();
        writer.look(&tx).await.unwrap();
        tx.rollback().await.unwrap();
        let tx = db.begin().await.unwrap();
        let known = writer.look(&tx).await.unwrap();
        tx.commit().await.unwrap();
        writer.confirm(known);
        assert_eq!(all(&db, "SELECT 1 FROM bento_outbox_meta").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_missing_table_is_named_with_the_way_out() {
    on_every_back_end(async |db| {
        db.execute_unprepared("DROP VIEW bento_outbox_status")
            .await
            .unwrap();
        db.execute_unprepared("DROP TABLE bento_outbox")
            .await
            .unwrap();
        let refused = write(&db, entries(1)).await.unwrap_err();
        assert!(
            matches!(&refused, Error::NotMigrated { table, .. } if table == "bento_outbox"),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("bento::migrate"), "{refused}");
    })
    .await;
}

#[test]
fn a_statement_holds_no_more_bytes_than_it_may() {
    let large = |nth| {
        let mut entry = entry(nth);
        entry.envelope.payload = vec![b' '; 1000].into();
        entry
    };
    let sizes = |bytes| {
        let entries = (0..7).map(large).collect();
        let chunks = Chunks::new(entries, InsertLimits { rows: 4, bytes });
        chunks.map(|chunk| chunk.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(usize::MAX), [4, 3]);
    assert_eq!(sizes(3000), [2, 2, 2, 1]);
    assert_eq!(sizes(0), [1; 7], "each is tried");
}
