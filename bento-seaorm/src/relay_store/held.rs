//! Held rows: those that are due, and one due head for every stream.
//!
//! The head of a stream is its first held row. Every head carries the time at which it is due,
//! unless a dead letter parks its stream. So an index finds the due rows without reading the
//! followers.
//!
//! Decision: docs/decisions/0014-heads-carry-their-due-time.md

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::ShardId;
use bento_relay::store::{HeldRow, NewDeadLetter, OutboxRow, StreamKey};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::dialect::{Dialect, Sql};
use crate::entity::{envelope_at, lossy_at, names_at};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The number of streams that one statement asks about.
const STREAMS_PER_STATEMENT: usize = 50;

/// The stream of a held row, or the row itself if it keeps no place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    route: String,
    aggregate_type: String,
    aggregate_id: String,
    position: i64,
    ordered: bool,
}

/// The condition that the held row `h` heads its stream, and that no dead letter parks the stream,
/// or its aggregate on every route.
fn is_head(tables: &Tables) -> String {
    let (held, dead) = (tables.held(), tables.dead_letter());
    let same_stream = |other: &str, route: &str| {
        format!(
            "{other}.shard = h.shard AND {other}.route = {route} AND {other}.aggregate_type = \
             h.aggregate_type AND {other}.aggregate_id = h.aggregate_id"
        )
    };
    format!(
        "(h.ordered = FALSE OR (NOT EXISTS (SELECT 1 FROM {held} e WHERE {} AND e.ordered = TRUE \
         AND e.position < h.position) AND NOT EXISTS (SELECT 1 FROM {dead} d WHERE {} AND \
         d.parks) AND NOT EXISTS (SELECT 1 FROM {dead} u WHERE {} AND u.parks)))",
        same_stream("e", "h.route"),
        same_stream("d", "h.route"),
        same_stream("u", &format!("'{}'", NewDeadLetter::UNREADABLE)),
    )
}

/// Appends the condition that a wanted head of the shard `s.shard` is due.
pub(super) fn exists_due(
    sql: Sql,
    dialect: &dyn Dialect,
    tables: &Tables,
    without: &[Arc<str>],
) -> Sql {
    let heads = sql.push(&format!(
        "EXISTS (SELECT 1 FROM {} h WHERE h.shard = s.shard",
        tables.held()
    ));
    and_wanted(heads, tables, without)
        .push(&format!(" AND h.retry_after <= {})", dialect.now_once()))
}

/// Appends the condition that a held row is a wanted head. The cheap tests come first.
fn and_wanted(mut sql: Sql, tables: &Tables, without: &[Arc<str>]) -> Sql {
    for (nth, route) in without.iter().enumerate() {
        sql = sql
            .push(if nth == 0 {
                " AND h.route NOT IN ("
            } else {
                ", "
            })
            .bind(&**route);
    }
    sql.when(!without.is_empty(), |sql| sql.push(")"))
        .push(&format!(
            " AND NOT EXISTS (SELECT 1 FROM {} p WHERE p.tenant_id = h.tenant_id) AND {}",
            tables.paused_tenant(),
            is_head(tables)
        ))
}

/// The wanted held rows of a shard: all but those of paused tenants and of routes that are
/// unavailable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    pub(super) shard: ShardId,
    /// The routes whose rows are not wanted.
    pub(super) without: &'a [Arc<str>],
}

