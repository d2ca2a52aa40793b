//! The state of the outbox for operators: counts, ages, relays. And that of the event store.

mod events;

use std::collections::BTreeMap;
use std::time::Duration;

use bento_core::outbox::Sharding;
use bento_relay::inspect::{Backlog, Inspect, LeaseState, RelayState, StatusCounts, TenantCounts};
use bento_relay::store::{RelayId, StoreError};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use uuid::Uuid;

use crate::dialect::Sql;
use crate::outbox::meta;
use crate::relay_store::{OutboxStore, lanes_of, served_at, sharding_error, store_error};

impl Inspect for OutboxStore {
    async fn counts(&self) -> Result<StatusCounts, StoreError> {
        let tenants = self.counts_by_tenant().await?;
        Ok(tenants.into_iter().fold(
            StatusCounts::default(),
            |sum, TenantCounts { counts, .. }| StatusCounts {
                pending: sum.pending + counts.pending,
                held: sum.held + counts.held,
                dead: sum.dead + counts.dead,
            },
        ))
    }

    async fn counts_by_tenant(&self) -> Result<Vec<TenantCounts>, StoreError> {
        let counts = "SELECT tenant_id, 0 AS status, count(*) FROM {outbox} GROUP BY tenant_id \
            UNION ALL SELECT tenant_id, 1, count(*) FROM {held} GROUP BY tenant_id \
            UNION ALL SELECT tenant_id, 2, count(*) FROM {dead_letter} GROUP BY tenant_id";
        let mut tenants: BTreeMap<Option<String>, StatusCounts> = BTreeMap::new();
        for (tenant_id, status, count) in self.read(counts, tenant_count_at).await? {
            let counts = tenants.entry(tenant_id).or_default();
            match status {
                0 => counts.pending = count,
                1 => counts.held = count,
                _ => counts.dead = count,
            }
        }
        Ok(tenants
            .into_iter()
            .map(|(tenant_id, counts)| TenantCounts { tenant_id, counts })
            .collect())
    }

    async fn oldest_pending(&self) -> Result<Option<Duration>, StoreError> {
        let ages = self
            .read(
                "SELECT {micros_until MIN(occurred_at)} FROM {outbox}",
                |row| row.try_get_by_index::<Option<i64>>(0),
            )
            .await?;
        Ok(ages
            .into_iter()
            .flatten()
            .next()
            .map(|until| Duration::from_micros((-until).max(0).cast_unsigned())))
    }

    async fn leases(&self) -> Result<Vec<LeaseState>, StoreError> {
        let select = "SELECT shard, owner, epoch, {micros_until expires_at} FROM {shard} \
            WHERE epoch > 0 ORDER BY shard";
        self.read(select, lease_at).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        let counts = "SELECT tenant_id, route, 1 AS status, count(*), \
                {micros_until MIN(occurred_at)} FROM {held} GROUP BY tenant_id, route \
            UNION ALL SELECT tenant_id, route, 2, count(*), NULL \
                FROM {dead_letter} GROUP BY tenant_id, route \
            UNION ALL SELECT tenant_id, NULL, 0, count(*), \
                {micros_until MIN(occurred_at)} FROM {outbox} GROUP BY tenant_id";
        Ok(summed(self.read(counts, counted_at).await?))
    }

    async fn relays(&self) -> Result<Vec<RelayState>, StoreError> {
        let select =
            "SELECT id, lanes, {micros_until expires_at}, handlers FROM {relay} ORDER BY id";
        Ok(self
            .read(select, relay_at)
            .await?
            .into_iter()
            .flatten()
            .collect())
    }

    async fn sharding(&self) -> Result<Option<Sharding>, StoreError> {
        let recorded = meta::read(self.db(), self.tables())
            .await
            .map_err(sharding_error)?;
        Ok(recorded.map(|recorded| recorded.sharding))
    }
}

impl OutboxStore {
    async fn read<T>(
        &self,
        select: &str,
        read: impl Fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<Vec<T>, StoreError> {
        let dialect = self.dialect()?;
        let rows = self
            .db()
            .query_all_raw(Sql::new(dialect, self.tables(), select, []).build())
            .await;
        rows.and_then(|rows| rows.iter().map(read).collect())
            .map_err(|error| store_error(dialect.backend(), error))
    }
}

fn tenant_count_at(row: &QueryResult) -> Result<(Option<String>, i32, u64), DbErr> {
    let count: i64 = row.try_get_by_index(2)?;
    Ok((
        row.try_get_by_index(0)?,
        row.try_get_by_index(1)?,
        count.cast_unsigned(),
    ))
}

/// The events of one tenant, route and status.
struct Counted {
    tenant_id: Option<String>,
    route: Option<String>,
    status: i32,
    count: u64,
    oldest: Option<Duration>,
}

fn counted_at(row: &QueryResult) -> Result<Counted, DbErr> {
    let until: Option<i64> = row.try_get_by_index(4)?;
    Ok(Counted {
        tenant_id: row.try_get_by_index(0)?,
        route: row.try_get_by_index(1)?,
        status: row.try_get_by_index(2)?,
        count: row.try_get_by_index::<i64>(3)?.cast_unsigned(),
        oldest: until.map(|until| Duration::from_micros((-until).max(0).cast_unsigned())),
    })
}

fn summed(counted: Vec<Counted>) -> Vec<Backlog> {
    let mut found: BTreeMap<(Option<String>, Option<String>), Backlog> = BTreeMap::new();
    for Counted {
        tenant_id,
        route,
        status,
        count,
        oldest,
    } in counted
    {
        let named = route.as_deref().map(Into::into);
        let first = Backlog {
            tenant_id: tenant_id.clone(),
            route: named,
            ..Backlog::default()
        };
        let backlog = found.entry((tenant_id, route)).or_insert(first);
        match status {
            0 => backlog.counts.pending = count,
            1 => backlog.counts.held = count,
            _ => backlog.counts.dead = count,
        }
        backlog.oldest = backlog.oldest.max(oldest);
    }
    found.into_values().collect()
}

fn lease_at(row: &QueryResult) -> Result<LeaseState, DbErr> {
    let left: Option<i64> = row.try_get_by_index(3)?;
    Ok(LeaseState {
        shard: row.try_get_by_index(0)?,
        owner: row.try_get_by_index::<Option<Uuid>>(1)?.map(RelayId),
        epoch: row.try_get_by_index(2)?,
        expires_in: left
            .filter(|left| *left > 0)
            .map(|left| Duration::from_micros(left.cast_unsigned())),
    })
}

/// Reads a relay; `None` for one whose heartbeat has expired.
fn relay_at(row: &QueryResult) -> Result<Option<RelayState>, DbErr> {
    let left: i64 = row.try_get_by_index(2)?;
    let lanes: Option<String> = row.try_get_by_index(1)?;
    let served = served_at(row, 3)?;
    let state = RelayState {
        relay: RelayId(row.try_get_by_index(0)?),
        lanes: lanes.as_deref().map(lanes_of),
        handlers: served.into_iter().map(|handler| handler.name).collect(),
        expires_in: Duration::from_micros(left.max(0).cast_unsigned()),
    };
    Ok((left > 0).then_some(state))
}
