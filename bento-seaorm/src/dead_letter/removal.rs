//! The removal of dead letters: back to the held rows, or for good.

use std::collections::BTreeSet;

use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_relay::dead_letter::{DeadLetterKey, Discarding};
use bento_relay::store::{NewDeadLetter, StoreError, StreamKey};
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::{lock_shard, of_keys, own_key};
use crate::dialect::{Bind, Dialect, Sql, binds};
use crate::handled::{self, Outcome};
use crate::relay_store::{OutboxStore, StoreFailure, park_or_promote, retrying, stream_of};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The fate of dead letters that are removed.
#[derive(Clone, Copy)]
pub(super) enum Fate<'a> {
    Replayed,
    Discarded(&'a Discarding),
}

/// Removes dead letters of one shard in one transaction. Returns the number of those that existed.
pub(super) async fn removed(
    store: &OutboxStore,
    shard: ShardId,
    keys: &[DeadLetterKey],
    fate: Fate<'_>,
) -> Result<u64, StoreError> {
    if keys.is_empty() {
        return Ok(0);
    }
    retrying(store.db().get_database_backend(), || {
        removed_once(store, shard, keys, fate)
    })
    .await
}

async fn removed_once(
    store: &OutboxStore,
    shard: ShardId,
    keys: &[DeadLetterKey],
    fate: Fate<'_>,
) -> Result<u64, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let removal = Removal {
        tx: &tx,
        dialect,
        tables: store.tables(),
        shard,
        keys,
    };
    lock_shard(&tx, dialect, store.tables(), shard).await?;
    let count = removal.run(fate).await?;
    // Without a change the transaction is dropped, and the raised revision with it.
    if count > 0 {
        tx.commit().await?;
    }
    Ok(count)
}

/// Replays dead letters of a shard that is locked. Returns the number of those that existed.
pub(crate) async fn replay_in(
    tx: &StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    keys: &[DeadLetterKey],
) -> Result<u64, DbErr> {
    let removal = Removal {
        tx,
        dialect,
        tables,
        shard,
        keys,
    };
    removal.run(Fate::Replayed).await
}

/// The removal of some dead letters and its transaction.
struct Removal<'a> {
    tx: &'a StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
    keys: &'a [DeadLetterKey],
}

impl<'a> Removal<'a> {
    /// Removes the dead letters, and lets the streams go on behind them.
    async fn run(&self, fate: Fate<'_>) -> Result<u64, DbErr> {
        let (tx, dialect, tables) = (self.tx, self.dialect, self.tables);
        own_key::settle_keys(tx, dialect, tables, self.keys).await?;
        // Read before the dead letters go: they say which streams may go on.
        let touched = self.streams().await?;
        let count = match fate {
            Fate::Replayed => self.hold().await?,
            Fate::Discarded(discarding) => self.discard(discarding).await?,
        };
        if count > 0 {
            park_or_promote(tx, dialect, tables, self.shard, &touched).await?;
        }
        Ok(count)
    }

    /// The streams that may go on.
    async fn streams(&self) -> Result<BTreeSet<StreamKey>, DbErr> {
        let select = self.of_these(
            "SELECT DISTINCT route, aggregate_type, aggregate_id \
             FROM {dead_letter} WHERE shard = ? AND aggregate_id <> '' AND ",
            binds![self.shard],
        );
        let rows = self.tx.query_all_raw(select.build()).await?;
        let mut streams: BTreeSet<_> = rows.iter().map(stream_of).collect();
        let parked_all = streams
            .iter()
            .any(|stream| &*stream.route == NewDeadLetter::UNREADABLE);
        if parked_all || !self.by_row().is_empty() {
            streams.extend(self.streams_on_every_route().await?);
        }
        Ok(streams)
    }

    /// The ids of dead letters whose route cannot be read: their stream is unknown.
    fn by_row(&self) -> Vec<EventId> {
        let ids = self.keys.iter().map(|(event_id, _)| *event_id);
        ids.filter(|event_id| own_key::row_number_of(self.dialect, *event_id).is_some())
            .collect()
    }

