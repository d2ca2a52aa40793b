//! The stock: it reserves what the shop confirms, and answers.

use bento::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ConnectionTrait, DbErr, Statement};

/// The view that the stock has of the shop's contract.
#[domain_event(schema = "shop.order.confirmed", version = 1, consumes)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub order_id: String,
    pub packets: i64,
}

/// An order is answered. It stays in the stock.
#[domain_event(schema = "order.answered", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderAnswered {
    pub order_id: String,
    pub is_reserved: bool,
    pub left: i64,
}

/// The contract with other services.
#[integration_event(from = OrderAnswered, schema = "stock.order.answered", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderAnsweredV1 {
    pub order_id: String,
    pub is_reserved: bool,
}

impl From<&OrderAnswered> for OrderAnsweredV1 {
    fn from(event: &OrderAnswered) -> Self {
        let (order_id, is_reserved) = (event.order_id.clone(), event.is_reserved);
        Self {
            order_id,
            is_reserved,
        }
    }
}

/// Reserves what was ordered. The answer is committed with it, in the outbox of the stock.
#[event_handler(name = "stock.reserve")]
pub async fn reserve(event: OrderConfirmed, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let OrderConfirmed { order_id, packets } = event;
    let take = Query::update()
        .table("stock")
        .value("free", Expr::col("free").sub(packets))
        .and_where(Expr::col("free").gte(packets))
        .take();
    let is_reserved = tx.execute(&take).await?.rows_affected() > 0;
    let left = free(tx).await?;
    let what = match is_reserved {
        true => "reserved",
        false => "refused",
    };
    println!("   stock: {packets} packets are {what} for {order_id}, {left} are left");
    raise(OrderAnswered {
        order_id,
        is_reserved,
        left,
    })?;
    Ok(())
}

/// The packets that are left.
pub async fn free(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let select = Statement::from_string(db.get_database_backend(), "SELECT free FROM stock");
    let row = db.query_one_raw(select).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index(0))
}
