//! Recording outcomes that are more than "published": rows that are held back, tried again or given
//! up.
//!
//! A row that is not where a settlement expects it is left alone: the call was repeated, or an
//! operator was quicker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bento_core::outbox::ShardId;
use bento_relay::store::{Burial, Failure, Held, Settlement, StreamKey, Unroutable};
use sea_orm::{ConnectionTrait, DbErr};

use super::held::park_or_promote;
use crate::dialect::{Dialect, Sql, keep_published};
use crate::entity::{MOVED, lossy_at, names};
use crate::session::StoreTransaction;
use crate::tables::Tables;

/// The position of a pending row that this settles.
pub(super) fn pending_position(settlement: &Settlement) -> Option<i64> {
    match settlement {
        Settlement::Published { position }
        | Settlement::Hold { position, .. }
        | Settlement::Bury { position, .. } => Some(*position),
        Settlement::HeldPublished { .. }
        | Settlement::HeldFailed { .. }
        | Settlement::HeldMoved { .. }
        | Settlement::HeldUnroutable { .. }
        | Settlement::HeldBury { .. } => None,
    }
}

type Positions = BTreeMap<Arc<str>, Vec<i64>>;

/// For whom rows are held, and whether they keep their place.
type Place = (Arc<str>, bool);

/// What can be done for many rows at once, by route.
#[derive(Default)]
struct Groups<'s> {
    /// Pending rows that move.
    pending: Positions,
    /// Of them, those that were not tried and wait for nothing but their turn.
    behind: BTreeMap<Place, Vec<i64>>,
    /// Held rows.
    held: Positions,
    /// Of them, those that leave: published or buried.
    held_done: Positions,
    /// Held rows that go from one route to another.
    moved: Vec<(Arc<str>, Arc<str>, i64)>,
    /// Held rows that the relay knows no way for.
    unroutable: Vec<(Arc<str>, &'s Unroutable, Vec<i64>)>,
}

impl<'s> Groups<'s> {
    fn of(settled: &'s [Settlement]) -> Self {
        let mut groups = Self::default();
        let add = |group: &mut Positions, route: &Arc<str>, position: i64| {
            group.entry(Arc::clone(route)).or_default().push(position);
        };
        for settlement in settled {
            match settlement {
                Settlement::Published { .. } => {}
                Settlement::Hold {
                    position,
                    route,
                    ordered,
                    why,
                } => {
                    add(&mut groups.pending, route, *position);
                    if *why == Held::Behind {
                        let place = (Arc::clone(route), *ordered);
                        groups.behind.entry(place).or_default().push(*position);
                    }
                }
                Settlement::Bury {
                    position, route, ..
                } => add(&mut groups.pending, route, *position),
                Settlement::HeldFailed {
                    position, route, ..
                } => add(&mut groups.held, route, *position),
                // Its INSERT finds the row there, and the row must not leave.
                Settlement::HeldMoved { route, to, .. } if route == to => {}
                Settlement::HeldMoved {
                    position,
                    route,
                    to,
                    ..
                } => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                    groups
                        .moved
                        .push((Arc::clone(route), Arc::clone(to), *position));
                }
                Settlement::HeldUnroutable {
                    position,
                    route,
                    obstacle,
                } => {
                    groups.add_unroutable(*position, route, obstacle);
                }
                Settlement::HeldPublished { position, route }
                | Settlement::HeldBury {
                    position, route, ..
                } => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                }
            }
        }
        groups
    }

    /// Few relays miss many rules at once, so the list is short.
    fn add_unroutable(&mut self, position: i64, route: &Arc<str>, obstacle: &'s Unroutable) {
        let is_same = |(to, other, _): &&mut (Arc<str>, &Unroutable, Vec<i64>)| {
            to == route && *other == obstacle
        };
        match self.unroutable.iter_mut().find(is_same) {
            Some((_, _, positions)) => positions.push(position),
            None => self
                .unroutable
                .push((Arc::clone(route), obstacle, vec![position])),
        }
    }
}

/// The settlements of one call.
pub(super) struct Settling<'a> {
    pub(super) tx: &'a StoreTransaction,
    pub(super) dialect: &'static dyn Dialect,
    pub(super) tables: &'a Tables,
    pub(super) shard: ShardId,
    /// Whether published rows are kept.
    pub(super) keep: bool,
}

