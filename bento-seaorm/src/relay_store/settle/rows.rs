//! The statements of rows that are held, tried again, moved or dead.

use bento_relay::store::{Failure, NewDeadLetter, Outcome, Place, Settlement, Unroutable};
use sea_orm::DbErr;

use super::Settling;
use crate::columns;
use crate::dialect::Sql;
use crate::entity::names;

impl Settling<'_> {
    /// Records a settlement that has values of its own; the others are recorded in groups.
    pub(super) async fn one(&self, settlement: &Settlement) -> Result<(), DbErr> {
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
    pub(super) fn hold_untried(&self, route: &str, ordered: bool) -> Sql {
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
        let (held, event) = (self.tables.held(), columns::list());
        self.sql(&format!(
            "INSERT INTO {held} (shard, position, route, {event}, ordered, unroutable_since, \
             attempts, retry_after, first_failed_at, error_message, delivered) SELECT o.shard, \
             o.position, "
        ))
        .bind(route)
        .push(&format!(", {event}, "))
        .bind(ordered)
        .push(&format!(" AND o.aggregate_id <> '', {unroutable_since}, "))
    }

    /// Inserts from pending rows that are neither held nor dead for the route already.
    pub(super) async fn take_from_outbox(
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
        let (letters, event) = (self.tables.dead_letter(), columns::list());
        self.sql(&format!(
            "INSERT INTO {letters} (shard, position, route, {event}, attempts, error_message, \
             cause, delivered, parks, first_failed_at, failed_at) SELECT o.shard, o.position, "
        ))
        .bind(route)
        .push(&format!(", {event}, "))
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

    pub(super) async fn update_unroutable(
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

    pub(in super::super) async fn delete_held(
        &self,
        route: &str,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
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

    pub(in super::super) async fn delete_pending(&self, positions: Vec<i64>) -> Result<(), DbErr> {
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
}

/// Replaces NULs: PostgreSQL refuses them in text, and a message that cannot be stored would keep
/// its row from being settled for ever.
pub(in super::super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
