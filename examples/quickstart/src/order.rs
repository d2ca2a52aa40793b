//! The order: an aggregate that is a SeaORM model, and the events it raises.

use bento::{PendingEvents, aggregate, domain_event};
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;

/// A customer placed an order.
#[domain_event(schema = "order.placed", version = 2)]
#[derive(Clone, Debug)]
pub struct OrderPlaced {
    pub order_id: String,
    pub total: Decimal,
    #[event(since = 2, default = "USD")]
    pub currency: String,
}

/// The order was paid in full.
#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderPaid {
    pub order_id: String,
}

#[aggregate(name = "order", events(OrderPlaced, OrderPaid))]
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "quickstart_order")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub status: String,
    pub total: Decimal,
    #[aggregate(version)]
    pub version: i64,
    #[sea_orm(ignore)]
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub fn place(id: &str, total: Decimal, currency: &str) -> Self {
        let (id, status, events) = (id.to_owned(), "placed".to_owned(), PendingEvents::default());
        let mut order = Self {
            id,
            status,
            total,
            version: 0,
            events,
        };
        order.raise(OrderPlaced {
            order_id: order.id.clone(),
            total,
            currency: currency.to_owned(),
        });
        order
    }

    pub fn pay(&mut self) {
        self.status = "paid".to_owned();
        self.raise(OrderPaid {
            order_id: self.id.clone(),
        });
    }
}
