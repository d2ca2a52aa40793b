//! NATS JetStream.

use self::harness::Harness;
use crate::scene::outage;
use crate::servers as support;

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/nats/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_under_load_loses_nothing_and_ends_by_itself() {
    let private = if crate::servers::url("BENTO_TEST_NATS_URL").is_some() {
        Harness::on_a_private_server().await
    } else {
        None
    };
    outage("nats", private).await;
}
