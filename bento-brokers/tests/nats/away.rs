//! A service that starts while one of its brokers is away.

use std::time::Duration;

use bento::Settings;
use bento_core::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::{Degradation, MemoryStore, RelayHandle};
use bento_testkit::publisher::PublisherHarness as _;

use super::harness::{Harness, nats_server};
use super::support::PrivateServer;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_destinations_works_and_the_missing_one_is_named() {
    let Some(there) = Harness::on_the_shared_server().await else {
        return;
    };
    let Some(server) =
        PrivateServer::start_new(|port, directory| nats_server(port, directory, &[]))
    else {
        return;
    };
    server.kill();
    let settings = format!(
        r#"
        publisher = "there"
        [publishers.there]
        kind = "nats"
        urls = ["{}"]
        [publishers.away]
        kind = "nats"
        urls = ["nats://relay:hunter2@127.0.0.1:{}"]
        [router]
        version = 1
        [router.destinations.there]
        topic = "{name}.events"
        [router.destinations.away]
        topic = "{name}.events"
        [[router.rules]]
        name = "both"
        to = ["there", "away"]
        "#,
        there.url,
        server.port,
        name = there.name,
    );
    let settings = Settings::builder()
        .toml(&settings)
        .unwrap()
        .build()
        .unwrap();
    let store = MemoryStore::default();
    let relay = settings.relay(store.clone()).unwrap().start().unwrap();
    store.append((0..20).map(event));
    until("the circuit opens", || {
        reason(&relay).is_some_and(|(is_open, _)| is_open)
    })
    .await;
    assert!(relay.health().ready, "{:?}", relay.health());
    let (_, why) = reason(&relay).unwrap();
    let address = format!("127.0.0.1:{}", server.port);
    assert!(
        why.contains(&address) && why.contains("refused") && !why.contains("hunter2"),
        "{why}"
    );
    let arrived = async {
        while there.stored().await < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived)
        .await
        .expect("the other one is not waited for");
    assert_eq!(there.received(20).await.len(), 20);

    assert!(server.start());
    let url = format!("nats://{address}");
    let back = Harness {
        url,
        name: there.name.clone(),
        server: Some(server),
    };
    back.make_stream(async_nats::jetstream::stream::Config::default())
        .await;
    until("it is connected to", || reason(&relay).is_none()).await;
    let arrived = async {
        while back.stored().await < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived)
        .await
        .expect("what waited is published");
    relay.stop().await.unwrap();
}

fn event(number: usize) -> OutboxEntry {
    let mut envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    (envelope.aggregate_type, envelope.aggregate_id) = ("thing".into(), number.to_string());
    OutboxEntry {
        shard: Sharding::default().shard(&envelope),
        may_be_known: false,
        envelope,
    }
}

/// Returns true if the relay sends nothing to the destination `away` for now, and the error of the
/// last attempt.
fn reason(relay: &RelayHandle) -> Option<(bool, String)> {
    relay
        .health()
        .degraded
        .into_iter()
        .find_map(|reason| match reason {
            Degradation::CircuitOpen { destination, error } if *destination == *"away" => {
                Some((true, error))
            }
            Degradation::Unavailable { destination, error } if *destination == *"away" => {
                Some((false, error))
            }
            _ => None,
        })
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let reached = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
