//! Events of another service, out of the inbox.

use std::time::Duration;

use bento_core::{Envelope, domain_event};
use bento_handlers::source::MemorySource;
use bento_handlers::{Batch, Consumer, HandleError, Handlers, projection};
use bento_seaorm::{Inbox, OutboxConnection, OutboxTransaction, ProjectionKey};
use chrono::Utc;
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};

use crate::scene::Scene;
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(received_events_are_projected_once);

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Clone, Debug)]
pub struct OrderConfirmed {
    pub number: i64,
}

#[projection(name = "orders", version = 1)]
pub struct Orders;

impl Orders {
    async fn project(
        &self,
        events: Batch<OrderConfirmed>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let sum: i64 = events.iter().map(|event| event.number).sum();
        let update = format!("UPDATE credit SET cents = cents + {sum}");
        tx.execute_unprepared(&update).await?;
        Ok(())
    }
}

fn event(order: &str, number: i64) -> Envelope {
    let payload = format!(r#"{{"number":{number}}}"#);
    let mut event = Envelope::new("order.confirmed", 1, Utc::now(), payload);
    event.aggregate_type = "order".into();
    event.aggregate_id = order.to_owned();
    event.sequence = Some(number);
    event
}

async fn received_events_are_projected_once(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let db = OutboxConnection::new(database.connect(5).await);
    let handlers = Handlers::new(()).projection(Orders).build(&db).unwrap();
    let source = MemorySource::default();
    let inbox = Inbox::new(database.connect(5).await);
    let consumer = Consumer::builder(inbox, handlers)
        .source("orders", source.clone())
        .start()
        .await
        .unwrap();
    for number in 1..=20 {
        for order in ["A", "B"] {
            let event = event(order, number);
            source.send(event.clone());
            source.send(event);
        }
    }
    let sum = 2 * (1..=20).sum::<i64>();
    let look = async {
        while database.number("SELECT cents FROM credit").await < sum {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), look).await.unwrap();
    scene.until_live(&ProjectionKey::new("orders", 1)).await;
    consumer.stop().await.unwrap();
    assert_eq!(database.number("SELECT cents FROM credit").await, sum);
    let left = "SELECT count(*) FROM bento_inbox";
    assert_eq!(database.number(left).await, 0);
}
