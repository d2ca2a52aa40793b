//! The dead letters of what has arrived.

use std::collections::HashMap;

use bento_core::EventId;
use bento_core::envelope::Envelope;
use bento_core::outbox::{OutboxEntry, ShardId, Sharding};
use bento_relay::source::Unreadable;
use bento_relay::store::NewDeadLetter;
use chrono::Utc;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;

use super::arrivals::Refusal;
use crate::dialect::{Bind, Dialect, Sql, any_of, binds, marks};
use crate::relay_store::{DeadLetterRow, storable};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The writer of dead letters in the transaction of a batch.
pub(super) struct Letters<'a> {
    pub(super) tx: &'a StoreTransaction,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    /// The name of the source.
    pub(super) source: &'a str,
}

impl Letters<'_> {
    /// Moves events that were just written to the dead letters, at their positions. Their
    /// aggregates wait: a relay learns of it by the revision of their shards.
    pub(super) async fn refuse(
        &self,
        refused: HashMap<Refusal, Vec<(ShardId, EventId)>>,
    ) -> Result<(), DbErr> {
        if refused.is_empty() {
            return Ok(());
        }
        let shards = refused.values().flatten();
        let shards = shards.map(|(shard, _)| i64::from(*shard)).collect();
        let tell = (self.dialect).update_shards("revision = revision + 1", "shard IN (?)");
        self.execute(self.sql(&tell, binds![any_of(shards)]))
            .await?;
        for (Refusal { cause, error }, events) in refused {
            let marks = marks(events.len());
            let ids = || events.iter().map(|(_, id)| Bind::from(*id.as_uuid()));
            let copy = format!(
                "INSERT INTO {{dead_letter}} (shard, position, {{event}}, route, attempts, \
                 error_message, cause, parks, first_failed_at, failed_at) \
                 SELECT shard, position, {{event}}, ?, 0, ?, ?, aggregate_id <> '', {{now}}, \
                 {{now}} FROM {{outbox}} WHERE event_id IN ({marks})"
            );
            let record = binds![NewDeadLetter::UNROUTABLE, storable(&error), cause];
            self.execute(self.sql(&copy, record.into_iter().chain(ids())))
                .await?;
            let delete = format!("DELETE FROM {{outbox}} WHERE event_id IN ({marks})");
            self.execute(self.sql(&delete, ids())).await?;
        }
        Ok(())
    }

    /// Writes a message that carries no event. Returns false if it is there already.
    pub(super) async fn write(
        &self,
        message: &Unreadable,
        sharding: Sharding,
    ) -> Result<bool, DbErr> {
        // The number of rows that MySQL says were written is the same for a row that was left.
        let known = "SELECT 1 FROM {dead_letter} WHERE event_id = ? AND route = ?";
        let known = self.sql(
            known,
            binds![*message.id.as_uuid(), NewDeadLetter::UNREADABLE],
        );
        if self.tx.query_one_raw(known.build()).await?.is_some() {
            return Ok(false);
        }
        let raw = &message.raw;
        let headers: Vec<_> = raw.headers.iter().collect();
        let shown = json!({ "source": self.source, "place": raw.place, "headers": headers });
        let envelope = Envelope::with_id(message.id, "", 0, Utc::now(), raw.body.clone());
        let entry = OutboxEntry {
            shard: sharding.shard(&envelope),
            may_be_known: false,
            envelope,
        };
        let row = DeadLetterRow {
            route: NewDeadLetter::UNREADABLE,
            cause: NewDeadLetter::UNREADABLE,
            error: &message.error,
            attempts: 0,
            parks: false,
            raw: Some(shown.to_string()),
        };
        let insert = row.insert(self.dialect, self.tables, 0, entry);
        let insert = insert.or_leave(self.tables.dead_letter(), &["event_id", "route"]);
        let done = self.tx.execute_raw(insert.build()).await?;
        Ok(done.rows_affected() > 0)
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}
