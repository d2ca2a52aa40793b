//! Settlements that the database refuses for one row: that row is given up, and its neighbours of
//! the same call are settled.

use bento_relay::dead_letter::{DeadLetter, DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::store::{NewDeadLetter, Outcome, Settlement, Unroutable};

use super::unreadable::write_of;
use super::*;

/// A wait that does not end within a test.
const LONG: Duration = Duration::from_secs(600);

/// A change that a trigger refuses.
#[derive(Clone, Copy, Debug)]
struct Forbidden {
    change: &'static str,
    table: &'static str,
    /// The condition under which the row is refused, beside its position.
    and: &'static str,
}

const HOLDING: Forbidden = Forbidden {
    change: "INSERT",
    table: "bento_outbox_held",
    and: "",
};
const WAITING: Forbidden = Forbidden {
    change: "UPDATE",
    table: "bento_outbox_held",
    and: "",
};
const KEEPING: Forbidden = Forbidden {
    change: "INSERT",
    table: "bento_outbox_published",
    and: "",
};
/// A letter is refused as it was to be, and not as the last resort writes it.
const DEAD_LETTERS: Forbidden = Forbidden {
    change: "INSERT",
    table: "bento_dead_letter",
    and: " AND NEW.cause <> 'unsettled'",
};

/// Lets the database refuse a change at one position, as a rule of the data would.
async fn forbid(
    db: &DatabaseConnection,
    Forbidden { change, table, and }: Forbidden,
    position: i64,
) {
    let when = format!("NEW.position = {position}{and}");
    let statements = match db.get_database_backend() {
        DbBackend::Postgres => vec![
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '23514'; END $$"
                .to_owned(),
            format!(
                "CREATE TRIGGER refuse BEFORE {change} ON {table} FOR EACH ROW WHEN ({when}) \
                 EXECUTE FUNCTION refuse()"
            ),
        ],
        DbBackend::MySql => vec![format!(
            "CREATE TRIGGER refuse BEFORE {change} ON {table} FOR EACH ROW \
             IF {when} THEN SIGNAL SQLSTATE '23000' SET MESSAGE_TEXT = 'not this one'; END IF"
        )],
        _ => vec![format!(
            "CREATE TRIGGER refuse BEFORE {change} ON {table} FOR EACH ROW WHEN {when} \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )],
    };
    for statement in statements {
        db.execute_unprepared(&statement).await.unwrap();
    }
}

async fn allow(db: &DatabaseConnection, table: &str) {
    let of_table = if db.get_database_backend() == DbBackend::Postgres {
        format!(" ON {table}")
    } else {
        String::new()
    };
    db.execute_unprepared(&format!("DROP TRIGGER refuse{of_table}"))
        .await
        .unwrap();
}

fn failure(attempts: u32, retry_after: Duration) -> Failure {
    Failure {
        attempts,
        retry_after,
        error: "busy".to_owned(),
        delivered: Vec::new(),
    }
}

fn dead_letter() -> NewDeadLetter {
    let (error, cause) = ("too large".to_owned(), NewDeadLetter::PERMANENT.into());
    NewDeadLetter {
        attempts: 4,
        error,
        cause,
        parks: true,
        delivered: Vec::new(),
    }
}

fn obstacle() -> Unroutable {
    Unroutable {
        retry_after: LONG,
        error: "no rule".to_owned(),
    }
}

fn hold(position: i64, why: Outcome) -> Settlement {
    Settlement::pending(position, "x".into(), why)
}

fn held_failed(position: i64) -> Settlement {
    Settlement::held(position, "x".into(), Outcome::Retry(failure(4, LONG)))
}

fn held_published(position: i64) -> Settlement {
    Settlement::held(position, "x".into(), Outcome::Published)
}

fn held_dead(position: i64) -> Settlement {
    Settlement::held(position, "x".into(), Outcome::Dead(dead_letter()))
}

fn held_moved(position: i64) -> Settlement {
    Settlement::held(position, "x".into(), Outcome::Moved { to: "y".into() })
}

fn held_unroutable(position: i64) -> Settlement {
    Settlement::held(position, "x".into(), Outcome::Unroutable(obstacle()))
}

async fn count(db: &DatabaseConnection, rows: &str) -> i64 {
    one(db, &format!("SELECT count(*) FROM {rows}"))
        .await
        .try_get_by_index(0)
        .unwrap()
}

async fn dead_letters(relay: &Relay) -> Vec<DeadLetter> {
    relay.store.list(&DeadLetterQuery::default()).await.unwrap()
}

fn of<'a>(rows: impl IntoIterator<Item = &'a OutboxRow>) -> Vec<String> {
    rows.into_iter()
        .map(|row| row.envelope.aggregate_id.clone())
        .collect()
}

/// The outcome for a row whose settlement is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// A dead letter that was tried so often, and that says so.
    Dead(u32, &'static str),
    /// The event is published.
    Gone,
}

/// The relay is told of the dead letters that it did not ask for.
fn tells(left: &Advanced, name: &str, fate: Fate) {
    let told: Vec<_> = left
        .dead_rows
        .iter()
        .map(|row| (&*row.route, row.cause))
        .collect();
    let is_told = name != "dead" && fate != Fate::Gone;
    assert_eq!(
        told,
        if is_told {
            vec![("x", NewDeadLetter::UNSETTLED)]
        } else {
            vec![]
        },
        "{name}"
    );
}

/// A settlement by its name, what is refused of it, how it is made for a position, and what the row
/// becomes.
type Case = (&'static str, Forbidden, fn(i64) -> Settlement, Fate);

/// Rows of `a`, `b`, twice `c` and `d`, of which the first `c` is settled so that the database
/// refuses it.
struct Scene {
    db: DatabaseConnection,
    relay: Relay,
    /// The positions of the first of each aggregate.
    first: [i64; 4],
    follower: i64,
}

impl Scene {
    async fn new(db: &DatabaseConnection) -> Self {
        let relay = Relay::new(db).await;
        write_of(db, &["a", "b", "c", "c", "d"]).await;
        let rows = relay.settle(Vec::new()).await.pending;
        let at = |nth: usize| rows[nth].position;
        Self {
            db: db.clone(),
            relay,
            first: [at(0), at(1), at(2), at(4)],
            follower: at(3),
        }
    }

    /// Holds all of them for `x`.
    async fn held(db: &DatabaseConnection) -> Self {
        let scene = Self::new(db).await;
        let mut settled: Vec<_> = scene
            .first
            .iter()
            .map(|at| hold(*at, Outcome::Retry(failure(3, Duration::ZERO))))
            .collect();
        settled.push(hold(scene.follower, Outcome::Behind));
        assert_eq!(scene.relay.settle(settled).await.held.len(), 5);
        scene
    }

    async fn call(&self, settled: Vec<Settlement>) -> Advanced {
        let advance = Advance {
            settled,
            keep_published: true,
            ..advance(self.relay.lease)
        };
        self.relay.store.advance(advance).await.unwrap()
    }

    /// The letter says why, and its aggregate goes on once it is discarded; the shard reads on.
    async fn ends(self, forbidden: Forbidden, fate: Fate, name: &str) {
        let letters = dead_letters(&self.relay).await;
        let told: Vec<_> = letters
            .iter()
            .map(|letter| (&*letter.route, &*letter.cause, letter.position))
            .collect();
        match fate {
            Fate::Gone => assert_eq!(told, [], "{name}"),
            Fate::Dead(attempts, last) => {
                assert_eq!(
                    told,
                    [("x", NewDeadLetter::UNSETTLED, self.first[2])],
                    "{name}"
                );
                assert_eq!(
                    (letters[0].attempts, letters[0].parks, &letters[0].raw),
                    (attempts, true, &None),
                    "{name}"
                );
                let error = &letters[0].error;
                assert!(
                    error.contains("not this one") && error.ends_with(last),
                    "{name}: {error}"
                );
            }
        }
        allow(&self.db, forbidden.table).await;
        write_of(&self.db, &["e"]).await;
        let next = self.call(Vec::new()).await;
        assert_eq!(of(&next.pending), ["e"], "{name}: the shard goes on");
        let held = of(next.held.iter().map(|held| &held.row));
        let expected: &[&str] = if fate == Fate::Gone { &["c"] } else { &[] };
        assert_eq!(held, expected, "{name}: what is behind a dead letter waits");
        if let Some(letter) = letters.first() {
            let discarding = Discarding::because("it was refused").unwrap();
            assert!(
                self.relay
                    .store
                    .discard(letter.envelope.event_id, "x", &discarding)
                    .await
                    .unwrap(),
                "{name}"
            );
            let held = self.call(Vec::new()).await.held;
            assert_eq!(of(held.iter().map(|held| &held.row)), ["c"], "{name}");
        }
        for table in [
            "bento_outbox",
            "bento_outbox_held",
            "bento_outbox_published",
            "bento_discarded_letter",
        ] {
            self.db
                .execute_unprepared(&format!("DELETE FROM {table}"))
                .await
                .unwrap();
        }
        self.relay
            .store
            .release(self.relay.lease.owner)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_held_row_whose_settlement_is_refused_costs_itself_alone() {
    let cases: [Case; 5] = [
        ("failed", WAITING, held_failed, Fate::Dead(4, "busy")),
        ("dead", DEAD_LETTERS, held_dead, Fate::Dead(4, "too large")),
        ("moved", HOLDING, held_moved, Fate::Dead(3, "")),
        (
            "unroutable",
            WAITING,
            held_unroutable,
            Fate::Dead(3, "no rule"),
        ),
        ("published", KEEPING, held_published, Fate::Gone),
    ];
    on_every_back_end(async |db| {
        for (name, forbidden, settlement, fate) in cases {
            let scene = Scene::held(&db).await;
            let [a, b, c, d] = scene.first;
            forbid(&db, forbidden, c).await;
            let settled = vec![
                held_published(a),
                held_failed(b),
                settlement(c),
                held_published(d),
            ];
            let left = scene.call(settled).await;
            tells(&left, name, fate);
            let mut due = of(left.held.iter().map(|held| &held.row));
            due.retain(|aggregate| aggregate != "c");
            assert_eq!(due, [""; 0], "{name}: each neighbour is settled");
            let kept = count(&db, "bento_outbox_published").await;
            assert_eq!(
                (
                    kept,
                    count(&db, "bento_outbox_held WHERE attempts = 4").await
                ),
                (2, 1),
                "{name}"
            );
            scene.ends(forbidden, fate, name).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pending_row_whose_settlement_is_refused_costs_itself_alone() {
    let pending_dead =
        |position| Settlement::pending(position, "x".into(), Outcome::Dead(dead_letter()));
    let cases: [Case; 6] = [
        (
            "failed",
            HOLDING,
            |at| hold(at, Outcome::Retry(failure(4, LONG))),
            Fate::Dead(4, "busy"),
        ),
        (
            "behind",
            HOLDING,
            |at| hold(at, Outcome::Behind),
            Fate::Dead(0, ""),
        ),
        (
            "delayed",
            HOLDING,
            |at| hold(at, Outcome::Delayed(LONG)),
            Fate::Dead(0, ""),
        ),
        (
            "unroutable",
            HOLDING,
            |at| hold(at, Outcome::Unroutable(obstacle())),
            Fate::Dead(0, "no rule"),
        ),
        (
            "dead",
            DEAD_LETTERS,
            pending_dead,
            Fate::Dead(4, "too large"),
        ),
        (
            "published",
            KEEPING,
            |position| Settlement::published(position),
            Fate::Gone,
        ),
    ];
    on_every_back_end(async |db| {
        for (name, forbidden, settlement, fate) in cases {
            let scene = Scene::new(&db).await;
            let [a, b, c, d] = scene.first;
            forbid(&db, forbidden, c).await;
            let published = |position| Settlement::published(position);
            let neighbour = hold(b, Outcome::Retry(failure(4, LONG)));
            let settled = vec![
                published(a),
                neighbour,
                settlement(c),
                hold(scene.follower, Outcome::Behind),
                published(d),
            ];
            let left = scene.call(settled).await;
            tells(&left, name, fate);
            assert_eq!(
                (of(&left.pending), count(&db, "bento_outbox").await),
                (Vec::new(), 0),
                "{name}"
            );
            let kept = count(&db, "bento_outbox_published").await;
            assert_eq!(
                (
                    kept,
                    count(&db, "bento_outbox_held WHERE attempts = 4").await
                ),
                (2, 1),
                "{name}"
            );
            scene.ends(forbidden, fate, name).await;
        }
    })
    .await;
}
