//! The leases of shards.
//!
//! A heartbeat is a few statements without a transaction, each complete in itself and conditional
//! on what it changes. So a relay whose process is frozen during a heartbeat holds no lock, and the
//! others take its shards when its leases expire. Only claiming locks rows, for the time of two
//! statements, and it skips locked rows: those of a relay that was frozen during an `advance`.

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::store::{Heartbeat, Holdings, Lease, RelayId, StoreError};
use bento_relay::telemetry::TARGET_RELAY;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use uuid::Uuid;

pub(crate) use self::share::lanes_of;
use self::share::{Alive, fair_share};
use super::OutboxStore;
use super::errors::{StoreFailure, retrying};
use crate::dialect::{Dialect, Sql};
use crate::session::StoreTransaction;
use crate::tables::Tables;

mod record;
mod share;

pub(super) async fn open(store: &OutboxStore) -> Result<Sharding, StoreError> {
    match record::open(store).await {
        Err(StoreError::NotMigrated {
            table,
            place,
            source,
        }) => {
            let place = place_of(store).await.unwrap_or(place);
            Err(StoreError::NotMigrated {
                table,
                place,
                source,
            })
        }
        opened => opened,
    }
}

/// The place where the connection looks for a table without a schema. It is asked for, because the
/// error does not name it.
async fn place_of(store: &OutboxStore) -> Option<String> {
    let dialect = store
        .dialect()
        .ok()
        .filter(|_| store.tables.prefix().schema().is_none())?;
    let asked = Statement::from_string(dialect.backend(), dialect.ask_search_path()?);
    let row = store.db.query_one_raw(asked).await.ok()??;
    let (path, database): (String, String) =
        (row.try_get_by_index(0).ok()?, row.try_get_by_index(1).ok()?);
    Some(format!(
        "in the `search_path` of the session, `{path}` in database `{database}`, and no schema is \
         named (`TablePrefix::in_schema`)"
    ))
}

pub(super) async fn heartbeat(
    store: &OutboxStore,
    beat: &Heartbeat,
) -> Result<Holdings, StoreError> {
    let recorded = *store.recorded();
    let sharding = match recorded {
        Some(sharding) => sharding,
        None => open(store).await?,
    };
    retrying(store.db.get_database_backend(), || {
        Beating::once(store, beat, sharding)
    })
    .await
}

/// One heartbeat.
struct Beating<'a> {
    store: &'a OutboxStore,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    beat: &'a Heartbeat,
    sharding: Sharding,
}

/// The record of a shard.
struct Shard {
    shard: ShardId,
    owner: Option<RelayId>,
    has_run_out: bool,
}

