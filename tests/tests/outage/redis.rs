//! Redis Streams.

use bento_testkit::publisher::PublisherHarness as _;

use self::harness::Harness;
use crate::scene::outage;
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/redis/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_under_load_loses_nothing_and_ends_by_itself() {
    let private = match Harness::on_the_shared_server().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    outage("redis", private).await;
}
