//! Rows that cannot be read or settled: each becomes a dead letter under values that every table
//! can hold, with its columns as the database shows them.

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::limits;
use bento_core::outbox::{OutboxEntry, ShardId};
use bento_relay::store::{DeadRow, NewDeadLetter};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::held::{HELD_COLUMNS, held_row};
use super::settle::storable;
use crate::columns::{COLUMNS, PARAMETERS, row_values};
use crate::dialect::{Bind, Dialect, Sql, binds, marks};
use crate::entity::salvaged_at;
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The columns of a held row that its dead letter shows, beside those of its event.
const SHOWN_OF_HELD: [&str; 7] = [
    "route",
    "attempts",
    "ordered",
    "delivered",
    "retry_after",
    "first_failed_at",
    "error_message",
];

/// The removal of rows of one shard that cannot be read or settled.
#[derive(Clone, Copy)]
pub(super) struct Salvage<'a> {
    pub(super) tx: &'a StoreTransaction,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    pub(super) shard: ShardId,
}

/// The record of a row that is given up.
pub(super) struct Record<'a> {
    /// The route, or another name if that cannot be stored.
    pub(super) route: &'a str,
    pub(super) cause: &'static str,
    pub(super) error: String,
    /// The number of its attempts, if it is larger than that in the row.
    pub(super) attempts: u32,
    pub(super) parks: bool,
}

/// A row that is read once more, as far as it can be.
struct Found {
    envelope: Envelope,
    /// The number of its attempts, from its row.
    attempts: u32,
    /// Its columns as the database shows them, if the envelope is incomplete.
    raw: Option<String>,
}

impl Salvage<'_> {
    /// Gives up a pending row that cannot be read. Its routes are unknown, so its aggregate waits
    /// on all of them.
    pub(super) async fn unreadable(
        &self,
        position: i64,
        error: &DbErr,
    ) -> Result<Option<DeadRow>, DbErr> {
        let route = NewDeadLetter::UNREADABLE;
        let error = format!(
            "`{}`, shard {}, position {position}: {error}",
            self.tables.outbox(),
            self.shard
        );
        let record = Record {
            route,
            cause: NewDeadLetter::UNREADABLE,
            error,
            attempts: 0,
            parks: true,
        };
        let Some(mut found) = self.pending(position, record.cause).await? else {
            return Ok(None);
        };
        if self.is_dead(found.envelope.event_id, route).await? {
            found.envelope.event_id = EventId::new();
        }
        let dead_row = self.insert(position, found, record).await?;
        self.execute(self.sql(
            "DELETE FROM {outbox} WHERE shard = ? AND position = ?",
            binds![self.shard, position],
        ))
        .await?;
        Ok(Some(dead_row))
    }

    /// Gives up the held rows with this position that cannot be read. The stream of each waits.
    pub(super) async fn unreadable_held(&self, position: i64) -> Result<Vec<DeadRow>, DbErr> {
        let table = self.tables.held();
        let route = self.dialect.shown("route");
        let route = route.unwrap_or_else(|| "route".to_owned());
        let select = self.sql(
            &format!(
                "SELECT {route}, {HELD_COLUMNS} FROM {{held}} WHERE shard = ? AND position = ?"
            ),
            binds![self.shard, position],
        );
        let rows = self.tx.query_all_raw(select.build()).await?;
        let of_route = format!(" AND position = ? AND {route} = ?");
        let mut dead_rows = Vec::new();
        for row in rows {
            let Err(error) = held_row(&row) else { continue };
            let shown: String = row.try_get_by_index(0)?;
            let which = (of_route.as_str(), binds![position, shown.as_str()]);
            let route: String = row
                .try_get_by_index(1)
                .unwrap_or_else(|_| NewDeadLetter::UNREADABLE.to_owned());
            let parks = row.try_get_by_index(3).unwrap_or(true);
            let error = format!(
                "`{table}`, shard {}, position {position}: {error}",
                self.shard
            );
            let route = route.as_str();
            let record = Record {
                route,
                cause: NewDeadLetter::UNREADABLE,
                error,
                attempts: 0,
                parks,
            };
            dead_rows.extend(self.held(position, which, record).await?);
        }
        Ok(dead_rows)
    }

    /// Gives up a pending row that could not be settled, and leaves it where it is, to be deleted
    /// with the others.
    pub(super) async fn unsettled(
        &self,
        position: i64,
        record: Record<'_>,
    ) -> Result<Option<DeadRow>, DbErr> {
        let Some(found) = self.pending(position, record.cause).await? else {
            return Ok(None);
        };
        if self
            .is_dead(found.envelope.event_id, name(record.route))
            .await?
        {
            return Ok(None);
        }
        self.insert(position, found, record).await.map(Some)
    }

    /// Gives up a held row that could not be settled.
    pub(super) async fn unsettled_held(
        &self,
        position: i64,
        record: Record<'_>,
    ) -> Result<Option<DeadRow>, DbErr> {
        let which = (
            " AND position = ? AND route = ?",
            binds![position, record.route],
        );
        self.held(position, which, record).await
    }

    async fn held(
        &self,
        position: i64,
        (condition, binds): (&str, [Bind; 2]),
        record: Record<'_>,
    ) -> Result<Option<DeadRow>, DbErr> {
        let select = |shown: &str| {
            self.sql(
                &format!("SELECT {{read_event}}{shown}, attempts FROM {{held}} WHERE shard = ?"),
                binds![self.shard],
            )
            .then(condition, binds.clone())
        };
        let Some(mut found) = self.find(&SHOWN_OF_HELD, select, record.cause).await? else {
            return Ok(None);
        };
        let is_unreadable = record.cause == NewDeadLetter::UNREADABLE;
        let is_dead = self
            .is_dead(found.envelope.event_id, name(record.route))
            .await?;
        if is_dead && is_unreadable {
            found.envelope.event_id = EventId::new();
        }
        let dead_row = if !is_dead || is_unreadable {
            Some(self.insert(position, found, record).await?)
        } else {
            None
        };
        let delete = self.sql("DELETE FROM {held} WHERE shard = ?", binds![self.shard]);
        self.execute(delete.then(condition, binds)).await?;
        Ok(dead_row)
    }

    async fn pending(&self, position: i64, cause: &str) -> Result<Option<Found>, DbErr> {
        // A pending row was never tried.
        let select = |shown: &str| {
            self.sql(
                &format!(
                    "SELECT {{read_event}}{shown}, NULL FROM {{outbox}} \
                     WHERE shard = ? AND position = ?"
                ),
                binds![self.shard, position],
            )
        };
        self.find(&[], select, cause).await
    }

    /// Reads a row. `select` makes the statement with the columns that it shows behind those of the
    /// event, each after a comma.
    async fn find<'a>(
        &self,
        more: &[&str],
        select: impl Fn(&str) -> Sql<'a>,
        cause: &str,
    ) -> Result<Option<Found>, DbErr> {
        let every = COLUMNS.map(|column| column.name).into_iter();
        let shown = every
            .chain(more.iter().copied())
            .filter_map(|column| Some((column, self.dialect.shown(column)?)));
        let shown: Vec<_> = shown.collect();
        let list: String = shown
            .iter()
            .map(|(_, shown)| format!(", {shown}"))
            .collect();
        let row = self.tx.query_one_raw(select(&list).build()).await?;
        Ok(row.map(|row| {
            let (envelope, is_whole) = salvaged_at(&row, 0);
            let attempts = row
                .try_get_by_index::<i32>(COLUMNS.len() + shown.len())
                .unwrap_or_default();
            let names = shown.iter().map(|(name, _)| *name);
            let shows = !is_whole || cause == NewDeadLetter::UNREADABLE;
            Found {
                envelope,
                attempts: attempts.max(0).cast_unsigned(),
                raw: shows.then(|| raw(&row, names)),
            }
        }))
    }

    async fn is_dead(&self, event_id: EventId, route: &str) -> Result<bool, DbErr> {
        let select = self.sql(
            "SELECT 1 FROM {dead_letter} WHERE event_id = ? AND route = ?",
            binds![Uuid::from(event_id), route],
        );
        Ok(self.tx.query_one_raw(select.build()).await?.is_some())
    }

    async fn insert(
        &self,
        position: i64,
        found: Found,
        record: Record<'_>,
    ) -> Result<DeadRow, DbErr> {
        let Record {
            route,
            cause,
            error,
            attempts,
            parks,
        } = record;
        let Found {
            envelope,
            attempts: tried,
            raw,
        } = found;
        let attempts = attempts.max(tried);
        let dead_row = DeadRow {
            route: name(route).into(),
            cause,
            tenant_id: envelope.tenant_id.clone(),
        };
        let parks = parks && envelope.is_ordered();
        let entry = OutboxEntry {
            shard: self.shard,
            may_be_known: false,
            envelope,
        };
        let row = DeadLetterRow {
            route: name(route),
            cause,
            error: &error,
            attempts,
            parks,
            raw,
        };
        self.execute(row.insert(self.dialect, self.tables, position, entry))
            .await?;
        Ok(dead_row)
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}

