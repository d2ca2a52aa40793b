//! Refusals of a cluster, on librdkafka's mock cluster, which answers what it is told to.

use std::sync::Arc;
use std::time::Duration;

use bento_brokers::kafka::{KafkaPublisher, KafkaSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Code};

const TOPIC: &str = "events";
/// The time for writing one event, where a refusal ends the wait however busy the machine is.
const DELIVERY: Duration = Duration::from_secs(30);
/// The client asks every five seconds whether it may write to a topic after all. An event that was
/// handed over just before the client gave up waits for its whole time.
const PATIENCE: Duration = DELIVERY.saturating_mul(2);

struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Cluster {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        Self(cluster)
    }

    fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            servers: vec![self.0.bootstrap_servers()],
            delivery_timeout: Duration::from_secs(2),
            ..KafkaSettings::default()
        }
    }

    async fn publisher(&self) -> KafkaPublisher {
        let publisher = KafkaPublisher::new(self.settings()).unwrap();
        publisher.check().await.unwrap();
        publisher
    }

    fn refuse(&self, request: RDKafkaApiKey, codes: &[Code]) {
        self.0.request_errors(request, codes);
    }
}

async fn publish_one(publisher: &KafkaPublisher) -> Result<(), PublishError> {
    let event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    let delivery = Delivery::new(Arc::new(event), Destination::default().with_topic(TOPIC));
    publisher.publish(&[delivery]).await.pop().unwrap()
}

/// Publishes until the event is confirmed, as the relay tries again.
async fn publish_in_the_end(publisher: &KafkaPublisher) {
    let confirmed = async {
        while let Err(error) = publish_one(publisher).await {
            assert_eq!(
                error.class(),
                FailureClass::Unavailable,
                "{}",
                error.chain()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, confirmed)
        .await
        .expect("the publisher goes on");
}

#[tokio::test]
async fn a_refusal_has_its_class_and_the_next_event_goes() {
    let cluster = Cluster::new();
    let publisher = cluster.publisher().await;
    for (code, class) in [
        (
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            FailureClass::Unavailable,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
            FailureClass::Unavailable,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
            FailureClass::Throttled,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            FailureClass::Permanent,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            FailureClass::Permanent,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            FailureClass::Permanent,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
            FailureClass::Permanent,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
            FailureClass::Permanent,
        ),
        (
            Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            FailureClass::Unavailable,
        ),
    ] {
        cluster.refuse(RDKafkaApiKey::Produce, &[code]);
        match publish_one(&publisher).await {
            Ok(()) => panic!("{code:?} was overcome"),
            Err(error) => assert_eq!(error.class(), class, "{code:?}: {}", error.chain()),
        }
        publish_in_the_end(&publisher).await;
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_by_the_client_itself() {
    let cluster = Cluster::new();
    let publisher = cluster.publisher().await;
    for code in [
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        cluster.refuse(RDKafkaApiKey::Produce, &[code, code]);
        publish_one(&publisher)
            .await
            .unwrap_or_else(|error| panic!("{code:?}: {}", error.chain()));
    }
}

/// Without the right to write idempotently the client gives up for good: it is replaced until
/// an operator gives the right.
#[tokio::test]
async fn a_producer_that_may_not_begin_is_replaced_until_it_may() {
    let cluster = Cluster::new();
    let codes = [Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 3];
    cluster.refuse(RDKafkaApiKey::InitProducerId, &codes);
    let settings = KafkaSettings {
        delivery_timeout: DELIVERY,
        ..cluster.settings()
    };
    let publisher = KafkaPublisher::new(settings).unwrap();
    let error = publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        error.class(),
        FailureClass::Unavailable,
        "{}",
        error.chain()
    );
    assert!(
        error.chain().contains("Cluster authorization failed"),
        "{}",
        error.chain()
    );
    publish_in_the_end(&publisher).await;
}

#[tokio::test]
async fn a_topic_that_may_not_be_seen_is_waited_for() {
    let cluster = Cluster::new();
    cluster
        .0
        .topic_error(TOPIC, Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        .unwrap();
    let publisher = cluster.publisher().await;
    let error = publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        error.class(),
        FailureClass::Unavailable,
        "{}",
        error.chain()
    );
    assert!(
        error.chain().contains("let the producer write"),
        "{}",
        error.chain()
    );
    cluster
        .0
        .topic_error(TOPIC, Code::RD_KAFKA_RESP_ERR_NO_ERROR)
        .unwrap();
    publish_in_the_end(&publisher).await;
}
