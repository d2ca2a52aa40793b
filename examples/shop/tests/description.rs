//! `/openapi.json` says what the service does: no route is missing in it, and each answer is one
//! that it describes.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    reason = "a test program"
)]

mod support;

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use bento::source::MemorySource;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shop::config::{self, TemporaryFile};
use shop::service::Shop;
use tower::ServiceExt;

use crate::support::{Answer, TestShop, on_sqlite, tea};

const NOWHERE: &str = "/orders/00000000-0000-7000-8000-000000000000";

#[tokio::test]
async fn every_route_is_described_and_every_description_is_served() {
    let file = TemporaryFile::new();
    let shop = open(&file).await;
    let router = shop.router();
    // axum lists its routes for people only, and what it does without a route after them.
    let printed = format!("{router:?}");
    let (routes, _) = printed.split_once("fallback_router").unwrap();
    let routed: BTreeSet<&str> = routes
        .split('"')
        .filter(|text| text.starts_with('/'))
        .collect();

    let get = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(get).await.unwrap();
    let document: Value =
        serde_json::from_slice(&to_bytes(answer.into_body(), 1 << 20).await.unwrap()).unwrap();
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(routed, described);

    for path in routed {
        for method in ["get", "post", "put", "patch", "delete"] {
            let uri = path.replace("/orders/{id}", NOWHERE);
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(uri)
                .body(Body::empty())
                .unwrap();
            let is_served = router.clone().oneshot(request).await.unwrap().status()
                != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(
                is_served,
                !document["paths"][path][method].is_null(),
                "{method} {path}"
            );
        }
    }
    shop.close().await.unwrap();
}

#[tokio::test]
async fn every_answer_that_is_described_is_given_as_it_is_described() {
    on_sqlite(async |shop| {
        let mut checker = Checker::new(shop).await;
        checker.orders().await;
        checker.operations().await;
        checker.failures().await;
        assert_eq!(
            checker.missing(),
            [""; 0],
            "described, but never given here"
        );
        checker.shop.stop().await;
    })
    .await;
}

/// Compares each answer with the document, and remembers which of the described ones were given.
struct Checker {
    shop: TestShop,
    document: Value,
    given: BTreeSet<String>,
}

impl Checker {
    async fn new(shop: TestShop) -> Self {
        let mut document = shop.get("/openapi.json").await.json();
        close_objects(&mut document);
        Self {
            shop,
            document,
            given: BTreeSet::new(),
        }
    }

    async fn orders(&mut self) {
        let placed = self
            .check(201, Method::POST, "/orders", "", tea(1))
            .await
            .json();
        let id = format!("/{}", placed["id"].as_str().unwrap());
        self.check(422, Method::POST, "/orders", "", tea(0)).await;
        self.check(422, Method::POST, "/orders", "", json!({}))
            .await;
        self.check(415, Method::POST, "/orders", "", Value::Null)
            .await;
        self.shop.listed("/orders", 1).await;
        self.check(200, Method::GET, "/orders", "?limit=1", Value::Null)
            .await;
        self.check(400, Method::GET, "/orders", "?limit=few", Value::Null)
            .await;
        self.check(200, Method::GET, "/orders/{id}", &id, Value::Null)
            .await;
        self.check(415, Method::POST, "/orders/{id}/cancel", &id, Value::Null)
            .await;
        self.check(
            422,
            Method::POST,
            "/orders/{id}/cancel",
            &id,
            json!({ "reason": 7 }),
        )
        .await;
        for step in ["confirm", "pay"] {
            let path = format!("/orders/{{id}}/{step}");
            self.check(200, Method::POST, &path, &id, Value::Null).await;
            self.check(409, Method::POST, &path, &id, Value::Null).await;
            self.shop.answered(&id[1..]).await;
        }
        self.check(409, Method::POST, "/orders/{id}/cancel", &id, json!({}))
            .await;
        let other = format!("/{}", self.shop.place().await);
        self.check(200, Method::POST, "/orders/{id}/cancel", &other, json!({}))
            .await;
        for (method, path) in one_order() {
            self.check(
                404,
                method.clone(),
                path,
                &NOWHERE["/orders".len()..],
                json!({}),
            )
            .await;
            self.check(400, method, path, "/seven", json!({})).await;
        }
        let refused = self
            .shop
            .send(Method::POST, "/orders", &[("x-tenant", "")], tea(1))
            .await;
        self.compare(400, "post /orders", &refused);
    }

