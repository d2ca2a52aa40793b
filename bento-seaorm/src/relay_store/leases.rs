//! The leases of shards.
//!
//! A heartbeat is a few statements without a transaction, each complete in itself and conditional
//! on what it changes. So a relay whose process is frozen during a heartbeat holds no lock, and the
//! others take its shards when its leases expire. Only claiming locks rows, for the time of two
//! statements, and it skips locked rows: those of a relay that was frozen during an `advance`.

use std::ops::Range;

use bento_core::outbox::{ShardId, Sharding};
use bento_relay::store::{Heartbeat, Holdings, Lease, RelayId, StoreError, Surplus};
use bento_relay::telemetry::TARGET_RELAY;
use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use uuid::Uuid;

use self::share::fair_shares;
pub(crate) use self::share::lanes_of;
use super::errors::{StoreFailure, retrying};
use super::{OutboxStore, handlers};
use crate::dialect::{Bind, Dialect, Sql, after, any_of, binds};
use crate::session::StoreTransaction;
use crate::tables::Tables;

mod living;
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
    let beaten = retrying(store.db.get_database_backend(), || {
        Beating::once(store, beat, sharding)
    })
    .await;
    if matches!(beaten, Err(StoreError::NotMigrated { .. })) {
        store.handlers.may_be_lost();
    }
    beaten
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
        let stray = record::look(self.store, self.sharding, self.beat.publishes).await?;
        self.sign_of_life().await?;
        let (shards, now) = self.every_shard().await?;
        handlers::restore(self.store).await?;
        let recorded = handlers::read(&self.store.db, self.dialect, self.tables).await?;
        let alive = self.alive(&recorded).await?;
        let shares = fair_shares(&alive, self.beat.relay, self.sharding);
        let own: Vec<_> = shards
            .iter()
            .filter(|shard| shard.owner == Some(self.beat.relay))
            .map(|s| s.shard)
            .collect();
        let given = self.given(&own, &shares, &stray);
        self.hand_back(&given).await?;
        let kept: Vec<_> = own
            .into_iter()
            .filter(|shard| !given.contains(shard))
            .collect();
        self.renew(&kept).await?;
        let claimable = self.claimable(&shards, &given);
        let missing = if self.beat.claim {
            self.missing(&kept, &shares)
        } else {
            Vec::new()
        };
        self.claim(&claimable, &missing).await?;
        self.claim_stray(&shards, &stray).await?;
        let leases = self.leases().await?;
        handlers::widen(self.store, &self.beat.handlers, &recorded).await?;
        let is_taken_over = |shard: &&&Shard| {
            shard.owner.is_some() && leases.iter().any(|l| l.shard == shard.shard)
        };
        let taken_over = claimable
            .iter()
            .filter(is_taken_over)
            .map(|shard| shard.shard)
            .collect();
        let held: Vec<_> = leases.iter().map(|lease| lease.shard).collect();
        let surplus = self.surplus(&held, &shares);
        Ok(Holdings {
            leases,
            taken_over,
            surplus,
            stray,
            handlers: recorded.into_iter().map(|handler| handler.name).collect(),
            now,
        })
    }

    /// Reads every shard of the sharding, after it has created missing rows again.
    async fn every_shard(&self) -> Result<(Vec<Shard>, Option<DateTime<Utc>>), DbErr> {
        let (shards, now) = self.read_shards().await?;
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
        self.read_shards().await
    }

    /// Returns the shards of each lane, its share, and the number of these that are in it.
    fn by_lane(
        &self,
        held: &[ShardId],
        shares: &[usize],
    ) -> impl Iterator<Item = (Range<ShardId>, usize, usize)> {
        (0..).zip(shares).map(|(lane, share)| {
            let lane = self.sharding.lane_shards(lane);
            let held = held.iter().filter(|shard| lane.contains(shard)).count();
            (lane, *share, held)
        })
    }

    /// Returns the numbers of shards above the fair share, by lane.
    fn surplus(&self, held: &[ShardId], shares: &[usize]) -> Vec<Surplus> {
        let lanes = self.by_lane(held, shares);
        let surplus = lanes.map(|(lane, share, held)| Surplus {
            lane,
            shards: held.saturating_sub(share),
        });
        surplus.filter(|surplus| surplus.shards > 0).collect()
    }

    /// Returns the numbers of shards below the fair share, by lane.
    fn missing(&self, held: &[ShardId], shares: &[usize]) -> Vec<(Range<ShardId>, usize)> {
        let lanes = self.by_lane(held, shares);
        let missing = lanes.map(|(lane, share, held)| (lane, share.saturating_sub(held)));
        missing.filter(|(_, missing)| *missing > 0).collect()
    }

    /// Returns the shards to hand back: idle ones above the fair share, and empty ones outside of
    /// the sharding.
    fn given(&self, own: &[ShardId], shares: &[usize], stray: &[ShardId]) -> Vec<ShardId> {
        let idle = self
            .beat
            .idle
            .iter()
            .copied()
            .filter(|shard| own.contains(shard));
        let (shared, outside): (Vec<_>, Vec<_>) =
            idle.partition(|shard| *shard < self.sharding.total());
        let mut given = Vec::new();
        for Surplus { lane, shards } in self.surplus(own, shares) {
            let idle = shared.iter().filter(|shard| lane.contains(shard));
            given.extend(idle.take(shards));
        }
        given.extend(outside.into_iter().filter(|shard| !stray.contains(shard)));
        given
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
        let all = (self.sharding.total()..ShardId::MAX, free.len());
        let missing = if self.beat.claim {
            vec![all]
        } else {
            Vec::new()
        };
        self.claim(&free, &missing).await
    }

    /// Reads the record of every shard, and the clock of the database.
    async fn read_shards(&self) -> Result<(Vec<Shard>, Option<DateTime<Utc>>), DbErr> {
        let select = self.sql(
            "SELECT shard, owner, CASE WHEN expires_at > {now} THEN 0 ELSE 1 END, {now} \
             FROM {shard} ORDER BY shard",
            [],
        );
        let rows = self.store.db.query_all_raw(select.build()).await?;
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

    async fn hand_back(&self, shards: &[ShardId]) -> Result<(), DbErr> {
        if shards.is_empty() {
            return Ok(());
        }
        let (dialect, tables) = (self.dialect, self.tables);
        self.execute(release_own(
            dialect,
            tables,
            self.beat.relay,
            numbers(shards),
        ))
        .await
    }

    async fn renew(&self, shards: &[ShardId]) -> Result<(), DbErr> {
        if shards.is_empty() {
            return Ok(());
        }
        let update = self
            .dialect
            .update_shards("expires_at = ?", "owner = ? AND shard IN (?)");
        self.execute(self.sql(
            &update,
            binds![
                after(self.beat.ttl),
                self.beat.relay.0,
                any_of(numbers(shards))
            ],
        ))
        .await
    }

    /// Claims as many of these shards as are missing in each lane. Another relay may have claimed
    /// one first: then its row is not free any more.
    ///
    /// An epoch is at least the time in milliseconds, so that a row that was deleted and created
    /// again never repeats an epoch.
    async fn claim(
        &self,
        shards: &[&Shard],
        missing: &[(Range<ShardId>, usize)],
    ) -> Result<(), StoreFailure> {
        let wanted = missing.iter().filter_map(|(lane, missing)| {
            let in_lane = shards.iter().filter(|shard| lane.contains(&shard.shard));
            let in_lane: Vec<_> = in_lane.map(|shard| i64::from(shard.shard)).collect();
            (!in_lane.is_empty()).then_some((in_lane, *missing))
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (tx, _) = self.store.begin().await?;
        let mut free = Vec::new();
        for (in_lane, missing) in wanted {
            free.append(&mut self.lock_free(&tx, in_lane, missing).await?);
        }
        let least = Utc::now().timestamp_millis();
        if !free.is_empty() {
            let update = self.dialect.update_shards(
                "owner = ?, epoch = CASE WHEN epoch >= ? THEN epoch + 1 ELSE ? END, expires_at = ?",
                "shard IN (?)",
            );
            let update = self.sql(
                &update,
                binds![
                    self.beat.relay.0,
                    least,
                    least,
                    after(self.beat.ttl),
                    any_of(free)
                ],
            );
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
        shards: Vec<i64>,
        limit: usize,
    ) -> Result<Vec<i64>, DbErr> {
        let select = self.sql(
            "SELECT shard FROM {shard} WHERE (owner IS NULL OR expires_at <= {now}) \
             AND shard IN (?) ORDER BY shard LIMIT ?{lock_unlocked}",
            binds![any_of(shards), i64::try_from(limit).unwrap_or(i64::MAX),],
        );
        let rows = tx.query_all_raw(select.build()).await?;
        rows.iter()
            .map(|row| Ok(i64::from(row.try_get_by_index::<ShardId>(0)?)))
            .collect()
    }

    async fn leases(&self) -> Result<Vec<Lease>, DbErr> {
        let owner = self.beat.relay;
        let select = self.sql(
            "SELECT shard, epoch FROM {shard} WHERE owner = ? ORDER BY shard",
            binds![owner.0],
        );
        let rows = self.store.db.query_all_raw(select.build()).await?;
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

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.store.db.execute_raw(sql.build()).await?;
        Ok(())
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
    // Asking first waits for no row of another relay.
    let own = Sql::new(
        dialect,
        &store.tables,
        "SELECT shard FROM {shard} WHERE owner = ?",
        binds![relay.0],
    );
    let own = store.db.query_all_raw(own.build()).await?;
    let own = own
        .iter()
        .map(|row| Ok(i64::from(row.try_get_by_index::<ShardId>(0)?)))
        .collect::<Result<Vec<_>, DbErr>>()?;
    if !own.is_empty() {
        let free = release_own(dialect, &store.tables, relay, own);
        store.db.execute_raw(free.build()).await?;
    }
    let forget = Sql::new(
        dialect,
        &store.tables,
        "DELETE FROM {relay} WHERE id = ?",
        binds![relay.0],
    );
    store.db.execute_raw(forget.build()).await?;
    Ok(())
}

/// The UPDATE that ends the leases of a relay on these shards.
fn release_own<'a>(
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    relay: RelayId,
    shards: Vec<i64>,
) -> Sql<'a> {
    let update = dialect.update_shards(
        "owner = NULL, expires_at = NULL",
        "owner = ? AND shard IN (?)",
    );
    Sql::new(dialect, tables, &update, binds![relay.0, any_of(shards)])
}

fn numbers(shards: &[ShardId]) -> Vec<i64> {
    shards.iter().copied().map(i64::from).collect()
}
