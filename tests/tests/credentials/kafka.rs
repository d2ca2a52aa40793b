//! Kafka: the gate in front of the broker asks for another password, and sends away who came with
//! the old one.

use std::sync::Arc;
use std::time::Duration;

use bento_brokers::kafka::{KafkaPublisher, KafkaSettings, SaslMechanism};
use bento_testkit::publisher::{PublisherHarness as _, Received};

use self::broker::gate::Guard;
use self::broker::guarded::{Guarded, sasl};
use self::broker::harness::PROGRAM;
use self::broker::login::Login;
use crate::withdrawn::{Broker, costs_no_event};

#[path = "../outage/kafka_broker.rs"]
pub(crate) mod broker;

struct Guardian {
    broker: Guarded,
    login: Arc<Login>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_withdrawn_for_a_while_costs_no_event() {
    let login = Arc::new(Login::new("relay", "right"));
    let guard = Guard {
        login: Some(Arc::clone(&login)),
        ..Guard::default()
    };
    let Some(broker) = Guarded::by(guard).await else {
        return eprintln!("skipped: {PROGRAM} is not set");
    };
    costs_no_event(Guardian { broker, login }).await;
}

impl Broker for Guardian {
    type Publisher = KafkaPublisher;

    async fn publisher(&self) -> KafkaPublisher {
        let sasl = sasl(SaslMechanism::ScramSha512, "right");
        let delivery_timeout = Duration::from_secs(1);
        let settings = KafkaSettings {
            sasl,
            delivery_timeout,
            ..self.broker.settings()
        };
        KafkaPublisher::new(settings).unwrap()
    }

    fn topic(&self) -> String {
        self.broker.topic.name.clone()
    }

    async fn withdraw(&self) {
        self.login.change("another");
        self.broker.send_all_away().await;
    }

    async fn give_back(&self) {
        self.login.change("right");
    }

    /// By a way that asks nothing.
    async fn received(&self, at_least: usize) -> Vec<Received> {
        self.broker.ask_nobody().await;
        self.broker.topic.received(at_least).await
    }
}
