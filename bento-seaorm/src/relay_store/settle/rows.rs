//! The statements of rows that are held, tried again, moved or dead.

use bento_relay::store::{Failure, NewDeadLetter, Outcome, Place, Settlement, Unroutable};
use sea_orm::DbErr;

use super::Settling;
use crate::dialect::{Sql, after, any_of, binds, delete_pending};
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
                let values = "NULL, 0, ?, NULL, NULL, NULL";
                let insert = self
                    .hold(route, *ordered)
                    .then(values, binds![after(*wait)]);
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Pending, Outcome::Unroutable(unroutable)) => {
                let insert = self.hold_unroutable(route, *ordered, unroutable);
                self.take_from_outbox(insert, route, vec![position]).await
            }
            (Place::Pending, Outcome::Dead(dead)) => {
                let insert = self.dead_letter(route, dead).then("{now}, {now}", []);
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

    fn hold_for_retry(&self, route: &str, ordered: bool, failure: &Failure) -> Sql<'_> {
        let values = if failure.attempts > 0 {
            "NULL, ?, ?, {now}, ?, ?"
        } else {
            "NULL, ?, ?, NULL, ?, ?"
        };
        self.hold(route, ordered).then(
            values,
            binds![
                failure.attempts.cast_signed(),
                after(failure.retry_after),
                storable(&failure.error),
                names(&failure.delivered),
            ],
        )
    }

    fn hold_unroutable(&self, route: &str, ordered: bool, unroutable: &Unroutable) -> Sql<'_> {
        self.hold(route, ordered).then(
            "{now}, 0, ?, NULL, ?, NULL",
            binds![after(unroutable.retry_after), storable(&unroutable.error)],
        )
    }

    /// Holds rows that were not tried. A row without a place follows no other: it is due at once.
    pub(super) fn hold_untried(&self, route: &str, ordered: bool) -> Sql<'_> {
        let values = if ordered {
            "NULL, 0, CASE WHEN o.aggregate_id = '' THEN {now} END, NULL, NULL, NULL"
        } else {
            "NULL, 0, {now}, NULL, NULL, NULL"
        };
        self.hold(route, ordered).then(values, [])
    }

    /// The INSERT of a held row up to its last columns: the caller adds their values. An event
    /// without order never keeps a place.
    fn hold(&self, route: &str, ordered: bool) -> Sql<'_> {
        self.sql(
            "INSERT INTO {held} (shard, position, route, {event}, ordered, \
             unroutable_since, attempts, retry_after, first_failed_at, error_message, delivered) \
             SELECT o.shard, o.position, ?, {event}, ? AND o.aggregate_id <> '', ",
            binds![route, ordered],
        )
    }

    /// Inserts from pending rows that are neither held nor dead for the route already.
    pub(super) async fn take_from_outbox(
        &self,
        insert: Sql<'_>,
        route: &str,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let insert = insert.then(
            " FROM {outbox} o WHERE o.shard = ? AND o.position IN (?) \
             AND NOT EXISTS (SELECT 1 FROM {held} x \
                 WHERE x.event_id = o.event_id AND x.route = ?) \
             AND NOT EXISTS (SELECT 1 FROM {dead_letter} x \
                 WHERE x.event_id = o.event_id AND x.route = ?)",
            binds![self.shard, any_of(positions), route, route],
        );
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
        let insert = self.hold_untried(to, ordered).then(
            " FROM {held} o WHERE o.shard = ? AND o.route = ? AND o.position = ? \
             AND NOT EXISTS (SELECT 1 FROM {dead_letter} x \
                 WHERE x.event_id = o.event_id AND x.route = ?)",
            binds![self.shard, route, position, to],
        );
        self.execute(insert.or_leave(self.tables.held(), &["shard", "route", "position"]))
            .await
    }

    async fn dead_letter_of_held(
        &self,
        position: i64,
        route: &str,
        dead: &NewDeadLetter,
    ) -> Result<(), DbErr> {
        let insert = self.dead_letter(route, dead).then(
            "COALESCE(o.first_failed_at, {now}), {now} \
             FROM {held} o WHERE o.shard = ? AND o.route = ? AND o.position = ?",
            binds![self.shard, route, position],
        );
        self.execute(insert.or_leave(self.tables.dead_letter(), &["event_id", "route"]))
            .await
    }

    /// The INSERT of a dead letter up to the time of its first failure and that of the last: the
    /// caller adds them. An event without order parks nothing.
    fn dead_letter(&self, route: &str, dead: &NewDeadLetter) -> Sql<'_> {
        self.sql(
            "INSERT INTO {dead_letter} (shard, position, route, {event}, attempts, \
             error_message, cause, delivered, parks, first_failed_at, failed_at) \
             SELECT o.shard, o.position, ?, {event}, ?, ?, ?, ?, ? AND o.aggregate_id <> '', ",
            binds![
                route,
                dead.attempts.cast_signed(),
                storable(&dead.error),
                storable(&dead.cause),
                names(&dead.delivered),
                dead.parks,
            ],
        )
    }

    async fn update_failed(
        &self,
        position: i64,
        route: &str,
        failure: &Failure,
    ) -> Result<(), DbErr> {
        let first_failed_at = if failure.attempts > 0 {
            ", first_failed_at = COALESCE(first_failed_at, {now})"
        } else {
            ""
        };
        let update = format!(
            "UPDATE {{held}} SET attempts = ?, error_message = ?, delivered = ?, \
             unroutable_since = NULL, retry_after = ?{first_failed_at} \
             WHERE shard = ? AND route = ? AND position = ?"
        );
        let update = self.sql(
            &update,
            binds![
                failure.attempts.cast_signed(),
                storable(&failure.error),
                names(&failure.delivered),
                after(failure.retry_after),
                self.shard,
                route,
                position,
            ],
        );
        self.execute(update).await
    }

    pub(super) async fn update_unroutable(
        &self,
        route: &str,
        unroutable: &Unroutable,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let update = self.sql(
            "UPDATE {held} SET error_message = ?, retry_after = ?, \
             unroutable_since = COALESCE(unroutable_since, {now}) \
             WHERE shard = ? AND route = ? AND position IN (?)",
            binds![
                storable(&unroutable.error),
                after(unroutable.retry_after),
                self.shard,
                route,
                any_of(positions),
            ],
        );
        self.execute(update).await
    }

    pub(in super::super) async fn delete_held(
        &self,
        route: &str,
        positions: Vec<i64>,
    ) -> Result<(), DbErr> {
        let delete = self.sql(
            "DELETE FROM {held} WHERE shard = ? AND route = ? AND position IN (?)",
            binds![self.shard, route, any_of(positions)],
        );
        self.execute(delete).await
    }

    pub(in super::super) async fn delete_pending(&self, positions: Vec<i64>) -> Result<(), DbErr> {
        if positions.is_empty() {
            return Ok(());
        }
        let delete = delete_pending(self.dialect, self.tables, self.shard, positions);
        self.execute(delete).await
    }
}

/// Replaces NULs: PostgreSQL refuses them in text, and a message that cannot be stored would keep
/// its row from being settled for ever.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
