//! Tenants that an operator has paused.

use bento_relay::store::StoreError;
use bento_relay::tenant::{PausedTenant, Pauses};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use super::errors::{StoreFailure, retrying, store_error};
use super::{OutboxStore, all_shards};
use crate::dialect::{Bind, Dialect, Sql, binds};
use crate::session::StoreTransaction;
use crate::tables::Tables;

impl Pauses for OutboxStore {
    async fn pause(
        &self,
        tenant_id: &str,
        reason: &str,
        actor: Option<&str>,
    ) -> Result<bool, StoreError> {
        PausedTenant::check(tenant_id, reason, actor)?;
        apply(
            self,
            &Change {
                tenant_id,
                pause: Some((reason, actor)),
            },
        )
        .await
    }

    async fn resume(&self, tenant_id: &str) -> Result<bool, StoreError> {
        apply(
            self,
            &Change {
                tenant_id,
                pause: None,
            },
        )
        .await
    }

    async fn paused(&self) -> Result<Vec<PausedTenant>, StoreError> {
        let dialect = self.dialect()?;
        let select = Sql::new(
            dialect,
            self.tables(),
            "SELECT tenant_id, reason, actor, paused_at FROM {paused_tenant} ORDER BY tenant_id",
            [],
        );
        let rows = self.db().query_all_raw(select.build()).await;
        let paused = rows.and_then(|rows| rows.iter().map(paused_tenant).collect());
        paused.map_err(|error| store_error(dialect.backend(), error))
    }
}

fn paused_tenant(row: &QueryResult) -> Result<PausedTenant, DbErr> {
    Ok(PausedTenant::new(
        row.try_get_by_index::<String>(0)?,
        row.try_get_by_index::<String>(1)?,
        row.try_get_by_index(2)?,
        row.try_get_by_index(3)?,
    ))
}

/// The change that an operator asks for.
struct Change<'a> {
    tenant_id: &'a str,
    /// The reason and the actor of a pause; `None` resumes.
    pause: Option<(&'a str, Option<&'a str>)>,
}

/// Makes the change. Returns false if it was made already.
async fn apply(store: &OutboxStore, change: &Change<'_>) -> Result<bool, StoreError> {
    retrying(store.db().get_database_backend(), || {
        apply_once(store, change)
    })
    .await
}

async fn apply_once(store: &OutboxStore, change: &Change<'_>) -> Result<bool, StoreFailure> {
    let (tx, dialect) = store.begin().await?;
    let changing = Changing {
        tx: &tx,
        dialect,
        tables: store.tables(),
    };
    all_shards::lock(&tx, dialect, store.tables()).await?;
    // Each relay has settled its rows now, or will see the revision that is raised below.
    if changing.is_paused(change.tenant_id).await? == change.pause.is_some() {
        tx.rollback().await?;
        return Ok(false);
    }
    all_shards::tell(&tx, dialect, store.tables()).await?;
    match change.pause {
        Some((reason, actor)) => changing.pause(change.tenant_id, reason, actor).await?,
        None => changing.resume(change.tenant_id).await?,
    }
    tx.commit().await?;
    Ok(true)
}

struct Changing<'a> {
    tx: &'a StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
}

impl Changing<'_> {
    async fn is_paused(&self, tenant_id: &str) -> Result<bool, DbErr> {
        let select = self.sql(
            "SELECT 1 FROM {paused_tenant} WHERE tenant_id = ?",
            binds![tenant_id],
        );
        Ok(self.tx.query_one_raw(select.build()).await?.is_some())
    }

    async fn pause(&self, tenant_id: &str, reason: &str, actor: Option<&str>) -> Result<(), DbErr> {
        let insert = self.sql(
            "INSERT INTO {paused_tenant} (tenant_id, reason, actor, paused_at) \
             VALUES (?, ?, ?, {now})",
            binds![tenant_id, reason, actor.map(str::to_owned)],
        );
        self.execute(insert.or_leave(self.tables.paused_tenant(), &["tenant_id"]))
            .await
    }

    async fn resume(&self, tenant_id: &str) -> Result<(), DbErr> {
        self.execute(self.sql(
            "DELETE FROM {paused_tenant} WHERE tenant_id = ?",
            binds![tenant_id],
        ))
        .await
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}
