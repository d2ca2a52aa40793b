//! A version whose events take long: every call is answered in time.

use std::time::Duration;

use bento_handlers::{Batch, Dispatcher, HandleError, Handlers, projection};
use bento_relay::publish::{Delivery, FailureClass, PublishError, Publisher as _, RelayTerms};
use bento_seaorm::{OutboxTransaction, ProjectionKey, ProjectionStatus};
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};

use crate::scene::{Credited, Scene};
use crate::support::{TestDatabase, on_every_back_end};

on_every_back_end!(
    a_slow_batch_is_divided_until_it_ends_in_time,
    an_event_that_hangs_stops_the_version,
);

/// The time for which the relay waits.
const CALL: Duration = Duration::from_secs(2);

/// The time that one event takes: a whole batch takes longer than a call.
const EACH: Duration = Duration::from_millis(20);

/// The events of a batch.
const EVENTS: i64 = 200;

/// A credit that never ends.
const HANGS: i64 = 999;

#[projection(name = "slow", version = 1)]
pub struct Slow;

impl Slow {
    async fn project(
        &self,
        events: Batch<Credited>,
        tx: &OutboxTransaction,
    ) -> Result<(), HandleError> {
        let cents: i64 = events.iter().map(|event| event.cents).sum();
        let update = format!("UPDATE credit SET cents = cents + {cents}");
        tx.execute_unprepared(&update).await?;
        if events.iter().any(|event| event.cents == HANGS) {
            std::future::pending::<()>().await;
        }
        sleep(EACH * u32::try_from(events.len())?).await;
        Ok(())
    }
}

fn key() -> ProjectionKey {
    ProjectionKey::new("slow", 1)
}

/// A live version, and its events.
async fn live(
    scene: &Scene<'_>,
    cents: impl IntoIterator<Item = i64>,
) -> (Dispatcher, Vec<Delivery>) {
    let handlers = || Handlers::new(()).projection(Slow);
    let relay = scene.relay_of(scene.dispatcher(handlers()).await).await;
    scene.until_live(&key()).await;
    relay.stop().await.unwrap();
    scene.credit("A", cents).await;
    let dispatcher = scene.dispatcher(handlers()).await;
    let terms = RelayTerms::new(CALL * 10, CALL);
    dispatcher.prepare(&terms).unwrap();
    let mut deliveries = scene.deliveries(&key()).await;
    // The opening is none of its events.
    deliveries.remove(0);
    (dispatcher, deliveries)
}

/// Brings events as a relay does, which gives up after its time.
async fn call(dispatcher: &Dispatcher, deliveries: &[Delivery]) -> Vec<Result<(), PublishError>> {
    let deliveries: Vec<_> = deliveries
        .iter()
        .cloned()
        .map(|one| one.within(CALL))
        .collect();
    let answers = timeout(CALL, dispatcher.publish(&deliveries)).await;
    answers.expect("it is answered in time")
}

async fn a_slow_batch_is_divided_until_it_ends_in_time(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let (dispatcher, mut deliveries) = live(&scene, vec![1; EVENTS as usize]).await;
    let mut calls = 0;
    while !deliveries.is_empty() {
        let answers = call(&dispatcher, &deliveries).await;
        let done = answers.iter().take_while(|answer| answer.is_ok()).count();
        assert!(done > 0, "each call does some of them: {:?}", answers[0]);
        for answer in &answers[done..] {
            let class = answer.as_ref().unwrap_err().class();
            assert_eq!(class, FailureClass::NotTried);
        }
        deliveries.drain(..done);
        calls += 1;
    }
    assert!(calls > 1, "one call has no time for all of them");
    assert_eq!(database.number("SELECT cents FROM credit").await, EVENTS);
    let state = scene.until(&key(), |_| true).await;
    assert_eq!((state.stop, state.status), (None, ProjectionStatus::Live));
}

async fn an_event_that_hangs_stops_the_version(database: &TestDatabase) {
    let scene = Scene::on(database).await;
    let (dispatcher, deliveries) = live(&scene, [1, 2, HANGS, 4]).await;
    // A call finds out which one it is, and does what comes before it.
    for _ in 0..5 {
        let answers = call(&dispatcher, &deliveries).await;
        let class = answers[3].as_ref().unwrap_err().class();
        assert!(
            matches!(class, FailureClass::Unavailable | FailureClass::NotTried),
            "no attempt that makes a dead letter: {class:?}"
        );
    }
    let stop = scene.until(&key(), |_| true).await.stop.unwrap();
    assert_eq!(stop.event_id, Some(deliveries[2].envelope.event_id));
    let expected = "`project` did not end within 500ms";
    assert_eq!(stop.reason, expected);
    assert_eq!(database.number("SELECT cents FROM credit").await, 1 + 2);
}
