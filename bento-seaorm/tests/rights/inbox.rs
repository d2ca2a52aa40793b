//! The work of a consumer and of an operator on the inbox.

use std::time::Duration;

use bento_core::{Envelope, EventId};
use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetterQuery, Operator};
use bento_relay::inspect::Inspect as _;
use bento_relay::publish::{Delivery, HandlerRoute, PublishError, Publisher};
use bento_relay::source::{Cursor, RawMessage, Unreadable};
use bento_relay::store::RelayStore as _;
use bento_seaorm::Inbox;
use bento_seaorm::inbox::{Arrival, Claim, ConsumerId, Ingest};
use sea_orm::DatabaseConnection;

use crate::{Outbox, RETRY};

/// A handler of what a source brings.
#[derive(Debug)]
struct Audit;

impl Publisher for Audit {
    fn handlers(&self) -> Vec<HandlerRoute> {
        vec![HandlerRoute::new("audit", ["order.*".to_owned()])]
    }

    fn has_only_handlers(&self) -> bool {
        true
    }

    async fn publish(&self, batch: &[Delivery]) -> Vec<Result<(), PublishError>> {
        let answer = |delivery: &Delivery| match &*delivery.envelope.event_type {
            "order.lost" => Err(PublishError::permanent("refused")),
            "order.late" => Err(PublishError::transient("not now")),
            _ => Ok(()),
        };
        batch.iter().map(answer).collect()
    }
}

/// Stores what a source brings, twice, and hands it to a handler.
pub(crate) async fn consume(outbox: &Outbox, db: DatabaseConnection) {
    let inbox = outbox.inbox(db);
    inbox.store().open().await.unwrap();
    inbox
        .store()
        .record_handlers(&Audit.handlers())
        .await
        .unwrap();
    let event = |event_type, order: &str| {
        let mut event = Envelope::new(event_type, 1, chrono::Utc::now(), "{}");
        event.aggregate_type = "order".into();
        event.aggregate_id = order.to_owned();
        event
    };
    let raw = RawMessage::new("sequence 5", "no event");
    let arrivals = [
        Arrival::Event(event("order.paid", "a")),
        Arrival::Event(event("order.lost", "b")),
        Arrival::Event(event("order.late", "c")),
        Arrival::Refused {
            event: event("order.paid", "d"),
            cause: Inbox::TOO_OLD,
            error: "it is old".to_owned(),
        },
        Arrival::Unreadable(Unreadable::new(EventId::new(), "no event", raw)),
    ];
    let ttl = Duration::from_secs(30);
    let claimed = inbox.claim("orders", ConsumerId::new(), ttl).await;
    let Claim::Owned { lease, .. } = claimed.unwrap() else {
        panic!("the source is taken");
    };
    let cursor = Cursor {
        incarnation: "first".to_owned(),
        place: "5".to_owned(),
    };
    let ingest = Ingest {
        source: "orders",
        lease: Some((&lease, ttl)),
        cursor: Some(&cursor),
        arrivals: &arrivals,
    };
    let first = inbox.ingest(ingest).await.unwrap();
    assert_eq!((first.stored, first.dead.len()), (3, 2));
    let again = inbox.ingest(ingest).await.unwrap();
    assert_eq!((again.stored, again.repeated), (0, 5));
    assert_eq!(inbox.backlog(10).await.unwrap(), 3);
    let relay = Relay::builder(inbox.store(), Audit)
        .retry(RETRY)
        .retention(Duration::from_secs(3600))
        .workers(1);
    let report = relay.run_until_empty().await.unwrap();
    let tally = report.tally;
    assert_eq!((tally.published, tally.dead), (1, 1), "{tally:?}");
    assert_eq!(inbox.sources().await.unwrap().len(), 1);
    inbox.release(&lease).await.unwrap();
}

/// The inbox is operated as the outbox is.
pub(crate) async fn operate(outbox: &Outbox, db: DatabaseConnection) {
    let inbox = outbox.inbox(db.clone());
    assert_eq!(inbox.sources().await.unwrap().len(), 1);
    let store = inbox.store();
    store.backlog().await.unwrap();
    let operator = Operator::new(&store, "alice");
    let dead = operator.list(&DeadLetterQuery::default()).await.unwrap();
    assert_eq!(dead.len(), 3);
    for letter in dead {
        let (event, route) = (letter.envelope.event_id, &letter.route);
        if letter.cause == Inbox::TOO_OLD {
            operator.replay(event, route).await.unwrap();
        } else {
            operator.discard(event, route, "a test").await.unwrap();
        }
    }
    assert!(operator.pause("acme", "a test").await.unwrap());
    assert!(operator.resume("acme").await.unwrap());
    assert!(operator.pause_handler("audit", "a test").await.unwrap());
    assert!(operator.resume_handler("audit").await.unwrap());
    outbox
        .run(&db, "SELECT count(*) FROM bento_inbox_status")
        .await
        .unwrap();
}
