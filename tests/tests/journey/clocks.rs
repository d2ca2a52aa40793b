//! Writers whose clocks are wrong: waits and deadlines are as long as they say, by the clock of the
//! database.

use std::sync::Mutex;

use bento_core::outbox::skew_writer;
use bento_relay::publish::{Destination, MemoryPublisher, Publishers};
use bento_relay::route::{RouterConfig, Rule};
use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::support::in_database;
use crate::support::log::Log;

/// Longer than the relay needs for what does not wait.
const DELAY: Duration = Duration::from_secs(3);
/// A writer knows the difference of the clocks to half of the call that has read it.
const INEXACT: Duration = Duration::from_millis(500);
/// Enough for a busy machine, and less than the clocks are wrong by.
const LIFE: Duration = Duration::from_secs(120);
const WRONG: [i64; 2] = [-5, 5];

/// On one thread, because the clock and the log are those of the thread.
macro_rules! in_every_database {
    ($rule:ident: $($name:ident = $backend:ident),+) => {
        $(mod $name {
            #[tokio::test]
            async fn $rule() {
                super::in_database(sea_orm::DbBackend::$backend, super::$rule).await;
            }
        })+
    };
}

in_every_database!(
    a_writer_whose_clock_is_wrong_delays_by_the_clock_of_the_database:
    sqlite = Sqlite, postgres = Postgres, mysql = MySql
);

type Deliveries = Arc<Mutex<Vec<(String, DateTime<Utc>)>>>;

async fn a_writer_whose_clock_is_wrong_delays_by_the_clock_of_the_database(
    database: &TestDatabase,
) {
    let (log, _guard) = Log::start();
    let (journey, deliveries) = (Journey::on(database).await, Deliveries::default());
    let broker = noting(&deliveries);
    let raised = Utc::now();
    for minutes in WRONG {
        raise_by_a_wrong_clock(&journey.connection, minutes).await;
    }
    let told = log.lines(&[
        "WARN",
        "bento::flush",
        "the clock of this process differs from that of the database",
    ]);
    assert_eq!(told.len(), WRONG.len(), "{told:#?}");

    let relay = delaying_relay(&journey, &broker);
    tokio::time::timeout(LIFE, broker.wait_for(WRONG.len() * 3))
        .await
        .expect("nothing waits for five minutes");
    relay.stop().await.unwrap();
    let dead = journey
        .store()
        .list(&DeadLetterQuery::default())
        .await
        .unwrap();
    assert!(dead.is_empty(), "nothing is too late: {dead:?}");
    for (topic, delivered) in deliveries.lock().unwrap().iter() {
        let waits = topic != "parcel.weighed";
        assert!(
            !waits || *delivered >= raised + DELAY - INEXACT,
            "`{topic}` came {} after it was raised",
            *delivered - raised
        );
    }
    for delivery in broker.published() {
        let wrong_by = (delivery.envelope.occurred_at - raised).abs();
        assert!(
            wrong_by < TimeDelta::minutes(2),
            "`{}` occurred {wrong_by} wrong",
            delivery.topic()
        );
    }
}

/// One event that says its wait itself, one that gets it by a rule, and one that has only a
/// deadline.
async fn raise_by_a_wrong_clock(connection: &OutboxConnection, minutes: i64) {
    let _skew = skew_writer(TimeDelta::minutes(minutes));
    let raise = async |tx: &OutboxTransaction| {
        tx.execute_unprepared("SELECT 1").await?;
        let mut parcel = Parcel {
            id: minutes,
            events: PendingEvents::default(),
        };
        let sent = ParcelSent {
            parcel: minutes,
            weight: 2,
            service: "express".to_owned(),
        };
        parcel.raise_with(sent, |metadata| {
            metadata.with_deliver_after(DELAY).with_expires_after(LIFE)
        });
        parcel.deliver();
        let weighed = ParcelWeighed {
            parcel: minutes,
            grams: 1,
        };
        parcel.raise_with(weighed, |metadata| metadata.with_expires_after(LIFE));
        Ok::<_, DbErr>(())
    };
    connection.transaction_async(raise).await.unwrap();
}

/// A broker that takes everything and notes the moments.
fn noting(deliveries: &Deliveries) -> MemoryPublisher {
    let (broker, deliveries) = (MemoryPublisher::new(), Arc::clone(deliveries));
    broker.fail(move |delivery| {
        deliveries
            .lock()
            .unwrap()
            .push((delivery.topic().into_owned(), Utc::now()));
        None
    });
    broker
}

fn delaying_relay(journey: &Journey, broker: &MemoryPublisher) -> RelayHandle {
    let delayed = Rule::new("delayed")
        .events(["parcel.delivered"])
        .to(["ruled"])
        .delay(DELAY)
        .expires_after(LIFE);
    let rest = Rule::new("rest")
        .events(["parcel.sent", "parcel.weighed"])
        .to(["ruled"]);
    let config = RouterConfig::default().rule(delayed).rule(rest);
    let router = config
        .destination(Destination::new("ruled"))
        .build()
        .unwrap();
    let publishers = Publishers::new().with("ruled", broker.clone());
    Relay::builder(journey.store(), publishers)
        .router(router)
        .start()
        .unwrap()
}
