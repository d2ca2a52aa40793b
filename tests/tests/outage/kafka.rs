//! Kafka.

use bento_testkit::publisher::PublisherHarness as _;

use self::broker::harness::Topic;
use crate::scene::outage;

#[path = "kafka_broker.rs"]
mod broker;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_is_away_under_load_loses_nothing_and_is_found_again() {
    let private = match Topic::of_the_environment().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    outage("kafka", private).await;
}
