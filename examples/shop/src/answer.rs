//! The answers of the stock, and the handlers that write them into the order.

use bento::handlers::EventContext;
use bento::prelude::*;
use uuid::Uuid;

use crate::order::{Order, Refusal};
use crate::store;

/// The shop's view of an answer: the order can be delivered.
#[domain_event(schema = "stock.reserved", version = 1, consumes)]
#[derive(Clone, Debug)]
pub struct StockReserved {
    pub order_id: Uuid,
}

/// The shop's view of the other answer: there is too little of a product.
#[domain_event(schema = "stock.rejected", version = 1, consumes)]
#[derive(Clone, Debug)]
pub struct StockRejected {
    pub order_id: Uuid,
    pub product: String,
}

/// Writes into the order that it is reserved.
#[event_handler(name = "shop.reserved")]
pub async fn reserved(
    event: StockReserved,
    context: EventContext,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    settle(tx, &context, event.order_id, Order::reserve).await
}

/// Writes into the order that it is rejected.
#[event_handler(name = "shop.rejected")]
pub async fn rejected(
    event: StockRejected,
    context: EventContext,
    tx: &OutboxTransaction,
) -> Result<(), HandleError> {
    let reject = |order: &mut Order| order.reject(event.product);
    settle(tx, &context, event.order_id, reject).await
}

/// Changes the order, unless it waits for no answer: it may be cancelled by now.
async fn settle(
    tx: &OutboxTransaction,
    context: &EventContext,
    id: Uuid,
    decide: impl FnOnce(&mut Order) -> Result<(), Refusal>,
) -> Result<(), HandleError> {
    let tenant = context.tenant().unwrap_or_default();
    let Some(mut order) = store::lock(tx, tenant, id).await? else {
        return Err(HandleError::permanent("there is no such order"));
    };
    decide(&mut order).map_err(|refusal| HandleError::skip(refusal.to_string()))?;
    store::update(tx, &mut order).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bento::Error;
    use bento_testkit::{Handling, handling_stored};
    use serde_json::json;

    use super::*;
    use crate::migration::Migrator;
    use crate::order::{Currency, Item, OrderRejected, OrderReserved, Status};

    const TENANT: &str = "acme";

    async fn database() -> OutboxConnection {
        let db = bento_testkit::database_in_memory().await;
        let migrated = bento::migration::up_alone(db.inner(), Migrator).await;
        migrated.expect("the tables are created");
        db
    }

    /// Places an order and makes of it what a test needs.
    async fn order(
        db: &OutboxConnection,
        become_: impl FnOnce(&mut Order) -> Result<(), Refusal> + Send,
    ) -> Uuid {
        let items = vec![Item {
            product: "tea".to_owned(),
            quantity: 2,
            unit_price: 450,
        }];
        let stored = db.transaction_async(async move |tx| {
            let order = Order::place("Ada".to_owned(), Currency::Eur, items);
            let mut order = order.expect("a valid order");
            become_(&mut order).expect("what an order may become");
            store::insert(tx, TENANT, &mut order).await?;
            Ok::<_, Error>(order.id)
        });
        stored.await.expect("it is stored")
    }

    async fn status(db: &OutboxConnection, id: Uuid) -> Status {
        let found = store::find(db, TENANT, id).await.expect("it is read");
        found.expect("the order").status
    }

    fn reserved_by_the_stock(order_id: Uuid) -> Handling {
        handling_stored("stock.reserved", 1, json!({ "order_id": order_id }))
    }

    #[tokio::test]
    async fn an_order_is_reserved_once() {
        let db = database().await;
        let order_id = order(&db, Order::confirm).await;
        let handled = reserved_by_the_stock(order_id)
            .tenant(TENANT)
            .by(reserved::handler(), &db)
            .once(async || status(&db, order_id).await)
            .await;
        assert_eq!(handled.effect, Status::Reserved);
        handled
            .raises(OrderReserved { order_id })
            .and_nothing_else();
    }

    #[tokio::test]
    async fn an_order_is_rejected_once_with_the_product_of_which_there_is_too_little() {
        let db = database().await;
        let order_id = order(&db, Order::confirm).await;
        let answer = json!({ "order_id": order_id, "product": "tea" });
        let handled = handling_stored("stock.rejected", 1, answer)
            .tenant(TENANT)
            .by(rejected::handler(), &db)
            .once(async || status(&db, order_id).await)
            .await;
        assert_eq!(handled.effect, Status::Rejected);
        handled
            .raises(OrderRejected {
                order_id,
                product: "tea".to_owned(),
            })
            .and_nothing_else();
    }

    #[tokio::test]
    async fn a_cancelled_order_stays_so_and_one_of_another_tenant_is_not_found() {
        let db = database().await;
        let cancel = |order: &mut Order| order.confirm().and_then(|()| order.cancel(None));
        let order_id = order(&db, cancel).await;
        let late = reserved_by_the_stock(order_id)
            .tenant(TENANT)
            .by(reserved::handler(), &db);
        late.run().await.skips();
        assert_eq!(status(&db, order_id).await, Status::Cancelled);

        let foreign = reserved_by_the_stock(order_id)
            .tenant("globex")
            .by(reserved::handler(), &db);
        foreign.run().await.fails_permanently();
    }
}
