//! The rules that only Kafka has.

use std::sync::Arc;

use bento_brokers::ConnectError;
use bento_brokers::kafka::{KafkaPublisher, KafkaSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, Publisher};
use bento_testkit::publisher::{Mode, PublisherHarness};

use super::harness::{Topic, URL};

fn deliver(topic: &Topic, destination: Destination, aggregate_id: &str) -> Delivery {
    let mut envelope = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    envelope.aggregate_id = aggregate_id.to_owned();
    Delivery::new(
        Arc::new(envelope),
        destination.with_topic(topic.name.clone()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_the_destinations_or_the_aggregates_or_none() {
    let Some(topic) = Topic::of_the_environment().await else {
        return skipped();
    };
    let publisher = topic.publisher(Mode::Binary).await;
    let batch = [
        deliver(&topic, Destination::new("d"), "42"),
        deliver(&topic, Destination::new("d").with_partition_key("eu"), "42"),
        deliver(&topic, Destination::new("d"), ""),
    ];
    assert!(publisher.publish(&batch).await.iter().all(Result::is_ok));
    let mut keys: Vec<_> = topic
        .received(3)
        .await
        .into_iter()
        .map(|received| received.key)
        .collect();
    keys.sort();
    assert_eq!(keys, [None, Some("42".to_owned()), Some("eu".to_owned())]);
}

#[tokio::test]
async fn what_the_guarantees_hang_on_cannot_be_set() {
    let properties = [("acks".to_owned(), "1".into())].into();
    let error = KafkaPublisher::new(KafkaSettings {
        properties,
        ..KafkaSettings::default()
    })
    .unwrap_err();
    assert!(matches!(error, ConnectError::Settings { .. }), "{error:?}");
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped() {
    eprintln!("skipped: {URL} is not set");
}
