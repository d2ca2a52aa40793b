//! The shop, started while its broker is away.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    reason = "a test program"
)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, Stream};
use bento::source::MemorySource;
use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shop::config::{self, TemporaryFile};
use shop::service::Shop;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::support::{PATIENCE, Served};

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
async fn a_shop_that_starts_without_its_broker_publishes_in_order_later() {
    let Some(mut broker) = Broker::start() else {
        eprintln!("skipped: nats-server is not installed");
        return;
    };
    broker.stop();
    let url = broker.url();
    let variables = [
        ("BENTO_PUBLISHER", "nats"),
        ("BENTO_PUBLISHERS__NATS__URLS", &url),
        ("BENTO_SOURCES__NATS__URLS", &url),
    ];
    let settings = config::shop().unwrap();
    let settings = settings.vars(variables).build().unwrap();
    let file = TemporaryFile::new();
    let shop = Shop::open(&file.url(), &settings, &MemorySource::default()).await;
    let shop = Served::serve(shop.unwrap()).await;

    let id = shop.place().await;
    let confirmed = shop
        .post(format!("/orders/{id}/confirm"), Value::Null)
        .await;
    assert_eq!(confirmed.status, StatusCode::OK);
    let cancelled = shop.post(format!("/orders/{id}/cancel"), json!({})).await;
    assert_eq!(cancelled.json()["status"], "cancelled");
    timeout(PATIENCE, ready(&shop))
        .await
        .expect("the relay finds its store");
    let reason = timeout(PATIENCE, degraded(&shop))
        .await
        .expect("its health says that something is wrong");
    for part in [&*broker.address(), "refused"] {
        assert!(reason.contains(part), "`{reason}` does not say `{part}`");
    }
    assert_eq!(
        shop.get("/health/live").await.status,
        StatusCode::NO_CONTENT,
        "it must not be started anew"
    );

    broker.run();
    let published = timeout(PATIENCE, first_two(&broker.stream().await))
        .await
        .expect("what waited is published");
    let subjects: Vec<_> = published
        .iter()
        .map(|message| message.subject.as_str())
        .collect();
    assert_eq!(subjects, ["shop.order.confirmed", "shop.order.cancelled"]);
    timeout(PATIENCE, healthy(&shop))
        .await
        .expect("nothing is wrong any more");
    shop.stop().await;
}

async fn ready(shop: &Served) {
    while shop.get("/health/ready").await.status != StatusCode::OK {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The fault of the contracts, once there is one. The shop is ready all the while.
async fn degraded(shop: &Served) -> String {
    loop {
        let health = shop.get("/health/ready").await;
        assert_eq!(
            health.status,
            StatusCode::OK,
            "requests can be sent to it: {health:?}"
        );
        let faults = health.json()["degraded"].as_array().unwrap().clone();
        let mut faults = faults.iter().filter_map(Value::as_str);
        if let Some(fault) = faults.find(|fault| fault.contains("destination `contracts`")) {
            return fault.to_owned();
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn healthy(shop: &Served) {
    while shop.get("/health/ready").await.json()["degraded"] != json!([]) {
        sleep(Duration::from_millis(20)).await;
    }
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

/// A NATS of the test's own.
struct Broker {
    port: u16,
    directory: PathBuf,
    process: Option<Child>,
}

impl Broker {
    /// `None` if the program is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let directory = std::env::temp_dir().join(format!("shop-test-{}", Uuid::now_v7()));
        let mut broker = Self {
            port,
            directory,
            process: None,
        };
        broker.process = Some(broker.command().spawn().ok()?);
        Some(broker)
    }

    fn run(&mut self) {
        self.process = Some(self.command().spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nats-server");
        command.args([
            "--addr",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--jetstream",
            "--store_dir",
        ]);
        command
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The stream of the shop, made once the broker listens.
    async fn stream(&self) -> Stream {
        let listens = async {
            while TcpStream::connect(self.address()).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listens).await.expect("the broker starts");
        let context = jetstream::new(async_nats::connect(self.url()).await.unwrap());
        let config = Config {
            name: "shop".to_owned(),
            subjects: vec!["shop.>".to_owned()],
            ..Config::default()
        };
        context.create_stream(config).await.unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
