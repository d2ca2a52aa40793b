//! A shop of its own for each test: another database, a broker in memory, a port that was free.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fmt::Display;
use std::ops::Deref;

use bento::publish::{Delivery, MemoryPublisher};
use bento::{OutboxStore, Relay};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::Value;
use shop::config::TemporaryFile;
use shop::service::Shop;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Makes a test of each rule on SQLite, and on PostgreSQL where `BENTO_TEST_POSTGRES_URL` says that
/// there is one.
#[macro_export]
macro_rules! on_each_back_end {
    ($($rule:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $rule() { super::support::on_sqlite(super::$rule).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $rule() { super::support::on_postgres(super::$rule).await; })+
        }
    };
}

/// A shop with a broker in memory.
#[derive(Debug)]
pub struct TestShop {
    pub broker: MemoryPublisher,
    pub database_url: String,
    served: Served,
}

impl Deref for TestShop {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

/// A shop that serves.
#[derive(Debug)]
pub struct Served {
    address: String,
    client: Client,
    stop: oneshot::Sender<()>,
    server: JoinHandle<shop::Result>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn content_type(&self) -> &str {
        let value = self
            .headers
            .get("content-type")
            .map(|value| value.to_str().expect("ASCII"));
        value
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
    }
}

pub async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(TestShop) -> F) {
    let file = TemporaryFile::new();
    test(TestShop::open(file.url(), MemoryPublisher::new()).await).await;
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub async fn on_postgres<F>(test: impl FnOnce(TestShop) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(server) = std::env::var("BENTO_TEST_POSTGRES_URL") else {
        eprintln!("skipped: BENTO_TEST_POSTGRES_URL is not set");
        return;
    };
    let name = format!("shop_test_{}", Uuid::now_v7().simple());
    let admin = connect(&server).await;
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .expect("the right to create databases");
    let (address, _) = server
        .rsplit_once('/')
        .expect("the URL names a database or ends with `/`");
    // In a task, so that the database is dropped also when the test fails.
    let shop = TestShop::open(format!("{address}/{name}"), MemoryPublisher::new()).await;
    let outcome = tokio::spawn(test(shop)).await;
    admin
        .execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .expect("it was created");
    outcome.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()));
}

pub async fn connect(url: &str) -> DatabaseConnection {
    Database::connect(url).await.expect("the database answers")
}

impl TestShop {
    pub async fn open(database_url: String, broker: MemoryPublisher) -> Self {
        let shop = Shop::with_publisher(&database_url, broker.clone())
            .await
            .expect("the shop opens");
        Self {
            broker,
            database_url,
            served: Served::serve(shop).await,
        }
    }

    /// Changes what the shop does not let a client change.
    pub async fn sql(&self, statement: &str) {
        connect(&self.database_url)
            .await
            .execute_unprepared(statement)
            .await
            .expect("a valid statement");
    }

    pub async fn stop(self) {
        self.served.stop().await;
    }

    /// Stops the shop, publishes what is left, and returns all that was ever published.
    pub async fn finish(self) -> Vec<Delivery> {
        let (broker, url) = (self.broker.clone(), self.database_url.clone());
        self.stop().await;
        let rest = Relay::builder(OutboxStore::new(connect(&url).await), broker.clone());
        rest.run_until_empty()
            .await
            .expect("the outbox can be read");
        broker.published()
    }
}

impl Served {
    pub async fn serve(shop: Shop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(shop.serve(listener, async { drop(stopped.await) }));
        Self {
            address,
            client: client(),
            stop,
            server,
        }
    }

    /// Sends a request; the body is JSON unless it is null.
    pub async fn send(
        &self,
        method: Method,
        path: impl Display,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.expect("the shop answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.expect("the whole body"),
        }
    }

    pub async fn get(&self, path: impl Display) -> Answer {
        self.send(Method::GET, path, &[], Value::Null).await
    }

    pub async fn post(&self, path: impl Display, body: Value) -> Answer {
        self.send(Method::POST, path, &[], body).await
    }

    /// Places an order for two packets of tea, and returns its id.
    pub async fn place(&self) -> String {
        let placed = self.post("/orders", tea(2)).await;
        assert_eq!(placed.status, StatusCode::CREATED, "{placed:?}");
        placed.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Stops the shop as an orchestrator does.
    pub async fn stop(self) {
        self.stop.send(()).expect("it is waited for");
        self.server
            .await
            .expect("no panic")
            .expect("the shop closes in order");
    }
}

/// An order for this number of packets of tea.
pub fn tea(quantity: i32) -> Value {
    serde_json::json!({
        "customer": "Ada",
        "currency": "EUR",
        "items": [{ "product": "tea", "quantity": quantity, "unit_price": 450 }],
    })
}

/// The schemas of the events of one order, in the order in which they were published.
pub fn schemas(published: &[Delivery], order: &str) -> Vec<String> {
    let of_order = published
        .iter()
        .filter(|delivery| delivery.envelope.aggregate_id == order);
    of_order
        .map(|delivery| delivery.envelope.event_type.to_string())
        .collect()
}

/// Built with the webhooks of `bento-brokers`, reqwest has TLS and wants to be told by which
/// cryptography.
fn client() -> Client {
    // Another test of this process may have said so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}
