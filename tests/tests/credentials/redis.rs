//! Redis: the user of the ACL is deleted, which also ends its connections.

use bento_brokers::redis::{RedisPublisher, RedisSettings};
use bento_testkit::publisher::{PublisherHarness as _, Received};

use self::harness::Harness;
use crate::servers as support;
use crate::withdrawn::{Broker, costs_no_event};

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/redis/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_withdrawn_for_a_while_costs_no_event() {
    let private = match Harness::on_the_shared_server().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    let Some(broker) = private else {
        return eprintln!(
            "skipped: BENTO_TEST_REDIS_URL is not set, or redis-server is not installed"
        );
    };
    broker.give_back().await;
    costs_no_event(broker).await;
}

impl Broker for Harness {
    type Publisher = RedisPublisher;

    async fn publisher(&self) -> RedisPublisher {
        let (user, password) = (Some("relay".to_owned()), Some("right".into()));
        RedisPublisher::new(RedisSettings {
            user,
            password,
            ..self.settings()
        })
        .unwrap()
    }

    fn topic(&self) -> String {
        "events".to_owned()
    }

    async fn withdraw(&self) {
        let mut connection = self.connection().await;
        let deleted = redis::cmd("ACL")
            .arg("DELUSER")
            .arg("relay")
            .exec_async(&mut connection)
            .await;
        deleted.unwrap();
    }

    async fn give_back(&self) {
        let mut connection = self.connection().await;
        let user = ["relay", "on", ">right", "~*", "+@all"];
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg(&user)
            .exec_async(&mut connection)
            .await
            .unwrap();
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        bento_testkit::publisher::PublisherHarness::received(self, at_least).await
    }
}
