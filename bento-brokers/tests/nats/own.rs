//! The rules that only NATS has: streams that are full or expected, and a client that gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bento_brokers::ConnectError;
use bento_brokers::nats::{NatsCredentials, NatsPublisher, NatsSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_testkit::publisher::{Mode, PublisherHarness};
use futures_util::StreamExt as _;

use super::harness::{Harness, nats_server};
use super::support::PrivateServer;

fn delivery() -> Delivery {
    delivery_to("events")
}

fn delivery_to(topic: &str) -> Delivery {
    let event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    Delivery::new(Arc::new(event), Destination::default().with_topic(topic))
}

pub(crate) async fn publish_one(publisher: &NatsPublisher) -> Result<(), PublishError> {
    publisher.publish(&[delivery()]).await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_throttles() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    harness
        .make_stream(Config {
            max_messages: 1,
            discard: DiscardPolicy::New,
            ..Config::default()
        })
        .await;
    let publisher = harness.publisher(Mode::Binary).await;
    publish_one(&publisher).await.unwrap();
    let error = publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        (error.class(), error.retry_after()),
        (FailureClass::Throttled, Some(Duration::from_secs(1)))
    );
    assert!(
        error.to_string().contains("maximum messages exceeded"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_stream_takes_is_refused_for_good() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    harness
        .make_stream(Config {
            max_message_size: 10,
            ..Config::default()
        })
        .await;
    let error = publish_one(&harness.publisher(Mode::Binary).await)
        .await
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent, "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_stream_than_the_expected_one_is_refused() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let Some(other) = Harness::on_the_shared_server().await else {
        return;
    };
    let expecting = |stream: &str| NatsSettings {
        expected_stream: Some(stream.to_owned()),
        ..harness.settings()
    };
    let error = NatsPublisher::new(expecting("nowhere"))
        .unwrap()
        .check()
        .await
        .unwrap_err();
    let expected = "there is no stream `nowhere`";
    assert!(
        matches!(&error, ConnectError::Unfit { what, .. } if what == expected),
        "{error:?}"
    );
    let publisher = NatsPublisher::new(expecting(&harness.name)).unwrap();
    publish_one(&publisher).await.unwrap();
    let publisher = NatsPublisher::new(expecting(&other.name)).unwrap();
    let error = publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        error.class(),
        FailureClass::Unavailable,
        "{}",
        error.chain()
    );
    assert_eq!(
        harness.received(1).await.len(),
        1,
        "the wrong stream has not stored it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_into_flight_is_published_all_the_same() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let settings = NatsSettings {
        max_in_flight: 3,
        ..harness.settings()
    };
    let publisher = Arc::new(NatsPublisher::new(settings).unwrap());
    let call = || async {
        publisher
            .publish(&(0..50).map(|_| delivery()).collect::<Vec<_>>())
            .await
    };
    let (one, other) = tokio::join!(call(), call());
    assert!(one.iter().chain(&other).all(Result::is_ok));
    assert_eq!(harness.received(100).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_answered_takes_no_room_for_long() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let client = async_nats::connect(&harness.url).await.unwrap();
    // A subscriber listens, and not a stream.
    let mut mute = client
        .subscribe(format!("{}.mute", harness.name))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let settings = NatsSettings {
        max_in_flight: 3,
        ack_timeout: Duration::from_millis(300),
        ..harness.settings()
    };
    let publisher = NatsPublisher::new(settings).unwrap();
    let unanswered: Vec<_> = (0..3).map(|_| delivery_to("mute")).collect();
    for answer in publisher.publish(&unanswered).await {
        assert!(
            answer
                .unwrap_err()
                .to_string()
                .contains("did not acknowledge the event within 300ms")
        );
    }
    let given_up = async { publisher.publish(&unanswered).await };
    tokio::select! {
        biased;
        _ = given_up => panic!("no answer came"),
        () = async { for _ in 0..6 { mute.next().await.unwrap(); } } => {}
    }
    publish_one(&publisher).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_somebody_who_is_no_stream_confirms_nothing() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let client = async_nats::connect(&harness.url).await.unwrap();
    let mut asked = client
        .subscribe(format!("{}.service", harness.name))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let publisher = harness.publisher(Mode::Binary).await;
    for body in ["hello", "{}", r#"{"stream":"x"}"#] {
        let batch = [delivery_to("service")];
        let (mut answers, ()) = tokio::join!(publisher.publish(&batch), async {
            let reply = asked.next().await.unwrap().reply.unwrap();
            client.publish(reply, body.into()).await.unwrap();
        });
        let error = answers.remove(0).unwrap_err();
        let expected = (
            FailureClass::Unavailable,
            "the answer came from a subscriber, not from a stream",
        );
        assert_eq!((error.class(), &*error.to_string()), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seen_inbox_cannot_answer_for_another_message() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let client = async_nats::connect(&harness.url).await.unwrap();
    let mut seen = client
        .subscribe(format!("{}.seen", harness.name))
        .await
        .unwrap();
    // A subscriber listens, and not a stream.
    let _unseen = client
        .subscribe(format!("{}.unseen", harness.name))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let settings = NatsSettings {
        ack_timeout: Duration::from_secs(1),
        ..harness.settings()
    };
    let publisher = NatsPublisher::new(settings).unwrap();
    let batch = [delivery_to("seen"), delivery_to("unseen")];
    let (answers, ()) = tokio::join!(publisher.publish(&batch), async {
        let inbox = seen.next().await.unwrap().reply.unwrap().to_string();
        let tokens: Vec<_> = inbox.split('.').collect();
        // Another number in the place of each token that is one, and the same inbox.
        let guesses = (0..tokens.len()).map(|at| {
            [&tokens[..at], &["1"], &tokens[at + 1..]]
                .concat()
                .join(".")
        });
        for guess in guesses {
            client
                .publish(guess, r#"{"stream":"x","seq":1}"#.into())
                .await
                .unwrap();
        }
        client
            .publish(inbox, r#"{"stream":"x","seq":1}"#.into())
            .await
            .unwrap();
    });
    assert!(answers[0].is_ok(), "who sees an inbox can answer by it");
    let error = answers[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("did not acknowledge the event"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_an_unexpected_stream_confirms_nothing() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let client = async_nats::connect(&harness.url).await.unwrap();
    let mut asked = client
        .subscribe(format!("{}.service", harness.name))
        .await
        .unwrap();
    client.flush().await.unwrap();
    let settings = NatsSettings {
        expected_stream: Some(harness.name.clone()),
        ..harness.settings()
    };
    let publisher = NatsPublisher::new(settings).unwrap();
    let batch = [delivery_to("service")];
    let (mut answers, ()) = tokio::join!(publisher.publish(&batch), async {
        let reply = asked.next().await.unwrap().reply.unwrap();
        client
            .publish(reply, r#"{"stream":"x","seq":1}"#.into())
            .await
            .unwrap();
    });
    let error = answers.remove(0).unwrap_err();
    assert_eq!(error.class(), FailureClass::Unavailable);
    assert!(
        error
            .to_string()
            .starts_with("the stream `x` of NATS answered"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_for_a_while_is_connected_to_again() {
    let is_strange = Arc::new(AtomicBool::new(false));
    let strange = Arc::clone(&is_strange);
    let server = PrivateServer::start_new(move |port, directory| {
        let token = if strange.load(Ordering::SeqCst) {
            "another"
        } else {
            "right"
        };
        nats_server(port, directory, &["--auth", token])
    });
    let Some(server) = server else { return };
    let settings = NatsSettings {
        urls: vec![format!("nats://127.0.0.1:{}", server.port).into()],
        credentials: Some(NatsCredentials::Token("right".into())),
        ack_timeout: Duration::from_secs(2),
        ..NatsSettings::default()
    };
    let publisher = NatsPublisher::new(settings.clone()).unwrap();
    publisher.check().await.unwrap();
    server.kill();
    is_strange.store(true, Ordering::SeqCst);
    assert!(server.start());
    // One was connected before, and the other one never.
    let other = NatsPublisher::new(settings).unwrap();
    for publisher in [&publisher, &other] {
        let refused = wait_for_failure(publisher, "authorization violation").await;
        assert_eq!(refused.class(), FailureClass::Unavailable);
        assert!(
            refused.chain().starts_with("not connected to NATS"),
            "{}",
            refused.chain()
        );
        assert!(refused.chain().contains("127.0.0.1"), "{}", refused.chain());
    }
    server.kill();
    is_strange.store(false, Ordering::SeqCst);
    assert!(server.start());
    // JetStream answers that there is no stream, so it was asked.
    for publisher in [&publisher, &other] {
        let answered =
            wait_for_failure(publisher, "no stream of NATS takes the subject `events`").await;
        assert_eq!(answered.class(), FailureClass::Unavailable);
    }
}

/// Publishes until the answer is the expected failure.
async fn wait_for_failure(publisher: &NatsPublisher, text: &str) -> PublishError {
    let waiting = async {
        loop {
            match publish_one(publisher).await {
                Err(error) if error.chain().contains(text) => return error,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("the failure comes")
}
