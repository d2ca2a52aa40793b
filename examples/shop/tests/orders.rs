//! The shop over HTTP, with its stock: what a client sees, and what comes of it.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test program"
)]

mod support;

use std::time::Duration;

use bento::publish::PublishError;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shop::order::{Currency, OrderPaid, OrderPlaced};
use shop::stock::reservation;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENCE, TestShop, connect, schemas, tea};

on_each_back_end!(
    an_order_goes_its_way_and_each_step_is_published_in_order,
    events_carry_the_tenant_the_request_and_the_trace,
    a_broken_rule_is_answered_with_a_problem_and_publishes_nothing,
    of_several_payments_at_once_one_wins,
    a_transaction_that_fails_leaves_neither_order_nor_event,
    an_order_has_its_items_from_confirming_to_cancelling,
    an_order_of_more_than_is_in_stock_is_rejected,
    an_order_of_a_tenant_is_answered,
    a_tenant_does_not_see_the_orders_of_another,
    orders_are_listed_page_by_page,
    the_list_follows_each_order_to_its_end,
    what_was_not_published_is_published_after_a_restart,
    the_metrics_show_what_was_published_and_what_the_outbox_holds,
);

async fn an_order_goes_its_way_and_each_step_is_published_in_order(shop: TestShop) {
    let id = shop.place().await;
    assert_eq!(shop.confirm(&id).await, "reserved");
    let paid = shop.post(format!("/orders/{id}/pay"), Value::Null).await;
    let expected = json!({
        "id": id, "customer": "Ada", "currency": "EUR", "status": "paid", "total": 900,
        "items": [{ "product": "tea", "quantity": 2, "unit_price": 450 }],
    });
    assert_eq!(
        (paid.status, paid.json()),
        (StatusCode::OK, expected.clone())
    );
    assert_eq!(shop.get(format!("/orders/{id}")).await.json(), expected);

    let other = shop.place().await;
    shop.post(
        format!("/orders/{other}/cancel"),
        json!({ "reason": "too dear" }),
    )
    .await;

    // The relay is woken: nothing is left for the end.
    shop.console.wait_for(6).await;
    let published = shop.finish().await;
    assert_eq!(
        schemas(&published, &id),
        [
            "order.placed",
            "order.confirmed",
            "order.reserved",
            "order.paid"
        ]
    );
    assert_eq!(
        schemas(&published, &other),
        ["order.placed", "order.cancelled"]
    );
    let of_first: Vec<_> = published
        .iter()
        .filter(|delivery| delivery.envelope.aggregate_id == id)
        .collect();
    let placed: OrderPlaced = of_first[0].envelope.decode().unwrap();
    assert_eq!(
        (placed.total, placed.currency, placed.items.len()),
        (900, Currency::Eur, 1)
    );
    let paid: OrderPaid = of_first[3].envelope.decode().unwrap();
    assert_eq!((paid.order_id.to_string(), paid.total), (id, 900));
}

async fn events_carry_the_tenant_the_request_and_the_trace(shop: TestShop) {
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("x-tenant", "acme"),
        ("x-request-id", "request-7"),
        ("traceparent", traceparent),
    ];
    let placed = shop.send(Method::POST, "/orders", &headers, tea(1)).await;
    assert_eq!(placed.headers["x-request-id"], "request-7");
    let anonymous = shop.post("/orders", tea(1)).await;
    let tabbed = shop
        .send(Method::POST, "/orders", &[("traceparent", "a\tb")], tea(1))
        .await;
    assert_eq!(tabbed.status, StatusCode::BAD_REQUEST);

    let published = shop.finish().await;
    let of = |id: &Value| {
        &published
            .iter()
            .find(|delivery| delivery.envelope.aggregate_id == *id)
            .unwrap()
            .envelope
    };
    let event = of(&placed.json()["id"]);
    let headers = event.headers().unwrap();
    assert_eq!(event.tenant_id.as_deref(), Some("acme"));
    assert_eq!(headers.correlation_id.as_deref(), Some("request-7"));
    assert_eq!(headers.source.as_deref(), Some("shop"));
    assert_eq!(headers.extra["traceparent"], traceparent);

    let event = of(&anonymous.json()["id"]);
    let request_id = anonymous.headers["x-request-id"].to_str().unwrap();
    assert_eq!(event.tenant_id.as_deref(), Some("default"));
    assert_eq!(
        event.headers().unwrap().correlation_id.as_deref(),
        Some(request_id)
    );
}