impl Beating<'_> {
    async fn once(
        store: &OutboxStore,
        beat: &Heartbeat,
        sharding: Sharding,
    ) -> Result<Holdings, StoreFailure> {
        let dialect = store.dialect()?;
        Beating {
            store,
            dialect,
            tables: &store.tables,
            beat,
            sharding,
        }
        .run()
        .await
    }

    async fn run(&self) -> Result<Holdings, StoreFailure> {
        let stray = record::look(self.store, self.sharding).await?;
        self.sign_of_life().await?;
        let share = fair_share(&self.alive().await?, self.beat.relay, self.sharding);
        let (shards, now) = self.every_shard().await?;
        let own: Vec<_> = shards
            .iter()
            .filter(|shard| shard.owner == Some(self.beat.relay))
            .map(|s| s.shard)
            .collect();
        let given = self.given(&own, share, &stray);
        self.give_up(&given).await?;
        let kept: Vec<_> = own
            .into_iter()
            .filter(|shard| !given.contains(shard))
            .collect();
        self.renew(&kept).await?;
        let missing = if self.beat.claim {
            share.saturating_sub(self.shared(&kept))
        } else {
            0
        };
        let claimable = self.claimable(&shards, &given);
        self.claim(&claimable, missing).await?;
        self.claim_stray(&shards, &stray).await?;
        let leases = self.leases().await?;
        let is_taken_over = |shard: &&&Shard| {
            shard.owner.is_some() && leases.iter().any(|l| l.shard == shard.shard)
        };
        let taken_over = claimable
            .iter()
            .filter(is_taken_over)
            .map(|shard| shard.shard)
            .collect();
        let held: Vec<_> = leases.iter().map(|lease| lease.shard).collect();
        let surplus = self.shared(&held).saturating_sub(share);
        Ok(Holdings {
            leases,
            taken_over,
            surplus,
            stray,
            now,
        })
    }

    /// Reads every shard of the sharding, after it has created missing rows again.
    async fn every_shard(&self) -> Result<(Vec<Shard>, Option<DateTime<Utc>>), DbErr> {
        let (shards, now) = self.shards().await?;
        let known: Vec<_> = shards.iter().map(|shard| shard.shard).collect();
        let missing = record::record_missing(self.store, 0..self.sharding.total(), &known).await?;
        if missing == 0 {
            return Ok((shards, now));
        }
        tracing::warn!(
            target: TARGET_RELAY, table = self.tables.shard(), missing,
            "rows of shards were missing and are created again; events in flight may be published \
             twice"
        );
        self.shards().await
    }

    /// Returns the number of shards that belong to the sharding, and so count for the fair share.
    fn shared(&self, shards: &[ShardId]) -> usize {
        shards
            .iter()
            .filter(|shard| **shard < self.sharding.total())
            .count()
    }

    /// Returns the shards to give up: idle ones above the fair share, and empty ones outside of the
    /// sharding.
    fn given(&self, own: &[ShardId], share: usize, stray: &[ShardId]) -> Vec<ShardId> {
        let idle = self
            .beat
            .idle
            .iter()
            .copied()
            .filter(|shard| own.contains(shard));
        let (shared, outside): (Vec<_>, Vec<_>) =
            idle.partition(|shard| *shard < self.sharding.total());
        let surplus = shared
            .into_iter()
            .take(self.shared(own).saturating_sub(share));
        surplus
            .chain(outside.into_iter().filter(|shard| !stray.contains(shard)))
            .collect()
    }

    /// Claims the free shards outside of the sharding: the first relay gets all of them, until they
    /// are empty.
    async fn claim_stray(&self, shards: &[Shard], stray: &[ShardId]) -> Result<(), StoreFailure> {
        let is_free = |shard: &&Shard| {
            shard
                .owner
                .is_none_or(|owner| owner != self.beat.relay && shard.has_run_out)
        };
        let free: Vec<_> = shards
            .iter()
            .filter(|shard| stray.contains(&shard.shard))
            .filter(is_free)
            .collect();
        let missing = if self.beat.claim { free.len() } else { 0 };
        self.claim(&free, missing).await
    }

    /// Records the heartbeat, and removes the relays whose heartbeats have expired.
    async fn sign_of_life(&self) -> Result<(), DbErr> {
        let relay = self.tables.relay();
        let lanes = self.beat.lanes.as_ref().map(|lanes| {
            let lanes: Vec<_> = lanes.iter().map(u16::to_string).collect();
            lanes.join(",")
        });
        let update = Sql::new(self.dialect, &format!("UPDATE {relay} SET expires_at = "))
            .after(self.beat.ttl)
            .push(", lanes = ")
            .bind(lanes.clone())
            .push(" WHERE id = ")
            .bind(self.beat.relay.0);
        if self
            .store
            .db
            .execute_raw(update.build())
            .await?
            .rows_affected()
            > 0
        {
            return Ok(());
        }
        let insert = Sql::new(
            self.dialect,
            &format!("INSERT INTO {relay} (id, lanes, expires_at) VALUES ("),
        )
        .bind(self.beat.relay.0)
        .push(", ")
        .bind(lanes)
        .push(", ")
        .after(self.beat.ttl)
        .push(")")
        .push(&self.dialect.or_leave(relay, &["id"]));
        self.store.db.execute_raw(insert.build()).await?;
        Ok(())
    }

    async fn alive(&self) -> Result<Vec<Alive>, DbErr> {
        let (relay, now) = (self.tables.relay(), self.dialect.now());
        let alive = format!("CASE WHEN expires_at > {now} THEN 1 ELSE 0 END");
        let select = Sql::new(
            self.dialect,
            &format!("SELECT id, lanes, {alive} FROM {relay} ORDER BY id"),
        );
        let mut relays = Vec::new();
        for row in self.store.db.query_all_raw(select.build()).await? {
            let id: Uuid = row.try_get_by_index(0)?;
            let lanes: Option<String> = row.try_get_by_index(1)?;
            if row.try_get_by_index::<i32>(2)? == 1 || id == self.beat.relay.0 {
                relays.push(Alive::new(RelayId(id), lanes.as_deref()));
            } else {
                let forget = Sql::new(
                    self.dialect,
                    &format!("DELETE FROM {relay} WHERE expires_at <= {now} AND id = "),
                );
                self.store.db.execute_raw(forget.bind(id).build()).await?;
            }
        }
        Ok(relays)
    }

    /// Reads the record of every shard, and the clock of the database.
    async fn shards(&self) -> Result<(Vec<Shard>, Option<DateTime<Utc>>), DbErr> {
        let now = self.dialect.now();
        let run_out = format!("CASE WHEN expires_at > {now} THEN 0 ELSE 1 END");
        let select = format!(
            "SELECT shard, owner, {run_out}, {now} FROM {} ORDER BY shard",
            self.tables.shard()
        );
        let rows = self
            .store
            .db
            .query_all_raw(Sql::new(self.dialect, &select).build())
            .await?;
        let shard = |row: &QueryResult| {
            Ok(Shard {
                shard: row.try_get_by_index(0)?,
                owner: row.try_get_by_index::<Option<Uuid>>(1)?.map(RelayId),
                has_run_out: row.try_get_by_index::<i32>(2)? == 1,
            })
        };
        let now = rows.last().map(|row| row.try_get_by_index(3)).transpose()?;
        Ok((rows.iter().map(shard).collect::<Result<_, DbErr>>()?, now))
    }

    /// Returns the shards of the served lanes without a valid lease.
    fn claimable<'s>(&self, shards: &'s [Shard], given: &[ShardId]) -> Vec<&'s Shard> {
        let serves = |shard: ShardId| {
            let lane = u16::try_from(shard / i32::from(self.sharding.shards.get())).ok();
            lane.is_some_and(|lane| {
                lane < self.sharding.lanes.get()
                    && self
                        .beat
                        .lanes
                        .as_ref()
                        .is_none_or(|lanes| lanes.contains(&lane))
            })
        };
        let is_free = |shard: &&Shard| {
            let free = shard
                .owner
                .is_none_or(|owner| owner != self.beat.relay && shard.has_run_out);
            free && serves(shard.shard) && !given.contains(&shard.shard)
        };
        shards.iter().filter(is_free).collect()
    }

    async fn give_up(&self, shards: &[ShardId]) -> Result<(), DbErr> {
        self.update_own("owner = NULL, expires_at = NULL", false, shards)
            .await
    }

    async fn renew(&self, shards: &[ShardId]) -> Result<(), DbErr> {
        self.update_own("expires_at = ", true, shards).await
    }

    async fn update_own(&self, set: &str, renews: bool, shards: &[ShardId]) -> Result<(), DbErr> {
        if shards.is_empty() {
            return Ok(());
        }
        let update = self.dialect.update_shards(self.tables.shard());
        let update = Sql::new(self.dialect, &update.begin)
            .push(set)
            .when(renews, |sql| sql.after(self.beat.ttl))
            .push(&update.condition)
            .push("owner = ")
            .bind(self.beat.relay.0)
            .push(" AND shard")
            .one_of(shards.iter().copied().map(i64::from).collect())
            .push(update.end);
        self.store.db.execute_raw(update.build()).await?;
        Ok(())
    }

    /// Claims as many of these shards as are missing. Another relay may have claimed one first:
    /// then its row is not free any more.
    ///
    /// An epoch is at least the time in milliseconds, so that a row that was deleted and created
    /// again never repeats an epoch.
    async fn claim(&self, shards: &[&Shard], missing: usize) -> Result<(), StoreFailure> {
        if shards.is_empty() || missing == 0 {
            return Ok(());
        }
        let (tx, _) = self.store.begin().await?;
        let free = self.lock_free(&tx, shards, missing).await?;
        let least = Utc::now().timestamp_millis();
        if !free.is_empty() {
            let update = self.dialect.update_shards(self.tables.shard());
            let update = Sql::new(self.dialect, &update.begin)
                .push("owner = ")
                .bind(self.beat.relay.0)
                .push(", epoch = CASE WHEN epoch >= ")
                .bind(least)
                .push(" THEN epoch + 1 ELSE ")
                .bind(least)
                .push(" END, expires_at = ")
                .after(self.beat.ttl)
                .push(&update.condition)
                .push("shard")
                .one_of(free)
                .push(update.end);
            tx.execute_raw(update.build()).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Locks the first shards that are still free. Locked rows are skipped, so that they do not
    /// keep the others from being claimed.
    async fn lock_free(
        &self,
        tx: &StoreTransaction,
        shards: &[&Shard],
        limit: usize,
    ) -> Result<Vec<i64>, DbErr> {
        let (shard, now) = (self.tables.shard(), self.dialect.now());
        let free = format!(
            "SELECT shard FROM {shard} WHERE (owner IS NULL OR expires_at <= {now}) AND shard"
        );
        let select = Sql::new(self.dialect, &free)
            .one_of(shards.iter().map(|shard| i64::from(shard.shard)).collect())
            .push(" ORDER BY shard LIMIT ")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .push(self.dialect.lock_unlocked());
        let rows = tx.query_all_raw(select.build()).await?;
        rows.iter()
            .map(|row| Ok(i64::from(row.try_get_by_index::<ShardId>(0)?)))
            .collect()
    }

    async fn leases(&self) -> Result<Vec<Lease>, DbErr> {
        let owner = self.beat.relay;
        let select = Sql::new(
            self.dialect,
            &format!(
                "SELECT shard, epoch FROM {} WHERE owner = ",
                self.tables.shard()
            ),
        );
        let rows = self
            .store
            .db
            .query_all_raw(select.bind(owner.0).push(" ORDER BY shard").build())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Lease {
                    shard: row.try_get_by_index(0)?,
                    owner,
                    epoch: row.try_get_by_index(1)?,
                })
            })
            .collect()
    }
}

