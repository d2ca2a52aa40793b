//! *Handle again*: the record of an event is marked, and the event is put back for its handler.
//!
//! The row that is put back has a position that no other row has or had: a settlement that is on
//! its way for the event's own row, pending or held, does not settle it.
//!
//! Decision: docs/decisions/0038-handle-again-marks-the-record.md

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::limits;
use bento_core::outbox::{OutboxEntry, ShardId};
use bento_relay::handler_control::HandledAgain;
use bento_relay::store::{RecordedHandler, StoreError};
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use crate::columns::row_values;
use crate::dead_letter::{lock_shard, replay_in};
use crate::dialect::{Bind, Dialect, Sql, binds, marks};
use crate::entity::lossy_at;
use crate::handled::{self, HandledRecord, Outcome};
use crate::outbox::meta;
use crate::relay_store::{OutboxStore, StoreFailure, read_handlers, retrying, sharding_error};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The event that is to be handled again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// An event that is still in a table.
    Stored(EventId),
    /// An event that the caller has, if it is in no table.
    Given(&'a Envelope),
}

impl Wanted<'_> {
    fn event_id(self) -> EventId {
        match self {
            Self::Stored(event_id) => event_id,
            Self::Given(envelope) => envelope.event_id,
        }
    }
}

/// Puts an event back for a handler.
pub(super) async fn handle_again(
    store: &OutboxStore,
    handler: &str,
    wanted: Wanted<'_>,
) -> Result<HandledAgain, StoreError> {
    if let Wanted::Given(envelope) = wanted {
        limits::check_envelope(envelope)?;
    }
    retrying(store.db().get_database_backend(), || {
        once(store, handler, wanted)
    })
    .await
}

async fn once(
    store: &OutboxStore,
    handler: &str,
    wanted: Wanted<'_>,
) -> Result<HandledAgain, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let tables = store.tables();
    let recorded = read_handlers(&tx, dialect, tables).await?;
    let known = recorded.into_iter().find(|known| *known.name == *handler);
    let Some(recorded) = known else {
        let name = handler.to_owned();
        return Err(StoreError::UnknownHandler { name }.into());
    };
    let again = Again {
        tx: &tx,
        dialect,
        tables,
        handler: &recorded,
        event_id: wanted.event_id(),
    };
    // Before the shard: a call that runs has the record locked, and no relay is to wait for it.
    let record = again.record().await?;
    let shard = match (again.find().await?, wanted) {
        (Some(found), _) => found.shard,
        (None, Wanted::Given(envelope)) => again.shard_of(envelope).await?,
        (None, Wanted::Stored(event_id)) => {
            return Err(StoreError::NoEvent { event_id }.into());
        }
    };
    lock_shard(&tx, dialect, tables, shard).await?;
    let done = again.put_back(shard, record, wanted).await?;
    match done {
        HandledAgain::Waits { .. } => tx.rollback().await?,
        _ => tx.commit().await?,
    }
    Ok(done)
}

/// The tables in which an event is looked for, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A dead letter of the handler.
    Dead,
    /// A held row of the handler.
    Held,
    Pending,
    /// A row of another route, or a published one.
    Elsewhere(&'static str),
}

const PLACES: [Place; 6] = [
    Place::Dead,
    Place::Held,
    Place::Pending,
    Place::Elsewhere("{held}"),
    Place::Elsewhere("{dead_letter}"),
    Place::Elsewhere("{published}"),
];

impl Place {
    fn table(self) -> &'static str {
        match self {
            Self::Dead => "{dead_letter}",
            Self::Held => "{held}",
            Self::Pending => "{outbox}",
            Self::Elsewhere(table) => table,
        }
    }

    fn is_of_the_handler(self) -> bool {
        matches!(self, Self::Dead | Self::Held)
    }
}

/// The row of an event.
#[derive(Debug)]
struct Found {
    place: Place,
    shard: ShardId,
    position: i64,
    event_type: String,
    occurred_at: DateTime<Utc>,
}

/// A transaction that puts an event back.
struct Again<'a> {
    tx: &'a StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    handler: &'a RecordedHandler,
    event_id: EventId,
}

