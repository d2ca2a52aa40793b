//! The order: an aggregate that is a SeaORM model, and the events it raises.

use bento::{OutboxConnection, PendingEvents, aggregate, domain_event};
use sea_orm::entity::prelude::*;

/// A customer placed an order.
#[domain_event(schema = "order.placed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderPlaced {
    pub currency: String,
}

/// The order was paid in full.
#[domain_event(schema = "order.paid", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderPaid {}

#[aggregate(name = "order", events(OrderPlaced, OrderPaid))]
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters_order")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(ignore)]
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

/// Places an order and pays it: two events of one aggregate.
pub async fn place_and_pay(
    db: &OutboxConnection,
    id: &str,
    currency: &str,
) -> Result<(), bento::Report> {
    db.transaction_async(async |tx| {
        let mut order = Model {
            id: id.to_owned(),
            events: PendingEvents::default(),
        };
        order.raise(OrderPlaced {
            currency: currency.to_owned(),
        });
        order.raise(OrderPaid {});
        tx.insert(&mut order).await
    })
    .await?;
    Ok(())
}
