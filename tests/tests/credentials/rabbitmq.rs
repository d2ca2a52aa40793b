//! RabbitMQ: the password is changed and the connections of its user are closed. Every user but
//! `guest` would be one more start of Erlang.

use bento_brokers::rabbitmq::RabbitMqPublisher;
use bento_testkit::publisher::{PublisherHarness as _, Received};

use self::harness::Queue;
use crate::servers as support;
use crate::withdrawn::{Broker, costs_no_event};

#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/rabbitmq/broker.rs"]
mod broker;
#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../../../bento-brokers/tests/rabbitmq/harness.rs"]
mod harness;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_withdrawn_for_a_while_costs_no_event() {
    let private = match Queue::of_the_environment().await {
        Some(shared) => shared.private().await,
        None => None,
    };
    let Some(queue) = private else {
        return eprintln!(
            "skipped: {} or {} is not set",
            harness::URL,
            broker::PROGRAM
        );
    };
    costs_no_event(queue).await;
}

impl Queue {
    fn control(&self, arguments: &[&str]) {
        self.broker
            .as_ref()
            .expect("it is private")
            .control(arguments);
    }
}

impl Broker for Queue {
    type Publisher = RabbitMqPublisher;

    async fn publisher(&self) -> RabbitMqPublisher {
        self.connect(self.settings()).await
    }

    fn topic(&self) -> String {
        self.name.clone()
    }

    async fn withdraw(&self) {
        self.control(&["change_password", "guest", "another"]);
        self.control(&[
            "close_all_user_connections",
            "guest",
            "the password was changed",
        ]);
    }

    async fn give_back(&self) {
        self.control(&["change_password", "guest", "guest"]);
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        bento_testkit::publisher::PublisherHarness::received(self, at_least).await
    }
}
