//! One call of the seam: settle, renew, read.

use std::sync::Arc;
use std::time::Instant;

use bento_core::relay::store::{Advance, Advanced, Lease, OutboxRow, Settlement, StoreError};
use sea_orm::ConnectionTrait;

use super::OutboxStore;
use super::errors::{StoreFailure, Tries, unreadable};
use super::held::{self, Wanted};
use super::memory::{HeldRows, Remembered};
use super::settle::{self, Settling};
use crate::dialect::{Dialect, Renewal, Sql};
use crate::entity::{envelope_at, written_columns};
use crate::session::StoreTransaction;
use crate::tables::Tables;

pub(super) async fn advance(store: &OutboxStore, advance: Advance) -> Result<Advanced, StoreError> {
    let remembered = store.memory.take(advance.lease);
    let mut tries = Tries::new(store.db.get_database_backend());
    loop {
        match Call::run(store, &advance, remembered.clone()).await {
            Ok((advanced, remembered)) => {
                store.memory.put(advance.lease.shard, remembered);
                return Ok(advanced);
            }
            Err(failure) => tries.again(failure)?,
        }
    }
}

/// One call and its transaction.
struct Call<'a> {
    tx: StoreTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    advance: &'a Advance,
    remembered: Remembered,
    /// Whether what is known of the shard may be about another history of the database.
    begins_anew: bool,
}

impl<'a> Call<'a> {
    async fn run(
        store: &'a OutboxStore,
        advance: &'a Advance,
        remembered: Remembered,
    ) -> Result<(Advanced, Remembered), StoreFailure> {
        let (tx, dialect) = store.begin().await?;
        let mut call = Self { tx, dialect, tables: &store.tables, advance, remembered, begins_anew: false };
        let advanced = call.settle_and_read().await?;
        call.tx.commit().await?;
        Ok((advanced, call.remembered))
    }

    async fn settle_and_read(&mut self) -> Result<Advanced, StoreFailure> {
        let revision = self.renew().await?;
        let fresh = self.fresh().await?;
        let mut advanced = Advanced { fresh, revision, ..Advanced::default() };
        if self.begins_anew || self.advance.revision != Some(revision) {
            let (streams, paused) = held::streams(&self.tx, self.dialect, self.tables, self.lease().shard).await?;
            (advanced.streams, advanced.paused_tenants) = (Some(streams), paused);
        }
        self.held(&mut advanced).await?;
        Ok(advanced)
    }

    fn lease(&self) -> Lease {
        self.advance.lease
    }

    /// Renews the lease and settles. What is simply published goes along with the lease in one round trip where the back end
    /// can do that; what moves has to be moved before it is deleted.
    async fn renew(&mut self) -> Result<i64, StoreFailure> {
        let settled = &self.advance.settled;
        let fresh: Vec<_> = settled.iter().filter_map(settle::fresh_position).collect();
        let moves = !settled.iter().all(|settlement| matches!(settlement, Settlement::Published { .. }));
        self.remembered.scan.settled(&fresh);
        let published = if moves { Vec::new() } else { fresh };
        let Advance { lease, ttl, keep_published: keep, .. } = *self.advance;
        let renewal = Renewal { tables: self.tables, lease, ttl, published, keep };
        let Some(renewed) = self.dialect.renew(&self.tx, renewal).await? else {
            let Lease { shard, epoch, .. } = lease;
            return Err(StoreError::LeaseLost { shard, epoch }.into());
        };
        self.begins_anew = renewed.horizon.is_some_and(|horizon| self.remembered.scan.observe(horizon));
        if self.begins_anew {
            self.remembered.held = HeldRows::Unknown;
        }
        if moves {
            let settling =
                Settling { tx: &self.tx, dialect: self.dialect, tables: self.tables, shard: lease.shard, keep };
            settling.settle(settled).await?;
            self.remembered.held = HeldRows::Unknown;
        }
        Ok(renewed.revision)
    }

    async fn fresh(&mut self) -> Result<Vec<OutboxRow>, StoreFailure> {
        let limit = self.advance.fresh;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let select = format!("SELECT position, {} FROM {} WHERE shard = ", written_columns(), self.tables.outbox());
        let select = Sql::new(self.dialect, &select)
            .bind(self.lease().shard)
            .push(" AND position > ")
            .bind(self.remembered.scan.floor())
            .push(" ORDER BY position LIMIT ")
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.tx.query_all_raw(select.build()).await?;
        let fresh = rows
            .iter()
            .map(|row| {
                let position = row.try_get_by_index(0)?;
                let envelope = envelope_at(row, 1);
                let envelope = envelope
                    .map_err(|error| unreadable(self.tables.outbox(), self.advance.lease.shard, position, error))?;
                Ok(OutboxRow { position, envelope: Arc::new(envelope) })
            })
            .collect::<Result<Vec<_>, StoreFailure>>()?;
        self.remembered.scan.read(fresh.iter().map(|row| row.position), limit);
        Ok(fresh)
    }

    /// Looks at the held rows, unless nobody has changed them and none is due.
    async fn held(&mut self, advanced: &mut Advanced) -> Result<(), StoreFailure> {
        let now = Instant::now();
        let Advance { held: limit, ref without, .. } = *self.advance;
        if let Some(due) = self.remembered.held.quiet(advanced.revision, without, now) {
            advanced.next_due = due.map(|due| due - now);
            return Ok(());
        }
        let wanted = Wanted { dialect: self.dialect, tables: self.tables, shard: self.lease().shard, without };
        advanced.held = wanted.due(&self.tx, limit).await?;
        let found_none = advanced.held.is_empty() && limit > 0;
        advanced.next_due = wanted.next_due(&self.tx, found_none).await?;
        if found_none {
            let due = advanced.next_due.map(|wait| now + wait);
            let without = without.clone();
            self.remembered.held = HeldRows::Until { revision: advanced.revision, without, due };
        }
        Ok(())
    }
}