    async fn operations(&mut self) {
        // It has found the outbox when it has published something.
        self.shop.console.wait_for(1).await;
        self.check(204, Method::GET, "/health/live", "", Value::Null)
            .await;
        self.check(200, Method::GET, "/health/ready", "", Value::Null)
            .await;
        self.check(200, Method::GET, "/metrics", "", Value::Null)
            .await;
        self.check(200, Method::GET, "/openapi.json", "", Value::Null)
            .await;
        for path in ["/health/live", "/health/ready"] {
            self.compare(503, &format!("get {path}"), &closed(path).await);
        }
    }

    async fn failures(&mut self) {
        for table in ["shop_order", "shop_order_list_v1"] {
            let rename = format!("ALTER TABLE {table} RENAME TO {table}_away");
            self.shop.sql(&rename).await;
        }
        self.check(500, Method::POST, "/orders", "", tea(1)).await;
        self.check(500, Method::GET, "/orders", "", Value::Null)
            .await;
        for (method, path) in one_order() {
            self.check(500, method, path, &NOWHERE["/orders".len()..], json!({}))
                .await;
        }
    }

    /// Sends a request to `path`, with `id` (and the slash before it) in its place or as what
    /// follows.
    async fn check(
        &mut self,
        expected: u16,
        method: Method,
        path: &str,
        id: &str,
        body: Value,
    ) -> Answer {
        let uri = if path.contains("/{id}") {
            path.replace("/{id}", id)
        } else {
            format!("{path}{id}")
        };
        let operation = format!("{} {path}", method.as_str().to_lowercase());
        let answer = self.shop.send(method, uri, &[], body).await;
        self.compare(expected, &operation, &answer);
        answer
    }

    fn compare(&mut self, expected: u16, operation: &str, answer: &Answer) {
        assert_eq!(answer.status.as_u16(), expected, "{operation}: {answer:?}");
        let (method, path) = operation.split_once(' ').unwrap();
        let described = &self.document["paths"][path][method]["responses"][expected.to_string()];
        assert!(
            described.is_object(),
            "{operation} does not say that it answers {expected}"
        );
        match described["content"].as_object() {
            None => assert_eq!(
                answer.text, "",
                "{operation} {expected} says nothing of a body"
            ),
            Some(content) => {
                let schema = content
                    .get(answer.content_type())
                    .map(|content| &content["schema"]);
                let schema = schema.unwrap_or_else(|| {
                    panic!("{operation} {expected} is not {}", answer.content_type())
                });
                let body = if answer.content_type() == "text/plain" {
                    json!(answer.text)
                } else {
                    answer.json()
                };
                self.validate(schema, &body, operation);
            }
        }
        self.given.insert(format!("{operation} {expected}"));
    }

    fn validate(&self, schema: &Value, body: &Value, operation: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(body)
            .map(|fault| fault.to_string())
            .collect();
        assert_eq!(faults, [""; 0], "{operation} answered {body}");
    }

    fn missing(&self) -> Vec<String> {
        let mut described = Vec::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let statuses = operation["responses"].as_object().unwrap().keys();
                described.extend(statuses.map(|status| format!("{method} {path} {status}")));
            }
        }
        described.retain(|answer| !self.given.contains(answer));
        described
    }
}

fn one_order() -> [(Method, &'static str); 4] {
    [
        (Method::GET, "/orders/{id}"),
        (Method::POST, "/orders/{id}/confirm"),
        (Method::POST, "/orders/{id}/pay"),
        (Method::POST, "/orders/{id}/cancel"),
    ]
}

/// A shop without a stock.
async fn open(file: &TemporaryFile) -> Shop {
    let settings = config::shop().unwrap().build().unwrap();
    let opened = Shop::open(&file.url(), &settings, &MemorySource::default()).await;
    opened.unwrap()
}

/// The answer of a shop whose database and relay are gone.
async fn closed(path: &str) -> Answer {
    let file = TemporaryFile::new();
    let shop = open(&file).await;
    let router = shop.router();
    shop.close().await.unwrap();
    let answer = router
        .oneshot(Request::get(path).body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = String::from_utf8(
        to_bytes(answer.into_body(), 1 << 20)
            .await
            .unwrap()
            .to_vec(),
    )
    .unwrap();
    Answer {
        status,
        headers,
        text,
    }
}

/// A field that no schema mentions is a fault.
fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close_objects);
        }
        Value::Array(values) => values.iter_mut().for_each(close_objects),
        _ => {}
    }
}
