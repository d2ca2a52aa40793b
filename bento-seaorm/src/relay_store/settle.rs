//! Recording outcomes that are more than "published": rows that are held back, tried again or given up.
//!
//! A row that is not where a settlement expects it is left alone: the call was repeated, or an operator was quicker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_core::relay::store::{Burial, Failure, Held, Settlement, StreamKey};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use super::held::park_or_promote;
use crate::dialect::{Dialect, Sql};
use crate::entity::MOVED;
use crate::tables::Tables;

/// The position of a fresh row that this settles.
pub(super) fn fresh_position(settlement: &Settlement) -> Option<i64> {
    match settlement {
        Settlement::Published { position } | Settlement::Hold { position, .. } | Settlement::Bury { position, .. } => {
            Some(*position)
        }
        Settlement::HeldPublished { .. } | Settlement::HeldFailed { .. } | Settlement::HeldBury { .. } => None,
    }
}

/// Settles everything, the fresh rows at the end, so that a row can be held for several destinations.
pub(super) async fn settle(
    tx: &DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &Tables,
    shard: ShardId,
    settled: &[Settlement],
) -> Result<(), DbErr> {
    let settling = Settling { tx, dialect, tables, shard };
    let groups = Groups::of(settled);
    let touched = settling.touched(&groups).await?;
    for settlement in settled {
        settling.one(settlement).await?;
    }
    for (destination, positions) in groups.followers {
        settling.hold_followers(&destination, positions).await?;
    }
    for (destination, positions) in groups.held_done {
        settling.delete_held(&destination, positions).await?;
    }
    settling.delete_fresh(settled.iter().filter_map(fresh_position).collect()).await?;
    park_or_promote(tx, dialect, tables, shard, &touched).await
}

type Positions = BTreeMap<Arc<str>, Vec<i64>>;

/// What can be done for many rows at once, by destination.
#[derive(Default)]
struct Groups {
    /// Fresh rows that move.
    fresh: Positions,
    /// Of them, those that did not fail themselves.
    followers: Positions,
    /// Held rows.
    held: Positions,
    /// Of them, those that leave: published or buried.
    held_done: Positions,
}

impl Groups {
    fn of(settled: &[Settlement]) -> Self {
        let mut groups = Self::default();
        let add = |group: &mut Positions, destination: &Arc<str>, position: i64| {
            group.entry(Arc::clone(destination)).or_default().push(position);
        };
        for settlement in settled {
            match settlement {
                Settlement::Published { .. } => {}
                Settlement::Hold { position, destination, why, .. } => {
                    add(&mut groups.fresh, destination, *position);
                    if !matches!(why, Held::Failed(_)) {
                        add(&mut groups.followers, destination, *position);
                    }
                }
                Settlement::Bury { position, destination, .. } => add(&mut groups.fresh, destination, *position),
                Settlement::HeldFailed { position, destination, .. } => add(&mut groups.held, destination, *position),
                Settlement::HeldPublished { position, destination }
                | Settlement::HeldBury { position, destination, .. } => {
                    add(&mut groups.held, destination, *position);
                    add(&mut groups.held_done, destination, *position);
                }
            }
        }
        groups
    }
}

struct Settling<'a> {
    tx: &'a DatabaseTransaction,
    dialect: &'static dyn Dialect,
    tables: &'a Tables,
    shard: ShardId,
}

