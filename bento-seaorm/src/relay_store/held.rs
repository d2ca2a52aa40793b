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
use bento_relay::store::{HeldRow, OutboxRow, StreamKey};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::dialect::{Bind, Dialect, Sql, any_of, binds, marks};
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

/// The columns that [`held_row`] reads, behind one column of another kind.
pub(super) const HELD_COLUMNS: &str = "route, attempts, ordered, delivered, \
    {micros_until unroutable_since} AS unroutable, position, {read_event}";

/// The condition that the held row `h` heads its stream, and that no dead letter parks the stream,
/// or its aggregate on every route. The cheap tests come first.
const IS_HEAD: &str = " AND (h.ordered = FALSE OR (\
    NOT EXISTS (SELECT 1 FROM {held} e WHERE e.shard = h.shard AND e.route = h.route \
        AND e.aggregate_type = h.aggregate_type AND e.aggregate_id = h.aggregate_id \
        AND e.ordered = TRUE AND e.position < h.position) \
    AND NOT EXISTS (SELECT 1 FROM {dead_letter} d WHERE d.shard = h.shard AND d.route = h.route \
        AND d.aggregate_type = h.aggregate_type AND d.aggregate_id = h.aggregate_id AND d.parks) \
    AND NOT EXISTS (SELECT 1 FROM {dead_letter} u WHERE u.shard = h.shard \
        AND u.route = '{unreadable}' \
        AND u.aggregate_type = h.aggregate_type AND u.aggregate_id = h.aggregate_id AND u.parks)))";

/// The condition that neither the tenant nor the handler of the held row `h` is paused.
const IS_NOT_PAUSED: &str = " \
    AND NOT EXISTS (SELECT 1 FROM {paused_tenant} p WHERE p.tenant_id = h.tenant_id) \
    AND NOT EXISTS (SELECT 1 FROM {handler} a \
        WHERE a.name = h.route AND a.paused_at IS NOT NULL)";

/// Appends the condition that a wanted head of the shard `s.shard` is due.
pub(super) fn exists_due<'a>(sql: Sql<'a>, without: &[Arc<str>]) -> Sql<'a> {
    let heads = sql.then("EXISTS (SELECT 1 FROM {held} h WHERE h.shard = s.shard", []);
    and_wanted(heads, without).then(" AND h.retry_after <= {now_once})", [])
}

/// Appends the condition that a held row is a wanted head. The cheap tests come first.
fn and_wanted<'a>(mut sql: Sql<'a>, without: &[Arc<str>]) -> Sql<'a> {
    if !without.is_empty() {
        let routes = format!(" AND h.route NOT IN ({})", marks(without.len()));
        sql = sql.then(&routes, without.iter().map(|route| Bind::from(&**route)));
    }
    sql.then(IS_NOT_PAUSED, []).then(IS_HEAD, [])
}

