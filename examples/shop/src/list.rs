//! The list of orders: a read model that a projection keeps of their events.

use bento::prelude::*;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect};

use crate::order::{OrderEvent, Status};

pub mod entry {
    use sea_orm::entity::prelude::*;

    use crate::order::{Currency, Status};

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "shop_order_list_v1")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub order_id: Uuid,
        pub tenant: String,
        pub customer: String,
        pub currency: Currency,
        pub total: i64,
        pub status: Status,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The orders of each tenant, as they are listed.
///
/// Orders are rows, and their published events are gone: the migration has filled the table with
/// those that there were, and each event says the status anew.
#[projection(name = "shop.orders", version = 1)]
#[derive(Debug)]
pub struct OrderList;

impl OrderList {
    async fn project(
        &self,
        events: Batch<OrderEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for (event, context) in events.with_context() {
            let (order_id, status) = match event {
                OrderEvent::OrderPlaced(placed) => {
                    let row = entry::ActiveModel {
                        order_id: Set(placed.order_id),
                        tenant: Set(context.tenant().unwrap_or_default().to_owned()),
                        customer: Set(placed.customer.clone()),
                        currency: Set(placed.currency),
                        total: Set(placed.total),
                        status: Set(Status::Placed),
                    };
                    let mut replace = OnConflict::column(entry::Column::OrderId);
                    replace.update_column(entry::Column::Status);
                    entry::Entity::insert(row)
                        .on_conflict(replace)
                        .exec_without_returning(tx)
                        .await?;
                    continue;
                }
                OrderEvent::OrderConfirmed(event) => (event.order_id, Status::Confirmed),
                OrderEvent::OrderReserved(event) => (event.order_id, Status::Reserved),
                OrderEvent::OrderRejected(event) => (event.order_id, Status::Rejected),
                OrderEvent::OrderPaid(event) => (event.order_id, Status::Paid),
                OrderEvent::OrderCancelled(event) => (event.order_id, Status::Cancelled),
            };
            let change = entry::ActiveModel {
                status: Set(status),
                ..Default::default()
            };
            entry::Entity::update_many()
                .set(change)
                .filter(entry::Column::OrderId.eq(order_id))
                .exec(tx)
                .await?;
        }
        Ok(())
    }
}

/// Up to `limit` orders of the tenant, oldest first, those after an id. Ids are UUIDv7: they ascend
/// with time.
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: &str,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<entry::Model>, DbErr> {
    let mut page = entry::Entity::find().filter(entry::Column::Tenant.eq(tenant));
    if let Some(after) = after {
        page = page.filter(entry::Column::OrderId.gt(after));
    }
    page.order_by_asc(entry::Column::OrderId)
        .limit(limit)
        .all(db)
        .await
}
