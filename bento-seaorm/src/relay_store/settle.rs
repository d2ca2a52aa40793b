//! Recording outcomes other than "published": rows that are held, tried again, moved or dead.
//!
//! A row that is not where a settlement expects it stays as it is: the call was repeated, or an
//! operator was quicker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_relay::store::{
    Failure, NewDeadLetter, Outcome, Place, Settlement, StreamKey, Unroutable,
};
use sea_orm::{ConnectionTrait, DbErr};

use super::held::park_or_promote;
use crate::dialect::{Dialect, Sql, keep_published};
use crate::entity::{MOVED, lossy_at, names};
use crate::session::StoreTransaction;
use crate::tables::Tables;

type Positions = BTreeMap<Arc<str>, Vec<i64>>;

/// The route that rows are held for, and true if they keep their place.
type Queue = (Arc<str>, bool);

/// The settlements that are recorded for many rows at once, by route.
#[derive(Default)]
struct Groups<'s> {
    /// Pending rows that move.
    pending: Positions,
    /// Of them, those that were not tried and wait only for their turn.
    behind: BTreeMap<Queue, Vec<i64>>,
    /// Held rows.
    held: Positions,
    /// Of them, those that leave: published, dead or moved.
    held_done: Positions,
    /// Held rows that go from one route to another.
    moved: Vec<(Arc<str>, Arc<str>, i64)>,
    /// Held rows for which the relay has no route.
    unroutable: Vec<(Arc<str>, &'s Unroutable, Vec<i64>)>,
}

