//! The rows of the stock, and the handler that reserves in them what is confirmed.

use std::collections::BTreeMap;

use bento::prelude::*;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};

use super::answer::{ReservationMade, ReservationRefused};
use super::contract::{OrderConfirmed, OrderEvent};

pub mod product {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "stock_product")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub product: String,
        /// The quantity that no order has reserved.
        pub free: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The quantity of a product that an order has.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stock_reservation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    pub quantity: i64,
}

impl ActiveModelBehavior for ActiveModel {}

/// Reserves what an order needs, as a whole or not at all, and gives it back if the order is
/// cancelled. The answer is committed with the rows.
#[event_handler(name = "stock.reserve")]
pub async fn reserve(event: OrderEvent, tx: &OutboxTransaction) -> Result<(), HandleError> {
    match event {
        OrderEvent::Confirmed(order) => match too_little(tx, &order.products).await? {
            None => take(tx, order).await,
            Some(product) => Ok(raise(ReservationRefused {
                order_id: order.order_id,
                product: product.product,
                left: product.free,
            })?),
        },
        OrderEvent::Cancelled(order) => Ok(give_back(tx, order.order_id).await?),
    }
}

/// The first product of which there is too little. The rows are locked in the order of their names,
/// as by every order, so that two of them do not wait for each other.
async fn too_little(
    tx: &OutboxTransaction,
    wanted: &BTreeMap<String, i64>,
) -> Result<Option<product::Model>, DbErr> {
    let rows = product::Entity::find()
        .filter(product::Column::Product.is_in(wanted.keys()))
        .order_by_asc(product::Column::Product)
        .lock_exclusive()
        .all(tx)
        .await?;
    let free: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row.product, row.free))
        .collect();
    let in_stock = |product| free.get(product).copied().unwrap_or(0);
    let missing = wanted
        .iter()
        .find(|(product, quantity)| in_stock(*product) < **quantity);
    Ok(missing.map(|(product, _)| product::Model {
        product: product.clone(),
        free: in_stock(product),
    }))
}

async fn take(tx: &OutboxTransaction, order: OrderConfirmed) -> Result<(), HandleError> {
    let OrderConfirmed { order_id, products } = order;
    for (product, quantity) in &products {
        add(tx, product, -quantity).await?;
    }
    let rows = products.into_iter().map(|(product, quantity)| ActiveModel {
        order_id: Set(order_id),
        product: Set(product),
        quantity: Set(quantity),
    });
    Entity::insert_many(rows).exec(tx).await?;
    raise(ReservationMade { order_id })?;
    Ok(())
}

/// Gives back what was taken. That is nothing if the order was rejected, or never confirmed.
async fn give_back(tx: &OutboxTransaction, order_id: Uuid) -> Result<(), DbErr> {
    let of_order = Column::OrderId.eq(order_id);
    let rows = Entity::find().filter(of_order.clone());
    for row in rows.order_by_asc(Column::Product).all(tx).await? {
        add(tx, &row.product, row.quantity).await?;
    }
    Entity::delete_many().filter(of_order).exec(tx).await?;
    Ok(())
}

async fn add(tx: &OutboxTransaction, product: &str, quantity: i64) -> Result<(), DbErr> {
    product::Entity::update_many()
        .col_expr(
            product::Column::Free,
            Expr::col(product::Column::Free).add(quantity),
        )
        .filter(product::Column::Product.eq(product))
        .exec(tx)
        .await?;
    Ok(())
}

/// The quantity of a product that no order has reserved.
pub async fn free(db: &impl ConnectionTrait, product: &str) -> Result<i64, DbErr> {
    let found = product::Entity::find_by_id(product).one(db).await?;
    Ok(found.map_or(0, |row| row.free))
}

#[cfg(test)]
mod tests {
    use bento_testkit::{Handling, database_in_memory, handling_stored};
    use serde_json::{Value, json};

    use super::*;
    use crate::stock::answer::{StockRejectedV1, StockReservedV1};
    use crate::stock::migration::Migrator;

    async fn database() -> OutboxConnection {
        let db = database_in_memory().await;
        let migrated = bento::migration::up_alone(db.inner(), Migrator).await;
        migrated.expect("the tables are created");
        db
    }

    async fn stock(db: &OutboxConnection) -> (i64, i64) {
        let (tea, coffee) = (free(db, "tea").await, free(db, "coffee").await);
        (tea.expect("a number"), coffee.expect("a number"))
    }

    fn confirmed(order_id: Uuid, products: Value) -> Handling {
        let payload = json!({ "order_id": order_id, "products": products });
        handling_stored("shop.order.confirmed", 1, payload)
    }

    #[tokio::test]
    async fn what_is_confirmed_is_reserved_and_answered_once() {
        let (db, order_id) = (database().await, Uuid::now_v7());
        let handled = confirmed(order_id, json!({ "tea": 7, "coffee": 3 }))
            .by(reserve::handler(), &db)
            .once(async || stock(&db).await)
            .await;
        assert_eq!(handled.effect, (993, 197));
        handled
            .raises(ReservationMade { order_id })
            .raises(StockReservedV1 { order_id })
            .and_nothing_else();
    }

    #[tokio::test]
    async fn an_order_is_reserved_as_a_whole_or_rejected() {
        let (db, order_id) = (database().await, Uuid::now_v7());
        let handled = confirmed(order_id, json!({ "coffee": 3, "tea": 1001 }))
            .by(reserve::handler(), &db)
            .once(async || stock(&db).await)
            .await;
        assert_eq!(handled.effect, (1000, 200));
        handled
            .raises(ReservationRefused {
                order_id,
                product: "tea".to_owned(),
                left: 1000,
            })
            .raises(StockRejectedV1 {
                order_id,
                product: "tea".to_owned(),
            })
            .and_nothing_else();

        let unknown = confirmed(order_id, json!({ "milk": 1 })).by(reserve::handler(), &db);
        unknown.run().await.raises(ReservationRefused {
            order_id,
            product: "milk".to_owned(),
            left: 0,
        });
    }

    #[tokio::test]
    async fn what_is_cancelled_is_given_back_once() {
        let (db, order_id) = (database().await, Uuid::now_v7());
        let taken =
            confirmed(order_id, json!({ "tea": 2, "coffee": 3 })).by(reserve::handler(), &db);
        taken.run().await.succeeds();
        assert_eq!(stock(&db).await, (998, 197));
        let cancelled = json!({ "order_id": order_id });
        let handled = handling_stored("shop.order.cancelled", 1, cancelled)
            .by(reserve::handler(), &db)
            .once(async || stock(&db).await)
            .await
            .and_nothing_else();
        assert_eq!(handled.effect, (1000, 200));
    }
}
