//! The rules that only RabbitMQ has.

use std::time::Duration;

use bento_brokers::ConnectError;
use bento_brokers::rabbitmq::{Addressing, RabbitMqPublisher, RabbitMqSettings};
use bento_relay::publish::{FailureClass, PublishError, Publisher};
use bento_testkit::publisher::PublisherHarness;
use lapin::options::BasicGetOptions;

use super::broker::{Broker, PROGRAM};
use super::harness::{PATIENCE, Queue, URL};

fn classes(answers: &[Result<(), PublishError>]) -> Vec<Option<FailureClass>> {
    answers
        .iter()
        .map(|answer| answer.as_ref().err().map(PublishError::class))
        .collect()
}

#[tokio::test]
async fn the_message_id_is_the_event_id() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let delivery = queue.deliver(&queue.name, "{}");
    let id = delivery.envelope.event_id.to_string();
    queue
        .connect(queue.settings())
        .await
        .publish(&[delivery])
        .await
        .remove(0)
        .unwrap();
    let (_connection, channel) = queue.open().await;
    let got = channel
        .basic_get(queue.name.as_str().into(), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        got.delivery
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string),
        Some(id)
    );
    assert_eq!(
        got.delivery
            .properties
            .kind()
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("thing.happened")
    );
}

/// Each of many is told whether it came back, although the client does not say which confirm
/// belongs to which.
#[tokio::test]
async fn among_many_only_those_that_no_queue_takes_are_refused() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let publisher = queue.connect(queue.settings()).await;
    let lost = |number: usize| number % 7 == 3;
    let topic = |number| if lost(number) { "nowhere" } else { &queue.name };
    let batch: Vec<_> = (0..200)
        .map(|number| queue.deliver(topic(number), format!("{number}")))
        .collect();
    let answers = publisher.publish(&batch).await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(()) => assert!(!lost(number), "{number} came back"),
            Err(error) => {
                assert!(lost(number), "{number} was taken: {}", error.chain());
                assert_eq!(error.class(), FailureClass::Unavailable);
                assert!(
                    error.to_string().contains("`nowhere` (312 NO_ROUTE)"),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(queue.received(171).await.len(), 171);
}

#[tokio::test]
async fn an_exchange_that_is_not_there_is_refused_alone() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let settings = RabbitMqSettings {
        addressing: Addressing::TopicIsExchange,
        ..queue.settings()
    };
    let publisher = queue.connect(settings).await;
    let good = |payload: &'static str| {
        let mut delivery = queue.deliver(&queue.exchange, payload);
        delivery.destination = delivery.destination.with_routing_key(queue.name.clone());
        delivery
    };
    for round in 0..2 {
        let batch = [
            good("\"before\""),
            queue.deliver("no-such-exchange", "{}"),
            good("\"after\""),
        ];
        let answers = publisher.publish(&batch).await;
        assert_eq!(
            classes(&answers),
            [None, Some(FailureClass::Unavailable), None],
            "{answers:?}"
        );
        assert_eq!(
            queue.received(2 * round + 2).await.len(),
            2 * round + 2,
            "nothing arrives twice"
        );
    }
}

/// An exchange that existed at its first use is not looked up again; the server closes the channel
/// if it has gone.
#[tokio::test]
async fn an_exchange_that_goes_away_is_refused_until_it_is_there_again() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let publisher = queue.connect(queue.settings()).await;
    let batch = [
        queue.deliver(&queue.name, "1"),
        queue.deliver(&queue.name, "2"),
    ];
    assert_eq!(classes(&publisher.publish(&batch).await), [None, None]);
    queue.delete_exchange().await;
    for _ in 0..2 {
        let answers = publisher.publish(&batch).await;
        assert_eq!(classes(&answers), [Some(FailureClass::Unavailable); 2]);
        assert!(
            answers[0]
                .as_ref()
                .unwrap_err()
                .chain()
                .contains("no exchange"),
            "{answers:?}"
        );
    }
    queue.make_exchange(&queue.open().await.1).await;
    assert_eq!(classes(&publisher.publish(&batch).await), [None, None]);
}

