//! The services shown step by step: requests to the shop, the answers of the stock, and the events.
#![allow(clippy::print_stdout, reason = "a demonstration prints")]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use bento::publish::{Delivery, MemoryPublisher};
use bento::source::MemorySource;
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use serde_json::{Value, json};
use shop::Result;
use shop::config::Config;
use shop::service::Shop;
use shop::stock::{Stock, reservation};
use tower::ServiceExt;

pub(crate) async fn run(config: &Config, memory: &MemorySource) -> Result {
    let (of_shop, of_stock) = (&config.shop, &config.stock);
    let console = MemoryPublisher::new();
    let opened = Shop::with_console(
        &of_shop.database_url,
        &of_shop.settings,
        memory,
        console.clone(),
    );
    let shop = opened.await?;
    let stock = Stock::open(&of_stock.database_url, &of_stock.settings, memory).await?;
    let router = shop.router();

    println!("1. an order goes its way: the stock reserves it, and then it can be paid");
    let first = place(&router, order("Ada", "tea", 2)).await?;
    post(&router, &format!("/orders/{first}/confirm"), Value::Null).await?;
    answered(&router, &first).await?;
    post(&router, &format!("/orders/{first}/pay"), Value::Null).await?;

    println!("2. a rule refuses a request, and no event says otherwise");
    let late = json!({ "reason": "too late" });
    post(&router, &format!("/orders/{first}/cancel"), late).await?;
    post(&router, "/orders", order("Ada", "tea", 0)).await?;

    println!("3. there is too little in stock, and the order is rejected");
    let second = place(&router, order("Eve", "coffee", 500)).await?;
    post(&router, &format!("/orders/{second}/confirm"), Value::Null).await?;
    answered(&router, &second).await?;

    println!("4. another order is cancelled in time, and the stock gets its items back");
    let database = connect(&of_stock.database_url).await?;
    let before = reservation::free(&database, "tea").await?;
    let third = place(&router, order("Bob", "tea", 5)).await?;
    post(&router, &format!("/orders/{third}/confirm"), Value::Null).await?;
    answered(&router, &third).await?;
    let reason = json!({ "reason": "found it cheaper" });
    post(&router, &format!("/orders/{third}/cancel"), reason).await?;
    while reservation::free(&database, "tea").await? != before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("   tea: {before} before, {before} again");
    database.close().await?;

    println!("5. the domain events of the shop, by order");
    console.wait_for(11).await;
    for id in [first, second, third] {
        let of_order = |event: &&Delivery| event.envelope.aggregate_id == id;
        console.published().iter().filter(of_order).for_each(print);
    }
    shop.close().await?;
    stock.close().await
}

fn print(event: &Delivery) {
    let event = &event.envelope;
    let payload = String::from_utf8_lossy(&event.payload);
    println!(
        "   {} v{}  {payload}",
        event.event_type, event.schema_version
    );
}

fn order(customer: &str, product: &str, quantity: i32) -> Value {
    let item = json!({ "product": product, "quantity": quantity, "unit_price": 450 });
    json!({ "customer": customer, "currency": "EUR", "items": [item] })
}

/// Waits for the answer of the stock.
async fn answered(router: &Router, id: &str) -> Result {
    let path = format!("/orders/{id}");
    loop {
        let (_, order) = send(router, Request::get(&path).body(Body::empty())?).await?;
        if order["status"] != "confirmed" {
            println!(
                "   GET {path} → {}",
                order["status"].as_str().unwrap_or_default()
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    let options = ConnectOptions::new(url).sqlx_logging(false).to_owned();
    Ok(Database::connect(options).await?)
}

async fn place(router: &Router, order: Value) -> Result<String> {
    let placed = post(router, "/orders", order).await?;
    let id = placed["id"].as_str();
    let id = id.ok_or_else(|| std::io::Error::other("an order has an id"))?;
    Ok(id.to_owned())
}

async fn post(router: &Router, path: &str, body: Value) -> Result<Value> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))?;
    let (status, body) = send(router, request).await?;
    let said = match status.is_success() {
        true => &body["status"],
        false => &body["detail"],
    };
    let said = said.as_str().unwrap_or_default();
    println!("   POST {path} → {} {said}", status.as_u16());
    Ok(body)
}

/// Sends a request through the whole router, without a network in between.
async fn send(router: &Router, request: Request<Body>) -> Result<(StatusCode, Value)> {
    let response = router.clone().oneshot(request).await?;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await?;
    Ok((status, serde_json::from_slice(&body)?))
}
