//! Metrics of handlers, and the trace of what they raise.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

#[path = "../../bento-seaorm/tests/support/mod.rs"]
mod support;

use std::sync::Arc;

use bento_core::{Envelope, EventId, domain_event};
use bento_handlers::source::{MemorySource, Message, RawMessage};
use bento_handlers::telemetry::{
    CALL_SECONDS, FAILED_CALLS, HANDLED_EVENTS, INBOX_BACKLOG, RECEIVED_MESSAGES, SOURCE_LAG,
    SOURCE_SUBSCRIBED,
};
use bento_handlers::{Consumer, Dispatcher, HandleError, Handlers, event_handler};
use bento_relay::publish::{Delivery, Destination, Publisher};
use bento_seaorm::{Inbox, OutboxConnection};
use bento_testkit::Counters;
use sea_orm::DbBackend;

use crate::support::{TestDatabase, in_database};

#[domain_event(schema = "order.confirmed", version = 1)]
#[derive(Debug)]
pub struct OrderConfirmed {
    pub mood: String,
}

#[domain_event(schema = "stock.reserved", version = 1)]
#[derive(Debug)]
pub struct StockReserved {}

#[event_handler(name = "stock.announce")]
async fn announce(event: OrderConfirmed) -> Result<StockReserved, HandleError> {
    match &*event.mood {
        "hopeless" => Err(HandleError::permanent("no such item")),
        "busy" => Err(HandleError::transient("not now")),
        "away" => Err(HandleError::unavailable("the warehouse is away")),
        "skips" => Err(HandleError::skip("not one of ours")),
        _ => Ok(StockReserved {}),
    }
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn confirmed(mood: &str) -> Delivery {
    let payload = format!(r#"{{"mood":"{mood}"}}"#);
    let mut event = Envelope::new("order.confirmed", 1, chrono::Utc::now(), payload);
    event.headers = format!(r#"{{"traceparent":"{PARENT}"}}"#).into();
    Delivery::new(Arc::new(event), Destination::new("stock.announce"))
}

async fn dispatcher(database: &TestDatabase) -> Dispatcher {
    let db = OutboxConnection::new(database.connect(2).await);
    Handlers::registered().build(&db).unwrap()
}

#[tokio::test]
async fn the_end_of_each_call_is_counted_by_its_handler() {
    in_database(DbBackend::Sqlite, async |database| {
        let dispatcher = dispatcher(database).await;
        let counters = Counters::default();
        let recording = counters.record();
        let fine = confirmed("fine");
        for delivery in [
            fine.clone(),
            fine,
            confirmed("skips"),
            confirmed("hopeless"),
        ] {
            let _ = dispatcher.publish(&[delivery]).await;
        }
        for mood in ["busy", "busy", "away"] {
            let _ = dispatcher.publish(&[confirmed(mood)]).await;
        }
        drop(recording);
        let of = |name: &str, label: &str, value: &str| {
            counters.get_with(name, &[("handler", "stock.announce"), (label, value)])
        };
        let outcomes = ["handled", "repeated", "skipped"];
        let counts = outcomes.map(|outcome| of(HANDLED_EVENTS, "outcome", outcome));
        assert_eq!(counts, [1, 1, 1]);
        let classes = ["transient", "permanent", "unavailable", "not_tried"];
        let counts = classes.map(|class| of(FAILED_CALLS, "class", class));
        assert_eq!(counts, [2, 1, 1, 0]);
        assert!(counters.get(CALL_SECONDS) > 0, "each call has its time");
    })
    .await;
}

#[tokio::test]
async fn what_a_handler_raises_is_in_the_trace_of_its_event() {
    in_database(DbBackend::Sqlite, async |database| {
        let delivery = confirmed("fine");
        let answers = dispatcher(database)
            .await
            .publish(std::slice::from_ref(&delivery))
            .await;
        assert!(answers[0].is_ok(), "{answers:?}");
        let raised = database.outbox().await;
        let parent = format!(r#""traceparent":"{PARENT}""#);
        assert!(raised[0].headers.contains(&parent), "{}", raised[0].headers);
    })
    .await;
}

/// On one thread, so that the consumer's tasks count in this test.
#[tokio::test]
async fn messages_are_counted_by_their_outcome_and_keep_their_trace() {
    in_database(DbBackend::Sqlite, async |database| {
        let counters = Counters::default();
        let recording = counters.record();
        let broker = MemorySource::default();
        let inbox = Inbox::new(database.connect(2).await);
        let consumer = Consumer::builder(inbox, dispatcher(database).await)
            .own_origin("/stock")
            .source("orders", broker.clone())
            .start()
            .await
            .unwrap();
        let event = (*confirmed("fine").envelope).clone();
        let stranger = Envelope::new("mail.sent", 1, chrono::Utc::now(), "{}");
        let raw = RawMessage::new("sequence 4", "no event");
        broker.send(event.clone());
        broker.send(stranger);
        broker.send_message(Message::event(event.clone()).from_origin("/stock"));
        broker.send_message(Message::unreadable(EventId::new(), "no event", raw));
        broker.wait_for_acknowledged(4).await;
        let raised = loop {
            if let Some(row) = database.outbox().await.pop() {
                break row;
            }
            tokio::task::yield_now().await;
        };
        consumer.stop().await.unwrap();
        drop(recording);

        for (outcome, expected) in [
            ("stored", 1),
            ("ignored", 1),
            ("own", 1),
            ("refused", 1),
            ("repeated", 0),
        ] {
            let labels = [("source", "orders"), ("outcome", outcome)];
            let counted = counters.get_with(RECEIVED_MESSAGES, &labels);
            assert_eq!(counted, expected, "{outcome}");
        }
        assert_eq!(
            counters.gauge(SOURCE_SUBSCRIBED, "source", "orders"),
            Some(1.0)
        );
        assert_eq!(counters.gauge(SOURCE_LAG, "source", "orders"), Some(0.0));
        assert!(counters.gauge_of(INBOX_BACKLOG).is_some());
        let expected = [
            format!(r#""traceparent":"{PARENT}""#),
            format!(r#""causation_id":"{}""#, event.event_id),
            r#""bento-hops":"1""#.to_owned(),
        ];
        for part in expected {
            assert!(raised.headers.contains(&part), "{}", raised.headers);
        }
    })
    .await;
}
