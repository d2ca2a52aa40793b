//! The end of a version: its routes on both sides, and what is kept for it.
//!
//! A relay holds no lease longer than a moment for it: the routes go in one short transaction, and
//! rows, of which there may be millions, in transactions of their own behind it.

use bento_relay::store::StoreError;
use sea_orm::ConnectionTrait;

use super::{ProjectionKey, Projections};
use crate::dialect::{Bind, Sql, binds};
use crate::relay_store::{
    OutboxStore, StoreFailure, living_relays, lock_shards, retrying, tell_shards,
};
use crate::tables::Tables;

/// The most rows that one transaction deletes.
const ROWS: u64 = 1_000;

/// The reason of the stop of a version that is being forgotten.
const FORGETTING: &str = "it is being forgotten: call `Projections::forget` again to end that";

/// The end of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A higher version is live, and an operator wants no more of this one.
    Retired,
    /// A higher version is live, and no relay serves this one.
    Unserved,
    /// No relay serves it, and nothing is kept.
    Forgotten,
}

impl Projections {
    /// Retires a version that was replaced, unless a relay serves it. Returns true if it is retired
    /// now.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancel safety
    /// A dropped call has ended it or has not; calling it again does the rest.
    #[doc(hidden)]
    pub async fn retire_unserved(&self, key: &ProjectionKey) -> Result<bool, StoreError> {
        self.end(key, Ending::Unserved).await
    }

    /// Ends a version. Returns false, and changes nothing, if a relay serves it that is to be left
    /// alone then, or if no higher version is live.
    pub(super) async fn end(
        &self,
        key: &ProjectionKey,
        ending: Ending,
    ) -> Result<bool, StoreError> {
        let backend = self.store.connection().get_database_backend();
        if !retrying(backend, || self.end_routes(key, ending)).await? {
            return Ok(false);
        }
        for side in self.sides() {
            self.drop_held(side, key).await?;
        }
        if ending != Ending::Forgotten {
            return Ok(true);
        }
        let of_version = "WHERE projection = ? AND version = ? LIMIT ?";
        let checkpoints = "projection, version, aggregate_type, aggregate_id";
        let effects = "projection, version, position";
        for (table, key_of_table) in [
            ("{projection_checkpoint}", checkpoints),
            ("{projection_effect}", effects),
        ] {
            let delete = self
                .store
                .dialect()?
                .delete_some(table, key_of_table, of_version);
            loop {
                let binds = binds![&*key.name, key.number(), ROWS];
                if self.delete(&delete, &binds).await? < ROWS {
                    break;
                }
            }
        }
        let delete = "DELETE FROM {projection} WHERE name = ? AND version = ?";
        self.delete(delete, &binds![&*key.name, key.number()])
            .await?;
        Ok(true)
    }

    /// Takes the routes of a version from both sides, and notes its end.
    async fn end_routes(&self, key: &ProjectionKey, ending: Ending) -> Result<bool, StoreFailure> {
        let (tx, dialect) = self.store.begin().await?;
        let run = async |tables: &Tables, text: &str, binds: Vec<Bind>| {
            let sql = Sql::new(dialect, tables, text, binds);
            Ok::<_, StoreFailure>(tx.execute_raw(sql.build()).await?.rows_affected())
        };
        // Before the leases: a batch of the version may go on, and no relay is to wait for it.
        let row = "SELECT status FROM {projection} WHERE name = ? AND version = ?{lock_rows}";
        let of_key = || Vec::from(binds![&*key.name, key.number()]);
        let row = Sql::new(dialect, self.store.tables(), row, of_key());
        let row = tx.query_one_raw(row.build()).await?;
        let status = row
            .map(|row| row.try_get_by_index::<String>(0))
            .transpose()?;
        let is_over = |status: String| matches!(&*status, "replaced" | "retired");
        if ending != Ending::Forgotten && !status.is_some_and(is_over) {
            tx.rollback().await?;
            return Ok(false);
        }
        let route = key.route();
        for tables in self.sides().map(OutboxStore::tables) {
            lock_shards(&tx, dialect, tables).await?;
        }
        for tables in self.sides().map(OutboxStore::tables) {
            let relays = living_relays(&tx, dialect, tables).await?;
            let mut served = relays.iter().flat_map(|(_, served)| served);
            if ending != Ending::Retired && served.any(|served| *served.name == *route) {
                tx.rollback().await?;
                return Ok(false);
            }
        }
        for tables in self.sides().map(OutboxStore::tables) {
            let delete = "DELETE FROM {handler} WHERE name = ?";
            if run(tables, delete, binds![&*route].into()).await? > 0 {
                tell_shards(&tx, dialect, tables).await?;
            }
        }
        // A version that is forgotten does nothing any more, and is there until all else is gone.
        let (end, binds) = match ending {
            Ending::Forgotten => {
                let mut binds = Vec::from(binds![FORGETTING]);
                binds.extend(of_key());
                let stop = "UPDATE {projection} SET stopped_at = {now}, reason = ?, failed_event = \
                            NULL WHERE name = ? AND version = ?";
                (stop, binds)
            }
            _ => (
                "UPDATE {projection} SET status = 'retired' WHERE name = ? AND version = ? AND \
                 status = 'replaced'",
                of_key(),
            ),
        };
        run(self.store.tables(), end, binds).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes the events that relays of a side hold for a version whose route is gone.
    async fn drop_held(&self, side: &OutboxStore, key: &ProjectionKey) -> Result<(), StoreError> {
        let backend = side.connection().get_database_backend();
        while retrying(backend, || self.drop_some_held(side, key)).await? {}
        Ok(())
    }

    /// Deletes held events of one shard, under its lease. Returns false if there are none.
    async fn drop_some_held(
        &self,
        side: &OutboxStore,
        key: &ProjectionKey,
    ) -> Result<bool, StoreFailure> {
        let (tx, dialect) = self.store.begin().await?;
        let (tables, route) = (side.tables(), key.route());
        let sql = |text: &str, binds: Vec<Bind>| Sql::new(dialect, tables, text, binds).build();
        let held = sql(
            "SELECT shard FROM {held} WHERE route = ? LIMIT 1",
            binds![&*route].into(),
        );
        let Some(row) = tx.query_one_raw(held).await? else {
            tx.rollback().await?;
            return Ok(false);
        };
        let shard: i32 = row.try_get_by_index(0)?;
        let lock = "SELECT shard FROM {shard} WHERE shard = ?{lock_rows}";
        tx.query_all_raw(sql(lock, binds![shard].into())).await?;
        let some = "WHERE shard = ? AND route = ? LIMIT ?";
        let delete = dialect.delete_some("{held}", "shard, route, position", some);
        tx.execute_raw(sql(&delete, binds![shard, &*route, ROWS].into()))
            .await?;
        let tell = dialect.update_shards("revision = revision + 1", "shard = ?");
        tx.execute_raw(sql(&tell, binds![shard].into())).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Runs a deletion in a transaction of its own. Returns the number of rows.
    async fn delete(&self, text: &str, binds: &[Bind]) -> Result<u64, StoreError> {
        let delete = || async {
            let (tx, dialect) = self.store.begin().await?;
            let sql = Sql::new(dialect, self.store.tables(), text, binds.to_vec());
            let deleted = tx.execute_raw(sql.build()).await?.rows_affected();
            tx.commit().await?;
            Ok(deleted)
        };
        retrying(self.store.connection().get_database_backend(), delete).await
    }
}
