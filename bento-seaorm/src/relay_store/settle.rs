//! Recording outcomes other than "published": rows that are held, tried again, moved or dead.
//!
//! A row that is not where a settlement expects it stays as it is: the call was repeated, or an
//! operator was quicker.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_relay::store::{Outcome, Place, Settlement, StreamKey};
use sea_orm::{ConnectionTrait, DbErr};

use self::groups::{Groups, Positions};
pub(crate) use self::rows::storable;
use super::held::park_or_promote;
use crate::dialect::{Bind, Dialect, Sql, any_of, binds, keep_pending};
use crate::entity::lossy_at;
use crate::session::StoreTransaction;
use crate::tables::Tables;

mod groups;
mod rows;

/// The settlements of one call.
pub(super) struct Settling<'a> {
    pub(super) tx: &'a StoreTransaction,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    pub(super) shard: ShardId,
    /// True if published rows are kept.
    pub(super) keep: bool,
}

impl Settling<'_> {
    /// Settles everything, the pending rows at the end, so that a row can be held for several
    /// routes.
    pub(super) async fn settle(&self, settled: &[Settlement]) -> Result<(), DbErr> {
        let touched = self.record(settled).await?;
        self.delete_pending(
            settled
                .iter()
                .filter_map(Settlement::leaves_outbox)
                .collect(),
        )
        .await?;
        self.promote(&touched).await
    }

    /// Makes the heads of these streams due.
    pub(super) async fn promote(&self, touched: &BTreeSet<StreamKey>) -> Result<(), DbErr> {
        park_or_promote(self.tx, self.dialect, self.tables, self.shard, touched).await
    }

    /// The streams that these settlements change.
    pub(super) async fn streams(
        &self,
        settled: &[Settlement],
    ) -> Result<BTreeSet<StreamKey>, DbErr> {
        self.touched(&Groups::of(settled)).await
    }

    /// Settles everything but that pending rows leave the outbox. Returns the streams that are
    /// changed.
    pub(super) async fn record(
        &self,
        settled: &[Settlement],
    ) -> Result<BTreeSet<StreamKey>, DbErr> {
        let groups = Groups::of(settled);
        // Asked before the rows move: later their streams are not found where they were.
        let touched = self.touched(&groups).await?;
        for settlement in settled {
            self.one(settlement).await?;
        }
        if self.keep {
            self.keep_published(settled).await?;
        }
        for ((route, ordered), positions) in groups.behind {
            let insert = self.hold_untried(&route, ordered);
            self.take_from_outbox(insert, &route, positions).await?;
        }
        for (route, unroutable, positions) in groups.unroutable {
            self.update_unroutable(&route, unroutable, positions)
                .await?;
        }
        for (route, positions) in groups.held_done {
            self.delete_held(&route, positions).await?;
        }
        Ok(touched)
    }

    /// Copies the rows that are published now. A pending row that is held or dead for a route is
    /// published when the last of its routes has it.
    async fn keep_published(&self, settled: &[Settlement]) -> Result<(), DbErr> {
        let (mut pending, mut moved, mut held) =
            (BTreeSet::new(), BTreeSet::new(), Positions::new());
        for settlement in settled {
            let Settlement {
                position,
                place,
                route,
                outcome,
                ..
            } = settlement;
            match place {
                Place::Pending if *outcome == Outcome::Published => {
                    pending.insert(*position);
                }
                Place::Pending => moved.extend(settlement.leaves_outbox()),
                Place::Held if *outcome == Outcome::Published => {
                    held.entry(Arc::clone(route)).or_default().push(*position);
                }
                Place::Held => {}
            }
        }
        let pending: Vec<_> = pending.difference(&moved).copied().collect();
        if !pending.is_empty() {
            let keep = keep_pending(self.dialect, self.tables, self.shard, pending);
            self.execute(keep).await?;
        }
        for (route, positions) in held {
            let keep = self.sql(
                "INSERT INTO {published} (shard, position, {event}, published_at) \
                 SELECT shard, position, {event}, {now} FROM {held} \
                 WHERE shard = ? AND route = ? AND position IN (?)",
                binds![self.shard, &*route, any_of(positions)],
            );
            self.execute(keep.or_leave(self.tables.published(), &["event_id"]))
                .await?;
        }
        Ok(())
    }

    /// The streams that change, read while their rows are still there.
    async fn touched(&self, groups: &Groups<'_>) -> Result<BTreeSet<StreamKey>, DbErr> {
        let mut touched = BTreeSet::new();
        for (route, positions) in &groups.pending {
            let select = self.sql(
                "SELECT DISTINCT aggregate_type, aggregate_id FROM {outbox} \
                 WHERE shard = ? AND aggregate_id <> '' AND position IN (?)",
                binds![self.shard, any_of(positions.clone())],
            );
            self.add_streams(select, route, &mut touched).await?;
        }
        for (route, positions) in &groups.held {
            let select = self.streams_of_held(route, positions.clone());
            self.add_streams(select, route, &mut touched).await?;
        }
        for (route, to, position) in &groups.moved {
            let select = self.streams_of_held(route, vec![*position]);
            self.add_streams(select, to, &mut touched).await?;
        }
        Ok(touched)
    }

    fn streams_of_held(&self, route: &str, positions: Vec<i64>) -> Sql<'_> {
        self.sql(
            "SELECT DISTINCT aggregate_type, aggregate_id FROM {held} \
             WHERE shard = ? AND aggregate_id <> '' AND route = ? AND position IN (?)",
            binds![self.shard, route, any_of(positions)],
        )
    }

    async fn add_streams(
        &self,
        select: Sql<'_>,
        route: &Arc<str>,
        touched: &mut BTreeSet<StreamKey>,
    ) -> Result<(), DbErr> {
        for row in self.tx.query_all_raw(select.build()).await? {
            touched.insert(StreamKey {
                route: Arc::clone(route),
                aggregate_type: lossy_at(&row, 0),
                aggregate_id: lossy_at(&row, 1),
            });
        }
        Ok(())
    }

    fn sql(&self, text: &str, binds: impl IntoIterator<Item = Bind>) -> Sql<'_> {
        Sql::new(self.dialect, self.tables, text, binds)
    }

    async fn execute(&self, sql: Sql<'_>) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}