pub(super) async fn release(store: &OutboxStore, relay: RelayId) -> Result<(), StoreError> {
    retrying(store.db.get_database_backend(), || {
        release_once(store, relay)
    })
    .await
}

async fn release_once(store: &OutboxStore, relay: RelayId) -> Result<(), StoreFailure> {
    let dialect = store.dialect()?;
    let shard = store.tables.shard();
    // Asking first waits for no row of another relay.
    let own = Sql::new(
        dialect,
        &format!("SELECT shard FROM {shard} WHERE owner = "),
    )
    .bind(relay.0);
    let own = store.db.query_all_raw(own.build()).await?;
    let own = own
        .iter()
        .map(|row| Ok(i64::from(row.try_get_by_index::<ShardId>(0)?)))
        .collect::<Result<Vec<_>, DbErr>>()?;
    if !own.is_empty() {
        let update = dialect.update_shards(shard);
        let free = Sql::new(dialect, &update.begin)
            .push("owner = NULL, expires_at = NULL")
            .push(&update.condition);
        let free = free
            .push("owner = ")
            .bind(relay.0)
            .push(" AND shard")
            .one_of(own)
            .push(update.end);
        store.db.execute_raw(free.build()).await?;
    }
    let forget = format!("DELETE FROM {} WHERE id = ", store.tables.relay());
    store
        .db
        .execute_raw(Sql::new(dialect, &forget).bind(relay.0).build())
        .await?;
    Ok(())
}
