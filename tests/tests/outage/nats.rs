//! NATS JetStream.

use self::harness::Harness;
use crate::scene::outage;
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/nats/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_is_away_under_load_loses_nothing_and_is_found_again() {
    let private = if crate::servers::url("BENTO_TEST_NATS_URL").is_some() {
        Harness::on_a_private_server().await
    } else {
        None
    };
    outage("nats", private).await;
}
