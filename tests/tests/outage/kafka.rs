//! Kafka.

use bento_testkit::publisher::PublisherHarness as _;

use self::harness::Topic;
use crate::scene::outage;
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-publishers/tests/kafka/harness.rs"]
mod harness;
#[path = "../../../bento-publishers/tests/kafka/proxy.rs"]
mod proxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_is_away_under_load_loses_nothing_and_is_found_again() {
    let private = match Topic::of_the_environment().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    outage("kafka", private).await;
}