/// A dead letter to be written, beside its event.
pub(crate) struct DeadLetterRow<'a> {
    pub(crate) route: &'a str,
    pub(crate) cause: &'a str,
    pub(crate) error: &'a str,
    pub(crate) attempts: u32,
    pub(crate) parks: bool,
    pub(crate) raw: Option<String>,
}

impl DeadLetterRow<'_> {
    /// The INSERT of the dead letter.
    pub(crate) fn insert<'a>(
        self,
        dialect: &'static dyn Dialect,
        tables: &'a Tables,
        position: i64,
        entry: OutboxEntry,
    ) -> Sql<'a> {
        let values = row_values(entry, |time| dialect.event_time(time));
        let event = values.map(Bind::Value);
        let beside = binds![
            position,
            self.route,
            self.attempts.cast_signed(),
            storable(self.error),
            self.cause,
            self.parks,
            self.raw,
        ];
        let insert = format!(
            "INSERT INTO {{dead_letter}} (shard, {{event}}, position, route, attempts, \
             error_message, cause, parks, raw, first_failed_at, failed_at) \
             VALUES ({}, {{now}}, {{now}})",
            marks(PARAMETERS + beside.len())
        );
        Sql::new(dialect, tables, &insert, event.chain(beside))
    }
}

/// The route under which a row is given up: its own, if every table can hold the name.
fn name(route: &str) -> &str {
    if is_storable(route) {
        route
    } else {
        NewDeadLetter::UNROUTABLE
    }
}

/// True if every table can hold the name of a route.
pub(super) fn is_storable(route: &str) -> bool {
    limits::check_text("route", route, limits::DESTINATION).is_ok()
}

/// Makes JSON of these columns, which stand behind those of the event, as the database shows them.
fn raw<'a>(row: &QueryResult, columns: impl Iterator<Item = &'a str>) -> String {
    let mut raw = Map::new();
    for (nth, column) in columns.enumerate() {
        let shown = row.try_get_by_index::<Option<String>>(COLUMNS.len() + nth);
        raw.insert(
            column.to_owned(),
            shown.ok().flatten().map_or(Json::Null, Json::String),
        );
    }
    Json::Object(raw).to_string()
}
