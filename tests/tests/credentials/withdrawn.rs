//! A relay whose broker does not let it in for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use bento_relay::publish::{Destination, Publisher};
use bento_relay::retry::RetryPolicy;
use bento_relay::route::Router;
use bento_relay::{Degradation, Relay, RelayHandle};
use bento_testkit::publisher::Received;
use bento_tests::{Account, Counted};
use sea_orm::DbErr;

use crate::scene::{Scene, play};

const ACCOUNTS: i64 = 4;
/// The circuit opens before one event alone can have used up its attempts, however the relay's
/// workers take turns.
const OUTAGE: u32 = 3;
const ATTEMPTS: u32 = 5;

/// A broker that knows a user by a password.
pub trait Broker {
    type Publisher: Publisher;

    /// Connected with the password.
    async fn publisher(&self) -> Self::Publisher;

    fn topic(&self) -> String;

    /// Refuses the password from now on, also to who came with it.
    async fn withdraw(&self);

    /// Accepts it again.
    async fn give_back(&self);

    async fn received(&self, at_least: usize) -> Vec<Received>;
}

pub async fn costs_no_event(broker: impl Broker) {
    play(async |scene| {
        let router = Router::to(Destination::new("broker").with_topic(broker.topic()));
        let relay = Relay::builder(scene.store(), broker.publisher().await)
            .router(router)
            .wake(&scene.wake);
        let retry = RetryPolicy::fixed(Duration::from_millis(50), ATTEMPTS);
        let relay = relay
            .retry(retry)
            .failure_threshold(OUTAGE)
            .start()
            .unwrap();
        commit(scene, "before").await;
        scene.counted([0, 0, 0]).await;

        broker.withdraw().await;
        commit(scene, "refused").await;
        scene.until("the circuit opens", || is_open(&relay)).await;
        commit(scene, "waiting").await;
        let [pending, held, dead] = scene.counts().await;
        assert_eq!((pending + held, dead), (2 * ACCOUNTS, 0));

        broker.give_back().await;
        scene.counted([0, 0, 0]).await;
        scene.until("the circuit closes", || !is_open(&relay)).await;
        assert!(scene.dead().await.is_empty());
        relay.stop().await.unwrap();
        let received = broker.received(3 * ACCOUNTS as usize).await;
        let tokens: BTreeSet<_> = received.iter().map(token).collect();
        let expected = ["before", "refused", "waiting"]
            .iter()
            .flat_map(|when| (1..=ACCOUNTS).map(move |account| of(when, account)));
        assert_eq!(tokens, expected.collect());
    })
    .await;
}

/// All at once, so that they fail together.
async fn commit(scene: &Scene<'_>, when: &str) {
    let raise = scene.outbox.transaction_async(async |_| {
        (1..=ACCOUNTS).for_each(|account| {
            Account::new(account).raise(Counted {
                token: of(when, account),
            })
        });
        Ok::<_, DbErr>(())
    });
    raise.await.unwrap();
}

fn of(when: &str, account: i64) -> String {
    format!("{when}, of {account}")
}

fn token(received: &Received) -> String {
    let payload: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    payload["token"].as_str().unwrap().to_owned()
}

fn is_open(relay: &RelayHandle) -> bool {
    relay
        .health()
        .degraded
        .iter()
        .any(|reason| matches!(reason, Degradation::CircuitOpen { .. }))
}
