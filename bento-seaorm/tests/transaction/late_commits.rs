//! Stored events are read while transactions that began earlier have yet to commit: none is missed,
//! none is read twice, and those of an aggregate stay in order.

use std::collections::HashSet;

use bento_relay::event_store::{Cursor, EventStore as _, EventStoreError, Selection};
use bento_seaorm::{DatabaseEvents, OutboxConnection, OutboxTransaction};
use futures_util::TryStreamExt as _;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::ledger::Ledger;
use crate::support::{TestDatabase, in_database};

/// A step of one of two transactions, or of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Append(usize),
    Commit(usize),
    RollBack(usize),
    Read,
}
use Step::{Append, Commit, Read, RollBack};

/// Every way in which two transactions can lie around a read.
const INTERLEAVINGS: [&[Step]; 12] = [
    &[Append(0), Commit(0), Append(1), Commit(1), Read],
    &[Append(0), Append(1), Commit(0), Commit(1), Read],
    &[Append(0), Append(1), Commit(1), Commit(0), Read],
    &[Append(0), Append(1), Commit(1), Read, Commit(0), Read],
    &[Append(0), Append(1), Commit(0), Read, Commit(1), Read],
    &[Append(0), Read, Append(1), Commit(1), Read, Commit(0), Read],
    &[Append(0), Read, Append(1), Commit(0), Read, Commit(1), Read],
    &[Append(0), Append(1), Read, Commit(1), Commit(0), Read],
    &[Append(0), Commit(0), Read, Append(1), Read, Commit(1), Read],
    &[Append(0), Append(1), Commit(1), Read, RollBack(0), Read],
    &[Append(0), Append(1), RollBack(1), Read, Commit(0), Read],
    &[
        Append(0),
        Append(1),
        Append(0),
        Commit(1),
        Read,
        Append(0),
        Read,
        Commit(0),
        Read,
    ],
];

/// The events that two wrong and one right reader have found.
#[derive(Default)]
struct Readers {
    cursor: Cursor,
    right: Vec<(String, i64)>,
    last: i64,
    wrong: Vec<(String, i64)>,
}

impl Readers {
    async fn read(&mut self, database: &TestDatabase, events: &DatabaseEvents, limit: usize) {
        loop {
            let page = events
                .page(&Selection::All, &self.cursor, limit)
                .await
                .unwrap();
            for stored in page.events {
                let envelope = stored.envelope;
                self.right
                    .push((envelope.aggregate_id, envelope.sequence.unwrap()));
            }
            // A place is kept as text between two reads.
            self.cursor = page.next.to_string().parse().unwrap();
            if page.is_last {
                break;
            }
        }
        self.read_wrongly(database).await;
    }

    /// Reads on from the highest position that it has seen.
    async fn read_wrongly(&mut self, database: &TestDatabase) {
        let (position, table) = match database.backend() {
            DbBackend::MySql => ("nth", "bento_event_log"),
            _ => ("position", "bento_event"),
        };
        let sql = format!(
            "SELECT {position}, aggregate_id, sequence FROM {table} WHERE {position} > {} ORDER BY \
             {position}",
            self.last
        );
        let rows = database
            .db
            .query_all_raw(Statement::from_string(database.backend(), sql))
            .await
            .unwrap();
        for row in rows {
            self.last = row.try_get_by_index(0).unwrap();
            let of = (
                row.try_get_by_index(1).unwrap(),
                row.try_get_by_index(2).unwrap(),
            );
            self.wrong.push(of);
        }
    }
}

fn sorted(events: &[(String, i64)]) -> Vec<(String, i64)> {
    let mut events = events.to_vec();
    events.sort();
    events
}

async fn stored(database: &TestDatabase) -> Vec<(String, i64)> {
    let sql = "SELECT aggregate_id, sequence FROM bento_event ORDER BY 1, 2";
    let rows = database
        .db
        .query_all_raw(Statement::from_string(database.backend(), sql))
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            (
                row.try_get_by_index(0).unwrap(),
                row.try_get_by_index(1).unwrap(),
            )
        })
        .collect()
}

async fn interleave(database: &TestDatabase, limit: usize) {
    let db = OutboxConnection::new(database.db.clone());
    let events = DatabaseEvents::new(db.clone());
    let mut readers = Readers::default();
    for (case, steps) in INTERLEAVINGS.iter().enumerate() {
        let mut open: [Option<(OutboxTransaction, Ledger)>; 2] = [None, None];
        for step in *steps {
            match *step {
                Append(of) => {
                    if open[of].is_none() {
                        let ledger = Ledger::open(&format!("{limit}-{case}-{of}"), "Ann");
                        open[of] = Some((db.begin().await.unwrap(), ledger));
                    }
                    let (tx, ledger) = open[of].as_mut().unwrap();
                    ledger.credit(1);
                    tx.save(ledger).await.unwrap();
                }
                Commit(of) => open[of].take().unwrap().0.commit().await.unwrap(),
                RollBack(of) => {
                    let (tx, mut ledger) = open[of].take().unwrap();
                    tx.rollback().await.unwrap();
                    ledger.discard();
                }
                Read => readers.read(database, &events, limit).await,
            }
        }
    }
    let all = stored(database).await;
    assert_eq!(sorted(&readers.right), all, "each event once");
    let mut last = std::collections::HashMap::new();
    for (id, sequence) in &readers.right {
        let before = last.insert(id, *sequence).unwrap_or(0);
        assert_eq!(*sequence, before + 1, "the order of {id}");
    }
    let found: HashSet<_> = readers.wrong.iter().collect();
    let missed = all.iter().filter(|event| !found.contains(event)).count();
    assert!(missed > 0, "the wrong reader misses events");
}

#[tokio::test]
async fn late_commits_are_read_on_postgres() {
    in_database(DbBackend::Postgres, async |database| {
        for limit in [1, 2, 3, 100] {
            database
                .db
                .execute_unprepared("DELETE FROM bento_event")
                .await
                .unwrap();
            interleave(database, limit).await;
        }
    })
    .await;
}

#[tokio::test]
async fn late_commits_are_read_on_mysql() {
    in_database(DbBackend::MySql, async |database| {
        for limit in [1, 2, 100] {
            for table in ["bento_event", "bento_event_log"] {
                let delete = format!("DELETE FROM {table}");
                database.db.execute_unprepared(&delete).await.unwrap();
            }
            interleave(database, limit).await;
        }
    })
    .await;
}

/// The transactions of a server are numbered anew after a dump was restored into another one.
#[tokio::test]
async fn events_of_another_server_are_told() {
    in_database(DbBackend::Postgres, async |database| {
        let db = OutboxConnection::new(database.db.clone());
        let events = DatabaseEvents::new(db.clone());
        events.save(&mut Ledger::open("A", "Ann")).await.unwrap();
        let foreign = "UPDATE bento_event SET transaction = '9000000000000'";
        database.db.execute_unprepared(foreign).await.unwrap();
        let refused = events
            .page(&Selection::All, &Cursor::START, 10)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, EventStoreError::Cursor { .. }),
            "{refused:?}"
        );
        let text = refused.to_string();
        let way_out = text
            .split('`')
            .find(|part| part.starts_with("UPDATE"))
            .unwrap();
        database.db.execute_unprepared(way_out).await.unwrap();
        let read: Vec<_> = events
            .stream(Selection::All, Cursor::START)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(read.len(), 1);
    })
    .await;
}
