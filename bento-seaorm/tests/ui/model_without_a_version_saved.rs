use bento_core::{PendingEvents, aggregate, domain_event};
use bento_seaorm::{Error, OutboxTransaction};
use sea_orm::entity::prelude::*;

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {}

#[aggregate(name = "order", events(OrderPlaced))]
#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub events: PendingEvents,
}

impl ActiveModelBehavior for ActiveModel {}

pub async fn place(tx: &OutboxTransaction, mut order: Model) -> Result<(), Error> {
    order.raise(OrderPlaced {});
    tx.save(&mut order).await
}

fn main() {}
