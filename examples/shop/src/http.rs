//! The routes of orders.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use bento::retry::RetryPolicy;
use bento::{OutboxConnection, TransactionError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::list::entry;
use crate::order::{Currency, Item, Order, Refusal, Status};
use crate::problem::{Body, Failure, Parameters, Problem, Refusals, Segment};
use crate::request::{Headers, Tenant};
use crate::service::App;
use crate::{list, store};

/// The routes of orders, each with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(place, page))
        .routes(routes!(show))
        .routes(routes!(confirm))
        .routes(routes!(pay))
        .routes(routes!(cancel))
}

/// An order as a customer sends it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewOrder {
    #[schema(min_length = 1, max_length = 100)]
    customer: String,
    currency: Currency,
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<Item>,
}

/// An order, as a client sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    id: Uuid,
    customer: String,
    currency: Currency,
    items: Vec<Item>,
    /// In the currency's smallest unit
    total: i64,
    status: Status,
}

/// An order, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderEntry {
    id: Uuid,
    customer: String,
    currency: Currency,
    /// In the currency's smallest unit
    total: i64,
    status: Status,
}

/// Some orders, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    orders: Vec<OrderEntry>,
    /// Ask for the orders after this one, if there may be more
    next: Option<Uuid>,
}

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Extent {
    /// Those after this one; `next` of the page before
    after: Option<Uuid>,
    /// The greatest number of orders to return, 20 if it is absent
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u64>,
}

/// The reason why an order is cancelled.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Cancellation {
    #[schema(min_length = 1, max_length = 100)]
    reason: Option<String>,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        let total = order.total();
        let Order {
            id,
            customer,
            currency,
            items,
            status,
            ..
        } = order;
        Self {
            id,
            customer,
            currency,
            items,
            total,
            status,
        }
    }
}

impl From<entry::Model> for OrderEntry {
    fn from(entry: entry::Model) -> Self {
        let entry::Model {
            order_id: id,
            customer,
            currency,
            total,
            status,
            ..
        } = entry;
        Self {
            id,
            customer,
            currency,
            total,
            status,
        }
    }
}

/// Place an order
#[utoipa::path(post, path = "/orders", tag = "orders", params(Headers),
    request_body = NewOrder, responses(
    (status = 201, description = "It is placed", body = OrderView,
        headers(("location" = String, description = "Its path"))),
    (status = 415, description = "The body is not JSON", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "This is not an order", body = Problem,
        content_type = "application/problem+json"),
    Refusals,
))]
async fn place(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Body(new): Body<NewOrder>,
) -> Result<impl IntoResponse, Failure> {
    let order = db
        .transaction_retrying(RetryPolicy::default(), async move |tx| {
            let mut order = Order::place(new.customer, new.currency, new.items)?;
            store::insert(tx, &tenant.0, &mut order).await?;
            Ok::<_, Failure>(order)
        })
        .await
        .map_err(TransactionError::flatten)?;
    let location = format!("/orders/{}", order.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(OrderView::from(order)),
    ))
}

/// List orders: a moment after an order has changed, the list has it
#[utoipa::path(get, path = "/orders", tag = "orders", params(Headers, Extent), responses(
    (status = 200, description = "A page of them", body = Page),
    Refusals,
))]
async fn page(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Parameters(extent): Parameters<Extent>,
) -> Result<Json<Page>, Failure> {
    let limit = extent.limit.unwrap_or(20).clamp(1, 100);
    let orders = list::page(&db, &tenant.0, extent.after, limit).await?;
    let is_full = orders.len() as u64 == limit;
    let next = orders
        .last()
        .filter(|_| is_full)
        .map(|order| order.order_id);
    Ok(Json(Page {
        orders: orders.into_iter().map(OrderEntry::from).collect(),
        next,
    }))
}

/// Look at an order, and whether it is reserved
#[utoipa::path(get, path = "/orders/{id}", tag = "orders",
    params(("id" = Uuid, Path), Headers), responses(
    (status = 200, description = "The order", body = OrderView),
    (status = 404, description = "There is no such order", body = Problem,
        content_type = "application/problem+json"),
    Refusals,
))]
async fn show(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<OrderView>, Failure> {
    let order = store::find(&db, &tenant.0, id)
        .await?
        .ok_or(Failure::NotFound)?;
    Ok(Json(order.into()))
}

/// Confirm an order that was placed: the stock reserves its items, or rejects it
#[utoipa::path(post, path = "/orders/{id}/confirm", tag = "orders",
    params(("id" = Uuid, Path), Headers), responses(
    (status = 200, description = "It is confirmed", body = OrderView),
    (status = 404, description = "There is no such order", body = Problem,
        content_type = "application/problem+json"),
    (status = 409, description = "It is not just placed", body = Problem,
        content_type = "application/problem+json"),
    Refusals,
))]
async fn confirm(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<OrderView>, Failure> {
    change(&db, &tenant, id, Order::confirm).await
}

/// Pay an order that is reserved
#[utoipa::path(post, path = "/orders/{id}/pay", tag = "orders",
    params(("id" = Uuid, Path), Headers), responses(
    (status = 200, description = "It is paid", body = OrderView),
    (status = 404, description = "There is no such order", body = Problem,
        content_type = "application/problem+json"),
    (status = 409, description = "It is not just reserved", body = Problem,
        content_type = "application/problem+json"),
    Refusals,
))]
async fn pay(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Segment(id): Segment<Uuid>,
) -> Result<Json<OrderView>, Failure> {
    change(&db, &tenant, id, Order::pay).await
}

/// Cancel an order that is not paid
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "orders",
    params(("id" = Uuid, Path), Headers), request_body = Cancellation, responses(
    (status = 200, description = "It is cancelled", body = OrderView),
    (status = 404, description = "There is no such order", body = Problem,
        content_type = "application/problem+json"),
    (status = 409, description = "It is paid, rejected or cancelled", body = Problem,
        content_type = "application/problem+json"),
    (status = 415, description = "The body is not JSON", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "The body is of another shape", body = Problem,
        content_type = "application/problem+json"),
    Refusals,
))]
async fn cancel(
    State(db): State<OutboxConnection>,
    Extension(tenant): Extension<Tenant>,
    Segment(id): Segment<Uuid>,
    Body(cancellation): Body<Cancellation>,
) -> Result<Json<OrderView>, Failure> {
    change(&db, &tenant, id, |order| order.cancel(cancellation.reason)).await
}

/// The order is read under a lock: of two that decide about it at once, the second sees what the
/// first has done.
async fn change(
    db: &OutboxConnection,
    tenant: &Tenant,
    id: Uuid,
    decide: impl FnOnce(&mut Order) -> Result<(), Refusal> + Clone + Send,
) -> Result<Json<OrderView>, Failure> {
    let changed = db.transaction_retrying(RetryPolicy::default(), async move |tx| {
        let mut order = store::lock(tx, &tenant.0, id)
            .await?
            .ok_or(Failure::NotFound)?;
        decide(&mut order)?;
        store::update(tx, &mut order).await?;
        Ok::<_, Failure>(order)
    });
    Ok(Json(
        changed.await.map_err(TransactionError::flatten)?.into(),
    ))
}
