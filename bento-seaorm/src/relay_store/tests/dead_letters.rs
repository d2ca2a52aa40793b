//! Dead letters inside the database.

use bento_relay::dead_letter::{
    AlertOutcome, AlertStore, DeadLetterFilter, DeadLetterQuery, DeadLetters, Discarding,
};
use bento_relay::store::{NewDeadLetter, Outcome};

use super::unreadable::{spoil, write_of};
use super::*;

/// Positions can be handed out twice, after TRUNCATE … RESTART IDENTITY for example. Then a replay
/// must not delete what it could not move.
#[tokio::test]
async fn a_dead_letter_whose_place_is_taken_stays_one() {
    on_every_back_end(async |db| {
        let relay = Relay::new(&db).await;
        write(&db, 2).await.commit().await.unwrap();
        let rows = relay.settle(Vec::new()).await.pending;
        let route: Arc<str> = "default".into();
        let dead = NewDeadLetter {
            attempts: 1,
            error: "refused".to_owned(),
            cause: NewDeadLetter::PERMANENT.into(),
            parks: true,
            delivered: Vec::new(),
        };
        let dead = Settlement::pending(rows[0].position, Arc::clone(&route), Outcome::Dead(dead));
        let (position, why) = (rows[1].position, Outcome::Behind);
        let hold = Settlement::pending(position, Arc::clone(&route), why);
        relay.settle(vec![dead, hold]).await;
        let take_its_place = format!(
            "UPDATE bento_outbox_held SET position = {}",
            rows[0].position
        );
        db.execute_unprepared(&take_its_place).await.unwrap();
        let before = relay.store.list(&DeadLetterQuery::default()).await.unwrap();
        let replayed = relay
            .store
            .replay(rows[0].envelope.event_id, &route)
            .await
            .unwrap();
        assert!(!replayed.replayed, "it has no place to go to");
        assert_eq!(
            relay.store.list(&DeadLetterQuery::default()).await.unwrap(),
            before
        );
    })
    .await;
}

/// Letters of `a`, `b` and `c`, the first of which have followers.
async fn dead(db: &DatabaseConnection) -> (Relay, Vec<i64>) {
    let relay = Relay::new(db).await;
    write_of(db, &["a", "b", "c", "a", "b"]).await;
    let rows = relay.settle(Vec::new()).await.pending;
    let route: Arc<str> = "x".into();
    let dead = |row: &OutboxRow| {
        let (error, cause) = ("refused".to_owned(), NewDeadLetter::PERMANENT.into());
        let dead = NewDeadLetter {
            attempts: 1,
            error,
            cause,
            parks: true,
            delivered: Vec::new(),
        };
        Settlement::pending(row.position, Arc::clone(&route), Outcome::Dead(dead))
    };
    let hold = |row: &OutboxRow| {
        let (position, route) = (row.position, Arc::clone(&route));
        Settlement::pending(position, route, Outcome::Behind)
    };
    relay
        .settle(
            rows[..3]
                .iter()
                .map(dead)
                .chain(rows[3..].iter().map(hold))
                .collect(),
        )
        .await;
    (relay, rows.iter().map(|row| row.position).collect())
}

/// The positions of all letters, read in pages of one.
async fn paged(relay: &Relay) -> Vec<i64> {
    let (mut positions, mut query) = (Vec::new(), DeadLetterQuery::default().limit(1));
    while let Some(letter) = relay.store.list(&query).await.unwrap().pop() {
        positions.push(letter.position);
        assert!(positions.len() < 10, "the list has no end: {positions:?}");
        query = query.after(letter.cursor());
    }
    positions.sort_unstable();
    positions
}

