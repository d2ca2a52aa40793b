//! The messages that enter the inbox, and what becomes of the others.

use std::time::Duration;

use bento_core::{Envelope, EventId};
use bento_handlers::SourceSettings;
use bento_handlers::consumer::SourceStatus;
use bento_handlers::source::{Intake as _, IntakeError, MemorySource, Message, RawMessage};
use bento_relay::dead_letter::{DeadLetters as _, Operator};
use bento_seaorm::Inbox;
use bento_seaorm::inbox::{Arrival, Ingest};
use chrono::{TimeDelta, Utc};
use sea_orm::DbBackend;

use crate::leases::claim;
use crate::support::{TestDatabase, on_every_back_end};
use crate::{Scene, event, short};

async fn what_no_handler_takes_is_acknowledged_and_not_stored(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.start().await;
    scene
        .source
        .send(Envelope::new("mail.sent", 1, Utc::now(), "{}"));
    let mut own = event("o", 1);
    own.headers = r#"{"source":"/stock"}"#.into();
    let own = Message::event(own).from_origin("/stock");
    scene.source.send_message(own.clone());
    scene.seen.wait_for(1).await;
    consumer.stop().await.unwrap();

    let builder = scene.builder().await.settings(short()).own_origin("/stock");
    let consumer = builder
        .source("orders", scene.source.clone())
        .start()
        .await
        .unwrap();
    scene.source.send_message(own);
    scene.source.send(event("o", 2));
    scene.seen.wait_for(2).await;
    scene.source.wait_for_acknowledged(4).await;
    consumer.stop().await.unwrap();
    assert_eq!(scene.seen.numbers(), [1, 2]);
    assert!(scene.dead().await.is_empty());
}

async fn a_message_says_nothing_about_its_way_and_its_tenant(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let builder = scene.builder().await.settings(short());
    let trusted = MemorySource::default();
    let settings = SourceSettings {
        trusted: true,
        ..SourceSettings::default()
    };
    let consumer = builder
        .source("orders", scene.source.clone())
        .source_with("own", trusted.clone(), settings)
        .start()
        .await
        .unwrap();
    let lying = |number| {
        let mut lying = event("o", number);
        lying.tenant_id = Some("acme".into());
        lying.topic = Some("elsewhere".into());
        lying.routing = r#"{"destinations":["elsewhere"]}"#.into();
        lying.routing_version = 1;
        lying
    };
    scene.source.send(lying(1));
    scene.seen.wait_for(1).await;
    trusted.send(lying(2));
    scene.seen.wait_for(2).await;
    consumer.stop().await.unwrap();
    let seen = scene.seen.0.borrow().clone();
    assert_eq!(seen[0], ("o".into(), 1, None));
    assert_eq!(seen[1], ("o".into(), 2, Some("acme".into())));
}

async fn what_is_no_event_is_a_dead_letter_with_its_bytes(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.start().await;
    let raw = RawMessage::new("sequence 7", &b"\xff\x00 no event"[..])
        .with_headers([("x-name", "Zo\u{0}ë")]);
    let id = EventId::new();
    let garbage = Message::unreadable(id, "the message is not an event", raw);
    scene.source.send_message(garbage.clone());
    scene.source.send_message(garbage);
    let mut long = event("o", 0);
    long.event_type = "order.confirmed".repeat(20).into();
    scene.source.send(long);
    scene.source.send(event("o", 1));
    scene.seen.wait_for(1).await;
    consumer.stop().await.unwrap();
    let dead = scene.dead().await;
    assert_eq!(dead.len(), 2, "{dead:#?}");
    let letter = dead
        .iter()
        .find(|dead| dead.envelope.event_id == id)
        .unwrap();
    assert_eq!(&letter.envelope.payload[..], b"\xff\x00 no event");
    assert_eq!(
        (&*letter.route, &*letter.cause),
        ("unreadable", "unreadable")
    );
    let raw = letter.raw.as_deref().unwrap();
    assert!(
        raw.contains("sequence 7") && raw.contains("x-name"),
        "{raw}"
    );
    let other = dead
        .iter()
        .find(|dead| dead.envelope.event_id != id)
        .unwrap();
    assert!(
        other.error.contains("`event_type` has 300 characters"),
        "{}",
        other.error
    );
    // An operator sees them under a name, and discards them.
    let store = scene.inbox().await.store();
    let alice = Operator::new(&store, "alice");
    let refused = alice.replay(id, &letter.route).await.unwrap_err();
    assert!(
        refused.to_string().contains("cannot be replayed"),
        "{refused}"
    );
    assert!(
        alice
            .discard(id, &letter.route, "a mistake of the sender")
            .await
            .unwrap()
    );
    assert_eq!(scene.dead().await.len(), 1);
}

