//! The expansion of `#[projection]`: the descriptors, field by field, and the call of the method.

use std::any::Any;

use bento_handlers::{
    Call, FromCall, Projection, ProjectionDescriptor, ProjectionRegistration, projection,
};

use super::*;

/// Orders that are paid or not.
///
/// By their ids.
#[projection(name = "orders", version = 2, views = ("open_order", "paid_order"))]
#[derive(Clone, Debug)]
struct Orders;

impl Orders {
    async fn project(
        &self,
        events: Batch<OrderEvent>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        for event in events.iter() {
            let order_id = match event {
                OrderEvent::OrderConfirmed(confirmed) => confirmed.order_id,
                OrderEvent::OrderPaid(paid) => paid.order_id,
            };
            write(tx, order_id).await?;
        }
        Ok(())
    }
}

/// An error of the application is enough, as for a handler.
#[projection(name = "billing.sums", version = 1, views = "sum")]
struct Sums {
    factor: u64,
}

impl Sums {
    pub(crate) async fn project(
        &self,
        events: Batch<OrderConfirmed>,
        tx: &OutboxTransaction,
    ) -> Result<(), sea_orm::DbErr> {
        for event in events.iter() {
            write(tx, event.order_id * self.factor).await?;
        }
        Ok(())
    }
}

#[projection(
    name = "audit",
    version = 2_147_483_647,
    events = ("order.*", "stock.reserved"),
    crate = framework::handlers
)]
struct Audit {}

impl Audit {
    async fn project(
        &self,
        events: Batch<Envelope>,
        _tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let first = events.iter().next().unwrap();
        Err(HandleError::permanent(first.event_type.to_string()))
    }
}

async fn write(tx: &OutboxTransaction, order_id: u64) -> Result<(), sea_orm::DbErr> {
    let sql = format!("INSERT INTO reserved VALUES ({order_id})");
    tx.execute_unprepared(&sql).await?;
    Ok(())
}

fn registered_as(name: &str) -> &'static ProjectionRegistration {
    let mut all = bento_handlers::__private::inventory::iter::<ProjectionRegistration>();
    all.find(|projection| projection.descriptor.name == name)
        .unwrap()
}

fn takes(descriptor: &ProjectionDescriptor) -> Vec<&'static str> {
    descriptor.takes().collect()
}

#[test]
fn a_descriptor_of_a_projection_has_the_keys() {
    let orders = Orders::DESCRIPTOR;
    assert_eq!((orders.name, orders.version), ("orders", 2));
    assert_eq!(orders.route(), "orders@2");
    assert_eq!(orders.views, ["open_order", "paid_order"]);
    assert_eq!(orders.docs, "Orders that are paid or not.\n\nBy their ids.");
    assert_eq!(orders.declared.package, "bento-handlers");
    assert_eq!(orders.declared.module_path, "r#macro::projected");
    assert!(orders.declared.file.ends_with("tests/macro/projected.rs"));
    let sums = Sums::DESCRIPTOR;
    assert_eq!((sums.name, sums.version), ("billing.sums", 1));
    assert_eq!((sums.views, sums.docs.is_empty()), (&["sum"][..], false));
    let audit = Audit::DESCRIPTOR;
    assert_eq!((audit.version, audit.docs), (2_147_483_647, ""));
    assert!(audit.views.is_empty());
}

#[test]
fn the_batch_says_which_events_a_projection_takes() {
    assert_eq!(takes(Orders::DESCRIPTOR), ["order.confirmed", "order.paid"]);
    assert!(Orders::DESCRIPTOR.patterns.is_empty());
    assert_eq!(takes(Sums::DESCRIPTOR), ["order.confirmed"]);
    assert_eq!(takes(Audit::DESCRIPTOR), ["order.*", "stock.reserved"]);
    assert!(Audit::DESCRIPTOR.events.is_empty());
}

#[test]
fn a_struct_without_fields_is_registered_with_its_value() {
    let orders = registered_as("orders");
    assert!(std::ptr::eq(
        orders.descriptor.name,
        Orders::DESCRIPTOR.name
    ));
    let unit: Arc<dyn Any + Send + Sync> = orders.unit.unwrap()();
    assert!(unit.downcast_ref::<Orders>().is_some());
    assert!(registered_as("audit").unit.unwrap()().is::<Audit>());
    assert!(registered_as("billing.sums").unit.is_none());
}

/// The whole call of a handler, with which these tests call a projection.
struct Whole<'a>(&'a Call);

impl<'a> FromCall<'a> for Whole<'a> {
    fn from_call(call: &'a Call) -> Self {
        Self(call)
    }
}

#[bento_handlers::event_handler(name = "project.orders")]
async fn project_orders(
    _events: Batch<OrderEvent>,
    _tx: &OutboxTransaction,
    Whole(call): Whole<'_>,
) -> Result<(), HandleError> {
    (Orders::DESCRIPTOR.run)(&Orders, call).await
}

#[bento_handlers::event_handler(name = "project.sums")]
async fn project_sums(
    _events: Batch<OrderConfirmed>,
    _tx: &OutboxTransaction,
    Whole(call): Whole<'_>,
) -> Result<(), HandleError> {
    (Sums::DESCRIPTOR.run)(&Sums { factor: 10 }, call).await
}

#[bento_handlers::event_handler(name = "project.audit", events = "*")]
async fn project_audit(
    _events: Batch<Envelope>,
    _tx: &OutboxTransaction,
    Whole(call): Whole<'_>,
) -> Result<(), HandleError> {
    (Audit::DESCRIPTOR.run)(&Audit {}, call).await
}

#[bento_handlers::event_handler(name = "project.unreadable", events = "*")]
async fn project_unreadable(
    _events: Batch<Envelope>,
    _tx: &OutboxTransaction,
    Whole(call): Whole<'_>,
) -> Result<(), HandleError> {
    (Sums::DESCRIPTOR.run)(&Sums { factor: 10 }, call).await
}

#[tokio::test]
async fn a_projection_is_called_with_its_struct_and_writes_in_the_transaction() {
    let db = database().await;
    let handlers = Handlers::new(())
        .add(project_orders::handler())
        .add(project_sums::handler());
    let dispatcher = handlers.build(&db).unwrap();
    for handler in ["project.orders", "project.sums"] {
        handle(&dispatcher, handler, &confirmed(7)).await.unwrap();
    }
    assert_eq!(number(&db, "SELECT SUM(order_id) FROM reserved").await, 77);
}

#[tokio::test]
async fn an_error_of_a_projection_is_the_answer() {
    let db = database().await;
    let handlers = Handlers::new(())
        .add(project_audit::handler())
        .add(project_unreadable::handler());
    let dispatcher = handlers.build(&db).unwrap();
    let error = handle(&dispatcher, "project.audit", &confirmed(7))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("order.confirmed"), "{error}");
    let other = envelope("stock.reserved", 1);
    let error = handle(&dispatcher, "project.unreadable", &other)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stock.reserved"), "{error}");
    assert_eq!(error.class(), bento_relay::publish::FailureClass::Permanent);
}
