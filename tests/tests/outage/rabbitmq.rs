//! RabbitMQ.

use bento_testkit::publisher::PublisherHarness as _;

use self::harness::Queue;
use crate::scene::outage;
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/rabbitmq/broker.rs"]
mod broker;
#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/rabbitmq/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_under_load_loses_nothing_and_ends_by_itself() {
    let private = match Queue::of_the_environment().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    outage("rabbitmq", private).await;
}
