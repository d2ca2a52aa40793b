//! The shop with NATS as its broker, chosen by variables as in production.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    reason = "a test program"
)]

mod support;

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, Stream};
use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shop::config::{self, TemporaryFile};
use shop::service::Shop;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::Served;

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
async fn each_step_of_an_order_is_in_the_stream() {
    let Ok(url) = std::env::var("BENTO_TEST_NATS_URL") else {
        eprintln!("skipped: BENTO_TEST_NATS_URL is not set");
        return;
    };
    let name = format!("shop-test-{}", Uuid::now_v7().simple());
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    let stream = context.create_stream(Config {
        subjects: vec![format!("{name}.>")],
        name: name.clone(),
        ..Config::default()
    });
    let stream = stream.await.unwrap();

    let variables = [
        ("BENTO_PUBLISHER", "nats"),
        ("BENTO_PUBLISHERS__NATS__URLS", &url),
        ("BENTO_PUBLISHERS__NATS__PREFIX", &name),
    ];
    let settings = config::events().unwrap().vars(variables).build().unwrap();
    let file = TemporaryFile::new();
    let shop = Served::serve(Shop::open(&file.url(), &settings).await.unwrap()).await;
    let id = shop.place().await;
    let confirmed = shop
        .post(format!("/orders/{id}/confirm"), Value::Null)
        .await;
    assert_eq!(confirmed.status, StatusCode::OK);
    let published = timeout(Duration::from_secs(20), first_two(&stream))
        .await
        .unwrap();
    shop.stop().await;
    context.delete_stream(&name).await.unwrap();

    let subjects: Vec<_> = published
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(
        subjects,
        [
            format!("{name}.order.placed"),
            format!("{name}.order.confirmed")
        ]
    );
    let placed: Value = serde_json::from_slice(&published[0].payload).unwrap();
    assert_eq!(
        (&placed["order_id"], &placed["total"]),
        (&json!(id), &json!(900))
    );
}

async fn first_two(stream: &Stream) -> Vec<jetstream::Message> {
    let consumer = stream
        .create_consumer(pull::Config::default())
        .await
        .unwrap();
    consumer
        .messages()
        .await
        .unwrap()
        .take(2)
        .map(Result::unwrap)
        .collect()
        .await
}
