//! The service shown step by step: requests to itself, and what a broker got of them.
#![allow(clippy::print_stdout, reason = "a demonstration prints")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use bento::publish::MemoryPublisher;
use serde_json::{Value, json};
use shop::Result;
use shop::service::Shop;
use tower::ServiceExt;

pub(crate) async fn run(database_url: &str) -> Result {
    let broker = MemoryPublisher::new();
    let shop = Shop::with_publisher(database_url, broker.clone()).await?;
    let router = shop.router();

    println!("1. an order goes its way");
    let tea = json!([{ "product": "tea", "quantity": 2, "unit_price": 450 }]);
    let first = place(
        &router,
        json!({ "customer": "Ada", "currency": "EUR", "items": tea }),
    )
    .await?;
    request(&router, &format!("/orders/{first}/confirm"), Value::Null).await?;
    request(&router, &format!("/orders/{first}/pay"), Value::Null).await?;

    println!("2. a rule refuses a request, and no event says otherwise");
    request(
        &router,
        &format!("/orders/{first}/cancel"),
        json!({ "reason": "too late" }),
    )
    .await?;
    request(
        &router,
        "/orders",
        json!({ "customer": "Ada", "currency": "EUR", "items": [] }),
    )
    .await?;

    println!("3. another order is cancelled in time");
    let second = place(
        &router,
        json!({ "customer": "Bob", "currency": "USD", "items": tea }),
    )
    .await?;
    request(
        &router,
        &format!("/orders/{second}/cancel"),
        json!({ "reason": "found it cheaper" }),
    )
    .await?;

    println!("4. what the broker got, by order");
    broker.wait_for(5).await;
    for id in [first, second] {
        for delivery in broker.published() {
            let event = &delivery.envelope;
            if event.aggregate_id == id {
                println!(
                    "   {} v{}  {}",
                    event.event_type,
                    event.schema_version,
                    String::from_utf8_lossy(&event.payload)
                );
            }
        }
    }
    shop.close().await
}

async fn place(router: &Router, order: Value) -> Result<String> {
    let placed = request(router, "/orders", order).await?;
    Ok(placed["id"]
        .as_str()
        .ok_or_else(|| std::io::Error::other("an order has an id"))?
        .to_owned())
}

/// Sends a POST through the whole router, without a network in between.
async fn request(router: &Router, path: &str, body: Value) -> Result<Value> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))?;
    let response = router.clone().oneshot(request).await?;
    let status = response.status();
    let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await?)?;
    let said = if status.is_success() {
        &body["status"]
    } else {
        &body["detail"]
    };
    println!(
        "   POST {path} → {} {}",
        StatusCode::as_u16(&status),
        said.as_str().unwrap_or_default()
    );
    Ok(body)
}