#[tokio::test]
async fn an_unknown_virtual_host_is_told_when_connecting() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let settings = RabbitMqSettings {
        vhost: Some("no-such-vhost".to_owned()),
        ..queue.settings()
    };
    let error = RabbitMqPublisher::new(settings)
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unfit { .. }), "{error:?}");
}

/// A call whose channel the server closes costs a call beside it nothing.
#[tokio::test]
async fn calls_beside_a_refused_one_are_confirmed() {
    let Some(queue) = Queue::of_the_environment().await else {
        return skipped(URL);
    };
    let publisher = queue
        .connect(RabbitMqSettings {
            addressing: Addressing::TopicIsExchange,
            ..queue.settings()
        })
        .await;
    let good: Vec<_> = (0..100)
        .map(|number| {
            let mut delivery = queue.deliver(&queue.exchange, format!("{number}"));
            delivery.destination = delivery.destination.with_routing_key(queue.name.clone());
            delivery
        })
        .collect();
    let bad = [queue.deliver("no-such-exchange", "{}")];
    let (beside, refused) = tokio::join!(publisher.publish(&good), publisher.publish(&bad));
    assert!(beside.iter().all(Result::is_ok), "{beside:?}");
    assert_eq!(classes(&refused), [Some(FailureClass::Unavailable)]);
}

#[tokio::test]
async fn what_the_broker_itself_refuses_is_refused_alone() {
    let Some(broker) = Broker::start("max_message_size = 10000\n") else {
        return skipped(PROGRAM);
    };
    broker.control(&["add_user", "relay", "secret"]);
    let queue = Queue::on(broker.url(), None).await;
    let mine = format!("^{}", queue.exchange);
    broker.control(&["set_permissions", "relay", "^$", &mine, "^$"]);
    let url = broker.url().replace("guest:guest", "relay:secret");
    let settings = RabbitMqSettings {
        url: url.into(),
        ..queue.settings()
    };
    let publisher = queue.connect(settings.clone()).await;

    let large = queue.around(queue.deliver(&queue.name, format!("\"{}\"", "x".repeat(20_000))));
    let answers = publisher.publish(&large).await;
    assert_eq!(
        classes(&answers),
        [None, Some(FailureClass::Permanent), None],
        "{answers:?}"
    );
    assert!(
        answers[1]
            .as_ref()
            .unwrap_err()
            .chain()
            .contains("PRECONDITION"),
        "{answers:?}"
    );

    let forbidden = RabbitMqSettings {
        addressing: Addressing::Exchange("amq.topic".to_owned()),
        ..settings
    };
    let answers = queue
        .connect(forbidden)
        .await
        .publish(&[queue.deliver("x", "{}")])
        .await;
    assert_eq!(
        classes(&answers),
        [Some(FailureClass::Unavailable)],
        "a right can be given: {answers:?}"
    );
    assert!(
        answers[0]
            .as_ref()
            .unwrap_err()
            .chain()
            .contains("ACCESS_REFUSED"),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_broker_out_of_memory_throttles_until_it_has_some() {
    let Some(broker) = Broker::start("") else {
        return skipped(PROGRAM);
    };
    let queue = Queue::on(broker.url(), None).await;
    let publisher = queue.connect(queue.settings()).await;
    let publish = async || classes(&publisher.publish(&[queue.deliver(&queue.name, "{}")]).await);
    assert_eq!(publish().await, [None]);
    broker.control(&["set_vm_memory_high_watermark", "0.000001"]);
    assert_eq!(publish().await, [Some(FailureClass::Throttled)]);
    assert_eq!(
        publish().await,
        [Some(FailureClass::Throttled)],
        "also when it is known before"
    );
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    let recovered = async {
        while publish().await != [None] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered)
        .await
        .expect("the broker takes messages again");
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(variable: &str) {
    eprintln!("skipped: {variable} is not set");
}
