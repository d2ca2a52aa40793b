//! The delivery options of an event pass through the database with it, and take effect.

use std::sync::Mutex;

use bento_core::metadata::Routing;
use bento_relay::publish::{Destination, MemoryPublisher, Publishers};
use bento_relay::route::{RouterConfig, Rule};
use bento_relay::store::NewDeadLetter;
use chrono::{DateTime, Utc};

use super::*;

/// Longer than the relay needs for everything that does not wait.
const DELAY: Duration = Duration::from_secs(3);

on_every_back_end!(an_event_is_delivered_when_and_where_it_says_itself);

async fn an_event_is_delivered_when_and_where_it_says_itself(database: &TestDatabase) {
    let (journey, named) = (Journey::on(database).await, MemoryPublisher::new());
    let late: &Mutex<Option<DateTime<Utc>>> = Box::leak(Box::default());
    journey.broker.fail(move |delivery| {
        if delivery.topic() == "parcel.sent" {
            late.lock().unwrap().get_or_insert_with(Utc::now);
        }
        None
    });
    let raised = Utc::now();
    journey
        .connection
        .transaction_async(async |tx| place_with_wishes(tx).await)
        .await
        .unwrap();
    let spoken = format!(
        "SELECT count(*) FROM bento_outbox WHERE routing_version = {}",
        Routing::VERSION
    );
    assert_eq!(database.number(&spoken).await, 3);
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_outbox WHERE routing_version IS NULL")
            .await,
        3
    );

    let relay = relay_by_rules(&journey, &named);
    journey.broker.wait_for(4).await;
    named.wait_for(1).await;
    relay.stop().await.unwrap();
    assert_eq!(journey.topics(1), ["parcel.delivered", "parcel.sent"]);
    let late = late.lock().unwrap().expect("it is delivered");
    assert!(
        late >= raised + DELAY,
        "delivered {} after it was raised",
        late - raised
    );
    assert_eq!(journey.topics(2), ["parcel.delivered"]);
    assert_eq!(journey.topics(3), ["parcel.delivered"]);
    let [delivery] = &named.published()[..] else {
        panic!("{:?}", named.published())
    };
    assert_eq!(
        (delivery.topic().as_ref(), &*delivery.envelope.aggregate_id),
        ("parcel.sent", "3")
    );
    assert_expired(&journey).await;
    assert_eq!(
        database
            .number("SELECT count(*) FROM bento_outbox_status")
            .await,
        1,
        "the dead letter"
    );
}

/// Each parcel is sent with a wish, and delivered without one.
async fn place_with_wishes(tx: &OutboxTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared("SELECT 1").await?;
    let wishes: [fn(Metadata) -> Metadata; 3] = [
        |metadata| metadata.with_deliver_after(DELAY),
        |metadata| metadata.with_expires_at(Utc::now() - Duration::from_secs(3600)),
        |metadata| metadata.with_destinations(["named"]),
    ];
    for (id, wish) in (1..).zip(wishes) {
        let mut parcel = Parcel {
            id,
            events: PendingEvents::default(),
        };
        parcel.raise_with(
            ParcelSent {
                parcel: id,
                weight: 2,
                service: "express".to_owned(),
            },
            wish,
        );
        parcel.deliver();
    }
    Ok(())
}

/// By its rule everything goes to one destination; a second one is there to be named.
fn relay_by_rules(journey: &Journey, named: &MemoryPublisher) -> RelayHandle {
    let config = RouterConfig::default().rule(Rule::new("all").to(["ruled"]));
    let config = ["ruled", "named"]
        .into_iter()
        .map(Destination::new)
        .fold(config, RouterConfig::destination);
    let publishers = Publishers::new()
        .with("ruled", journey.broker.clone())
        .with("named", named.clone());
    Relay::builder(journey.store(), publishers)
        .router(config.build().unwrap())
        .start()
        .unwrap()
}

async fn assert_expired(journey: &Journey) {
    let dead = journey
        .store()
        .list(&DeadLetterQuery::default())
        .await
        .unwrap();
    let [expired] = &dead[..] else {
        panic!("{dead:?}")
    };
    assert_eq!(
        (&*expired.cause, &*expired.envelope.aggregate_id),
        (NewDeadLetter::EXPIRED, "2")
    );
    assert!(
        !expired.parks && expired.error.starts_with("not delivered before "),
        "{expired:?}"
    );
}
