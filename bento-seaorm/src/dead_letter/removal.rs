//! The removal of dead letters: back to the held rows, or for good.

use std::collections::BTreeSet;

use bento_core::id::EventId;
use bento_core::outbox::ShardId;
use bento_relay::dead_letter::{DeadLetterKey, Discarding};
use bento_relay::store::{NewDeadLetter, StoreError, StreamKey};
use sea_orm::{ConnectionTrait, DbErr};

use super::{lock_shard, of_letters, own_key};
use crate::columns;
use crate::dialect::{Dialect, Sql};
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
    letters: &[DeadLetterKey],
    fate: Fate<'_>,
) -> Result<u64, StoreError> {
    if letters.is_empty() {
        return Ok(0);
    }
    retrying(store.db().get_database_backend(), || {
        removed_once(store, shard, letters, fate)
    })
    .await
}

async fn removed_once(
    store: &OutboxStore,
    shard: ShardId,
    letters: &[DeadLetterKey],
    fate: Fate<'_>,
) -> Result<u64, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let removal = Removal {
        tx: &tx,
        dialect,
        tables: store.tables(),
        shard,
        letters,
    };
    lock_shard(&tx, dialect, store.tables(), shard).await?;
    own_key::settle_keys(&tx, dialect, store.tables(), letters).await?;
    let touched = removal.streams().await?;
    let count = match fate {
        Fate::Replayed => removal.hold().await?,
        Fate::Discarded(discarding) => removal.discard(discarding).await?,
    };
    if count == 0 {
        return Ok(0);
    }
    park_or_promote(&tx, dialect, store.tables(), shard, &touched).await?;
    tx.commit().await?;
    Ok(count)
}

/// The removal of some letters and its transaction.
struct Removal<'a> {
    tx: &'a StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
    letters: &'a [DeadLetterKey],
}

impl Removal<'_> {
    /// The streams that may go on.
    async fn streams(&self) -> Result<BTreeSet<StreamKey>, DbErr> {
        let select = self.of_these(self.sql("SELECT DISTINCT route, aggregate_type, aggregate_id"));
        let rows = self
            .tx
            .query_all_raw(select.push(" AND aggregate_id <> ''").build())
            .await?;
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
        let ids = self.letters.iter().map(|(event_id, _)| *event_id);
        ids.filter(|event_id| own_key::row_of(self.dialect, *event_id).is_some())
            .collect()
    }

    /// The streams behind those of these dead letters that park their aggregate on every route.
    async fn streams_on_every_route(&self) -> Result<Vec<StreamKey>, DbErr> {
        let (held, dead) = (self.tables.held(), self.tables.dead_letter());
        let select = self.sql(&format!(
            "SELECT DISTINCT h.route, h.aggregate_type, h.aggregate_id FROM {held} \
                           h WHERE h.shard = "
        ));
        let select = select.bind(self.shard).push(&format!(
            " AND EXISTS (SELECT 1 FROM {dead} d WHERE d.shard = h.shard AND d.aggregate_type = \
             h.aggregate_type AND d.aggregate_id = h.aggregate_id AND (d.route = '{}'",
            NewDeadLetter::UNREADABLE
        ));
        let or_this = |sql: Sql, event_id| {
            sql.push(" OR d.event_id = ")
                .bind(uuid::Uuid::from(event_id))
        };
        let select = self.by_row().into_iter().fold(select, or_this).push("))");
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
        let (held, dead, now, event) = (
            self.tables.held(),
            self.tables.dead_letter(),
            self.dialect.now(),
            columns::list(),
        );
        let insert = self.sql(&format!(
            "INSERT INTO {held} (shard, position, route, {event}, ordered, attempts, retry_after, \
             delivered) SELECT shard, position, route, {event}, parks, 0, CASE WHEN parks THEN \
             NULL ELSE {now} END, delivered"
        ));
        let or_leave = self.dialect.or_leave(held, &["shard", "route", "position"]);
        self.execute(
            self.of_these(insert)
                .push(" AND raw IS NULL")
                .push(&or_leave),
        )
        .await?;
        let delete = self.of_these(self.sql("DELETE")).push(&format!(
            " AND EXISTS (SELECT 1 FROM {held} h WHERE h.event_id = {dead}.event_id AND h.route = \
             {dead}.route)"
        ));
        self.execute(delete).await
    }

    async fn discard(&self, discarding: &Discarding) -> Result<u64, DbErr> {
        let insert = self
            .sql(&format!(
                "INSERT INTO {} (event_id, route, event_type, aggregate_type, aggregate_id, \
                 tenant_id, cause, error_message, failed_at, reason, actor, discarded_at) SELECT \
                 event_id, route, event_type, aggregate_type, aggregate_id, tenant_id, cause, \
                 error_message, failed_at, ",
                self.tables.discarded_letter()
            ))
            .bind(discarding.reason())
            .push(", ")
            .bind(discarding.actor().map(str::to_owned))
            .push(&format!(", {}", self.dialect.now()));
        self.execute(self.of_these(insert)).await?;
        self.execute(self.of_these(self.sql("DELETE"))).await
    }

    fn of_these(&self, sql: Sql) -> Sql {
        let sql = sql
            .push(&format!(
                " FROM {} WHERE shard = ",
                self.tables.dead_letter()
            ))
            .bind(self.shard);
        of_letters(sql.push(" AND "), self.letters)
    }

    async fn execute(&self, sql: Sql) -> Result<u64, DbErr> {
        Ok(self.tx.execute_raw(sql.build()).await?.rows_affected())
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(self.dialect, text)
    }
}