async fn an_old_message_is_a_dead_letter_that_can_be_replayed(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.start().await;
    let long_ago = Utc::now() - TimeDelta::days(8);
    let old = Message::event(event("o", 1)).sent_at(Some(long_ago));
    scene.source.send_message(old.clone());
    scene
        .source
        .send_message(Message::event(event("x", 2)).sent_at(Some(Utc::now())));
    // It waits behind the old one, so that the order is kept.
    scene.source.send(event("o", 3));
    scene.seen.wait_for(1).await;
    scene.source.wait_for_acknowledged(3).await;
    let store = consumer.inbox().store();
    let dead = scene.dead().await;
    assert_eq!(
        (&*dead[0].cause, dead[0].parks, dead.len()),
        (Inbox::TOO_OLD, true, 1)
    );
    store
        .replay(dead[0].envelope.event_id, &dead[0].route)
        .await
        .unwrap();
    scene.seen.wait_for(3).await;
    assert_eq!(scene.seen.of("o"), [1, 3]);
    scene.source.send_message(old);
    scene.source.wait_for_acknowledged(4).await;
    consumer.stop().await.unwrap();
    assert_eq!(scene.counter().await, 3);
}

async fn two_events_with_one_id_are_both_kept(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let (first, mut second) = (event("o", 1), event("other", 2));
    second.event_id = first.event_id;
    // Nothing is handled before both are stored.
    for message in [first, second.clone(), second.clone()] {
        scene.source.send(message);
    }
    let consumer = scene.start().await;
    scene.seen.wait_for(1).await;
    scene.source.wait_for_acknowledged(3).await;
    let dead = scene.dead().await;
    assert_eq!((&*dead[0].cause, dead.len()), (Inbox::ID_TAKEN, 1));
    let store = consumer.inbox().store();
    store
        .replay(dead[0].envelope.event_id, &dead[0].route)
        .await
        .unwrap();
    scene.seen.wait_for(2).await;
    consumer.stop().await.unwrap();
    assert_eq!(scene.seen.numbers(), [1, 2]);
}

async fn an_event_whose_id_is_taken_is_one_dead_letter(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.builder().await.start().await.unwrap();
    // Without a relay the first event stays where it is.
    consumer.stop().await.unwrap();
    let inbox = scene.inbox().await;
    let lease = claim(&inbox, Duration::from_secs(30)).await;
    let (first, mut second) = (event("o", 1), event("other", 2));
    second.event_id = first.event_id;
    let ingest = async |event: &Envelope| {
        let arrivals = [Arrival::Event(event.clone())];
        let ingest = Ingest {
            source: "orders",
            lease: Some((&lease, Duration::from_secs(30))),
            cursor: None,
            arrivals: &arrivals,
        };
        inbox.ingest(ingest).await.unwrap()
    };
    assert_eq!(ingest(&first).await.stored, 1);
    assert_eq!(ingest(&second).await.dead, [Inbox::ID_TAKEN]);
    let again = ingest(&second).await;
    assert_eq!((again.repeated, again.dead.len()), (1, 0));
    assert_eq!(scene.dead().await.len(), 1);
}

async fn a_message_that_the_database_refuses_keeps_its_source(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let consumer = scene.start().await;
    let mut huge = event("o", 2);
    let filler = " ".repeat(100 << 20);
    huge.payload = format!(r#"{{"order":"o","number":2}}{filler}"#).into();
    for message in [event("o", 1), huge, event("o", 3)] {
        scene.source.send(message);
    }
    scene.seen.wait_for(1).await;
    if !database.is(DbBackend::MySql) {
        // Only MySQL and MariaDB have a packet of 16 MiB.
        scene.seen.wait_for(3).await;
        consumer.stop().await.unwrap();
        return;
    }
    let refusal = async {
        loop {
            match consumer.health().sources["orders"].status.clone() {
                SourceStatus::Refused { error } => break error,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), refusal)
        .await
        .unwrap();
    for part in [
        "104857",
        "order.confirmed",
        "stands still",
        "remove the message",
    ] {
        assert!(error.contains(part), "{error}");
    }
    consumer.stop().await.unwrap();
    assert!(scene.source.acknowledged() <= 1, "the broker keeps it");
    assert_eq!(scene.seen.numbers(), [1]);
}

async fn an_intake_refuses_for_good_what_the_database_refuses(database: &TestDatabase) {
    // Only MySQL and MariaDB have a packet of 16 MiB.
    if !database.is(DbBackend::MySql) {
        return;
    }
    let scene = Scene::on(database).await;
    let consumer = scene.builder().await.start().await.unwrap();
    let intake = consumer.intake("webhooks", SourceSettings::default());
    let mut huge = event("o", 2);
    let filler = " ".repeat(20 << 20);
    huge.payload = format!(r#"{{"order":"o","number":2}}{filler}"#).into();
    let messages = [event("o", 1), huge, event("o", 3)].map(Message::event);
    for _ in 0..2 {
        let refused = intake.take(messages.clone().into()).await.unwrap_err();
        let is_of_one = matches!(
            refused,
            IntakeError::Refused {
                refused: 1,
                count: 3,
                ..
            }
        );
        assert!(is_of_one, "{refused:?}");
    }
    scene.seen.wait_for(2).await;
    consumer.stop().await.unwrap();
    assert_eq!(scene.seen.numbers(), [1, 3]);
}

on_every_back_end!(
    what_no_handler_takes_is_acknowledged_and_not_stored,
    a_message_says_nothing_about_its_way_and_its_tenant,
    what_is_no_event_is_a_dead_letter_with_its_bytes,
    an_old_message_is_a_dead_letter_that_can_be_replayed,
    two_events_with_one_id_are_both_kept,
    an_event_whose_id_is_taken_is_one_dead_letter,
    a_message_that_the_database_refuses_keeps_its_source,
    an_intake_refuses_for_good_what_the_database_refuses,
);
