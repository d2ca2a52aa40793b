//! NATS JetStream is given what it cannot carry.

use bento_relay::Relay;
use bento_relay::dead_letter::{DeadLetters as _, Discarding};
use bento_relay::publish::Destination;
use bento_relay::route::Router;
use bento_relay::store::NewDeadLetter;
use bento_testkit::publisher::{Mode, PublisherHarness as _};

use self::harness::Harness;
use crate::scene::{Scene, play};
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/nats/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_travel_is_a_dead_letter_and_the_rest_arrives() {
    let Some(nats) = Harness::on_the_shared_server().await else {
        eprintln!("skipped: BENTO_TEST_NATS_URL is not set");
        return;
    };
    play(async |scene| sort_out(scene, &nats).await).await;
}

async fn sort_out(scene: &Scene<'_>, nats: &Harness) {
    let too_large = "x".repeat(nats.traits().too_large.unwrap());
    scene.commit(1, &too_large, |metadata| metadata).await;
    scene.commit(2, "two lines", |metadata| metadata).await;
    scene.spoil_headers(r#"{"note": "a\nb"}"#).await;
    for account in [3, 4, 1, 2, 3] {
        scene
            .commit(account, &format!("small {account}"), |metadata| metadata)
            .await;
    }
    let router = Router::to(Destination::new("nats").with_topic(nats.topic()));
    let relay = Relay::builder(scene.store(), nats.publisher(Mode::Binary).await)
        .router(router)
        .wake(&scene.wake);
    let relay = relay.start().unwrap();
    // The later events of the two accounts wait for an operator.
    scene.counted([0, 2, 2]).await;
    assert_eq!(arrived(nats, 3).await, ["small 3", "small 3", "small 4"]);

    let dead = scene.dead().await;
    for (letter, why) in dead.iter().zip([
        "NATS did not take the event: ",
        "the header `note` cannot be sent: its value has the control character U+000A at byte 1",
    ]) {
        assert_eq!(
            (&*letter.cause, letter.parks, letter.attempts),
            (NewDeadLetter::PERMANENT, true, 1),
            "{}",
            letter.error
        );
        assert!(letter.error.starts_with(why), "{}", letter.error);
        let discarding = Discarding::because("nobody can take it").unwrap();
        assert!(
            scene
                .store()
                .discard(letter.envelope.event_id, "nats", &discarding)
                .await
                .unwrap()
        );
    }
    assert!(dead[0].error.contains("payload"), "{}", dead[0].error);
    scene.counted([0, 0, 0]).await;
    assert_eq!(
        arrived(nats, 5).await,
        ["small 1", "small 2", "small 3", "small 3", "small 4"]
    );
    assert!(relay.health().degraded.is_empty(), "{:?}", relay.health());
    relay.stop().await.unwrap();
}

/// The tokens of what is in the stream, sorted.
async fn arrived(nats: &Harness, count: usize) -> Vec<String> {
    let token = |body: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(body).unwrap()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut tokens: Vec<_> = nats
        .received(count)
        .await
        .iter()
        .map(|received| token(&received.body))
        .collect();
    tokens.sort();
    tokens
}
