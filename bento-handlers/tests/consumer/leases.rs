//! The leases of sources: who may store what has arrived.

use std::time::Duration;

use bento_seaorm::Inbox;
use bento_seaorm::inbox::{Arrival, Claim, ConsumerId, Ingest, IngestError, SourceLease};

use crate::support::{TestDatabase, on_every_back_end};
use crate::{Scene, event};

async fn a_process_that_lost_its_lease_stores_nothing(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let inbox = scene.inbox().await;
    // A consumer has to have recorded the handlers.
    scene
        .builder()
        .await
        .start()
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
    let frozen = claim(&inbox, Duration::from_millis(1)).await;
    let lease = Duration::from_secs(30);
    let successor = loop {
        match inbox
            .claim("orders", ConsumerId::new(), lease)
            .await
            .unwrap()
        {
            Claim::Owned { lease, .. } => break lease,
            Claim::Taken { owner } => assert_eq!(owner, Some(frozen.owner)),
        }
    };
    assert!(successor.epoch > frozen.epoch);
    let arrivals = [Arrival::Event(event("o", 1))];
    let ingest = |lease| Ingest {
        source: "orders",
        lease: Some((lease, Duration::from_secs(30))),
        cursor: None,
        arrivals: &arrivals,
    };
    let refused = inbox.ingest(ingest(&frozen)).await;
    assert!(
        matches!(refused, Err(IngestError::LeaseLost { .. })),
        "{refused:?}"
    );
    assert_eq!(scene.rows("bento_inbox").await, 0);
    inbox.release(&frozen).await.unwrap();
    let stored = inbox.ingest(ingest(&successor)).await.unwrap();
    assert_eq!((stored.stored, stored.repeated), (1, 0));
    let again = inbox.ingest(ingest(&successor)).await.unwrap();
    assert_eq!((again.stored, again.repeated), (0, 1));
    assert_eq!(scene.rows("bento_inbox").await, 1);
    let known = inbox.sources().await.unwrap();
    assert_eq!(
        (&*known[0].name, known[0].owner),
        ("orders", Some(successor.owner))
    );
}

pub(crate) async fn claim(inbox: &Inbox, lease: Duration) -> SourceLease {
    match inbox
        .claim("orders", ConsumerId::new(), lease)
        .await
        .unwrap()
    {
        Claim::Owned { lease, .. } => lease,
        Claim::Taken { owner } => panic!("{owner:?} has the source"),
    }
}

async fn without_recorded_handlers_nothing_is_left_out(database: &TestDatabase) {
    let inbox = Inbox::new(database.connect(2).await);
    let lease = claim(&inbox, Duration::from_secs(30)).await;
    let arrivals = [Arrival::Event(event("o", 1))];
    let ingest = Ingest {
        source: "orders",
        lease: Some((&lease, Duration::from_secs(30))),
        cursor: None,
        arrivals: &arrivals,
    };
    let refused = inbox.ingest(ingest).await;
    assert!(
        matches!(refused, Err(IngestError::NoHandlers)),
        "{refused:?}"
    );
}

on_every_back_end!(
    a_process_that_lost_its_lease_stores_nothing,
    without_recorded_handlers_nothing_is_left_out,
);