impl Settling<'_> {
    /// The streams in which something changes, while their rows are still there to be asked.
    async fn touched(&self, groups: &Groups) -> Result<BTreeSet<StreamKey>, DbErr> {
        let mut touched = BTreeSet::new();
        for (destination, positions) in &groups.fresh {
            let select = self.streams_in(self.tables.outbox()).push("position").one_of(positions.clone());
            self.add_streams(select, destination, &mut touched).await?;
        }
        for (destination, positions) in &groups.held {
            let select = self.streams_in(self.tables.held());
            let select = select.push("destination = ").bind(&**destination);
            self.add_streams(select.push(" AND position").one_of(positions.clone()), destination, &mut touched).await?;
        }
        Ok(touched)
    }

    fn streams_in(&self, table: &str) -> Sql {
        self.sql(&format!("SELECT DISTINCT aggregate_type, aggregate_id FROM {table} WHERE shard = "))
            .bind(self.shard)
            .push(" AND aggregate_id <> '' AND ")
    }

    async fn add_streams(
        &self,
        select: Sql,
        destination: &Arc<str>,
        touched: &mut BTreeSet<StreamKey>,
    ) -> Result<(), DbErr> {
        for row in self.tx.query_all_raw(select.build()).await? {
            touched.insert(StreamKey {
                destination: Arc::clone(destination),
                aggregate_type: row.try_get_by_index(0)?,
                aggregate_id: row.try_get_by_index(1)?,
            });
        }
        Ok(())
    }

    /// What each row says of itself.
    async fn one(&self, settlement: &Settlement) -> Result<(), DbErr> {
        match settlement {
            Settlement::Hold { position, destination, why: Held::Failed(failure), .. } => {
                let (attempts, error) = (failure.attempts.cast_signed(), storable(&failure.error));
                let insert = self.hold(destination).bind(attempts).push(", ").after(failure.retry_after).push(", ");
                self.execute(self.taken_from_outbox(insert.bind(error), destination, vec![*position])).await
            }
            Settlement::Bury { position, destination, dead } => self.bury(*position, destination, dead).await,
            Settlement::HeldFailed { position, destination, failure } => {
                self.held_failed(*position, destination, failure).await
            }
            Settlement::HeldBury { position, destination, dead } => self.bury_held(*position, destination, dead).await,
            Settlement::Published { .. } | Settlement::Hold { .. } | Settlement::HeldPublished { .. } => Ok(()),
        }
    }

    /// One without order follows nothing: it is due at once.
    async fn hold_followers(&self, destination: &str, positions: Vec<i64>) -> Result<(), DbErr> {
        let due = format!("0, CASE WHEN o.aggregate_id = '' THEN {} END, NULL", self.dialect.now());
        self.execute(self.taken_from_outbox(self.hold(destination).push(&due), destination, positions)).await
    }

    fn hold(&self, destination: &str) -> Sql {
        let held = self.tables.held();
        self.sql(&format!(
            "INSERT INTO {held} (shard, position, destination, {MOVED}, attempts, retry_after, error_message) \
             SELECT o.shard, o.position, "
        ))
        .bind(destination)
        .push(&format!(", {MOVED}, "))
    }

    /// From fresh rows that are neither held nor dead for the destination already.
    fn taken_from_outbox(&self, insert: Sql, destination: &str, positions: Vec<i64>) -> Sql {
        let (outbox, held, dead) = (self.tables.outbox(), self.tables.held(), self.tables.dead_letter());
        insert
            .push(&format!(" FROM {outbox} o WHERE o.shard = "))
            .bind(self.shard)
            .push(" AND o.position")
            .one_of(positions)
            .push(&format!(
                " AND NOT EXISTS (SELECT 1 FROM {held} x WHERE x.event_id = o.event_id AND x.destination = "
            ))
            .bind(destination)
            .push(&format!(
                ") AND NOT EXISTS (SELECT 1 FROM {dead} x WHERE x.event_id = o.event_id AND x.destination = "
            ))
            .bind(destination)
            .push(")")
    }

    async fn bury(&self, position: i64, destination: &str, dead: &Burial) -> Result<(), DbErr> {
        let insert = self.letter(destination, dead);
        self.execute(self.taken_from_outbox(insert, destination, vec![position])).await
    }

    async fn bury_held(&self, position: i64, destination: &str, dead: &Burial) -> Result<(), DbErr> {
        let insert = self.letter(destination, dead).push(&format!(" FROM {} o WHERE o.shard = ", self.tables.held()));
        let insert = insert.bind(self.shard).push(" AND o.destination = ").bind(destination);
        let insert = insert.push(" AND o.position = ").bind(position);
        self.execute(insert.push(&self.dialect.or_leave(self.tables.dead_letter(), &["event_id", "destination"]))).await
    }

    /// An event without order parks nothing.
    fn letter(&self, destination: &str, dead: &Burial) -> Sql {
        let letters = self.tables.dead_letter();
        self.sql(&format!(
            "INSERT INTO {letters} (shard, position, destination, {MOVED}, attempts, error_message, cause, parks, failed_at) \
             SELECT o.shard, o.position, "
        ))
        .bind(destination)
        .push(&format!(", {MOVED}, "))
        .bind(dead.attempts.cast_signed())
        .push(", ")
        .bind(storable(&dead.error))
        .push(", ")
        .bind(storable(&dead.cause))
        .push(", ")
        .bind(dead.parks)
        .push(&format!(" AND o.aggregate_id <> '', {}", self.dialect.now()))
    }

    async fn held_failed(&self, position: i64, destination: &str, failure: &Failure) -> Result<(), DbErr> {
        let update = self
            .sql(&format!("UPDATE {} SET attempts = ", self.tables.held()))
            .bind(failure.attempts.cast_signed())
            .push(", error_message = ")
            .bind(storable(&failure.error))
            .push(", retry_after = ")
            .after(failure.retry_after)
            .push(" WHERE shard = ")
            .bind(self.shard)
            .push(" AND destination = ")
            .bind(destination)
            .push(" AND position = ")
            .bind(position);
        self.execute(update).await
    }

    async fn delete_held(&self, destination: &str, positions: Vec<i64>) -> Result<(), DbErr> {
        let delete = self.sql(&format!("DELETE FROM {} WHERE shard = ", self.tables.held())).bind(self.shard);
        let delete = delete.push(" AND destination = ").bind(destination).push(" AND position").one_of(positions);
        self.execute(delete).await
    }

    async fn delete_fresh(&self, positions: Vec<i64>) -> Result<(), DbErr> {
        if positions.is_empty() {
            return Ok(());
        }
        let delete = self.sql(&format!("DELETE FROM {} WHERE shard = ", self.tables.outbox())).bind(self.shard);
        self.execute(delete.push(" AND position").one_of(positions)).await
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(self.dialect, text)
    }

    async fn execute(&self, sql: Sql) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}

/// PostgreSQL refuses a NUL in text, and a message that cannot be stored would keep the row from being settled for ever.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
