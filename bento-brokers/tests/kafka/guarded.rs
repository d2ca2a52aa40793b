//! A broker of the test's own behind a gate that asks who comes.

use std::sync::Arc;
use std::time::Duration;

use bento_brokers::kafka::{KafkaPublisher, KafkaSasl, KafkaSettings, SaslMechanism};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, PublishError, Publisher as _};

use super::gate::{Gate, Guard};
use super::harness::{Topic, tansu};
use super::support::PrivateServer;

/// A broker behind a gate.
pub(crate) struct Guarded {
    gate: Gate,
    /// At the same address.
    unguarded: Gate,
    server: PrivateServer,
    /// At the gate, for who is asked nothing.
    pub(crate) topic: Topic,
}

impl Guarded {
    /// `None` if there is no broker to start.
    pub(crate) async fn by(guard: Guard) -> Option<Self> {
        let gate = Gate::new(guard);
        let server = tansu(gate.port, "memory://tansu/", None)?;
        // Its topic is made through a gate at the same address that asks nothing.
        let unguarded = Gate::at(gate.port, Guard::default());
        unguarded.open(server.port).await;
        let topic = Topic::at(gate.port).await;
        unguarded.close().await;
        gate.open(server.port).await;
        Some(Self {
            gate,
            unguarded,
            server,
            topic,
        })
    }

    /// Whoever is there has to come again.
    pub(crate) async fn send_all_away(&self) {
        self.gate.close().await;
        self.gate.open(self.server.port).await;
    }

    /// Lets everybody in from now on.
    pub(crate) async fn ask_nobody(&self) {
        self.gate.close().await;
        self.unguarded.open(self.server.port).await;
    }

    pub(crate) fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            servers: vec![format!("127.0.0.1:{}", self.gate.port)],
            // A refusal comes at once, but is told when the time is over.
            connect_timeout: Duration::from_secs(2),
            ..KafkaSettings::default()
        }
    }

    pub(crate) async fn publish_one(&self, publisher: &KafkaPublisher) -> Result<(), PublishError> {
        let event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
        let delivery = Delivery::new(
            Arc::new(event),
            Destination::default().with_topic(self.topic.name.clone()),
        );
        publisher.publish(&[delivery]).await.pop().unwrap()
    }
}

pub(crate) fn sasl(mechanism: SaslMechanism, password: &str) -> Option<KafkaSasl> {
    Some(KafkaSasl {
        mechanism,
        user: "relay".to_owned(),
        password: password.into(),
    })
}
