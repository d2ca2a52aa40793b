//! Random values in the columns of the tables: a shard comes to its end whatever a row holds, and
//! what is sound is handed out.
//!
//! The seeds are the same in each run; `BENTO_TEST_SEED` plays one round with another.

use std::collections::BTreeSet;

use bento_relay::dead_letter::{DeadLetterFilter, DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::held::{HeldEvents, HeldFilter};
use bento_relay::store::{NewDeadLetter, Outcome, Settlement, Unroutable};

use super::unreadable::{spoil, write_of};
use super::*;

/// The rounds on each back end; a round has a shard of its own.
const ROUNDS: u64 = 25;

/// The calls within which a shard comes to its end.
const CALLS: usize = 40;

/// The columns of an event in every table, without those that say which rows belong together.
const COLUMNS: [&str; 14] = [
    "event_id",
    "event_type",
    "schema_version",
    "kind",
    "sequence",
    "tenant_id",
    "topic",
    "routing_key",
    "routing",
    "routing_version",
    "occurred_at",
    "content_encoding",
    "headers",
    "payload",
];

/// The aggregate. Where it changes among held rows and dead letters, nothing says any more what
/// waits for what.
const AGGREGATE: [&str; 2] = ["aggregate_type", "aggregate_id"];

/// The columns that the held rows have besides.
const HELD_COLUMNS: [&str; 6] = [
    "attempts",
    "delivered",
    "error_message",
    "retry_after",
    "first_failed_at",
    "unroutable_since",
];

/// The columns that the dead letters have besides.
const DEAD_COLUMNS: [&str; 6] = [
    "failed_at",
    "first_failed_at",
    "attempts",
    "error_message",
    "delivered",
    "raw",
];

/// Some value, as a literal that at least one back end takes for some column.
fn value(backend: DbBackend, random: &mut fastrand::Rng) -> String {
    let (few, many) = (random.usize(..40), random.usize(..300));
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(few).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let blob = if backend == DbBackend::Postgres {
        format!("'\\x{hex}'::bytea")
    } else {
        format!("x'{hex}'")
    };
    let text: String = std::iter::repeat_with(|| random.char('\u{1}'..'\u{2fff}'))
        .take(many)
        .collect();
    let text = format!("'{}'", text.replace('\'', "''").replace('\\', "/"));
    let number = random.i64(..).to_string();
    let fixed = [
        "NULL",
        "-7",
        "0",
        "''",
        "'soon'",
        "'infinity'",
        "'0000-00-00'",
        "'{'",
        "'9999-12-31 23:59:59'",
    ];
    match random.u8(..6) {
        0 => blob,
        1 => text,
        2 => number,
        _ => (*random.choice(&fixed).expect("there are some")).to_owned(),
    }
}

async fn spoil_some(
    db: &DatabaseConnection,
    table: &str,
    columns: &[&str],
    random: &mut fastrand::Rng,
) {
    for _ in 0..random.usize(1..5) {
        let column = random.choice(columns).expect("there are some");
        let value = value(db.get_database_backend(), random);
        let one =
            format!("SELECT position FROM (SELECT position FROM {table}) t ORDER BY position");
        let sql = format!(
            "UPDATE {table} SET {column} = {value} WHERE position = ({one} LIMIT 1 OFFSET {})",
            random.u8(..8)
        );
        spoil(db, &sql).await;
    }
}

fn dead(random: &mut fastrand::Rng) -> NewDeadLetter {
    let (error, cause) = ("no".to_owned(), NewDeadLetter::PERMANENT.into());
    NewDeadLetter {
        attempts: 1,
        error,
        cause,
        parks: random.bool(),
        delivered: Vec::new(),
    }
}

fn failure() -> Failure {
    Failure {
        attempts: 1,
        retry_after: Duration::ZERO,
        error: "no".to_owned(),
        delivered: Vec::new(),
    }
}

fn settle_pending(row: &OutboxRow, random: &mut fastrand::Rng) -> Settlement {
    let (position, route, ordered) = (row.position, "x".into(), random.bool());
    match random.u8(..4) {
        0 => Settlement::pending(position, route, Outcome::Retry(failure())).ordered(ordered),
        1 => Settlement::pending(position, route, Outcome::Behind).ordered(ordered),
        2 => Settlement::pending(position, route, Outcome::Dead(dead(random))),
        _ => Settlement::published(position),
    }
}

fn settle_held(held: &HeldRow, is_late: bool, random: &mut fastrand::Rng) -> Settlement {
    let (position, route) = (held.row.position, Arc::clone(&held.route));
    match random.u8(..5) {
        _ if is_late => Settlement::held(position, route, Outcome::Published),
        0 => Settlement::held(position, route, Outcome::Retry(failure())),
        1 => Settlement::held(position, route, Outcome::Dead(dead(random))),
        2 => Settlement::held(position, route, Outcome::Moved { to: "y".into() })
            .ordered(random.bool()),
        3 => {
            let obstacle = Unroutable {
                retry_after: Duration::ZERO,
                error: "no rule".to_owned(),
            };
            Settlement::held(position, route, Outcome::Unroutable(obstacle))
        }
        _ => Settlement::held(position, route, Outcome::Published),
    }
}

/// The number of letters that a list shows which is read one by one.
async fn pages(relay: &Relay) -> usize {
    let (mut shown, mut query) = (0, DeadLetterQuery::default().limit(1));
    while let Some(letter) = relay.store.list(&query).await.unwrap().pop() {
        (shown, query) = (shown + 1, query.after(letter.cursor()));
        assert!(shown < 100, "{letter:?}");
    }
    shown
}

async fn is_empty(db: &DatabaseConnection) -> bool {
    let rows =
        "SELECT (SELECT count(*) FROM bento_outbox) + (SELECT count(*) FROM bento_outbox_held)";
    one(db, rows).await.try_get_by_index::<i64>(0).unwrap() == 0
}

/// One shard from its first row to its end. Returns the number of rows that could not be read.
async fn round(db: &DatabaseConnection, seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let relay = Relay::new(db).await;
    write_of(db, &["a", "b", "a", "c", "b", "d", "e", "e"]).await;
    let rows = relay.settle(Vec::new()).await.pending;
    if random.bool() {
        // Most of the other values can be read.
        let position = random.choice(&rows).expect("there are some").position;
        spoil(
            db,
            &format!("UPDATE bento_outbox SET routing_version = -7 WHERE position = {position}"),
        )
        .await;
    }
    let written: BTreeSet<_> = rows.iter().map(|row| row.position).collect();
    spoil_some(
        db,
        "bento_outbox",
        &[&COLUMNS[..], &AGGREGATE].concat(),
        &mut random,
    )
    .await;
    let discarding = Discarding::because("it was spoilt").unwrap();
    let (mut settled, mut seen, mut unreadable) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for call in 0..CALLS {
        let advanced = relay
            .store
            .advance(Advance {
                settled,
                ..advance(relay.lease)
            })
            .await;
        let advanced =
            advanced.unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error:?}"));
        seen.extend(advanced.pending.iter().map(|row| row.position));
        let pending = advanced
            .pending
            .iter()
            .map(|row| settle_pending(row, &mut random));
        settled = pending.collect();
        settled.extend(
            advanced
                .held
                .iter()
                .map(|held| settle_held(held, call > 10, &mut random)),
        );
        if call == 2 {
            spoil_some(
                db,
                "bento_outbox_held",
                &[&COLUMNS[..], &HELD_COLUMNS].concat(),
                &mut random,
            )
            .await;
            spoil_some(
                db,
                "bento_dead_letter",
                &[&COLUMNS[..], &DEAD_COLUMNS].concat(),
                &mut random,
            )
            .await;
        }
        // A time that is far away can be read, and is for an operator to end.
        if call > 10 {
            relay.store.retry_now(&HeldFilter::default()).await.unwrap();
        }
        // A dead letter may park what is left.
        let letters = relay.store.list(&DeadLetterQuery::default()).await;
        let letters = letters.unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error:?}"));
        let spoilt = letters
            .iter()
            .filter(|letter| letter.cause == NewDeadLetter::UNREADABLE);
        unreadable.extend(spoilt.map(|letter| letter.position));
        assert_eq!(
            pages(&relay).await,
            letters.len(),
            "seed {seed}, call {call}: a list comes to its end"
        );
        if call > 4 && !letters.is_empty() {
            let all = DeadLetterFilter::default();
            let discarded = relay.store.discard_all(&all, &discarding).await;
            let discarded =
                discarded.unwrap_or_else(|error| panic!("seed {seed}, call {call}: {error:?}"));
            assert_eq!(
                discarded,
                letters.len() as u64,
                "seed {seed}: every dead letter can be discarded"
            );
        }
        if settled.is_empty() && is_empty(db).await {
            relay.store.release(relay.lease.owner).await.unwrap();
            let accounted: BTreeSet<_> = seen.union(&unreadable).copied().collect();
            let lost: Vec<_> = written.difference(&accounted).collect();
            assert!(
                lost.is_empty(),
                "seed {seed}: {lost:?} were neither handed out nor given up"
            );
            return unreadable.len();
        }
    }
    panic!("seed {seed}: the shard has not come to its end within {CALLS} calls");
}

#[tokio::test]
async fn a_shard_comes_to_its_end_whatever_its_rows_hold() {
    let given = std::env::var("BENTO_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let (first, rounds) = given.map_or((0, ROUNDS), |seed| (seed, 1));
    on_every_back_end(async |db| {
        let mut unreadable = 0;
        for seed in first..first + rounds {
            unreadable += round(&db, seed).await;
        }
        assert!(
            unreadable > 0 || rounds == 1,
            "seed {first}: some rows were made unreadable"
        );
    })
    .await;
}
