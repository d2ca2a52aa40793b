//! Orders in the database: two tables, and the way between their rows and the aggregate.

use bento::PendingEvents;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, LoaderTrait, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::order::{Item, Order};

pub mod order {
    use sea_orm::entity::prelude::*;

    use crate::order::{Currency, Status};

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_order")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub tenant: String,
        pub customer: String,
        pub currency: Currency,
        pub status: Status,
        #[sea_orm(has_many)]
        pub items: HasMany<super::item::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

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
        #[sea_orm(belongs_to, from = "order_id", to = "id")]
        pub order: HasOne<super::order::Entity>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Writes a new order.
pub async fn insert(db: &impl ConnectionTrait, tenant: &str, order: &Order) -> Result<(), DbErr> {
    let row = order::ActiveModel {
        id: Set(order.id),
        tenant: Set(tenant.to_owned()),
        customer: Set(order.customer.clone()),
        currency: Set(order.currency),
        status: Set(order.status),
    };
    row.insert(db).await?;
    let lines = (0..)
        .zip(order.items.clone())
        .map(|(line, item)| item::ActiveModel {
            order_id: Set(order.id),
            line: Set(line),
            product: Set(item.product),
            quantity: Set(item.quantity),
            unit_price: Set(item.unit_price),
        });
    item::Entity::insert_many(lines).exec(db).await?;
    Ok(())
}

/// Writes what can change of an order.
pub async fn update(db: &impl ConnectionTrait, order: &Order) -> Result<(), DbErr> {
    let row = order::ActiveModel {
        id: Set(order.id),
        status: Set(order.status),
        ..Default::default()
    };
    row.update(db).await?;
    Ok(())
}

/// An order of the tenant, to look at.
pub async fn find(
    db: &impl ConnectionTrait,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Order>, DbErr> {
    let row = order::Entity::find_by_id(id)
        .filter(order::Column::Tenant.eq(tenant))
        .one(db)
        .await?;
    Ok(with_items(db, row.into_iter().collect()).await?.pop())
}

/// An order of the tenant, to change: no other transaction changes it until the transaction ends.
pub async fn lock(
    tx: &impl ConnectionTrait,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Order>, DbErr> {
    let found = order::Entity::find_by_id(id).filter(order::Column::Tenant.eq(tenant));
    let row = found.lock_exclusive().one(tx).await?;
    Ok(with_items(tx, row.into_iter().collect()).await?.pop())
}

/// Up to `limit` orders of the tenant, oldest first, those after an id. Ids are UUIDv7: they ascend
/// with time.
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: &str,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Order>, DbErr> {
    let mut page = order::Entity::find().filter(order::Column::Tenant.eq(tenant));
    if let Some(after) = after {
        page = page.filter(order::Column::Id.gt(after));
    }
    let rows = page
        .order_by_asc(order::Column::Id)
        .limit(limit)
        .all(db)
        .await?;
    with_items(db, rows).await
}

async fn with_items(
    db: &impl ConnectionTrait,
    rows: Vec<order::Model>,
) -> Result<Vec<Order>, DbErr> {
    let lines = rows
        .load_many(item::Entity::find().order_by_asc(item::Column::Line), db)
        .await?;
    Ok(rows
        .into_iter()
        .zip(lines)
        .map(|(row, lines)| Order::from_rows(row, lines))
        .collect())
}

impl Order {
    fn from_rows(row: order::Model, lines: Vec<item::Model>) -> Self {
        let items = lines.into_iter().map(|line| Item {
            product: line.product,
            quantity: line.quantity,
            unit_price: line.unit_price,
        });
        Self {
            id: row.id,
            customer: row.customer,
            currency: row.currency,
            items: items.collect(),
            status: row.status,
            events: PendingEvents::default(),
        }
    }
}
