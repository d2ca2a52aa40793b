//! The balances of all accounts: a read model in two versions, each with a table of its own.

use std::cmp::max;
use std::collections::{BTreeMap, BTreeSet};

use bento::prelude::*;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{IntoActiveModel as _, Set};

use crate::account::AccountEvent;

/// The table of version 1.
pub mod balance_v1 {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "balance_v1")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account: String,
        pub owner: String,
        pub cents: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table of version 2: with the largest deposit.
pub mod balance_v2 {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "balance_v2")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account: String,
        pub owner: String,
        pub cents: i64,
        pub largest: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The view: the columns that both versions have, of the one that is live.
pub mod balance {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "balance")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account: String,
        pub owner: String,
        pub cents: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The balance of each account.
#[projection(name = "balances", version = 1, views = "balance")]
pub struct Balances;

impl Balances {
    async fn project(
        &self,
        events: Batch<AccountEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for (event, context) in events.with_context() {
            let account = &context.envelope().aggregate_id;
            let cents = match event {
                AccountEvent::AccountOpened(opened) => {
                    let row = balance_v1::ActiveModel {
                        account: Set(account.clone()),
                        owner: Set(opened.owner.clone()),
                        cents: Set(0),
                    };
                    row.insert(tx).await?;
                    continue;
                }
                AccountEvent::Deposited(deposited) => deposited.cents,
                AccountEvent::Withdrawn(withdrawn) => -withdrawn.cents,
            };
            // Each event comes once, so it may be added.
            balance_v1::Entity::update_many()
                .col_expr(
                    balance_v1::Column::Cents,
                    Expr::col(balance_v1::Column::Cents).add(cents),
                )
                .filter(balance_v1::Column::Account.eq(account))
                .exec(tx)
                .await?;
        }
        Ok(())
    }
}

/// The balance of each account, and its largest deposit.
#[projection(name = "balances", version = 2, views = "balance")]
pub struct BalancesWithLargest;

impl BalancesWithLargest {
    /// Reads the rows of a batch, and writes them back: no other batch of this version runs
    /// meanwhile.
    async fn project(
        &self,
        events: Batch<AccountEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let mut rows = rows_of(&events, tx).await?;
        for (event, context) in events.with_context() {
            let account = &context.envelope().aggregate_id;
            if let AccountEvent::AccountOpened(opened) = event {
                let row = balance_v2::Model {
                    account: account.clone(),
                    owner: opened.owner.clone(),
                    cents: 0,
                    largest: 0,
                };
                rows.insert(account.clone(), row);
                continue;
            }
            let row = rows.get_mut(account).ok_or_else(|| {
                HandleError::permanent(format!("account `{account}` was never opened"))
            })?;
            match event {
                AccountEvent::AccountOpened(_) => {}
                AccountEvent::Deposited(deposited) => {
                    row.cents += deposited.cents;
                    row.largest = max(row.largest, deposited.cents);
                }
                AccountEvent::Withdrawn(withdrawn) => row.cents -= withdrawn.cents,
            }
        }
        let rows = rows.into_values().map(|row| row.into_active_model());
        let mut replace = OnConflict::column(balance_v2::Column::Account);
        replace.update_columns([balance_v2::Column::Cents, balance_v2::Column::Largest]);
        balance_v2::Entity::insert_many(rows)
            .on_conflict(replace)
            .exec_without_returning(tx)
            .await?;
        Ok(())
    }
}

/// The rows of the accounts in a batch, by account.
async fn rows_of(
    events: &Batch<AccountEvent>,
    tx: &OutboxTransaction,
) -> Result<BTreeMap<String, balance_v2::Model>, DbErr> {
    let accounts: BTreeSet<_> = events
        .with_context()
        .map(|(_, context)| context.envelope().aggregate_id.clone())
        .collect();
    let found = balance_v2::Entity::find()
        .filter(balance_v2::Column::Account.is_in(accounts))
        .all(tx)
        .await?;
    Ok(found
        .into_iter()
        .map(|row| (row.account.clone(), row))
        .collect())
}
