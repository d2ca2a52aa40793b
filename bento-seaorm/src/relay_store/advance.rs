//! One call of the seam: settle, renew, read.
//!
//! Decision: docs/decisions/0013-one-transaction-per-call-of-the-relay.md

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use bento_core::report::with_causes;
use bento_relay::store::{Advance, Advanced, DeadRow, Lease, OutboxRow, Settlement, StoreError};
use bento_relay::telemetry::TARGET_RELAY;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use super::OutboxStore;
use super::errors::{StoreFailure, Tries};
use super::handlers;
use super::held::{self, Wanted};
use super::memory::{HeldRows, Remembered};
use super::salvage::Salvage;
use super::settle::Settling;
use crate::backend;
use crate::dialect::{Dialect, Renewal, Sql, binds};
use crate::entity::envelope_at;
use crate::session::StoreTransaction;
use crate::tables::Tables;

pub(super) async fn advance(store: &OutboxStore, advance: Advance) -> Result<Advanced, StoreError> {
    // Taken out, and put back after the commit only: a call that fails forgets.
    let remembered = store.memory.take(advance.lease);
    let backend = store.db.get_database_backend();
    let mut tries = Tries::new(backend);
    let mut one_by_one = false;
    loop {
        match Call::run(store, &advance, remembered.clone(), one_by_one).await {
            Ok((advanced, remembered)) => {
                store.memory.put(advance.lease.shard, remembered);
                return Ok(advanced);
            }
            Err(StoreFailure::Settling(error))
                if !one_by_one && backend::is_refusal(backend, &error) =>
            {
                let shard = advance.lease.shard;
                tracing::warn!(
                    target: TARGET_RELAY, shard, error = with_causes(&error),
                    "the database refused the settlements of a call; they are recorded one by one",
                );
                one_by_one = true;
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
    /// True if the memory of the shard may belong to another history of the database, or rows were
    /// given up in this call.
    begins_anew: bool,
    /// True if settlements are recorded one by one, after the database refused one of them.
    one_by_one: bool,
    /// The rows that became dead letters in this call.
    dead_rows: Vec<DeadRow>,
}

/// The number of times that a call reads again after it gave up rows that it could not read.
const ROUNDS: usize = 20;

impl<'a> Call<'a> {
    async fn run(
        store: &'a OutboxStore,
        advance: &'a Advance,
        remembered: Remembered,
        one_by_one: bool,
    ) -> Result<(Advanced, Remembered), StoreFailure> {
        let (tx, dialect) = store.begin().await?;
        let mut call = Self {
            tx,
            dialect,
            tables: &store.tables,
            advance,
            remembered,
            begins_anew: false,
            one_by_one,
            dead_rows: Vec::new(),
        };
        let advanced = call.settle_and_read().await?;
        call.tx.commit().await?;
        Ok((advanced, call.remembered))
    }

    async fn settle_and_read(&mut self) -> Result<Advanced, StoreFailure> {
        let revision = self.renew().await?;
        let pending = self.pending().await?;
        let mut advanced = Advanced {
            pending,
            revision,
            ..Advanced::default()
        };
        self.held(&mut advanced).await?;
        if self.begins_anew || self.advance.revision != Some(revision) {
            let (streams, paused) =
                held::streams(&self.tx, self.dialect, self.tables, self.lease().shard).await?;
            (advanced.streams, advanced.paused_tenants) = (Some(streams), paused);
            advanced.handlers = handlers::read(&self.tx, self.dialect, self.tables).await?;
        }
        advanced.dead_rows = mem::take(&mut self.dead_rows);
        Ok(advanced)
    }

    fn lease(&self) -> Lease {
        self.advance.lease
    }

    /// Renews the lease and settles. Rows that are only deleted go along with the lease in one
    /// round trip, where the back end can do so; rows that move are copied before they are deleted.
    async fn renew(&mut self) -> Result<i64, StoreFailure> {
        let settled = &self.advance.settled;
        let pending: Vec<_> = settled
            .iter()
            .filter_map(Settlement::leaves_outbox)
            .collect();
        let moves = !settled.iter().all(Settlement::is_pending_published);
        // Before the bound is asked for: rows that are settled now must not hold it back.
        self.remembered.scan.settled(&pending);
        let published = if moves || self.one_by_one {
            Vec::new()
        } else {
            pending
        };
        let Advance {
            lease,
            ttl,
            keep_published: keep,
            ..
        } = *self.advance;
        let renewal = Renewal {
            tables: self.tables,
            lease,
            ttl,
            published,
            keep,
        };
        let renewed = self
            .dialect
            .renew(&self.tx, renewal)
            .await
            .map_err(StoreFailure::Settling)?;
        let Some(renewed) = renewed else {
            let Lease { shard, epoch, .. } = lease;
            return Err(StoreError::LeaseLost { shard, epoch }.into());
        };
        self.begins_anew = renewed
            .horizon
            .is_some_and(|horizon| self.remembered.scan.observe(horizon));
        if self.begins_anew {
            self.remembered.held = HeldRows::Unknown;
        }
        let settling = Settling {
            tx: &self.tx,
            dialect: self.dialect,
            tables: self.tables,
            shard: lease.shard,
            keep,
        };
        if self.one_by_one {
            self.dead_rows = settling.settle_one_by_one(settled).await?;
            (self.begins_anew, self.remembered.held) = (true, HeldRows::Unknown);
        } else if moves {
            settling
                .settle(settled)
                .await
                .map_err(StoreFailure::Settling)?;
            self.remembered.held = HeldRows::Unknown;
        }
        Ok(renewed.revision)
    }

    fn salvage(&self) -> Salvage<'_> {
        Salvage {
            tx: &self.tx,
            dialect: self.dialect,
            tables: self.tables,
            shard: self.lease().shard,
        }
    }

    /// Reads the next pending rows, up to the first that cannot be read. If the first row cannot be
    /// read, it is given up, and the rows behind it are read.
    async fn pending(&mut self) -> Result<Vec<OutboxRow>, StoreFailure> {
        let limit = self.advance.pending;
        if limit == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..ROUNDS {
            let (mut pending, mut unreadable) = (Vec::new(), Vec::new());
            for row in self.read_pending(limit).await? {
                let position = row.try_get_by_index(0)?;
                match envelope_at(&row, 1) {
                    Ok(envelope) if unreadable.is_empty() => {
                        pending.push(OutboxRow {
                            position,
                            envelope: Arc::new(envelope),
                        });
                    }
                    Ok(_) => break,
                    Err(error) => unreadable.push((position, error)),
                }
            }
            if unreadable.is_empty() || !pending.is_empty() {
                let limit = if unreadable.is_empty() {
                    limit
                } else {
                    pending.len()
                };
                self.remembered
                    .scan
                    .read(pending.iter().map(|row| row.position), limit);
                return Ok(pending);
            }
            for (position, error) in unreadable {
                self.tell_unreadable(self.tables.outbox(), position);
                let dead_row = self.salvage().unreadable(position, &error).await?;
                self.dead_rows.extend(dead_row);
            }
            self.begins_anew = true;
        }
        Ok(Vec::new())
    }

    async fn read_pending(&mut self, limit: usize) -> Result<Vec<QueryResult>, DbErr> {
        let select = Sql::new(
            self.dialect,
            self.tables,
            "SELECT position, {read_event} FROM {outbox} \
             WHERE shard = ? AND position > ? ORDER BY position LIMIT ?",
            binds![
                self.lease().shard,
                self.remembered.scan.floor(),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
        );
        self.tx.query_all_raw(select.build()).await
    }

    fn tell_unreadable(&self, table: &str, position: i64) {
        let shard = self.lease().shard;
        tracing::error!(
            target: TARGET_RELAY, shard, position, table, "a row cannot be read and becomes a \
                                                           dead letter; its aggregate waits",
        );
    }

    /// Reads the held rows, unless they are unchanged and none is due.
    async fn held(&mut self, advanced: &mut Advanced) -> Result<(), StoreFailure> {
        let now = Instant::now();
        let Advance {
            held: limit,
            ref without,
            ..
        } = *self.advance;
        if let Some(due) = self.remembered.held.quiet(advanced.revision, without, now) {
            advanced.next_due = due.map(|due| due - now);
            return Ok(());
        }
        let wanted = Wanted {
            dialect: self.dialect,
            tables: self.tables,
            shard: self.lease().shard,
            without,
        };
        let mut due = wanted.due(&self.tx, limit).await?;
        for _ in 0..ROUNDS {
            if due.unreadable.is_empty() {
                break;
            }
            for position in due.unreadable {
                self.tell_unreadable(self.tables.held(), position);
                let dead_rows = self.salvage().unreadable_held(position).await?;
                self.dead_rows.extend(dead_rows);
            }
            self.begins_anew = true;
            due = wanted.due(&self.tx, limit).await?;
        }
        (advanced.held, advanced.is_cut) = (due.rows, due.is_cut);
        let found_none = advanced.held.is_empty() && limit > 0;
        advanced.next_due = wanted.next_due(&self.tx, found_none).await?;
        if found_none {
            let due = advanced.next_due.map(|wait| now + wait);
            let without = without.clone();
            self.remembered.held = HeldRows::Until {
                revision: advanced.revision,
                without,
                due,
            };
        }
        Ok(())
    }
}