impl<'s> Groups<'s> {
    fn of(settled: &'s [Settlement]) -> Self {
        let mut groups = Self::default();
        let add = |group: &mut Positions, route: &Arc<str>, position: i64| {
            group.entry(Arc::clone(route)).or_default().push(position);
        };
        for settlement in settled {
            let Settlement {
                position,
                place,
                route,
                ordered,
                outcome,
            } = settlement;
            match (place, outcome) {
                // Published pending rows only leave the outbox. A pending row does not move, a held
                // one stays held, and the INSERT of a row that moves to where it is would find the
                // row there.
                (Place::Pending, Outcome::Published | Outcome::Moved { .. })
                | (Place::Held, Outcome::Behind | Outcome::Delayed(_)) => {}
                (Place::Held, Outcome::Moved { to }) if route == to => {}
                (Place::Pending, _) => {
                    add(&mut groups.pending, route, *position);
                    if *outcome == Outcome::Behind {
                        let queue = (Arc::clone(route), *ordered);
                        groups.behind.entry(queue).or_default().push(*position);
                    }
                }
                (Place::Held, Outcome::Retry(_)) => add(&mut groups.held, route, *position),
                (Place::Held, Outcome::Unroutable(unroutable)) => {
                    groups.add_unroutable(*position, route, unroutable);
                }
                (Place::Held, Outcome::Published | Outcome::Dead(_)) => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                }
                (Place::Held, Outcome::Moved { to }) => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                    groups
                        .moved
                        .push((Arc::clone(route), Arc::clone(to), *position));
                }
            }
        }
        groups
    }

    /// Adds a held row to those of the same route and reason. The list is short: few relays miss many
    /// rules at once.
    fn add_unroutable(&mut self, position: i64, route: &Arc<str>, unroutable: &'s Unroutable) {
        let is_same = |(to, other, _): &&mut (Arc<str>, &Unroutable, Vec<i64>)| {
            to == route && *other == unroutable
        };
        match self.unroutable.iter_mut().find(is_same) {
            Some((_, _, positions)) => positions.push(position),
            None => self
                .unroutable
                .push((Arc::clone(route), unroutable, vec![position])),
        }
    }
}

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

    /// A pending row that is held or dead for somebody is published when the last of them has it.
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
            self.execute(self.kept(self.tables.outbox(), |sql| {
                sql.push(" AND position").one_of(pending)
            }))
            .await?;
        }
        for (route, positions) in held {
            let which = |sql: Sql| {
                sql.push(" AND route = ")
                    .bind(&*route)
                    .push(" AND position")
                    .one_of(positions)
            };
            self.execute(self.kept(self.tables.held(), which)).await?;
        }
        Ok(())
    }

    fn kept(&self, from: &str, which: impl FnOnce(Sql) -> Sql) -> Sql {
        keep_published(self.dialect, self.tables, from, self.shard, which)
    }

    /// The streams that change, read while their rows are still there.
    async fn touched(&self, groups: &Groups<'_>) -> Result<BTreeSet<StreamKey>, DbErr> {
        let mut touched = BTreeSet::new();
        for (route, positions) in &groups.pending {
            let select = self
                .streams_in(self.tables.outbox())
                .push("position")
                .one_of(positions.clone());
            self.add_streams(select, route, &mut touched).await?;
        }
        for (route, positions) in &groups.held {
            let select = self.streams_in(self.tables.held());
            let select = select.push("route = ").bind(&**route);
            self.add_streams(
                select.push(" AND position").one_of(positions.clone()),
                route,
                &mut touched,
            )
            .await?;
        }
        for (route, to, position) in &groups.moved {
            let select = self
                .streams_in(self.tables.held())
                .push("route = ")
                .bind(&**route);
            self.add_streams(
                select.push(" AND position = ").bind(*position),
                to,
                &mut touched,
            )
            .await?;
        }
        Ok(touched)
    }

    fn streams_in(&self, table: &str) -> Sql {
        self.sql(&format!(
            "SELECT DISTINCT aggregate_type, aggregate_id FROM {table} WHERE shard = "
        ))
        .bind(self.shard)
        .push(" AND aggregate_id <> '' AND ")
    }

    async fn add_streams(
        &self,
        select: Sql,
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

    /// Records a settlement that has values of its own; the others are recorded in groups.
    async fn one(&self, settlement: &Settlement) -> Result<(), DbErr> {
        let Settlement {
            position,
            place,
            route,
            ordered,
            outcome,
        } = settlement;
        let position = *position;
        match (place, outcome) {
            (Place::Pending, Outcome::Retry(failure)) => {
                let insert = self.hold_for_retry(route, *ordered, failure);
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Pending, Outcome::Delayed(wait)) => {
                let insert = self
                    .hold(route, *ordered)
                    .push("0, ")
                    .after(*wait)
                    .push(", NULL, NULL, NULL");
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Pending, Outcome::Unroutable(unroutable)) => {
                let insert = self.hold_unroutable(route, *ordered, unroutable);
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Pending, Outcome::Dead(dead)) => {
                let insert = self.dead_letter(route, dead, self.dialect.now());
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Held, Outcome::Retry(failure)) => {
                self.update_failed(position, route, failure).await
            }
            (Place::Held, Outcome::Moved { to }) => {
                self.move_held(position, route, to, *ordered).await
            }
            (Place::Held, Outcome::Dead(dead)) => {
                self.dead_letter_of_held(position, route, dead).await
            }
            (Place::Pending, Outcome::Published | Outcome::Behind | Outcome::Moved { .. })
            | (
                Place::Held,
                Outcome::Published | Outcome::Behind | Outcome::Delayed(_) | Outcome::Unroutable(_),
            ) => Ok(()),
        }
    }

    fn hold_for_retry(&self, route: &str, ordered: bool, failure: &Failure) -> Sql {
        let first_failed_at = if failure.attempts > 0 {
            self.dialect.now()
        } else {
            "NULL"
        };
        self.hold(route, ordered)
            .bind(failure.attempts.cast_signed())
            .push(", ")
            .after(failure.retry_after)
            .push(&format!(", {first_failed_at}, "))
            .bind(storable(&failure.error))
            .push(", ")
            .bind(names(&failure.delivered))
    }

    fn hold_unroutable(&self, route: &str, ordered: bool, unroutable: &Unroutable) -> Sql {
        self.hold_since(route, ordered, self.dialect.now())
            .push("0, ")
            .after(unroutable.retry_after)
            .push(", NULL, ")
            .bind(storable(&unroutable.error))
            .push(", NULL")
    }

    /// Holds rows that were not tried. A row without a place follows no other: it is due at once.
    fn hold_untried(&self, route: &str, ordered: bool) -> Sql {
        let now = self.dialect.now();
        let due = if ordered {
            format!("CASE WHEN o.aggregate_id = '' THEN {now} END")
        } else {
            now.to_owned()
        };
        self.hold(route, ordered)
            .push(&format!("0, {due}, NULL, NULL, NULL"))
    }

    /// The INSERT of a held row up to its last columns: the caller adds attempts, the time it is
    /// due, the time it first failed, the error, the destinations that got it. An event without
    /// order never keeps a place.
    fn hold(&self, route: &str, ordered: bool) -> Sql {
        self.hold_since(route, ordered, "NULL")
    }

    /// As [`hold`](Self::hold), for a row that was unroutable for the first time at this moment.
    fn hold_since(&self, route: &str, ordered: bool, unroutable_since: &str) -> Sql {
        let held = self.tables.held();
        self.sql(&format!(
            "INSERT INTO {held} (shard, position, route, {MOVED}, ordered, unroutable_since, \
             attempts, retry_after, first_failed_at, error_message, delivered) SELECT o.shard, \
             o.position, "
        ))
        .bind(route)
        .push(&format!(", {MOVED}, "))
        .bind(ordered)
        .push(&format!(" AND o.aggregate_id <> '', {unroutable_since}, "))
    }

    /// Inserts from pending rows that are neither held nor dead for the route already.
    async fn take_from_outbox(
        &self,
        insert: Sql,
        route: &str,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let (outbox, held, dead) = (
            self.tables.outbox(),
            self.tables.held(),
            self.tables.dead_letter(),
        );
        let insert = insert
            .push(&format!(" FROM {outbox} o WHERE o.shard = "))
            .bind(self.shard)
            .push(" AND o.position")
            .one_of(positions)
            .push(&format!(
                " AND NOT EXISTS (SELECT 1 FROM {held} x WHERE x.event_id = o.event_id \
                            AND x.route = "
            ))
            .bind(route)
            .push(&format!(
                ") AND NOT EXISTS (SELECT 1 FROM {dead} x WHERE x.event_id = \
                            o.event_id AND x.route = "
            ))
            .bind(route)
            .push(")");
        self.execute(insert).await
    }

    /// Holds a held row for another route. The row itself is deleted with the others that leave.
    async fn move_held(
        &self,
        position: i64,
        route: &str,
        to: &str,
        ordered: bool,
    ) -> Result<(), DbErr> {
        let (held, dead) = (self.tables.held(), self.tables.dead_letter());
        let insert = self
            .hold_untried(to, ordered)
            .push(&format!(" FROM {held} o WHERE o.shard = "));
        let insert = insert.bind(self.shard).push(" AND o.route = ").bind(route);
        let insert = insert
            .push(" AND o.position = ")
            .bind(position)
            .push(&format!(
                " AND NOT EXISTS (SELECT 1 FROM {dead} x WHERE x.event_id = o.event_id \
                            AND x.route = "
            ));
        let insert = insert.bind(to).push(")");
        self.execute(insert.push(&self.dialect.or_leave(held, &["shard", "route", "position"])))
            .await
    }

    async fn dead_letter_of_held(
        &self,
        position: i64,
        route: &str,
        dead: &NewDeadLetter,
    ) -> Result<(), DbErr> {
        let first_failed_at = format!("COALESCE(o.first_failed_at, {})", self.dialect.now());
        let insert = self.dead_letter(route, dead, &first_failed_at);
        let insert = insert.push(&format!(" FROM {} o WHERE o.shard = ", self.tables.held()));
        let insert = insert.bind(self.shard).push(" AND o.route = ").bind(route);
        let insert = insert.push(" AND o.position = ").bind(position);
        self.execute(
            insert.push(
                &self
                    .dialect
                    .or_leave(self.tables.dead_letter(), &["event_id", "route"]),
            ),
        )
        .await
    }

    /// The INSERT of a dead letter up to its FROM. An event without order parks nothing.
    fn dead_letter(&self, route: &str, dead: &NewDeadLetter, first_failed_at: &str) -> Sql {
        let letters = self.tables.dead_letter();
        self.sql(&format!(
            "INSERT INTO {letters} (shard, position, route, {MOVED}, attempts, error_message, \
             cause, delivered, parks, first_failed_at, failed_at) SELECT o.shard, o.position, "
        ))
        .bind(route)
        .push(&format!(", {MOVED}, "))
        .bind(dead.attempts.cast_signed())
        .push(", ")
        .bind(storable(&dead.error))
        .push(", ")
        .bind(storable(&dead.cause))
        .push(", ")
        .bind(names(&dead.delivered))
        .push(", ")
        .bind(dead.parks)
        .push(&format!(
            " AND o.aggregate_id <> '', {first_failed_at}, {}",
            self.dialect.now()
        ))
    }

    async fn update_failed(
        &self,
        position: i64,
        route: &str,
        failure: &Failure,
    ) -> Result<(), DbErr> {
        let update = self
            .sql(&format!("UPDATE {} SET attempts = ", self.tables.held()))
            .bind(failure.attempts.cast_signed())
            .push(", error_message = ")
            .bind(storable(&failure.error))
            .push(", delivered = ")
            .bind(names(&failure.delivered))
            .when(failure.attempts > 0, |sql| {
                sql.push(&format!(
                    ", first_failed_at = COALESCE(first_failed_at, {})",
                    self.dialect.now()
                ))
            })
            .push(", unroutable_since = NULL, retry_after = ")
            .after(failure.retry_after)
            .push(" WHERE shard = ")
            .bind(self.shard)
            .push(" AND route = ")
            .bind(route)
            .push(" AND position = ")
            .bind(position);
        self.execute(update).await
    }

    async fn update_unroutable(
        &self,
        route: &str,
        unroutable: &Unroutable,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let since = format!(
            ", unroutable_since = COALESCE(unroutable_since, {}), retry_after = ",
            self.dialect.now()
        );
        let update = self
            .sql(&format!(
                "UPDATE {} SET error_message = ",
                self.tables.held()
            ))
            .bind(storable(&unroutable.error))
            .push(&since)
            .after(unroutable.retry_after)
            .push(" WHERE shard = ")
            .bind(self.shard)
            .push(" AND route = ")
            .bind(route)
            .push(" AND position")
            .one_of(positions);
        self.execute(update).await
    }

    pub(super) async fn delete_held(&self, route: &str, positions: Vec<i64>) -> Result<(), DbErr> {
        let delete = self
            .sql(&format!(
                "DELETE FROM {} WHERE shard = ",
                self.tables.held()
            ))
            .bind(self.shard);
        let delete = delete
            .push(" AND route = ")
            .bind(route)
            .push(" AND position")
            .one_of(positions);
        self.execute(delete).await
    }

    pub(super) async fn delete_pending(&self, positions: Vec<i64>) -> Result<(), DbErr> {
        if positions.is_empty() {
            return Ok(());
        }
        let delete = self
            .sql(&format!(
                "DELETE FROM {} WHERE shard = ",
                self.tables.outbox()
            ))
            .bind(self.shard);
        self.execute(delete.push(" AND position").one_of(positions))
            .await
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(self.dialect, text)
    }

    async fn execute(&self, sql: Sql) -> Result<(), DbErr> {
        self.tx.execute_raw(sql.build()).await?;
        Ok(())
    }
}

/// Replaces NULs: PostgreSQL refuses them in text, and a message that cannot be stored would keep
/// its row from being settled for ever.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
