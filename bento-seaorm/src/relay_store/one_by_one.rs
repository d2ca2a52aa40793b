//! Settlements one by one, after the database refused them together: what cannot be settled costs
//! itself alone.

use std::collections::BTreeSet;

use bento_relay::store::{Burial, GivenUp, Held, Settlement};
use sea_orm::{ConnectionTrait, DbErr};

use super::salvage::{Record, Salvage, is_storable};
use super::settle::{Settling, pending_position};
use crate::dialect;

impl Settling<'_> {
    /// Settles each in a savepoint of its own. A row for which the database refuses that becomes a
    /// dead letter; one that was published is deleted. Returns the dead letters that the relay did
    /// not ask for.
    ///
    /// # Errors
    /// What is no refusal of one row. Nothing is settled then.
    pub(super) async fn settle_one_by_one(
        &self,
        settled: &[Settlement],
    ) -> Result<Vec<GivenUp>, DbErr> {
        let mut given_up = Vec::new();
        let is_moved =
            |settlement: &&Settlement| !matches!(settlement, Settlement::Published { .. });
        let moved: BTreeSet<_> = settled
            .iter()
            .filter(is_moved)
            .filter_map(pending_position)
            .collect();
        for together in settled.chunk_by(are_one_move) {
            let settlement = &together[0];
            if matches!(settlement, Settlement::Published { position } if moved.contains(position))
            {
                continue;
            }
            self.tx.execute_unprepared("SAVEPOINT bento_row").await?;
            match self.settle_one(together).await {
                Ok(()) => {}
                Err(error) if dialect::is_refusal(self.dialect.backend(), &error) => {
                    self.tx
                        .execute_unprepared("ROLLBACK TO SAVEPOINT bento_row")
                        .await?;
                    let mut touched = self.streams(together).await?;
                    touched.retain(|stream| is_storable(&stream.route));
                    let dead = self.give_up(settlement, &error).await?;
                    given_up.extend(dead.filter(|_| !is_burial(settlement)));
                    self.promote(&touched).await?;
                }
                Err(error) => return Err(error),
            }
            self.tx
                .execute_unprepared("RELEASE SAVEPOINT bento_row")
                .await?;
        }
        self.delete_pending(settled.iter().filter_map(pending_position).collect())
            .await?;
        Ok(given_up)
    }

    async fn settle_one(&self, together: &[Settlement]) -> Result<(), DbErr> {
        let touched = self.record(together).await?;
        self.promote(&touched).await
    }

    async fn give_up(
        &self,
        settlement: &Settlement,
        refusal: &DbErr,
    ) -> Result<Option<GivenUp>, DbErr> {
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
                cause: Burial::UNSETTLED,
                error,
                attempts,
                parks,
            }
        };
        match settlement {
            Settlement::Published { .. } => Ok(None),
            Settlement::HeldPublished { position, route } => {
                self.delete_held(route, vec![*position]).await?;
                Ok(None)
            }
            Settlement::Hold {
                position,
                route,
                ordered,
                why,
            } => {
                let (attempts, error) = match why {
                    Held::Failed(failure) => (failure.attempts, &*failure.error),
                    Held::Unroutable(obstacle) => (0, &*obstacle.error),
                    Held::Behind | Held::Delayed(_) => (0, ""),
                };
                salvage
                    .unsettled(*position, record(route, attempts, *ordered, error))
                    .await
            }
            Settlement::Bury {
                position,
                route,
                dead,
            } => {
                let record = record(route, dead.attempts, dead.parks, &dead.error);
                salvage.unsettled(*position, record).await
            }
            Settlement::HeldFailed {
                position,
                route,
                failure,
            } => {
                let record = record(route, failure.attempts, true, &failure.error);
                salvage.unsettled_held(*position, record).await
            }
            Settlement::HeldBury {
                position,
                route,
                dead,
            } => {
                let record = record(route, dead.attempts, dead.parks, &dead.error);
                salvage.unsettled_held(*position, record).await
            }
            Settlement::HeldUnroutable {
                position,
                route,
                obstacle,
            } => {
                salvage
                    .unsettled_held(*position, record(route, 0, true, &obstacle.error))
                    .await
            }
            Settlement::HeldMoved {
                position,
                route,
                ordered,
                ..
            } => {
                salvage
                    .unsettled_held(*position, record(route, 0, *ordered, ""))
                    .await
            }
        }
    }
}

fn is_burial(settlement: &Settlement) -> bool {
    matches!(
        settlement,
        Settlement::Bury { .. } | Settlement::HeldBury { .. }
    )
}

/// True if both take the same held row somewhere else: it leaves its place once.
fn are_one_move(one: &Settlement, next: &Settlement) -> bool {
    let moved = |settlement: &Settlement| match settlement {
        Settlement::HeldMoved {
            position, route, ..
        } => Some((*position, route.clone())),
        _ => None,
    };
    moved(one).is_some_and(|of| moved(next) == Some(of))
}
