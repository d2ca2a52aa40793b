//! Orders in the database: the row of the order, and rows of its items.

use bento::{Error, OutboxTransaction};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::order::{Column, Entity, Item, Order};

pub mod item {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_order_item")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub order_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub line: i32,
        pub product: String,
        pub quantity: i32,
        pub unit_price: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Writes a new order, with its events.
pub async fn insert(tx: &OutboxTransaction, tenant: &str, order: &mut Order) -> Result<(), Error> {
    order.tenant = tenant.to_owned();
    tx.insert(order).await?;
    let lines = (0..)
        .zip(order.items.clone())
        .map(|(line, item)| item::ActiveModel {
            order_id: Set(order.id),
            line: Set(line),
            product: Set(item.product),
            quantity: Set(item.quantity),
            unit_price: Set(item.unit_price),
        });
    item::Entity::insert_many(lines).exec(tx).await?;
    Ok(())
}

/// Writes what has changed of an order, with its events.
pub async fn update(tx: &OutboxTransaction, order: &mut Order) -> Result<(), Error> {
    tx.update(order).await
}

/// An order of the tenant, to look at.
pub async fn find(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Order>, DbErr> {
    let found = Entity::find_by_id(id).filter(Column::Tenant.eq(tenant));
    let order = found.one(db).await?;
    with_items(db, order).await
}

/// An order of the tenant, to change: no other transaction changes it until the transaction ends.
pub async fn lock(
    tx: &impl ConnectionTrait,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Order>, DbErr> {
    let found = Entity::find_by_id(id).filter(Column::Tenant.eq(tenant));
    let order = found.lock_exclusive().one(tx).await?;
    with_items(tx, order).await
}

async fn with_items(
    db: &impl ConnectionTrait,
    order: Option<Order>,
) -> Result<Option<Order>, DbErr> {
    let Some(mut order) = order else {
        return Ok(None);
    };
    let lines = item::Entity::find()
        .filter(item::Column::OrderId.eq(order.id))
        .order_by_asc(item::Column::Line)
        .all(db)
        .await?;
    let items = lines.into_iter().map(|line| Item {
        product: line.product,
        quantity: line.quantity,
        unit_price: line.unit_price,
    });
    order.items = items.collect();
    Ok(Some(order))
}