    /// The streams behind those of these dead letters that park their aggregate on every route.
    async fn streams_on_every_route(&self) -> Result<Vec<StreamKey>, DbErr> {
        let select = self.sql(
            "SELECT DISTINCT h.route, h.aggregate_type, h.aggregate_id FROM {held} h \
             WHERE h.shard = ? AND EXISTS (SELECT 1 FROM {dead_letter} d \
             WHERE d.shard = h.shard AND d.aggregate_type = h.aggregate_type \
             AND d.aggregate_id = h.aggregate_id AND (d.route = '{unreadable}'",
            binds![self.shard],
        );
        let or_this =
            |sql: Sql<'a>, event_id| sql.then(" OR d.event_id = ?", binds![Uuid::from(event_id)]);
        let select = self.by_row().into_iter().fold(select, or_this);
        let select = select.then("))", []);
        Ok(self
            .tx
            .query_all_raw(select.build())
            .await?
            .iter()
            .map(stream_of)
            .collect())
    }

    /// Moves the dead letters to the held rows, with no attempt counted; the destinations that have
    /// confirmed them stay recorded. Each takes its place again if its aggregate has waited for it;
    /// otherwise it is due at once.
    ///
    /// A dead letter stays if another event holds its place, which happens only after positions
    /// were handed out twice.
    async fn hold(&self) -> Result<u64, DbErr> {
        let insert = self.of_these(
            "INSERT INTO {held} (shard, position, route, {event}, \
             ordered, attempts, retry_after, delivered) \
             SELECT shard, position, route, {event}, \
             parks, 0, CASE WHEN parks THEN NULL ELSE {now} END, delivered \
             FROM {dead_letter} WHERE raw IS NULL AND shard = ? AND ",
            binds![self.shard],
        );
        self.execute(insert.or_leave(self.tables.held(), &["shard", "route", "position"]))
            .await?;
        let delete = self.of_these(
            "DELETE FROM {dead_letter} WHERE EXISTS (SELECT 1 FROM {held} h \
             WHERE h.event_id = {dead_letter}.event_id AND h.route = {dead_letter}.route) \
             AND shard = ? AND ",
            binds![self.shard],
        );
        self.execute(delete).await
    }

    async fn discard(&self, discarding: &Discarding) -> Result<u64, DbErr> {
        let (reason, actor) = (discarding.reason(), discarding.actor().map(str::to_owned));
        let insert = self.of_these(
            "INSERT INTO {discarded_letter} (event_id, route, event_type, \
             aggregate_type, aggregate_id, tenant_id, cause, error_message, failed_at, \
             reason, actor, discarded_at) \
             SELECT event_id, route, event_type, \
             aggregate_type, aggregate_id, tenant_id, cause, error_message, failed_at, \
             ?, ?, {now} FROM {dead_letter} WHERE shard = ? AND ",
            binds![reason, actor, self.shard],
        );
        self.execute(insert).await?;
        self.record_discarded().await?;
        let delete = "DELETE FROM {dead_letter} WHERE shard = ? AND ";
        self.execute(self.of_these(delete, binds![self.shard]))
            .await
    }

    /// Records that handlers are not to handle these events, should they come once more.
    async fn record_discarded(&self) -> Result<(), DbErr> {
        let insert = self.of_these(
            "INSERT INTO {handled_event} (handler, event_id, outcome, generation, handled_at) \
             SELECT route, event_id, ?, 0, {now} FROM {dead_letter} \
             WHERE route IN (SELECT name FROM {handler}) AND shard = ? AND ",
            binds![Outcome::Discarded.as_str(), self.shard],
        );
        let replaces = handled::replaces(self.dialect, handled::IS_AGAIN);
        self.execute(insert.then(&replaces, [])).await?;
        Ok(())
    }

    /// A statement whose condition ends with the keys of these dead letters.
    fn of_these(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'a> {
        of_keys(self.sql(text, binds), self.keys)
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'a> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<u64, DbErr> {
        Ok(self.tx.execute_raw(sql.build()).await?.rows_affected())
    }
}
