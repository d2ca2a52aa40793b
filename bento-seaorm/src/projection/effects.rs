//! The events that a version raises while it is built: they are held until the swap, which puts the
//! first of them into the outbox. The others follow in short transactions, and until the last one
//! has what the live version raises is held behind them.

use std::time::Duration;

use bento_core::EventId;
use sea_orm::{ConnectionTrait, QueryResult};

use super::ProjectionKey;
use crate::connection::OutboxConnection;
use crate::dialect::{self, Bind, Sql, any_of_ids, binds};
use crate::error::Error;
use crate::transaction::OutboxTransaction;

/// The most events that one transaction puts into the outbox: business transactions that raise
/// wait for it on MySQL.
const RELEASED: u64 = 1_000;

/// The longest wait of its transaction.
const IDLE: Duration = Duration::from_secs(10);

impl OutboxTransaction {
    /// Flushes, and takes the events that were written since they are [noted](Self::note_events)
    /// out of the outbox again, until the swap. Returns their number. Three statements, none
    /// without an event.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// The statement is finished in the background.
    #[doc(hidden)]
    pub async fn hold_effects(&self, key: &ProjectionKey) -> Result<u64, Error> {
        let held = self.flush_noted().await?;
        if held.is_empty() {
            return Ok(0);
        }
        let dialect = dialect::of(self.get_database_backend())?;
        let count = held.len() as u64;
        for ids in held.chunks(1_000) {
            let ids: Vec<_> = ids.iter().map(|event: &EventId| *event.as_uuid()).collect();
            let key = binds![&*key.name, key.number()];
            let copy = Sql::new(
                dialect,
                self.tables(),
                "INSERT INTO {projection_effect} (projection, version, position, shard, {event}) \
                 SELECT ?, ?, position, shard, {event} FROM {outbox} WHERE event_id IN (?)",
                key.into_iter().chain([any_of_ids(ids.clone())]),
            )
            .build();
            let delete = dialect.delete_events(self.tables(), ids);
            self.run_own(move |session| async move {
                session.execute_raw(copy).await?;
                session.execute_raw(delete).await
            })
            .await?;
        }
        Ok(count)
    }

    /// Puts held events of a version into the outbox, in their order, as many as one transaction is
    /// to have. Returns their number, and notes if there may be more.
    pub(super) async fn release_effects(&self, key: &ProjectionKey) -> Result<u64, Error> {
        let dialect = dialect::of(self.get_database_backend())?;
        let sql =
            |text: &str, binds: Vec<Bind>| Sql::new(dialect, self.tables(), text, binds).build();
        let of_key = || Vec::from(binds![&*key.name, key.number()]);
        let of_version = "FROM {projection_effect} WHERE projection = ? AND version = ?";
        let mut first = of_key();
        first.extend(binds![RELEASED]);
        let last = format!(
            "SELECT MAX(position), COUNT(*) FROM (SELECT position {of_version} ORDER BY position \
             LIMIT ?) held"
        );
        let last = sql(&last, first);
        let row = self
            .run_own(move |session| async move { session.query_one_raw(last).await })
            .await?;
        let read = |row: &QueryResult| {
            Ok((
                row.try_get_by_index::<Option<i64>>(0)?,
                row.try_get_by_index::<i64>(1)?,
            ))
        };
        let row = row.as_ref().map_or(Ok((None, 0)), read);
        let (last, count) = row.map_err(Error::Database)?;
        let count = count.unsigned_abs();
        let mut statements = Vec::new();
        if let Some(last) = last {
            let up_to = || {
                let mut binds = of_key();
                binds.extend(binds![last]);
                binds
            };
            let copy = format!(
                "INSERT INTO {{outbox}} (shard, {{event}}) SELECT shard, {{event}} {of_version} \
                 AND position <= ? ORDER BY position"
            );
            statements.push(sql(&copy, up_to()));
            statements.push(sql(
                &format!("DELETE {of_version} AND position <= ?"),
                up_to(),
            ));
        }
        let note = "UPDATE {projection} SET releases = ? WHERE name = ? AND version = ?";
        let mut noted = Vec::from(binds![count == RELEASED]);
        noted.extend(of_key());
        statements.push(sql(note, noted));
        self.run_own(move |session| async move {
            for statement in statements {
                session.execute_raw(statement).await?;
            }
            Ok(())
        })
        .await?;
        Ok(count)
    }
}

impl OutboxConnection {
    /// Puts more of the events that a version has raised while it was built into the outbox: those
    /// that the swap has left. Returns their number.
    ///
    /// # Errors
    /// [`Error`].
    ///
    /// # Cancel safety
    /// A dropped call has happened as a whole or not at all.
    #[doc(hidden)]
    pub async fn release_projection(&self, key: &ProjectionKey) -> Result<u64, Error> {
        let tx = self.begin_handling(IDLE).await?;
        let row = tx.lock_projection_within(key, IDLE).await?;
        let is_due = row.is_some_and(|row| row.releases && !row.status.is_before_live());
        let released = match is_due {
            true => tx.release_effects(key).await?,
            false => 0,
        };
        tx.commit().await?;
        Ok(released)
    }
}
