//! The leases of sources.

use std::sync::Arc;
use std::time::Duration;

use bento_core::limits;
use bento_relay::source::Cursor;
use bento_relay::store::StoreError;
use chrono::Utc;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use super::{Claim, ConsumerId, Inbox, SourceLease, SourceState};
use crate::dialect::{Bind, Dialect, Sql, after, binds};
use crate::relay_store::{StoreFailure, retrying, store_error};
use crate::session::StoreTransaction;

pub(super) async fn claim(
    inbox: &Inbox,
    source: &str,
    consumer: ConsumerId,
    ttl: Duration,
) -> Result<Claim, StoreError> {
    limits::check_text("source", source, limits::DESTINATION)?;
    let backend = inbox.store.db().get_database_backend();
    retrying(backend, || claim_once(inbox, source, consumer, ttl)).await
}

async fn claim_once(
    inbox: &Inbox,
    source: &str,
    consumer: ConsumerId,
    ttl: Duration,
) -> Result<Claim, StoreFailure> {
    inbox.store.check_owner().await?;
    let leases = Leases::new(inbox, inbox.store.dialect()?);
    if leases.take(source, consumer, ttl).await? == 0 && leases.read(source).await?.is_none() {
        let insert = leases.sql("INSERT INTO {source} (name) VALUES (?)", binds![source]);
        let insert = insert.or_leave(inbox.tables().source(), &["name"]);
        inbox.store.db().execute_raw(insert.build()).await?;
        leases.take(source, consumer, ttl).await?;
    }
    let Some((owner, epoch, cursor)) = leases.read(source).await? else {
        return Ok(Claim::Taken { owner: None });
    };
    if owner != Some(consumer) {
        return Ok(Claim::Taken { owner });
    }
    let lease = SourceLease {
        source: Arc::from(source),
        owner: consumer,
        epoch,
    };
    Ok(Claim::Owned { lease, cursor })
}

pub(super) async fn release(inbox: &Inbox, lease: &SourceLease) -> Result<(), StoreError> {
    let leases = Leases::new(inbox, inbox.store.dialect()?);
    let update = leases.sql(
        "UPDATE {source} SET owner = NULL, expires_at = NULL \
         WHERE name = ? AND owner = ? AND epoch = ?",
        binds![&*lease.source, lease.owner.0, lease.epoch],
    );
    let released = inbox.store.db().execute_raw(update.build()).await;
    released.map_err(|error| store_error(leases.dialect.backend(), error))?;
    Ok(())
}

pub(super) async fn sources(inbox: &Inbox) -> Result<Vec<SourceState>, StoreError> {
    let leases = Leases::new(inbox, inbox.store.dialect()?);
    let select = leases.sql(
        "SELECT name, CASE WHEN expires_at > {now} THEN owner END, incarnation, place, \
         {read_time stored_at} FROM {source} ORDER BY name",
        [],
    );
    let read = |row: &QueryResult| {
        Ok(SourceState {
            name: row.try_get_by_index(0)?,
            owner: row.try_get_by_index::<Option<Uuid>>(1)?.map(ConsumerId),
            cursor: cursor_at(row, 2)?,
            stored_at: row.try_get_by_index(4)?,
        })
    };
    let rows = inbox.store.db().query_all_raw(select.build()).await;
    let sources = rows.and_then(|rows| rows.iter().map(read).collect());
    sources.map_err(|error| store_error(leases.dialect.backend(), error))
}

/// Renews a lease and moves the cursor, if the lease is still held. The row stays locked until the
/// transaction ends.
pub(super) async fn advance(
    tx: &StoreTransaction,
    inbox: &Inbox,
    dialect: &'static dyn Dialect,
    (lease, ttl): (&SourceLease, Duration),
    cursor: Option<&Cursor>,
) -> Result<bool, DbErr> {
    let leases = Leases::new(inbox, dialect);
    let held = "WHERE name = ? AND owner = ? AND epoch = ?";
    let is_held = binds![&*lease.source, lease.owner.0, lease.epoch];
    let update = match cursor {
        Some(Cursor { incarnation, place }) => leases
            .sql(
                "UPDATE {source} SET expires_at = ?, stored_at = {now}, incarnation = ?, \
                 place = ? ",
                binds![after(ttl), incarnation.as_str(), place.as_str()],
            )
            .then(held, is_held),
        None => leases
            .sql(
                "UPDATE {source} SET expires_at = ?, stored_at = {now} ",
                binds![after(ttl)],
            )
            .then(held, is_held),
    };
    Ok(tx.execute_raw(update.build()).await?.rows_affected() == 1)
}

/// The statements about leases.
struct Leases<'a> {
    inbox: &'a Inbox,
    dialect: &'static dyn Dialect,
}

impl<'a> Leases<'a> {
    fn new(inbox: &'a Inbox, dialect: &'static dyn Dialect) -> Self {
        Self { inbox, dialect }
    }

    /// Takes a lease that is free or has run out, and renews the consumer's own. An epoch is at
    /// least the time in milliseconds, so that a row that was deleted and made again never repeats
    /// one.
    async fn take(&self, source: &str, consumer: ConsumerId, ttl: Duration) -> Result<u64, DbErr> {
        let least = Utc::now().timestamp_millis();
        // MySQL assigns from left to right: the epoch is set while the row still has its old owner.
        let update = self.sql(
            "UPDATE {source} SET epoch = CASE WHEN owner = ? THEN epoch WHEN epoch >= ? \
             THEN epoch + 1 ELSE ? END, owner = ?, expires_at = ? WHERE name = ? \
             AND (owner IS NULL OR owner = ? OR expires_at <= {now})",
            binds![
                consumer.0,
                least,
                least,
                consumer.0,
                after(ttl),
                source,
                consumer.0
            ],
        );
        let done = self.inbox.store.db().execute_raw(update.build()).await?;
        Ok(done.rows_affected())
    }

    async fn read(
        &self,
        source: &str,
    ) -> Result<Option<(Option<ConsumerId>, i64, Option<Cursor>)>, DbErr> {
        let select = self.sql(
            "SELECT owner, epoch, incarnation, place FROM {source} WHERE name = ?",
            binds![source],
        );
        let row = self.inbox.store.db().query_one_raw(select.build()).await?;
        row.map(|row| {
            let owner = row.try_get_by_index::<Option<Uuid>>(0)?.map(ConsumerId);
            Ok((owner, row.try_get_by_index(1)?, cursor_at(&row, 2)?))
        })
        .transpose()
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'a> {
        Sql::new(self.dialect, self.inbox.tables(), text, binds)
    }
}

/// Reads a cursor from a column and the one behind it.
fn cursor_at(row: &QueryResult, column: usize) -> Result<Option<Cursor>, DbErr> {
    let incarnation: Option<String> = row.try_get_by_index(column)?;
    let place: Option<String> = row.try_get_by_index(column + 1)?;
    let cursor = incarnation.zip(place);
    Ok(cursor.map(|(incarnation, place)| Cursor { incarnation, place }))
}