impl Wanted<'_> {
    /// Due heads with their followers, each stream in position order, at most `limit` rows.
    pub(super) async fn due(&self, tx: &StoreTransaction, limit: usize) -> Result<Due, DbErr> {
        let mut due = Due::default();
        if limit == 0 {
            return Ok(due);
        }
        let mut heads = Vec::new();
        for row in tx.query_all_raw(self.due_heads(limit).build()).await? {
            match head(&row) {
                Ok(head) => heads.push(head),
                Err(_) => due.unreadable.push(row.try_get_by_index(3)?),
            }
        }
        for heads in heads.chunks(STREAMS_PER_STATEMENT) {
            if due.rows.len() >= limit {
                break;
            }
            self.with_followers(tx, heads, limit - due.rows.len(), &mut due)
                .await?;
        }
        due.rows.truncate(limit);
        Ok(due)
    }

    pub(super) fn due_heads(&self, limit: usize) -> Sql {
        let select =
            self.heads("SELECT h.route, h.aggregate_type, h.aggregate_id, h.position, h.ordered");
        select
            .push(&format!(
                " AND h.retry_after <= {}",
                self.dialect.now_once()
            ))
            .push(" ORDER BY h.retry_after, h.position LIMIT ")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    }

    /// Returns the time until the next head is due. If no due head was found, a head that has
    /// fallen due in the meantime counts too: it would be missed otherwise. A head whose time
    /// cannot be read is due now.
    pub(super) async fn next_due(
        &self,
        tx: &StoreTransaction,
        found_none: bool,
    ) -> Result<Option<Duration>, DbErr> {
        let later = if found_none {
            "IS NOT NULL".to_owned()
        } else {
            format!("> {}", self.dialect.now_once())
        };
        let select = self
            .heads(&format!(
                "SELECT {}, h.position",
                self.dialect.micros_until("h.retry_after")
            ))
            .push(&format!(
                " AND h.retry_after {later} ORDER BY h.retry_after LIMIT 1"
            ));
        let Some(row) = tx.query_one_raw(select.build()).await? else {
            return Ok(None);
        };
        if let Some(micros) = row.try_get_by_index::<Option<i64>>(0)? {
            return Ok(Some(Duration::from_micros(micros.max(0).cast_unsigned())));
        }
        self.end_wait(tx, row.try_get_by_index(1)?).await?;
        Ok(Some(Duration::ZERO))
    }

    /// Makes the rows at a position due, also those whose time cannot be read.
    async fn end_wait(&self, tx: &StoreTransaction, position: i64) -> Result<(), DbErr> {
        let (held, now) = (self.tables.held(), self.dialect.now());
        let update = Sql::new(
            self.dialect,
            &format!("UPDATE {held} SET retry_after = {now} WHERE shard = "),
        );
        let update = update
            .bind(self.shard)
            .push(" AND position = ")
            .bind(position);
        tx.execute_raw(
            update
                .push(&format!(" AND retry_after > {}", self.dialect.now_once()))
                .build(),
        )
        .await?;
        Ok(())
    }

    fn heads(&self, select: &str) -> Sql {
        let heads = Sql::new(
            self.dialect,
            &format!("{select} FROM {} h WHERE h.shard = ", self.tables.held()),
        );
        and_wanted(heads.bind(self.shard), self.tables, self.without)
    }

    /// The rows of the streams that these heads lead, stream after stream.
    async fn with_followers(
        &self,
        tx: &StoreTransaction,
        heads: &[Head],
        limit: usize,
        due: &mut Due,
    ) -> Result<(), DbErr> {
        let unroutable_for = self.dialect.micros_until("unroutable_since");
        let columns = format!(
            "route, attempts, ordered, delivered, {unroutable_for} AS unroutable, position, {}",
            self.dialect.read_columns()
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut sql = Sql::new(self.dialect, "SELECT * FROM (");
        for (nth, head) in heads.iter().enumerate() {
            sql = sql
                .push(if nth == 0 {
                    "SELECT * FROM ("
                } else {
                    " UNION ALL SELECT * FROM ("
                })
                .push(&format!(
                    "SELECT {nth} AS nth, {columns} FROM {} WHERE shard = ",
                    self.tables.held()
                ))
                .bind(self.shard);
            sql = if head.ordered {
                of_stream(sql, &head.route, &head.aggregate_type, &head.aggregate_id)
                    .push(" ORDER BY position LIMIT ")
                    .bind(limit)
            } else {
                let route = head.route.as_str();
                sql.push(" AND route = ")
                    .bind(route)
                    .push(" AND position = ")
                    .bind(head.position)
            };
            sql = sql.push(&format!(") AS s{nth}"));
        }
        let sql = sql
            .push(") AS held ORDER BY nth, position LIMIT ")
            .bind(limit);
        let rows = tx.query_all_raw(sql.build()).await?;
        // The number of a stream that is cut short at a row that cannot be read, and of the one
        // before.
        let (mut cut, mut last) = (None, None);
        for row in &rows {
            // A literal is a number of another width on each back end.
            let nth = row
                .try_get_by_index::<i64>(0)
                .or_else(|_| row.try_get_by_index::<i32>(0).map(i64::from))?;
            let is_head = last.replace(nth) != Some(nth);
            if cut == Some(nth) {
                continue;
            }
            match held_row(row) {
                Ok(held) => due.rows.push(held),
                Err(_) => {
                    (cut, due.is_cut) = (Some(nth), true);
                    if is_head {
                        due.unreadable.push(row.try_get_by_index(6)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The held rows that were found due.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) rows: Vec<HeldRow>,
    /// True if a stream is cut short at a row that cannot be read.
    pub(super) is_cut: bool,
    /// The positions of heads that cannot be read.
    pub(super) unreadable: Vec<i64>,
}

fn head(row: &QueryResult) -> Result<Head, DbErr> {
    Ok(Head {
        route: row.try_get_by_index(0)?,
        aggregate_type: row.try_get_by_index(1)?,
        aggregate_id: row.try_get_by_index(2)?,
        position: row.try_get_by_index(3)?,
        ordered: row.try_get_by_index(4)?,
    })
}

fn of_stream(sql: Sql, route: &str, aggregate_type: &str, aggregate_id: &str) -> Sql {
    sql.push(" AND route = ")
        .bind(route)
        .push(" AND aggregate_type = ")
        .bind(aggregate_type)
        .push(" AND aggregate_id = ")
        .bind(aggregate_id)
        .push(" AND ordered = TRUE")
}

pub(super) fn held_row(row: &QueryResult) -> Result<HeldRow, DbErr> {
    let unroutable: Option<i64> = row.try_get_by_index(5)?;
    let position = row.try_get_by_index(6)?;
    let envelope = envelope_at(row, 7)?;
    Ok(HeldRow {
        route: row.try_get_by_index::<String>(1)?.into(),
        attempts: row.try_get_by_index::<i32>(2)?.cast_unsigned(),
        ordered: row.try_get_by_index(3)?,
        delivered: names_at(row, 4)?,
        unroutable_for: unroutable
            .map(|until| Duration::from_micros(until.saturating_neg().max(0).cast_unsigned())),
        row: OutboxRow {
            position,
            envelope: Arc::new(envelope),
        },
    })
}

/// The streams that are held back or parked, and the tenants that are paused.
pub(super) async fn streams(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
) -> Result<(Vec<StreamKey>, Vec<String>), DbErr> {
    let columns = "route, aggregate_type, aggregate_id";
    let select = Sql::new(
        dialect,
        &format!("SELECT {columns} FROM {} WHERE shard = ", tables.held()),
    )
    .bind(shard)
    .push(&format!(
        " AND ordered = TRUE UNION SELECT {columns} FROM {} WHERE shard = ",
        tables.dead_letter()
    ))
    .bind(shard)
    .push(&format!(
        " AND parks AND aggregate_id <> '' UNION ALL SELECT tenant_id, NULL, NULL FROM {}",
        tables.paused_tenant()
    ));
    let (mut streams, mut paused) = (Vec::new(), Vec::new());
    for row in tx.query_all_raw(select.build()).await? {
        match row
            .try_get_by_index::<Option<String>>(1)
            .unwrap_or(Some(String::new()))
        {
            Some(_) => streams.push(stream_of(&row)),
            None => paused.push(lossy_at(&row, 0)),
        }
    }
    paused.sort();
    Ok((streams, paused))
}

/// A stream from the first three columns.
pub(crate) fn stream_of(row: &QueryResult) -> StreamKey {
    StreamKey {
        route: lossy_at(row, 0).into(),
        aggregate_type: lossy_at(row, 1),
        aggregate_id: lossy_at(row, 2),
    }
}

/// Makes the heads of these streams due, unless they have a time or a dead letter parks them: after
/// a change every stream has a due head.
pub(crate) async fn park_or_promote(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    touched: &BTreeSet<StreamKey>,
) -> Result<(), DbErr> {
    let touched: Vec<_> = touched.iter().collect();
    let mut heads = BTreeMap::<String, Vec<i64>>::new();
    for streams in touched.chunks(STREAMS_PER_STATEMENT) {
        for row in tx
            .query_all_raw(undue_heads(dialect, tables, shard, streams).build())
            .await?
        {
            heads
                .entry(row.try_get_by_index(0)?)
                .or_default()
                .push(row.try_get_by_index(1)?);
        }
    }
    for (route, positions) in heads {
        let update = format!(
            "UPDATE {} SET retry_after = {} WHERE shard = ",
            tables.held(),
            dialect.now()
        );
        let update = Sql::new(dialect, &update)
            .bind(shard)
            .push(" AND route = ")
            .bind(route);
        tx.execute_raw(update.push(" AND position").one_of(positions).build())
            .await?;
    }
    Ok(())
}

/// The query for the heads of these streams that have no time, and that no dead letter parks.
fn undue_heads(
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    streams: &[&StreamKey],
) -> Sql {
    let mut sql = Sql::new(dialect, "");
    for (nth, stream) in streams.iter().enumerate() {
        sql = sql
            .push(if nth == 0 {
                "SELECT * FROM ("
            } else {
                " UNION ALL SELECT * FROM ("
            })
            .push("SELECT h.route, h.position FROM ")
            .push(tables.held())
            .push(" h WHERE shard = ")
            .bind(shard);
        sql = of_stream(
            sql,
            &stream.route,
            &stream.aggregate_type,
            &stream.aggregate_id,
        )
        .push(&format!(
            " AND h.retry_after IS NULL AND {} ORDER BY position LIMIT 1) AS s{nth}",
            is_head(tables)
        ));
    }
    sql
}
