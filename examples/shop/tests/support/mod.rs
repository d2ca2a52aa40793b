//! A shop and a stock of their own for each test: other databases, a broker in memory, a port that
//! was free.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use bento::publish::{Delivery, MemoryPublisher, Publishers};
use bento::source::MemorySource;
use bento::{OutboxConnection, OutboxStore, Relay};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::Value;
use shop::config::{self, TemporaryFile};
use shop::service::Shop;
use shop::stock::Stock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(60);

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

/// A shop and a stock with a broker in memory between them.
#[derive(Debug)]
pub struct TestShop {
    /// The domain events of the shop.
    pub console: MemoryPublisher,
    pub databases: Databases,
    served: Served,
    stock: Stock,
}

/// The databases of the two.
#[derive(Clone, Debug)]
pub struct Databases {
    pub shop: String,
    pub stock: String,
}

impl Deref for TestShop {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

/// A client of a shop.
#[derive(Debug)]
pub struct Customer {
    address: String,
    client: Client,
}

/// A shop that serves.
#[derive(Debug)]
pub struct Served {
    customer: Customer,
    stop: oneshot::Sender<()>,
    server: JoinHandle<shop::Result>,
}

impl Deref for Served {
    type Target = Customer;

    fn deref(&self) -> &Customer {
        &self.customer
    }
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
    let (shop, stock) = (TemporaryFile::new(), TemporaryFile::new());
    let databases = Databases {
        shop: shop.url(),
        stock: stock.url(),
    };
    test(TestShop::open(databases, MemoryPublisher::new()).await).await;
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
    let admin = connect(&server).await;
    let (address, _) = server
        .rsplit_once('/')
        .expect("the URL names a database or ends with `/`");
    let names = ["shop", "stock"].map(|of| format!("{of}_test_{}", Uuid::now_v7().simple()));
    for name in &names {
        let create = format!("CREATE DATABASE {name}");
        let created = admin.execute_unprepared(&create).await;
        created.expect("the right to create databases");
    }
    let [shop, stock] = names.each_ref().map(|name| format!("{address}/{name}"));
    // In a task, so that the databases are dropped also when the test fails.
    let shop = TestShop::open(Databases { shop, stock }, MemoryPublisher::new()).await;
    let outcome = tokio::spawn(test(shop)).await;
    for name in &names {
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        admin
            .execute_unprepared(&drop)
            .await
            .expect("it was created");
    }
    outcome.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()));
}

pub async fn connect(url: &str) -> DatabaseConnection {
    Database::connect(url).await.expect("the database answers")
}

impl TestShop {
    pub async fn open(databases: Databases, console: MemoryPublisher) -> Self {
        let memory = MemorySource::default();
        let settings = config::stock().unwrap().build().unwrap();
        let stock = Stock::open(&databases.stock, &settings, &memory).await;
        let settings = config::shop().unwrap().build().unwrap();
        let shop = Shop::with_console(&databases.shop, &settings, &memory, console.clone()).await;
        Self {
            console,
            databases,
            served: Served::serve(shop.expect("the shop opens")).await,
            stock: stock.expect("the stock opens"),
        }
    }

    /// Changes what the shop does not let a client change.
    pub async fn sql(&self, statement: &str) {
        connect(&self.databases.shop)
            .await
            .execute_unprepared(statement)
            .await
            .expect("a valid statement");
    }

    pub async fn stop(self) {
        self.served.stop().await;
        self.stock.close().await.expect("the stock closes in order");
    }

    /// Stops the shop, publishes what is left, and returns all that ever came to the console.
    pub async fn finish(self) -> Vec<Delivery> {
        let (console, url) = (self.console.clone(), self.databases.shop.clone());
        self.stop().await;
        let handlers_db = OutboxConnection::new(connect(&url).await);
        let handlers = shop::service::handlers().build(&handlers_db);
        let publishers = Publishers::new()
            .with("console", console.clone())
            .with("memory", MemorySource::default())
            .with_handlers(handlers.expect("a set without a fault"));
        let settings = config::shop().unwrap().build().unwrap();
        let rest = Relay::builder(OutboxStore::new(connect(&url).await), publishers)
            .router(settings.router().unwrap());
        rest.run_until_empty()
            .await
            .expect("the outbox can be read");
        console.published()
    }
}

impl Served {
    pub async fn serve(shop: Shop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(shop.serve(listener, async { drop(stopped.await) }));
        Self {
            customer: Customer::of(address),
            stop,
            server,
        }
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

impl Customer {
    pub fn of(address: SocketAddr) -> Self {
        Self {
            address: format!("http://{address}"),
            client: client(),
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
        self.place_for(2).await
    }

    /// Places an order for this number of packets of tea, and returns its id.
    pub async fn place_for(&self, quantity: i32) -> String {
        let placed = self.post("/orders", tea(quantity)).await;
        assert_eq!(placed.status, StatusCode::CREATED, "{placed:?}");
        placed.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Confirms an order, and waits for the answer of the stock.
    pub async fn confirm(&self, id: &str) -> String {
        let confirmed = self
            .post(format!("/orders/{id}/confirm"), Value::Null)
            .await;
        assert_eq!(confirmed.status, StatusCode::OK, "{confirmed:?}");
        self.answered(id).await
    }

    /// The status of an order, when it waits for no answer of the stock any more.
    pub async fn answered(&self, id: &str) -> String {
        let answered = async {
            loop {
                match self.status(id).await {
                    status if status == "confirmed" => sleep(Duration::from_millis(20)).await,
                    status => break status,
                }
            }
        };
        timeout(PATIENCE, answered)
            .await
            .expect("the stock answers")
    }

    /// A page of the list, once it has this number of orders: it is behind them by a moment.
    pub async fn listed(&self, path: &str, count: usize) -> Value {
        let listed = async {
            loop {
                let page = self.get(path).await.json();
                let orders = page["orders"].as_array();
                if orders.is_some_and(|orders| orders.len() == count) {
                    break page;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listed).await.expect("the list follows")
    }

    pub async fn status(&self, id: &str) -> String {
        let order = self.get(format!("/orders/{id}")).await.json();
        order["status"].as_str().expect("an order").to_owned()
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
