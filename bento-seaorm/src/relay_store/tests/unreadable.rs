//! Rows that cannot be read, and rows that cannot be settled: each costs itself alone.

use bento_relay::dead_letter::{Amendment, DeadLetter, DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::publish::MemoryPublisher;
use bento_relay::store::{NewDeadLetter, Outcome, Settlement, StoreError};
use bento_relay::telemetry;
use bento_testkit::Counters;

use super::*;

/// Commits one event of each of these aggregates, in this order.
pub(super) async fn write_of(db: &DatabaseConnection, aggregates: &[&str]) {
    let entries = aggregates.iter().map(|aggregate_id| {
        let mut entry = entry();
        entry.envelope.aggregate_id = (*aggregate_id).to_owned();
        entry
    });
    let tx = db.begin().await.unwrap();
    OutboxWriter::new(Tables::default(), Expected::default())
        .write(&tx, entries.collect())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// Changes tables in a way that is not supported.
pub(super) async fn spoil(db: &DatabaseConnection, sql: &str) -> bool {
    if db.get_database_backend() != DbBackend::MySql {
        return db.execute_unprepared(sql).await.is_ok();
    }
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SET @strict = @@sql_mode, SESSION sql_mode = ''")
        .await
        .unwrap();
    let changed = tx.execute_unprepared(sql).await.is_ok();
    tx.execute_unprepared("SET SESSION sql_mode = @strict")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    changed
}

/// The changes that make a row of the outbox unreadable on each back end.
fn spoilt(backend: DbBackend) -> &'static [&'static str] {
    match backend {
        DbBackend::Postgres => &[
            "routing_version = -7",
            "kind = 'internal'",
            "occurred_at = 'infinity'",
            "occurred_at = '-infinity'",
        ],
        DbBackend::MySql => &[
            "routing_version = -7",
            "kind = 'internal'",
            "occurred_at = '0000-00-00'",
            "occurred_at = '2026-00-00'",
        ],
        _ => &[
            "routing_version = -7",
            "kind = 'internal'",
            "occurred_at = 'soon'",
            "event_type = x'ff00'",
            "schema_version = 'x'",
            "event_id = x'01'",
        ],
    }
}

async fn dead_letters(relay: &Relay) -> Vec<DeadLetter> {
    relay.store.list(&DeadLetterQuery::default()).await.unwrap()
}

fn published(rows: &[OutboxRow]) -> Vec<Settlement> {
    rows.iter()
        .map(|row| Settlement::published(row.position))
        .collect()
}

fn causes(advanced: &Advanced) -> Vec<(&str, &str)> {
    advanced
        .dead_rows
        .iter()
        .map(|row| (&*row.route, row.cause))
        .collect()
}

fn aggregates(rows: &[OutboxRow]) -> Vec<&str> {
    rows.iter()
        .map(|row| row.envelope.aggregate_id.as_str())
        .collect()
}

#[tokio::test]
async fn an_unreadable_row_is_a_dead_letter_and_parks_its_aggregate() {
    on_every_back_end(async |db| {
        for change in spoilt(db.get_database_backend()) {
            let relay = Relay::new(&db).await;
            write_of(&db, &["a", "b", "a", "b"]).await;
            let all = relay.settle(Vec::new()).await.pending;
            let bad = all[2].position;
            assert!(
                spoil(
                    &db,
                    &format!("UPDATE bento_outbox SET {change} WHERE position = {bad}")
                )
                .await,
                "{change}"
            );
            let before = relay.settle(Vec::new()).await;
            assert_eq!(
                aggregates(&before.pending),
                ["a", "b"],
                "{change}: what is before it comes first"
            );
            let after = relay.settle(published(&before.pending)).await;
            assert_eq!(aggregates(&after.pending), ["b"], "{change}");
            assert_eq!(
                causes(&after),
                [(NewDeadLetter::UNREADABLE, NewDeadLetter::UNREADABLE)],
                "{change}"
            );
            let letter = dead_letters(&relay).await.remove(0);
            assert_eq!(
                (&*letter.route, &*letter.cause),
                (NewDeadLetter::UNREADABLE, NewDeadLetter::UNREADABLE)
            );
            assert_eq!(
                (letter.position, letter.parks, &*letter.envelope.payload),
                (bad, true, &b"{}"[..])
            );
            assert_eq!(letter.envelope.aggregate_id, "a", "{change}");
            assert!(
                letter.raw.as_ref().unwrap().contains("\"event_type\""),
                "{letter:?}"
            );
            let streams = after.streams.unwrap();
            assert!(
                streams.iter().any(|stream| stream.aggregate_id == "a"),
                "{streams:?}"
            );
            let (event_id, to) = (letter.envelope.event_id, &*letter.route);
            let refused = relay.store.replay(event_id, to).await.unwrap_err();
            assert!(
                matches!(refused, StoreError::NotReplayable { .. }),
                "{refused}"
            );
            let refused = relay
                .store
                .amend(event_id, to, &Amendment::default())
                .await
                .unwrap_err();
            assert!(
                matches!(refused, StoreError::NotReplayable { .. }),
                "{refused}"
            );
            let discarding = Discarding::because("written anew").unwrap();
            assert!(
                relay
                    .store
                    .discard(event_id, to, &discarding)
                    .await
                    .unwrap()
            );
            let last = relay.settle(published(&after.pending)).await;
            assert_eq!((last.pending.len(), last.streams), (0, Some(Vec::new())));
            relay.store.release(relay.lease.owner).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_row_counts_as_a_dead_letter_of_its_tenant() {
    on_every_back_end(async |db| {
        let mut entry = entry();
        entry.envelope.tenant_id = Some("spoilt".to_owned());
        let tx = db.begin().await.unwrap();
        OutboxWriter::new(Tables::default(), Expected::default())
            .write(&tx, vec![entry])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert!(spoil(&db, "UPDATE bento_outbox SET routing_version = -7").await);
        let counters = Counters::default();
        let report = {
            let _recording = counters.record();
            bento_relay::Relay::builder(OutboxStore::new(db.clone()), MemoryPublisher::new())
                .run_once()
                .await
                .unwrap()
        };
        assert_eq!(report.tally.dead, 1);
        let dead = [
            ("route", NewDeadLetter::UNREADABLE),
            ("cause", NewDeadLetter::UNREADABLE),
        ];
        assert_eq!(counters.get_with(telemetry::DEAD_EVENTS, &dead), 1);
        let of_tenant = [("tenant", "spoilt"), ("status", "dead")];
        assert_eq!(counters.get_with(telemetry::TENANT_EVENTS, &of_tenant), 1);
    })
    .await;
}

#[tokio::test]
async fn many_rows_that_cannot_be_read_are_given_up_in_one_call() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write_of(&db, &["a"; 300]).await;
        write_of(&db, &["b"]).await;
        assert!(
            spoil(
                &db,
                "UPDATE bento_outbox SET routing_version = -7 WHERE aggregate_id = 'a'"
            )
            .await
        );
        let advance = Advance {
            pending: 50,
            ..advance(relay.lease)
        };
        let rows = relay.store.advance(advance).await.unwrap().pending;
        assert_eq!(aggregates(&rows), ["b"]);
        assert_eq!(
            one(&db, "SELECT count(*) FROM bento_dead_letter")
                .await
                .try_get_by_index::<i64>(0)
                .unwrap(),
            300
        );
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_held_row_becomes_a_dead_letter_of_its_route() {
    on_every_back_end(async |db| {
        for change in ["routing_version = -7", "delivered = 'what?'"] {
            let relay = Relay::new(&db).await;
            write_of(&db, &["a", "a", "b"]).await;
            let rows = relay.settle(Vec::new()).await.pending;
            let hold = |row: &OutboxRow| {
                let failure = Failure {
                    attempts: 3,
                    retry_after: Duration::ZERO,
                    error: "no".to_owned(),
                    delivered: Vec::new(),
                };
                let (position, route) = (row.position, "x".into());
                Settlement::pending(position, route, Outcome::Retry(failure))
            };
            relay.settle(rows.iter().map(hold).collect()).await;
            let bad = rows[0].position;
            assert!(
                spoil(
                    &db,
                    &format!("UPDATE bento_outbox_held SET {change} WHERE position = {bad}")
                )
                .await
            );
            let left = relay.settle(Vec::new()).await;
            assert_eq!(
                causes(&left),
                [("x", NewDeadLetter::UNREADABLE)],
                "{change}"
            );
            let held = left.held;
            let left: Vec<_> = held
                .iter()
                .map(|held| held.row.envelope.aggregate_id.as_str())
                .collect();
            assert_eq!(left, ["b"], "{change}");
            let letter = dead_letters(&relay).await.remove(0);
            assert_eq!(
                (&*letter.route, &*letter.cause, letter.attempts),
                ("x", NewDeadLetter::UNREADABLE, 3)
            );
            let discarding = Discarding::because("written anew").unwrap();
            relay
                .store
                .discard(letter.envelope.event_id, "x", &discarding)
                .await
                .unwrap();
            assert_eq!(
                relay.settle(Vec::new()).await.held.len(),
                2,
                "{change}: what was behind it goes on"
            );
            db.execute_unprepared("DELETE FROM bento_outbox_held")
                .await
                .unwrap();
            relay.store.release(relay.lease.owner).await.unwrap();
        }
    })
    .await;
}

/// Positions are handed out again after TRUNCATE … RESTART IDENTITY.
#[tokio::test]
async fn a_row_whose_held_place_is_taken_costs_no_other_row() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write_of(&db, &["a", "b", "c"]).await;
        let rows = relay.settle(Vec::new()).await.pending;
        let hold = |position| {
            let route = "x".into();
            Settlement::pending(position, route, Outcome::Behind)
        };
        relay
            .settle(vec![
                hold(rows[0].position),
                Settlement::published(rows[2].position),
            ])
            .await;
        let taken = rows[0].position;
        let restart = format!(
            "UPDATE bento_outbox SET position = {taken} WHERE position = {}",
            rows[1].position
        );
        db.execute_unprepared(&restart).await.unwrap();
        write_of(&db, &["d"]).await;
        let mut settled = vec![hold(taken)];
        let others = relay.settle(Vec::new()).await.pending;
        settled.extend(published(&others[1..]));
        let left = relay.settle(settled).await;
        assert_eq!(left.pending, []);
        assert_eq!(left.held.len(), 1, "the one that was there is there");
        let letter = dead_letters(&relay).await.remove(0);
        assert_eq!(
            (&*letter.route, &*letter.cause, letter.raw.as_deref()),
            ("x", NewDeadLetter::UNSETTLED, None)
        );
        assert_eq!(*letter.envelope, *rows[1].envelope);
    })
    .await;
}

#[tokio::test]
async fn a_settlement_that_is_refused_costs_its_row_alone() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write_of(&db, &["a", "b", "c", "d"]).await;
        let rows = relay.settle(Vec::new()).await.pending;
        let long: Arc<str> = "d".repeat(20_000).into();
        let hold = |row: &OutboxRow, route: &Arc<str>| {
            let (position, route) = (row.position, Arc::clone(route));
            Settlement::pending(position, route, Outcome::Behind)
        };
        let (nul, fine): (Arc<str>, Arc<str>) = ("no\0such".into(), "x".into());
        let mut settled = vec![
            hold(&rows[0], &nul),
            hold(&rows[1], &long),
            hold(&rows[2], &fine),
        ];
        settled.push(Settlement::published(rows[3].position));
        let left = relay.settle(settled).await;
        assert_eq!(
            (
                left.pending.len(),
                one(&db, "SELECT count(*) FROM bento_outbox")
                    .await
                    .try_get_by_index::<i64>(0)
                    .unwrap()
            ),
            (0, 0)
        );
        let lost = dead_letters(&relay).await.len() + left.held.len();
        assert_eq!(lost, 3, "each is held or a dead letter");
        assert!(left.held.iter().any(|held| *held.route == *fine));
    })
    .await;
}
