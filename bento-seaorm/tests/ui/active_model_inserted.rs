use bento_core::{PendingEvents, aggregate, domain_event};
use bento_seaorm::{Error, OutboxTransaction};
use sea_orm::IntoActiveModel as _;
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

pub async fn place(tx: &OutboxTransaction, order: Model) -> Result<(), Error> {
    let mut order = order.into_active_model();
    tx.insert(&mut order).await
}

fn main() {}