impl Settling<'_> {
    /// Settles everything, the pending rows at the end, so that a row can be held for several
    /// routes.
    pub(super) async fn settle(&self, settled: &[Settlement]) -> Result<(), DbErr> {
        let touched = self.record(settled).await?;
        self.delete_pending(settled.iter().filter_map(pending_position).collect())
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
            self.hold_behind(&route, ordered, positions).await?;
        }
        for (route, obstacle, positions) in groups.unroutable {
            self.held_unroutable(&route, obstacle, positions).await?;
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
            match settlement {
                Settlement::Published { position } => drop(pending.insert(*position)),
                Settlement::HeldPublished { position, route } => {
                    held.entry(Arc::clone(route)).or_default().push(*position);
                }
                other => moved.extend(pending_position(other)),
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

    /// The streams in which something changes, while their rows are still there to be asked.
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

    /// What each row says of itself.
    async fn one(&self, settlement: &Settlement) -> Result<(), DbErr> {
        match settlement {
            Settlement::Hold {
                position,
                route,
                ordered,
                why: Held::Failed(failure),
            } => self.hold_failed(*position, route, *ordered, failure).await,
            Settlement::Hold {
                position,
                route,
                ordered,
                why: Held::Delayed(wait),
            } => {
                let insert = self
                    .hold(route, *ordered)
                    .push("0, ")
                    .after(*wait)
                    .push(", NULL, NULL, NULL");
                self.execute(self.taken_from_outbox(insert, route, vec![*position]))
                    .await
            }
            Settlement::Hold {
                position,
                route,
                ordered,
                why: Held::Unroutable(obstacle),
            } => {
                self.hold_unroutable(*position, route, *ordered, obstacle)
                    .await
            }
            Settlement::Bury {
                position,
                route,
                dead,
            } => self.bury(*position, route, dead).await,
            Settlement::HeldFailed {
                position,
                route,
                failure,
            } => self.held_failed(*position, route, failure).await,
            Settlement::HeldMoved {
                position,
                route,
                to,
                ordered,
            } => self.move_held(*position, route, to, *ordered).await,
            Settlement::HeldBury {
                position,
                route,
                dead,
            } => self.bury_held(*position, route, dead).await,
            Settlement::Published { .. }
            | Settlement::Hold {
                why: Held::Behind, ..
            }
            | Settlement::HeldUnroutable { .. }
            | Settlement::HeldPublished { .. } => Ok(()),
        }
    }

    async fn hold_failed(
        &self,
        position: i64,
        route: &str,
        ordered: bool,
        failure: &Failure,
    ) -> Result<(), DbErr> {
        let first_failed_at = if failure.attempts > 0 {
            self.dialect.now()
        } else {
            "NULL"
        };
        let insert = self
            .hold(route, ordered)
            .bind(failure.attempts.cast_signed())
            .push(", ")
            .after(failure.retry_after)
            .push(&format!(", {first_failed_at}, "))
            .bind(storable(&failure.error))
            .push(", ")
            .bind(names(&failure.delivered));
        self.execute(self.taken_from_outbox(insert, route, vec![position]))
            .await
    }

    async fn hold_unroutable(
        &self,
        position: i64,
        route: &str,
        ordered: bool,
        obstacle: &Unroutable,
    ) -> Result<(), DbErr> {
        let insert = self
            .hold_since(route, ordered, self.dialect.now())
            .push("0, ")
            .after(obstacle.retry_after)
            .push(", NULL, ")
            .bind(storable(&obstacle.error))
            .push(", NULL");
        self.execute(self.taken_from_outbox(insert, route, vec![position]))
            .await
    }

    /// One that keeps no place follows nothing: it is due at once.
    async fn hold_behind(
        &self,
        route: &str,
        ordered: bool,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let insert = self.hold_untried(route, ordered);
        self.execute(self.taken_from_outbox(insert, route, positions))
            .await
    }

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

    /// What follows is the rest of the columns: attempts, when it is due, when it first failed,
    /// why, who got it. An event without order keeps no place, whatever is said of it.
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

    /// From pending rows that are neither held nor dead for the route already.
    fn taken_from_outbox(&self, insert: Sql, route: &str, positions: Vec<i64>) -> Sql {
        let (outbox, held, dead) = (
            self.tables.outbox(),
            self.tables.held(),
            self.tables.dead_letter(),
        );
        insert
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
            .push(")")
    }

    /// Leaves the row where it is, to be deleted with the others that leave.
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

    async fn bury(&self, position: i64, route: &str, dead: &Burial) -> Result<(), DbErr> {
        let insert = self.letter(route, dead, self.dialect.now());
        self.execute(self.taken_from_outbox(insert, route, vec![position]))
            .await
    }

    async fn bury_held(&self, position: i64, route: &str, dead: &Burial) -> Result<(), DbErr> {
        let first_failed_at = format!("COALESCE(o.first_failed_at, {})", self.dialect.now());
        let insert = self.letter(route, dead, &first_failed_at);
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

    /// An event without order parks nothing.
    fn letter(&self, route: &str, dead: &Burial, first_failed_at: &str) -> Sql {
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

    async fn held_failed(
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

    async fn held_unroutable(
        &self,
        route: &str,
        obstacle: &Unroutable,
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
            .bind(storable(&obstacle.error))
            .push(&since)
            .after(obstacle.retry_after)
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

/// PostgreSQL refuses a NUL in text, and a message that cannot be stored would keep the row from
/// being settled for ever.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