impl Again<'_> {
    /// Reads the record of the event, and locks it. Waits for a call that is under way.
    async fn record(&self) -> Result<Option<HandledRecord>, StoreFailure> {
        let select = self.sql(
            "SELECT outcome, generation FROM {handled_event} \
             WHERE handler = ? AND event_id = ?{lock_rows}",
            binds![&*self.handler.name, self.id()],
        );
        let row = self.tx.query_one_raw(select.build()).await?;
        let record = row.map(|row| handled::record_at(&row, 0)).transpose();
        Ok(record?)
    }

    /// Finds the row of the event.
    async fn find(&self) -> Result<Option<Found>, DbErr> {
        for place in PLACES {
            let columns = "SELECT shard, position, event_type, {read_time occurred_at} FROM";
            let select = format!("{columns} {} WHERE event_id = ?", place.table());
            let select = self.sql(&select, binds![self.id()]);
            let select = match place {
                Place::Dead | Place::Held => {
                    select.then(" AND route = ?", binds![&*self.handler.name])
                }
                Place::Elsewhere("{dead_letter}") => select.then(" AND raw IS NULL", []),
                _ => select,
            };
            let select = select.then(" ORDER BY position LIMIT 1", []);
            if let Some(row) = self.tx.query_one_raw(select.build()).await? {
                return found_at(&row, place).map(Some);
            }
        }
        Ok(None)
    }

    /// The shard of an event that is in no table.
    async fn shard_of(&self, envelope: &Envelope) -> Result<ShardId, StoreError> {
        let meta = meta::read(self.tx, self.tables)
            .await
            .map_err(sharding_error)?;
        let sharding = meta.map(|meta| meta.sharding).unwrap_or_default();
        Ok(sharding.shard(envelope))
    }

    /// Decides by what is there while the shard is locked.
    async fn put_back(
        &self,
        shard: ShardId,
        record: Option<HandledRecord>,
        wanted: Wanted<'_>,
    ) -> Result<HandledAgain, StoreFailure> {
        let found = self.find().await?;
        let event_type = match (&found, wanted) {
            (Some(found), _) => &*found.event_type,
            (None, Wanted::Given(envelope)) => &*envelope.event_type,
            (None, Wanted::Stored(event_id)) => {
                return Err(StoreError::NoEvent { event_id }.into());
            }
        };
        if !self.handler.takes(event_type) {
            return Err(StoreError::NotTaken {
                handler: self.handler.name.to_string(),
                event_type: event_type.to_owned(),
            }
            .into());
        }
        let is_done = record.is_some_and(|record| record.is_done);
        let generation = record.unwrap_or_default().generation;
        match &found {
            Some(found) if found.place == Place::Dead => {
                let generation = if is_done {
                    self.mark(record).await?
                } else {
                    generation
                };
                self.replay(shard).await?;
                return Ok(HandledAgain::Replayed { generation });
            }
            Some(found) if found.place == Place::Held && !is_done => {
                return Ok(HandledAgain::Waits { generation });
            }
            Some(found)
                if found.place == Place::Pending
                    && record.is_none()
                    && self.handler.has_started(found.position, found.occurred_at) =>
            {
                return Ok(HandledAgain::Waits { generation });
            }
            _ => {}
        }
        let generation = if is_done || record.is_none() {
            self.mark(record).await?
        } else {
            generation
        };
        let position = new_position();
        match (found, wanted) {
            (Some(found), _) => self.copy(&found, position).await?,
            (None, Wanted::Given(envelope)) => self.write(shard, envelope, position).await?,
            (None, Wanted::Stored(_)) => unreachable!("it was found missing above"),
        }
        self.clear_routing(position).await?;
        Ok(HandledAgain::PutBack { generation })
    }

    /// Marks the record, or makes one that is marked. Returns the new generation.
    async fn mark(&self, record: Option<HandledRecord>) -> Result<u32, DbErr> {
        let generation = record.unwrap_or_default().generation + 1;
        let (outcome, number) = (Outcome::Again.as_str(), generation.cast_signed());
        let (handler, id) = (&*self.handler.name, self.id());
        let mark = match record {
            Some(_) => self.sql(
                "UPDATE {handled_event} SET outcome = ?, generation = ? \
                 WHERE handler = ? AND event_id = ?",
                binds![outcome, number, handler, id],
            ),
            None => self.sql(
                &format!("{} (?, ?, ?, ?, {{now}})", handled::INSERT),
                binds![handler, id, outcome, number],
            ),
        };
        self.execute(mark).await?;
        Ok(generation)
    }

    /// Makes the dead letter of the handler due again.
    async fn replay(&self, shard: ShardId) -> Result<(), StoreFailure> {
        let route = &self.handler.name;
        let keys = [(self.event_id, route.clone())];
        if replay_in(self.tx, self.dialect, self.tables, shard, &keys).await? > 0 {
            return Ok(());
        }
        let (event_id, route) = (self.event_id, route.clone());
        Err(StoreError::NotReplayable { event_id, route }.into())
    }

    /// Copies the row of the event to the held ones, without a place and due now.
    async fn copy(&self, found: &Found, position: i64) -> Result<(), DbErr> {
        let insert = format!(
            "INSERT INTO {{held}} \
             (shard, position, route, {{event}}, ordered, attempts, retry_after) \
             SELECT shard, ?, ?, {{event}}, FALSE, 0, {{now}} FROM {} source \
             WHERE source.event_id = ? AND source.shard = ? AND source.position = ?",
            found.place.table()
        );
        let insert = self.sql(
            &insert,
            binds![
                position,
                &*self.handler.name,
                self.id(),
                found.shard,
                found.position
            ],
        );
        // The event may be there for several routes, each at the same position.
        let insert = match found.place {
            place if place.is_of_the_handler() => {
                insert.then(" AND source.route = ?", binds![&*self.handler.name])
            }
            Place::Elsewhere("{held}" | "{dead_letter}") => {
                let of_one = format!(
                    " AND source.route = (SELECT MIN(one.route) FROM {} one \
                     WHERE one.event_id = ? AND one.shard = ? AND one.position = ?)",
                    found.place.table()
                );
                insert.then(&of_one, binds![self.id(), found.shard, found.position])
            }
            _ => insert,
        };
        self.execute(insert).await
    }

    /// Writes an event that is in no table.
    async fn write(&self, shard: ShardId, envelope: &Envelope, position: i64) -> Result<(), DbErr> {
        let entry = OutboxEntry {
            shard,
            may_be_known: false,
            envelope: envelope.clone(),
        };
        let row = row_values(entry, |time| self.dialect.event_time(time)).map(Bind::from);
        let row: Vec<_> = row.chain(binds![position, &*self.handler.name]).collect();
        let insert = format!(
            "INSERT INTO {{held}} \
             (shard, {{event}}, position, route, ordered, attempts, retry_after) \
             VALUES ({}, FALSE, 0, {{now}})",
            marks(row.len())
        );
        self.execute(self.sql(&insert, row)).await
    }

    /// Takes the delays and the deadline away that the event itself named: it is wanted now.
    async fn clear_routing(&self, position: i64) -> Result<(), DbErr> {
        let update = self.sql(
            "UPDATE {held} SET routing = NULL, routing_version = NULL \
             WHERE route = ? AND event_id = ? AND position = ?",
            binds![&*self.handler.name, self.id(), position],
        );
        self.execute(update).await
    }

    fn id(&self) -> Uuid {
        self.event_id.into()
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}

fn found_at(row: &QueryResult, place: Place) -> Result<Found, DbErr> {
    Ok(Found {
        place,
        shard: row.try_get_by_index(0)?,
        position: row.try_get_by_index(1)?,
        event_type: lossy_at(row, 2),
        occurred_at: row.try_get_by_index::<Option<_>>(3)?.unwrap_or_default(),
    })
}

/// A position that no row has or had: below those of the outbox, by the time and 12 random bits.
fn new_position() -> i64 {
    let micros = Utc::now().timestamp_micros().clamp(0, 1 << 50);
    let random = (Uuid::now_v7().as_u64_pair().1 & 0xfff).cast_signed();
    i64::MIN + (micros << 12 | random)
}
