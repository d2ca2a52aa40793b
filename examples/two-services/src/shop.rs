//! The shop: it confirms orders, and learns whether they are reserved.

use bento::prelude::*;
use sea_orm::entity::prelude::*;

/// An order is confirmed. It stays in the shop.
#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub order_id: String,
    pub packets: i64,
    pub margin: i64,
}

/// The contract with other services, which learn nothing of the margin.
#[integration_event(from = OrderConfirmed, schema = "shop.order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmedV1 {
    pub order_id: String,
    pub packets: i64,
}

impl From<&OrderConfirmed> for OrderConfirmedV1 {
    fn from(event: &OrderConfirmed) -> Self {
        let (order_id, packets) = (event.order_id.clone(), event.packets);
        Self { order_id, packets }
    }
}

#[aggregate(name = "order", events(OrderConfirmed))]
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shop_order")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub status: String,
    #[aggregate(version)]
    pub version: i64,
    #[sea_orm(ignore)]
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn confirm(id: &str, packets: i64) -> Self {
        let mut order = Self {
            id: id.to_owned(),
            status: "confirmed".to_owned(),
            version: 0,
            events: PendingEvents::default(),
        };
        let (order_id, margin) = (order.id.clone(), packets * 3);
        order.raise(OrderConfirmed {
            order_id,
            packets,
            margin,
        });
        order
    }
}

/// The shop's view of the answer.
#[domain_event(schema = "stock.order.answered", version = 1, consumes)]
#[derive(Debug)]
pub struct OrderAnswered {
    pub order_id: String,
    pub is_reserved: bool,
}

/// Writes the answer of the stock into the order.
#[event_handler(name = "shop.answer")]
pub async fn answer(event: OrderAnswered, tx: &OutboxTransaction) -> Result<(), HandleError> {
    let Some(mut order) = Entity::find_by_id(&event.order_id).one(tx).await? else {
        return Err(HandleError::skip("it is an order of an earlier run"));
    };
    let status = match event.is_reserved {
        true => "reserved",
        false => "rejected",
    };
    order.status = status.to_owned();
    tx.save(&mut order).await?;
    println!("   shop: {} is {status}", order.id);
    Ok(())
}
