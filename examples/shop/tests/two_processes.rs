//! The shop and the stock as processes of their own, with a broker between them: what is confirmed
//! is reserved or rejected once, also while one of them is away or is killed.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_macros,
    clippy::unwrap_used,
    reason = "a test program"
)]

mod brokers;
mod support;

use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bento::OutboxStore;
use bento::dead_letter::{DeadLetterQuery, Operator};
use futures_util::FutureExt as _;
use reqwest::StatusCode;
use sea_orm::{DatabaseConnection, EntityTrait, PaginatorTrait};
use serde_json::Value;
use shop::config::TemporaryFile;
use shop::stock::reservation::{self, Entity as Reservations};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::brokers::{Broker, Variables};
use crate::support::{Customer, PATIENCE, connect};

/// Makes a test of each rule with NATS and with RabbitMQ, where there is one.
macro_rules! with_each_broker {
    ($($rule:ident),+ $(,)?) => {
        mod nats {
            $(#[tokio::test] async fn $rule() {
                super::with(super::Broker::nats().await, super::$rule).await;
            })+
        }
        mod rabbitmq {
            $(#[tokio::test] async fn $rule() {
                super::with(super::Broker::rabbitmq().await, super::$rule).await;
            })+
        }
    };
}

with_each_broker!(
    an_order_is_reserved_or_rejected_by_the_other_process,
    a_stock_that_was_away_answers_when_it_is_there,
    what_is_under_way_when_processes_are_killed_is_done_once,
);

async fn with(broker: Option<Broker>, test: impl AsyncFnOnce(&Scene)) {
    let Some(broker) = broker else { return };
    let scene = Scene::new(broker);
    // What the test has made is removed also when it fails.
    let outcome = AssertUnwindSafe(test(&scene)).catch_unwind().await;
    scene.broker.remove().await;
    outcome.unwrap_or_else(|failure| resume_unwind(failure));
}

async fn an_order_is_reserved_or_rejected_by_the_other_process(scene: &Scene) {
    let (_stock, _shop) = (scene.stock(), scene.shop().await);
    let (some, too_many) = (
        scene.customer.place_for(2).await,
        scene.customer.place_for(1001).await,
    );
    assert_eq!(scene.customer.confirm(&some).await, "reserved");
    assert_eq!(scene.customer.confirm(&too_many).await, "rejected");
    let paid = scene
        .customer
        .post(format!("/orders/{some}/pay"), Value::Null);
    assert_eq!(paid.await.status, StatusCode::OK);
    scene.left(998, 1).await;
}

async fn a_stock_that_was_away_answers_when_it_is_there(scene: &Scene) {
    let _shop = scene.shop().await;
    let early = scene.confirmed(2).await;
    let health = scene.customer.get("/health/ready").await;
    assert_eq!(health.status, StatusCode::OK, "{health:?}");

    let stock = scene.stock();
    assert_eq!(scene.customer.answered(&early).await, "reserved");
    drop(stock);
    let late = scene.confirmed(3).await;
    assert_eq!(scene.customer.status(&late).await, "confirmed");
    let _stock = scene.stock();
    assert_eq!(scene.customer.answered(&late).await, "reserved");
    scene.left(995, 2).await;
}

async fn what_is_under_way_when_processes_are_killed_is_done_once(scene: &Scene) {
    let (mut stock, mut shop) = (scene.stock(), scene.shop().await);
    let mut orders = Vec::new();
    for round in 0..4 {
        let reserved = orders.len() as u64;
        for _ in 0..5 {
            orders.push(scene.confirmed(2).await);
        }
        // The stock has committed an answer of this round: it dies before it has sent all of them.
        scene.reservations(reserved + 1).await;
        drop(stock);
        if round % 2 == 1 {
            drop(shop);
            shop = scene.shop().await;
        }
        stock = scene.stock();
        scene.reservations(reserved + 5).await;
    }
    let too_many = scene.confirmed(1000).await;
    for order in &orders {
        assert_eq!(scene.customer.answered(order).await, "reserved");
    }
    assert_eq!(scene.customer.answered(&too_many).await, "rejected");
    scene.left(960, 20).await;
    drop((stock, shop));
}

/// The databases of a shop and a stock, and where the shop serves.
struct Scene {
    broker: Broker,
    databases: [TemporaryFile; 2],
    address: SocketAddr,
    customer: Customer,
}

impl Scene {
    fn new(broker: Broker) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        Self {
            broker,
            databases: [TemporaryFile::new(), TemporaryFile::new()],
            address,
            customer: Customer::of(address),
        }
    }

    fn stock(&self) -> Process {
        self.start("stock", &self.broker.of_stock)
    }

    /// Starts the shop, and waits until it serves.
    async fn shop(&self) -> Process {
        let shop = self.start("shop", &self.broker.of_shop);
        let serves = async {
            while TcpStream::connect(self.address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, serves).await.expect("the shop serves");
        shop
    }

    /// Starts a service with short leases: a process that is killed gives none back.
    fn start(&self, service: &str, variables: &Variables) -> Process {
        let [shop, stock] = &self.databases;
        let started = Command::new(env!("CARGO_BIN_EXE_shop"))
            .arg(service)
            .envs(variables.clone())
            .env("DATABASE_URL", shop.url())
            .env("STOCK_DATABASE_URL", stock.url())
            .env("SHOP_ADDRESS", self.address.to_string())
            .env("BENTO_CONSUMER__LEASE", "2s")
            .env("BENTO_RELAY__LEASE", "3s")
            .env("BENTO_HANDLERS__STOCK__RESERVE__TIMEOUT", "1s")
            .env("BENTO_HANDLERS__SHOP__RESERVED__TIMEOUT", "1s")
            .env("BENTO_HANDLERS__SHOP__REJECTED__TIMEOUT", "1s")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Process(started.unwrap())
    }

    /// Places and confirms an order, and does not wait for the stock.
    async fn confirmed(&self, quantity: i32) -> String {
        let id = self.customer.place_for(quantity).await;
        let confirm = format!("/orders/{id}/confirm");
        let confirmed = self.customer.post(confirm, Value::Null).await;
        assert_eq!(confirmed.status, StatusCode::OK, "{confirmed:?}");
        id
    }

    /// Waits until this number of orders is reserved.
    async fn reservations(&self, wanted: u64) {
        let stock = connect(&self.databases[1].url()).await;
        let reserved = async {
            while Reservations::find().count(&stock).await.unwrap() < wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reserved)
            .await
            .expect("the stock reserves");
    }

    /// Checks what is left of the tea, for how many orders it is reserved, and that nothing failed.
    async fn left(&self, tea: i64, orders: u64) {
        let [shop, stock] = &self.databases;
        let (shop, stock) = (connect(&shop.url()).await, connect(&stock.url()).await);
        assert_eq!(reservation::free(&stock, "tea").await.unwrap(), tea);
        assert_eq!(Reservations::find().count(&stock).await.unwrap(), orders);
        for database in [shop, stock] {
            nothing_failed(database).await;
        }
    }
}

async fn nothing_failed(database: DatabaseConnection) {
    for store in [
        OutboxStore::new(database.clone()),
        OutboxStore::inbox(database),
    ] {
        let (operator, all) = (Operator::new(&store, "test"), DeadLetterQuery::default());
        let letters = operator.list(&all).await.unwrap();
        assert!(letters.is_empty(), "{letters:?}");
    }
}

/// A service that runs; dropped, it is killed.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
