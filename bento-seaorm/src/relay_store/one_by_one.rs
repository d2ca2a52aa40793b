//! Settlements one by one, after the database refused them together: a row that cannot be settled
//! does not keep the others from it.

use std::collections::BTreeSet;

use bento_relay::store::{DeadRow, NewDeadLetter, Outcome, Place, Settlement};
use sea_orm::{ConnectionTrait, DbErr};

use super::salvage::{Record, Salvage, is_storable};
use super::settle::Settling;
use crate::backend;

impl Settling<'_> {
    /// Settles each in a savepoint of its own. A row for which the database refuses that becomes a
    /// dead letter; one that was published is deleted. Returns the dead letters that the relay did
    /// not ask for.
    ///
    /// # Errors
    /// Any error that is not a refusal of one row. Nothing is settled then.
    pub(super) async fn settle_one_by_one(
        &self,
        settled: &[Settlement],
    ) -> Result<Vec<DeadRow>, DbErr> {
        let mut dead_rows = Vec::new();
        let moved: BTreeSet<_> = settled
            .iter()
            .filter(|settlement| !settlement.is_pending_published())
            .filter_map(Settlement::leaves_outbox)
            .collect();
        for together in settled.chunk_by(are_one_move) {
            let settlement = &together[0];
            if settlement.is_pending_published() && moved.contains(&settlement.position) {
                continue;
            }
            self.tx.execute_unprepared("SAVEPOINT bento_row").await?;
            match self.settle_one(together).await {
                Ok(()) => {}
                Err(error) if backend::is_refusal(self.dialect.backend(), &error) => {
                    self.tx
                        .execute_unprepared("ROLLBACK TO SAVEPOINT bento_row")
                        .await?;
                    let mut touched = self.streams(together).await?;
                    touched.retain(|stream| is_storable(&stream.route));
                    let dead = self.make_dead_letter(settlement, &error).await?;
                    let was_asked_for = matches!(settlement.outcome, Outcome::Dead(_));
                    dead_rows.extend(dead.filter(|_| !was_asked_for));
                    self.promote(&touched).await?;
                }
                Err(error) => return Err(error),
            }
            self.tx
                .execute_unprepared("RELEASE SAVEPOINT bento_row")
                .await?;
        }
        self.delete_pending(
            settled
                .iter()
                .filter_map(Settlement::leaves_outbox)
                .collect(),
        )
        .await?;
        Ok(dead_rows)
    }

    async fn settle_one(&self, together: &[Settlement]) -> Result<(), DbErr> {
        let touched = self.record(together).await?;
        self.promote(&touched).await
    }

    async fn make_dead_letter(
        &self,
        settlement: &Settlement,
        refusal: &DbErr,
    ) -> Result<Option<DeadRow>, DbErr> {
        let Self {
            tx,
            dialect,
            tables,
            shard,
            ..
        } = *self;
        let salvage = Salvage {
            tx,
            dialect,
            tables,
            shard,
        };
        let record = |route, attempts, parks, error: &str| {
            let own = format!("it could not be recorded that it is for `{route}`: {refusal}");
            let error = if error.is_empty() {
                own
            } else {
                format!("{own}; its last error: {error}")
            };
            Record {
                route,
                cause: NewDeadLetter::UNSETTLED,
                error,
                attempts,
                parks,
            }
        };
        let Settlement {
            position,
            place,
            route,
            ordered,
            outcome,
        } = settlement;
        let is_held = *place == Place::Held;
        // A held row keeps its place unless it moves to a route where it has none.
        let (attempts, parks, error) = match outcome {
            Outcome::Published if is_held => {
                self.delete_held(route, vec![*position]).await?;
                return Ok(None);
            }
            Outcome::Published => return Ok(None),
            Outcome::Retry(failure) => (failure.attempts, is_held || *ordered, &*failure.error),
            Outcome::Unroutable(unroutable) => (0, is_held || *ordered, &*unroutable.error),
            Outcome::Behind | Outcome::Delayed(_) | Outcome::Moved { .. } => (0, *ordered, ""),
            Outcome::Dead(dead) => (dead.attempts, dead.parks, &*dead.error),
        };
        let record = record(route, attempts, parks, error);
        if is_held {
            salvage.unsettled_held(*position, record).await
        } else {
            salvage.unsettled(*position, record).await
        }
    }
}

/// True if both take the same held row somewhere else: it leaves its place once.
fn are_one_move(one: &Settlement, next: &Settlement) -> bool {
    let is_move = |settlement: &Settlement| {
        settlement.place == Place::Held && matches!(settlement.outcome, Outcome::Moved { .. })
    };
    let is_same_row = one.position == next.position && one.route == next.route;
    is_move(one) && is_move(next) && is_same_row
}