/// The wanted held rows of a shard: all but those of paused tenants and handlers, and of routes
/// that are unavailable.
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
            match head_at(&row) {
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

    pub(super) fn due_heads(&self, limit: usize) -> Sql<'_> {
        self.select_heads("SELECT h.route, h.aggregate_type, h.aggregate_id, h.position, h.ordered")
            .then(
                " AND h.retry_after <= {now_once} ORDER BY h.retry_after, h.position LIMIT ?",
                binds![i64::try_from(limit).unwrap_or(i64::MAX)],
            )
    }

    /// Returns the time until the next head is due. If no due head was found, a head that has
    /// fallen due in the meantime counts too: it would be missed otherwise. A head whose time
    /// cannot be read is due now.
    pub(super) async fn next_due(
        &self,
        tx: &StoreTransaction,
        found_none: bool,
    ) -> Result<Option<Duration>, DbErr> {
        let heads = self.select_heads("SELECT {micros_until h.retry_after}, h.position");
        let later = if found_none {
            " AND h.retry_after IS NOT NULL ORDER BY h.retry_after LIMIT 1"
        } else {
            " AND h.retry_after > {now_once} ORDER BY h.retry_after LIMIT 1"
        };
        let select = heads.then(later, []);
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
        let update = Sql::new(
            self.dialect,
            self.tables,
            "UPDATE {held} SET retry_after = {now} \
             WHERE shard = ? AND position = ? AND retry_after > {now_once}",
            binds![self.shard, position],
        );
        tx.execute_raw(update.build()).await?;
        Ok(())
    }

    fn select_heads(&self, select: &str) -> Sql<'_> {
        let heads = Sql::new(self.dialect, self.tables, select, []);
        let heads = heads.then(" FROM {held} h WHERE h.shard = ?", binds![self.shard]);
        and_wanted(heads, self.without)
    }

    /// The rows of the streams that these heads lead, stream after stream.
    async fn with_followers(
        &self,
        tx: &StoreTransaction,
        heads: &[Head],
        limit: usize,
        due: &mut Due,
    ) -> Result<(), DbErr> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut sql = Sql::new(self.dialect, self.tables, "SELECT * FROM (", []);
        for (nth, head) in heads.iter().enumerate() {
            let union = if nth == 0 { "" } else { " UNION ALL " };
            let rows = format!(
                "{union}SELECT * FROM (SELECT {nth} AS nth, {HELD_COLUMNS} FROM {{held}} \
                 WHERE shard = ? AND route = ?"
            );
            sql = sql.then(&rows, binds![self.shard, head.route.as_str()]);
            sql = if head.ordered {
                and_in_stream(sql, &head.aggregate_type, &head.aggregate_id)
                    .then(" ORDER BY position LIMIT ?", binds![limit])
            } else {
                sql.then(" AND position = ?", binds![head.position])
            };
            sql = sql.then(&format!(") AS s{nth}"), []);
        }
        let sql = sql.then(") AS held ORDER BY nth, position LIMIT ?", binds![limit]);
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

fn head_at(row: &QueryResult) -> Result<Head, DbErr> {
    Ok(Head {
        route: row.try_get_by_index(0)?,
        aggregate_type: row.try_get_by_index(1)?,
        aggregate_id: row.try_get_by_index(2)?,
        position: row.try_get_by_index(3)?,
        ordered: row.try_get_by_index(4)?,
    })
}

/// Appends the condition that a held row of a route belongs to this stream.
fn and_in_stream<'a>(sql: Sql<'a>, aggregate_type: &str, aggregate_id: &str) -> Sql<'a> {
    sql.then(
        " AND aggregate_type = ? AND aggregate_id = ? AND ordered = TRUE",
        binds![aggregate_type, aggregate_id],
    )
}

/// Reads [`HELD_COLUMNS`].
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
    let select = Sql::new(
        dialect,
        tables,
        "SELECT route, aggregate_type, aggregate_id FROM {held} \
         WHERE shard = ? AND ordered = TRUE \
         UNION SELECT route, aggregate_type, aggregate_id FROM {dead_letter} \
         WHERE shard = ? AND parks AND aggregate_id <> '' \
         UNION ALL SELECT tenant_id, NULL, NULL FROM {paused_tenant}",
        binds![shard, shard],
    );
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
        let update = Sql::new(
            dialect,
            tables,
            "UPDATE {held} SET retry_after = {now} \
             WHERE shard = ? AND route = ? AND position IN (?)",
            binds![shard, route, any_of(positions)],
        );
        tx.execute_raw(update.build()).await?;
    }
    Ok(())
}

/// The query for the heads of these streams that have no time, and that no dead letter parks.
fn undue_heads<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
    streams: &[&StreamKey],
) -> Sql<'a> {
    let mut sql = Sql::new(dialect, tables, "", []);
    for (nth, stream) in streams.iter().enumerate() {
        let union = if nth == 0 { "" } else { " UNION ALL " };
        let rows = format!(
            "{union}SELECT * FROM (SELECT h.route, h.position FROM {{held}} h \
             WHERE shard = ? AND route = ?"
        );
        sql = sql.then(&rows, binds![shard, &*stream.route]);
        sql = and_in_stream(sql, &stream.aggregate_type, &stream.aggregate_id)
            .then(" AND h.retry_after IS NULL", [])
            .then(IS_HEAD, [])
            .then(&format!(" ORDER BY position LIMIT 1) AS s{nth}"), []);
    }
    sql
}
