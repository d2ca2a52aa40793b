//! The events of one aggregate, as the aggregate is made of them.

use bento_core::event_sourced::{Replay, Snapshots, StreamFault};
use bento_core::{Aggregate, EventSourced, telemetry};
use bento_relay::event_store::Moment;
use sea_orm::{DbErr, QueryResult, Statement};
use tracing::{Instrument as _, Span};

use super::row::{Applied, Rows};
use super::snapshot::{self, Read, Restored, Tail};
use super::span;
use crate::dialect::{self, Dialect, Sql, binds};
use crate::error::Error;
use crate::session::FoldRows;
use crate::stream::StreamId;
use crate::tables::Tables;

/// The most events that are read with a snapshot. The database sorts them.
const TAIL: u64 = 4_096;

/// Makes an aggregate of its events, up to a moment if one is given. Returns `None` if it has none.
///
/// With snapshots it begins at the last one that it can read, unless the moment is a time. One that
/// is missing too long or cannot be read is asked for: the next save keeps it.
///
/// # Errors
/// [`Error::Stream`] if the events cannot be what they should; else what the database says.
pub(crate) async fn load<A: EventSourced, C: FoldRows>(
    connection: &C,
    tables: &Tables,
    id: A::Id,
    until: Option<Moment>,
) -> Result<Option<A>, Error> {
    let Some(stream) = StreamId::new(A::TYPE, A::key_of(&id)) else {
        return Ok(None);
    };
    telemetry::count_by(telemetry::LOADS, "aggregate_type", A::TYPE, 1);
    let span = span::of_load(&stream);
    let load = Load {
        span: &span,
        connection,
        dialect: dialect::of(connection.get_database_backend())?,
        tables,
        stream: &stream,
        until,
    };
    let loading = async {
        match (A::SNAPSHOTS, until) {
            (None, _) | (_, Some(Moment::Time(_))) => load.all(id).await,
            (Some(snapshots), _) => load.by_snapshot(&snapshots, id).await,
        }
    };
    let loaded = loading.instrument(span.clone()).await;
    loaded.inspect_err(|error| span::failed(&span, error))
}

/// A load of one aggregate.
struct Load<'a, C> {
    span: &'a Span,
    connection: &'a C,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    stream: &'a StreamId,
    until: Option<Moment>,
}

impl<C: FoldRows> Load<'_, C> {
    async fn all<A: EventSourced>(&self, id: A::Id) -> Result<Option<A>, Error> {
        self.behind(0, Replay::new(id)).await
    }

    async fn by_snapshot<A: EventSourced>(
        &self,
        snapshots: &Snapshots<A>,
        id: A::Id,
    ) -> Result<Option<A>, Error> {
        let read = Read {
            dialect: self.dialect,
            tables: self.tables,
            stream: self.stream,
            fingerprint: snapshots.fingerprint(),
            last: match self.until {
                Some(Moment::Sequence(last)) => last,
                _ => i64::MAX,
            },
            limit: TAIL,
        };
        let rows = self.query(read.select()).await?;
        let tail = Tail::of(&rows)?;
        let is_last = (tail.events.len() as u64) < TAIL;
        let (from, mut replay) = match snapshot::restore(snapshots, id, &tail)? {
            Restored::At(from, replay) => (from, replay),
            Restored::Unusable(id) => {
                let loaded = self.all(id).await?;
                return Ok(loaded.map(|loaded| self.asking(loaded)));
            }
        };
        let mut rows = Rows::of(self.dialect);
        for row in tail.behind(from) {
            apply(&mut replay, &mut rows, row).map_err(|unread| self.unread(unread))?;
        }
        let loaded = match is_last {
            true => self.finish(from, replay),
            false => self.behind(from, replay).await,
        };
        let is_far = |loaded: &A| loaded.version() >= Some(from + snapshots.every());
        Ok(loaded?.map(|loaded| match is_far(&loaded) {
            true => self.asking(loaded),
            false => loaded,
        }))
    }

    /// The aggregate, whose next save is to keep a snapshot if this is its present state.
    fn asking<A: Aggregate>(&self, mut loaded: A) -> A {
        if self.until.is_none() {
            loaded.pending_events_mut().ask_for_snapshot();
        }
        loaded
    }

    /// Applies all events behind those that were applied to the snapshot with the number `from`.
    async fn behind<A: EventSourced>(
        &self,
        from: i64,
        replay: Replay<A>,
    ) -> Result<Option<A>, Error> {
        let select = self.after(replay.sequence());
        let mut rows = Rows::of(self.dialect);
        let step = move |replay: &mut Replay<A>, row: &QueryResult| apply(replay, &mut rows, row);
        let folded = self.connection.fold_rows(select, replay, step).await;
        let replay = folded.map_err(|error| self.failed(error))?;
        self.finish(from, replay.map_err(|unread| self.unread(unread))?)
    }

    async fn query(&self, select: Statement) -> Result<Vec<QueryResult>, Error> {
        let rows = self.connection.query_all_raw(select).await;
        rows.map_err(|error| self.failed(error))
    }

    /// The events behind this number.
    fn after(&self, sequence: i64) -> Statement {
        let StreamId {
            aggregate_type,
            aggregate_id,
        } = self.stream;
        let (aggregate_type, id) = (*aggregate_type, aggregate_id.as_str());
        let select = Sql::new(
            self.dialect,
            self.tables,
            "SELECT sequence, event_type, schema_version, payload FROM {events} \
             WHERE aggregate_type = ? AND aggregate_id = ? AND sequence > ?",
            binds![aggregate_type, id, sequence],
        );
        let select = match self.until {
            None => select,
            Some(Moment::Sequence(last)) => select.then(" AND sequence <= ?", binds![last]),
            Some(Moment::Time(at)) => select.then(
                " AND sequence <= (SELECT MAX(sequence) FROM {events} WHERE aggregate_type = ? \
                 AND aggregate_id = ? AND occurred_at <= ?)",
                binds![aggregate_type, id, self.dialect.moment(at)],
            ),
        };
        select.then(" ORDER BY sequence", []).build()
    }

    fn finish<A: EventSourced>(&self, from: i64, replay: Replay<A>) -> Result<Option<A>, Error> {
        span::loaded(self.span, from, replay.sequence());
        replay.finish().map_err(|fault| self.broken(fault))
    }

    fn broken(&self, fault: StreamFault) -> Error {
        Error::Stream {
            aggregate_type: self.stream.aggregate_type,
            id: self.stream.aggregate_id.clone(),
            fault: Box::new(fault),
        }
    }

    fn unread(&self, unread: Unread) -> Error {
        match unread {
            Unread::Cell(error) => error.into(),
            Unread::Event(fault) => self.broken(fault),
        }
    }

    fn failed(&self, error: DbErr) -> Error {
        Error::from_statement(self.dialect.backend(), error)
    }
}

/// An event that an aggregate cannot be made of.
enum Unread {
    /// A cell of its row is of another type.
    Cell(DbErr),
    Event(StreamFault),
}

impl From<DbErr> for Unread {
    fn from(error: DbErr) -> Self {
        Self::Cell(error)
    }
}

impl From<StreamFault> for Unread {
    fn from(fault: StreamFault) -> Self {
        Self::Event(fault)
    }
}

/// Applies the event of a row.
fn apply<A: EventSourced>(
    replay: &mut Replay<A>,
    rows: &mut Rows,
    row: &QueryResult,
) -> Result<(), Unread> {
    let Applied {
        sequence,
        event_type,
        version,
        payload,
    } = rows.read(row)?;
    Ok(replay.apply(sequence, event_type, version, payload)?)
}