/// SQLite is the back end that stores such a key.
#[tokio::test]
async fn a_dead_letter_with_an_unreadable_key_is_found_by_its_row() {
    on_every_back_end(async |db| {
        let (relay, positions) = dead(&db).await;
        if db.get_database_backend() == DbBackend::Sqlite {
            for (change, position) in [
                ("event_id = x'01'", positions[0]),
                ("route = x'ff'", positions[1]),
            ] {
                let sql =
                    format!("UPDATE bento_dead_letter SET {change} WHERE position = {position}");
                db.execute_unprepared(&sql).await.unwrap();
            }
        }
        assert_eq!(paged(&relay).await, positions[..3]);
        let discarding = Discarding::because("it was spoilt").unwrap();
        for letter in relay.store.list(&DeadLetterQuery::default()).await.unwrap() {
            let (id, to) = (letter.envelope.event_id, &*letter.route);
            assert_eq!(
                relay.store.find(id, to).await.unwrap(),
                Some(letter.clone())
            );
            assert!(
                relay.store.discard(id, to, &discarding).await.unwrap(),
                "{letter:?}"
            );
            assert!(
                !relay.store.discard(id, to, &discarding).await.unwrap(),
                "{letter:?}"
            );
            let discarded = relay
                .store
                .discarded(&DeadLetterQuery::default())
                .await
                .unwrap();
            assert!(
                discarded.iter().any(|discarded| discarded.event_id == id),
                "{discarded:?}"
            );
        }
        let held = relay.settle(Vec::new()).await.held;
        let waits = |held: &HeldRow| held.row.envelope.aggregate_id.clone();
        assert_eq!(
            held.iter().map(waits).collect::<Vec<_>>(),
            ["a", "b"],
            "what was behind them goes on"
        );
    })
    .await;
}

#[tokio::test]
async fn dead_letters_of_an_unreadable_time_are_listed_and_told_once() {
    on_every_back_end(async |db| {
        let times = match db.get_database_backend() {
            DbBackend::Postgres => ["'-infinity'", "'infinity'"],
            DbBackend::MySql => ["'0000-00-00'", "'2026-00-00'"],
            _ => ["'soon'", "x'ff'"],
        };
        let (relay, positions) = dead(&db).await;
        for (time, position) in times.iter().zip(&positions) {
            let sql = format!(
                "UPDATE bento_dead_letter SET failed_at = {time} WHERE position = {position}"
            );
            assert!(spoil(&db, &sql).await, "{time}");
        }
        assert_eq!(paged(&relay).await, positions[..3]);
        let told = relay
            .store
            .take_unalerted(10, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(told.len(), 3);
        relay
            .store
            .settle_alerts(&told, AlertOutcome::Told)
            .await
            .unwrap();
        assert_eq!(
            relay
                .store
                .take_unalerted(10, Duration::ZERO)
                .await
                .unwrap(),
            []
        );
        let discarding = Discarding::because("it was spoilt").unwrap();
        assert_eq!(
            relay
                .store
                .discard_all(&DeadLetterFilter::default(), &discarding)
                .await
                .unwrap(),
            3
        );
    })
    .await;
}

/// PostgreSQL stores no time that is none.
#[tokio::test]
async fn a_held_row_whose_time_cannot_be_read_is_due() {
    on_every_back_end(async |db| {
        let times: &[&str] = match db.get_database_backend() {
            DbBackend::Postgres => &[],
            DbBackend::MySql => &["'0000-00-00'", "'2999-00-00'"],
            _ => &["'soon'", "x'ff'", "''"],
        };
        for time in times {
            let relay = Relay::new(&db).await;
            write_of(&db, &["a", "b"]).await;
            let rows = relay.settle(Vec::new()).await.pending;
            let hold = |row: &OutboxRow| {
                let wait = Outcome::Delayed(Duration::from_secs(600));
                Settlement::pending(row.position, "x".into(), wait)
            };
            relay.settle(rows[..1].iter().map(hold).collect()).await;
            assert!(
                spoil(
                    &db,
                    &format!("UPDATE bento_outbox_held SET retry_after = {time}")
                )
                .await,
                "{time}"
            );
            // Another relay knows nothing of the wait.
            relay.store.release(relay.lease.owner).await.unwrap();
            let relay = Relay::new(&db).await;
            relay
                .settle(vec![Settlement::published(rows[1].position)])
                .await;
            assert_eq!(relay.store.poll(&[0], &[]).await.unwrap(), [0], "{time}");
            assert_eq!(relay.settle(Vec::new()).await.held.len(), 1, "{time}");
            db.execute_unprepared("DELETE FROM bento_outbox_held")
                .await
                .unwrap();
            relay.store.release(relay.lease.owner).await.unwrap();
        }
    })
    .await;
}
