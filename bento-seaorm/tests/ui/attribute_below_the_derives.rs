use bento_core::{PendingEvents, aggregate, domain_event};
use sea_orm::entity::prelude::*;

#[domain_event(schema = "order.placed", version = 1)]
#[derive(Debug)]
pub struct OrderPlaced {}

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
#[aggregate(name = "order", events(OrderPlaced))]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub events: PendingEvents,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

fn main() {}
