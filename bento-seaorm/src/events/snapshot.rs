//! Snapshots: read with the events that follow, and written.

use bento_core::event_sourced::{Replay, Snapshots};
use bento_core::{EventSourced, telemetry};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, QueryResult, Statement};
use uuid::Uuid;

use crate::dialect::{self, Dialect, Sql, binds};
use crate::error::Error;
use crate::stream::{Head, StreamId};
use crate::tables::Tables;

const KEY: [&str; 3] = ["aggregate_type", "aggregate_id", "fingerprint"];

/// The read of a snapshot and of the events that follow it.
pub(super) struct Read<'a> {
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    pub(super) stream: &'a StreamId,
    pub(super) fingerprint: u64,
    /// The last event that counts.
    pub(super) last: i64,
    /// The most events that are read.
    pub(super) limit: u64,
}

impl Read<'_> {
    /// The snapshot as a row without an event type, if there is one; then the events from its own
    /// number on, or all. The id beside the snapshot is that of the event that it ends with.
    pub(super) fn select(&self) -> Statement {
        let (aggregate_type, id) = (
            self.stream.aggregate_type,
            self.stream.aggregate_id.as_str(),
        );
        let (fingerprint, last) = (self.fingerprint.cast_signed(), self.last);
        Sql::new(
            self.dialect,
            self.tables,
            "SELECT sequence, NULL AS event_type, NULL AS schema_version, state AS payload, \
             0 AS is_event, event_id FROM {snapshot} WHERE aggregate_type = ? AND aggregate_id = ? \
             AND fingerprint = ? AND sequence <= ? \
             UNION ALL SELECT sequence, event_type, schema_version, payload, 1, event_id \
             FROM (SELECT sequence, event_type, schema_version, payload, event_id FROM {events} \
             WHERE aggregate_type = ? AND aggregate_id = ? AND sequence <= ? \
             AND sequence >= COALESCE((SELECT sequence FROM {snapshot} WHERE aggregate_type = ? \
             AND aggregate_id = ? AND fingerprint = ? AND sequence <= ?), 1) \
             ORDER BY sequence LIMIT ?) tail ORDER BY is_event, sequence",
            binds![
                aggregate_type,
                id,
                fingerprint,
                last,
                aggregate_type,
                id,
                last,
                aggregate_type,
                id,
                fingerprint,
                last,
                self.limit,
            ],
        )
        .build()
    }
}

/// The rows of [`Read::select`].
pub(super) struct Tail<'a> {
    snapshot: Option<Stored>,
    pub(super) events: &'a [QueryResult],
}

struct Stored {
    sequence: i64,
    event_id: Uuid,
    state: Vec<u8>,
}

impl<'a> Tail<'a> {
    pub(super) fn of(rows: &'a [QueryResult]) -> Result<Self, DbErr> {
        if let Some((first, events)) = rows.split_first()
            && first.try_get_by_index::<Option<String>>(1)?.is_none()
        {
            let snapshot = Stored {
                sequence: first.try_get_by_index(0)?,
                event_id: first.try_get_by_index(5)?,
                state: first.try_get_by_index(3)?,
            };
            return Ok(Self {
                snapshot: Some(snapshot),
                events,
            });
        }
        Ok(Self {
            snapshot: None,
            events: rows,
        })
    }

    /// The events behind the snapshot with this number, or all behind 0.
    pub(super) fn behind(&self, snapshot: i64) -> &'a [QueryResult] {
        &self.events[usize::from(snapshot > 0)..]
    }

    /// The reason not to use a snapshot: the event that it ends with is not the first one here.
    fn fault_of(&self, snapshot: &Stored) -> Result<Option<String>, DbErr> {
        let Stored { sequence, .. } = snapshot;
        let first = self.events.first();
        let first = first.filter(|row| row.try_get_by_index::<i64>(0).as_ref() == Ok(sequence));
        let Some(first) = first else {
            return Ok(Some(format!("event {sequence} is not stored")));
        };
        let is_same = first.try_get_by_index::<Uuid>(5)? == snapshot.event_id;
        Ok(
            (!is_same)
                .then(|| format!("event {sequence} is another one than that of the snapshot")),
        )
    }
}

/// The state that a load begins with.
pub(super) enum Restored<A: EventSourced> {
    /// The state after the event with this number; 0 without a snapshot.
    At(i64, Replay<A>),
    /// The snapshot is not to be used; the id is given back.
    Unusable(A::Id),
}

/// Restores the state of the snapshot.
pub(super) fn restore<A: EventSourced>(
    snapshots: &Snapshots<A>,
    id: A::Id,
    tail: &Tail<'_>,
) -> Result<Restored<A>, DbErr> {
    let count = |name| telemetry::count_by(name, "aggregate_type", A::TYPE, 1);
    let Some(snapshot) = &tail.snapshot else {
        count(telemetry::SNAPSHOT_MISSES);
        return Ok(Restored::At(0, Replay::new(id)));
    };
    let Stored {
        sequence, state, ..
    } = snapshot;
    let restored = match tail.fault_of(snapshot)? {
        None => snapshots
            .read(id, state)
            .map_err(|(id, error)| (id, error.to_string())),
        Some(fault) => Err((id, fault)),
    };
    Ok(match restored {
        Ok(aggregate) => {
            count(telemetry::SNAPSHOT_HITS);
            Restored::At(*sequence, Replay::from_state(aggregate, *sequence))
        }
        Err((id, reason)) => {
            count(telemetry::STALE_SNAPSHOTS);
            tracing::warn!(
                target: telemetry::TARGET_EVENTS,
                aggregate_type = A::TYPE,
                sequence,
                reason,
                "a snapshot is ignored: all events are read, and the next save replaces it"
            );
            Restored::Unusable(id)
        }
    })
}

/// Writes the state of an aggregate at the head that this transaction has raised, and so has
/// locked. A snapshot that is there is older, or stands for events that are gone.
///
/// # Errors
/// An error of the database.
pub(crate) async fn write(
    tx: &DatabaseTransaction,
    tables: &Tables,
    head: &Head,
    fingerprint: u64,
    state: Vec<u8>,
) -> Result<(), Error> {
    let dialect = dialect::of(tx.get_database_backend())?;
    let insert = insert(dialect, tables, head, fingerprint, state);
    let inserted = tx.execute_raw(insert).await;
    inserted.map_err(|error| Error::from_statement(dialect.backend(), error))?;
    Ok(())
}

fn insert(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    head: &Head,
    fingerprint: u64,
    state: Vec<u8>,
) -> Statement {
    let (aggregate_type, id) = (
        head.stream.aggregate_type,
        head.stream.aggregate_id.as_str(),
    );
    let replaces = dialect.or_replace_if(
        "{snapshot}",
        &KEY,
        &["sequence", "event_id", "taken_at", "state"],
        "1 = 1",
    );
    Sql::new(
        dialect,
        tables,
        "INSERT INTO {snapshot} \
         (aggregate_type, aggregate_id, fingerprint, sequence, event_id, taken_at, state) \
         VALUES (?, ?, ?, ?, (SELECT event_id FROM {events} WHERE aggregate_type = ? \
         AND aggregate_id = ? AND sequence = ?), {now}, ?)",
        binds![
            aggregate_type,
            id,
            fingerprint.cast_signed(),
            head.after,
            aggregate_type,
            id,
            head.after,
            state,
        ],
    )
    .then(&replaces, [])
    .build()
}