async fn a_broken_rule_is_answered_with_a_problem_and_publishes_nothing(shop: TestShop) {
    let with = |key: &str, value: Value| {
        let mut order = tea(1);
        order[key] = value;
        order
    };
    let item = |quantity, unit_price| {
        let item = json!({ "product": "tea", "quantity": quantity, "unit_price": unit_price });
        json!([item])
    };
    let invalid = [
        (
            with("items", json!([])),
            "an order has 1 to 100 items, not 0",
        ),
        (
            with("items", item(0, 450)),
            "`tea`: the quantity is from 1 to 10000, not 0",
        ),
        (
            with("items", item(1, -1)),
            "`tea`: the price is from 0 to 1000000000, not -1",
        ),
        (
            with("customer", json!("")),
            "`customer` has 1 to 100 characters",
        ),
        (
            with("currency", json!("XXX")),
            "currency: unknown variant `XXX`, expected one of `EUR`, `USD`, `GBP`",
        ),
    ];
    for (order, reason) in invalid {
        is_problem(
            &shop.post("/orders", order).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            reason,
        );
    }
    let nowhere = "/orders/00000000-0000-7000-8000-000000000000";
    for path in [format!("{nowhere}/confirm"), format!("{nowhere}/pay")] {
        is_problem(
            &shop.post(path, Value::Null).await,
            StatusCode::NOT_FOUND,
            "there is no such order",
        );
    }
    let id = shop.place().await;
    let early = shop.post(format!("/orders/{id}/pay"), Value::Null).await;
    is_problem(
        &early,
        StatusCode::CONFLICT,
        "an order that is placed cannot be paid",
    );
    shop.confirm(&id).await;
    let again = shop
        .post(format!("/orders/{id}/confirm"), Value::Null)
        .await;
    is_problem(
        &again,
        StatusCode::CONFLICT,
        "an order that is reserved cannot be confirmed",
    );
    shop.post(format!("/orders/{id}/pay"), Value::Null).await;
    let late = shop
        .post(
            format!("/orders/{id}/cancel"),
            json!({ "reason": "too late" }),
        )
        .await;
    is_problem(
        &late,
        StatusCode::CONFLICT,
        "an order that is paid cannot be cancelled",
    );

    let published = shop.finish().await;
    assert_eq!(
        schemas(&published, &id),
        [
            "order.placed",
            "order.confirmed",
            "order.reserved",
            "order.paid"
        ]
    );
    assert_eq!(
        published.len(),
        4,
        "an event of something that was refused: {published:?}"
    );
}

