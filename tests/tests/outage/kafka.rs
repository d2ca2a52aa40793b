//! Kafka.

use bento_testkit::publisher::PublisherHarness as _;

use self::broker::harness::Topic;
use crate::scene::outage;

#[path = "kafka_broker.rs"]
mod broker;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_under_load_loses_nothing_and_ends_by_itself() {
    let private = match Topic::of_the_environment().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    outage("kafka", private).await;
}