fn is_problem(answer: &support::Answer, status: StatusCode, reason: &str) {
    assert_eq!(
        (answer.status, answer.content_type()),
        (status, "application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], json!(status.as_u16()));
    assert!(
        problem["detail"].as_str().unwrap().contains(reason),
        "{problem}, not {reason}"
    );
}

async fn of_several_payments_at_once_one_wins(shop: TestShop) {
    let id = shop.place().await;
    shop.confirm(&id).await;
    let pay = || shop.post(format!("/orders/{id}/pay"), Value::Null);
    let answers: [_; 6] = tokio::join!(pay(), pay(), pay(), pay(), pay(), pay()).into();
    let mut statuses = answers.map(|answer| answer.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    let published = shop.finish().await;
    assert_eq!(
        schemas(&published, &id),
        [
            "order.placed",
            "order.confirmed",
            "order.reserved",
            "order.paid"
        ]
    );
}

async fn a_transaction_that_fails_leaves_neither_order_nor_event(shop: TestShop) {
    // The order is written and its event raised before its items fail.
    shop.sql("ALTER TABLE shop_order_item RENAME TO away").await;
    let failed = shop.post("/orders", tea(1)).await;
    is_problem(
        &failed,
        StatusCode::INTERNAL_SERVER_ERROR,
        "please try again later",
    );
    shop.sql("ALTER TABLE away RENAME TO shop_order_item").await;
    assert_eq!(shop.get("/orders").await.json()["orders"], json!([]));
    assert_eq!(shop.finish().await.len(), 0);
}

async fn an_order_has_its_items_from_confirming_to_cancelling(shop: TestShop) {
    let database = connect(&shop.databases.stock).await;
    let free = async || reservation::free(&database, "tea").await.unwrap();
    let (before, mut ids) = (free().await, Vec::new());
    for quantity in [2, 5] {
        let id = shop.place_for(quantity).await;
        assert_eq!(shop.confirm(&id).await, "reserved");
        ids.push(id);
    }
    assert_eq!(free().await, before - 7);
    let cancel = format!("/orders/{}/cancel", ids[1]);
    shop.post(cancel, json!({})).await;
    let given_back = async {
        while free().await != before - 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, given_back)
        .await
        .expect("the stock learns that the order is cancelled");
    shop.stop().await;
}

async fn an_order_of_more_than_is_in_stock_is_rejected(shop: TestShop) {
    let database = connect(&shop.databases.stock).await;
    let id = shop.place_for(1001).await;
    assert_eq!(shop.confirm(&id).await, "rejected");
    let refused = [
        ("confirm", "an order that is rejected cannot be confirmed"),
        ("pay", "an order that is rejected cannot be paid"),
        ("cancel", "an order that is rejected cannot be cancelled"),
    ];
    for (step, reason) in refused {
        let answer = shop.post(format!("/orders/{id}/{step}"), json!({})).await;
        is_problem(&answer, StatusCode::CONFLICT, reason);
    }
    assert_eq!(reservation::free(&database, "tea").await.unwrap(), 1000);
    assert_eq!(
        schemas(&shop.finish().await, &id),
        ["order.placed", "order.confirmed", "order.rejected"]
    );
}

async fn an_order_of_a_tenant_is_answered(shop: TestShop) {
    let acme = [("x-tenant", "acme")];
    let placed = shop.send(Method::POST, "/orders", &acme, tea(1)).await;
    let path = format!("/orders/{}", placed.json()["id"].as_str().unwrap());
    let confirm = format!("{path}/confirm");
    shop.send(Method::POST, confirm, &acme, Value::Null).await;
    let reserved = async {
        while shop
            .send(Method::GET, &path, &acme, Value::Null)
            .await
            .json()["status"]
            != "reserved"
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, reserved).await.expect("an answer");
    let published = shop.finish().await;
    let tenants = published
        .iter()
        .map(|event| event.envelope.tenant_id.as_deref());
    assert_eq!(tenants.collect::<Vec<_>>(), [Some("acme"); 3]);
}

async fn a_tenant_does_not_see_the_orders_of_another(shop: TestShop) {
    let id = shop.place().await;
    let acme = [("x-tenant", "acme")];
    assert_eq!(
        shop.send(Method::GET, "/orders", &acme, Value::Null)
            .await
            .json()["orders"],
        json!([])
    );
    for (method, path) in [
        (Method::GET, format!("/orders/{id}")),
        (Method::POST, format!("/orders/{id}/confirm")),
    ] {
        let answer = shop.send(method, path, &acme, Value::Null).await;
        is_problem(&answer, StatusCode::NOT_FOUND, "there is no such order");
    }
    assert_eq!(schemas(&shop.finish().await, &id), ["order.placed"]);
}

async fn orders_are_listed_page_by_page(shop: TestShop) {
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(shop.place().await);
    }
    shop.listed("/orders", 5).await;
    let (mut listed, mut sizes, mut path) = (Vec::new(), Vec::new(), "/orders?limit=2".to_owned());
    loop {
        let page = shop.get(&path).await.json();
        let orders = page["orders"].as_array().unwrap();
        sizes.push(orders.len());
        listed.extend(
            orders
                .iter()
                .map(|order| order["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/orders?limit=2&after={next}");
    }
    assert_eq!((listed, sizes), (placed, vec![2, 2, 1]));
    shop.stop().await;
}

async fn the_list_follows_each_order_to_its_end(shop: TestShop) {
    let [paid, cancelled] = [shop.place().await, shop.place().await];
    assert_eq!(shop.confirm(&paid).await, "reserved");
    shop.post(format!("/orders/{paid}/pay"), Value::Null).await;
    shop.post(format!("/orders/{cancelled}/cancel"), json!({}))
        .await;
    let expected = |id: &str, status| {
        json!({
            "id": id, "customer": "Ada", "currency": "EUR", "total": 900, "status": status,
        })
    };
    let expected = json!([expected(&paid, "paid"), expected(&cancelled, "cancelled")]);
    let follows = async {
        while shop.get("/orders").await.json()["orders"] != expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, follows).await.expect("both orders");
    shop.stop().await;
}

async fn what_was_not_published_is_published_after_a_restart(shop: TestShop) {
    let (console, databases) = (shop.console.clone(), shop.databases.clone());
    console.fail(|_| Some(PublishError::unavailable("the console is away")));
    let id = shop.place().await;
    assert_eq!(shop.confirm(&id).await, "reserved");
    shop.stop().await;
    assert_eq!(console.published().len(), 0);

    console.recover();
    let shop = TestShop::open(databases, console.clone()).await;
    console.wait_for(3).await;
    assert_eq!(
        schemas(&shop.finish().await, &id),
        ["order.placed", "order.confirmed", "order.reserved"]
    );
}

async fn the_metrics_show_what_was_published_and_what_the_outbox_holds(shop: TestShop) {
    shop.place().await;
    // What was published is counted a moment after the broker has it, and the monitor looks a
    // moment after the start.
    let names = [
        "bento_flushed_events_total",
        "bento_published_events_total",
        "bento_publish_seconds_bucket",
        r#"bento_leases{state="held"}"#,
    ];
    let shown = async {
        loop {
            let metrics = shop.get("/metrics").await;
            assert_eq!(
                (metrics.status, metrics.content_type()),
                (StatusCode::OK, "text/plain")
            );
            if names
                .iter()
                .all(|name| metrics.text.lines().any(|line| line.starts_with(name)))
            {
                break;
            }
        }
    };
    timeout(PATIENCE, shown).await.expect("all of them");
    shop.stop().await;
}
