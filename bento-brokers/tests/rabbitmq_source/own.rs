//! The rules that only a queue of RabbitMQ has as a source.

use std::time::Duration;

use bento_brokers::rabbitmq::RabbitMqCredentials;
use bento_brokers::rabbitmq::{
    RabbitMqArgument, RabbitMqBinding, RabbitMqQueueType, RabbitMqSourceSettings,
    RabbitMqSubscription,
};
use bento_relay::source::{Message, Most, Subscription as _};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldArray, FieldTable};

use super::URL;
use super::bench::Bench;
use super::broker::{Broker, PROGRAM};
use super::support::free_port;

const PATIENCE: Duration = Duration::from_secs(30);

fn most(messages: usize) -> Most {
    Most {
        messages,
        bytes: usize::MAX,
        wait: PATIENCE,
    }
}

/// The bodies of the next messages, which are no events.
async fn bodies(subscription: &mut RabbitMqSubscription, messages: usize) -> Vec<String> {
    let received = subscription.receive(most(messages)).await.unwrap();
    assert_eq!(received.cursor, None);
    let bodies = received.messages.into_iter().map(|message| match message {
        Message::Unreadable(message) => String::from_utf8(message.raw.body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    });
    bodies.collect()
}

async fn refused(bench: &Bench, settings: &RabbitMqSourceSettings) -> String {
    let error = bench.subscribe(settings).await.expect_err("it is refused");
    assert!(error.is_refused(), "{}", error.chain());
    error.to_string()
}

const KINDS: [RabbitMqQueueType; 2] = [RabbitMqQueueType::Quorum, RabbitMqQueueType::Classic];

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_made_bound_and_found_again() {
    for kind in KINDS {
        let Some(bench) = Bench::of_kind(kind).await else {
            return skipped(URL);
        };
        bench.delete().await;
        let mut settings = bench.making();
        settings.bind = vec![RabbitMqBinding::new(
            "amq.topic",
            format!("{}.#", bench.name),
        )];
        settings
            .arguments
            .insert("x-max-length".to_owned(), RabbitMqArgument::Integer(1_000));
        let mut subscription = bench.subscribe(&settings).await.unwrap();
        let key = format!("{}.order.created", bench.name);
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let published = bench.channel.basic_publish(
            "amq.topic".into(),
            key.as_str().into(),
            options,
            b"bound",
            properties,
        );
        published.await.unwrap().await.unwrap();
        assert_eq!(bodies(&mut subscription, 9).await, ["bound"]);
        subscription.acknowledge().await.unwrap();
        subscription.close().await;

        settings.create = false;
        settings.bind.clear();
        let mut subscription = bench
            .subscribe(&settings)
            .await
            .expect("it has the arguments");
        bench.text("later").await;
        assert_eq!(bodies(&mut subscription, 9).await, ["later"]);
        subscription.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_or_exchange_is_refused() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    bench.delete().await;
    let text = refused(&bench, &bench.settings()).await;
    let expected = format!("no queue `{}`", bench.name);
    assert!(
        text.contains(&expected) && text.contains("`create = true`"),
        "{text}"
    );
    let mut settings = bench.making();
    settings.bind = vec![RabbitMqBinding::new("no-such-exchange", "#")];
    let text = refused(&bench, &settings).await;
    assert!(text.contains("no exchange `no-such-exchange`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_keep_the_order_is_refused() {
    let single_active = || ("x-single-active-consumer", AMQPValue::Boolean(true));
    let quorum = || ("x-queue-type", AMQPValue::LongString("quorum".into()));
    let (is_quorum, is_classic) = (RabbitMqQueueType::Quorum, RabbitMqQueueType::Classic);
    let expires = || ("x-expires", AMQPValue::LongInt(60_000));
    for (kind, durable, arguments, expected) in [
        (is_quorum, true, vec![quorum()], "no single active consumer"),
        (is_classic, true, vec![], "no single active consumer"),
        (
            is_quorum,
            true,
            vec![single_active()],
            "is not a quorum queue: set `queue_type`",
        ),
        (
            is_classic,
            true,
            vec![quorum(), single_active()],
            "is not a classic queue",
        ),
        (is_classic, false, vec![single_active()], "is not durable"),
        (
            is_classic,
            true,
            vec![single_active(), expires()],
            "'x-expires'",
        ),
        (
            is_quorum,
            true,
            vec![
                quorum(),
                single_active(),
                ("x-delivery-limit", AMQPValue::LongInt(5)),
            ],
            "has a delivery limit",
        ),
    ] {
        let Some(bench) = Bench::of_kind(kind).await else {
            return skipped(URL);
        };
        bench.declare(durable, &arguments).await;
        let text = refused(&bench, &bench.settings()).await;
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_the_settings_name_are_accepted() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    bench
        .declare(
            true,
            &[
                ("x-queue-type", AMQPValue::LongString("quorum".into())),
                ("x-single-active-consumer", AMQPValue::Boolean(true)),
                ("x-delivery-limit", AMQPValue::LongInt(5)),
                ("x-expires", AMQPValue::LongInt(60_000)),
            ],
        )
        .await;
    let mut settings = bench.settings();
    for (name, value) in [("x-delivery-limit", 5), ("x-expires", 60_000)] {
        settings
            .arguments
            .insert(name.to_owned(), RabbitMqArgument::Integer(value));
    }
    bench.subscribe(&settings).await.unwrap().close().await;
}

/// A subscription ends at any moment, and what it did not acknowledge comes again at its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_overtakes_nothing() {
    for kind in KINDS {
        let Some(bench) = Bench::of_kind(kind).await else {
            return skipped(URL);
        };
        let settings = RabbitMqSourceSettings {
            prefetch: 20,
            ..bench.settings()
        };
        bench.subscribe(&settings).await.unwrap().close().await;
        for number in 0..200 {
            bench.text(&format!("{number}")).await;
        }
        // The messages that a subscription receives, and how many of them it acknowledges.
        let lives = [(7, 0), (20, 5), (3, 3), (20, 20), (1, 0), (13, 0), (18, 11)];
        let mut next = 0;
        for (life, (receives, acknowledges)) in lives.into_iter().cycle().enumerate() {
            let mut subscription = bench.subscribe(&settings).await.unwrap();
            let mut at = next;
            while at < 200 && at - next < receives {
                let wanted = if at - next < acknowledges {
                    acknowledges
                } else {
                    receives
                };
                for body in bodies(&mut subscription, wanted - (at - next)).await {
                    assert_eq!(body, at.to_string(), "in life {life} of a {kind} queue");
                    at += 1;
                }
                if at - next == acknowledges || at == 200 {
                    subscription.acknowledge().await.unwrap();
                    next = at;
                    break;
                }
            }
            match life % 2 {
                0 => drop(subscription),
                _ => subscription.close().await,
            }
            if next == 200 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_loses_no_message() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    let settings = bench.making();
    bench.subscribe(&settings).await.unwrap().close().await;
    bench.text("first").await;
    for _ in 0..25 {
        let mut subscription = bench.subscribe(&settings).await.unwrap();
        assert_eq!(bodies(&mut subscription, 1).await, ["first"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_ends_the_subscription() {
    for kind in KINDS {
        let Some(bench) = Bench::of_kind(kind).await else {
            return skipped(URL);
        };
        let mut subscription = bench.subscribe(&bench.settings()).await.unwrap();
        assert_eq!(subscription.lag().await.unwrap(), Some(0));
        bench.delete().await;
        let error = subscription.receive(most(1)).await.expect_err("it is gone");
        assert!(!error.is_refused(), "{}", error.chain());
        assert!(
            error.to_string().contains("cancelled the consumer"),
            "{error}"
        );
        assert!(subscription.lag().await.unwrap_err().is_refused());
        refused(&bench, &bench.settings()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_and_lag_count_what_the_client_holds() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    let settings = RabbitMqSourceSettings {
        prefetch: 4,
        ..bench.making()
    };
    let mut subscription = bench.subscribe(&settings).await.unwrap();
    let large = "x".repeat(5_000_000);
    for body in [&*large, "a", "b", "c", "d", "e"] {
        bench.text(body).await;
    }
    let bounded = |bytes| Most { bytes, ..most(2) };
    let first = subscription.receive(bounded(10)).await.unwrap();
    assert_eq!(first.messages.len(), 1, "a larger one comes alone");
    let second = subscription.receive(bounded(1)).await.unwrap();
    assert_eq!(second.messages.len(), 1);
    assert_eq!(subscription.lag().await.unwrap(), Some(4));
    subscription.acknowledge().await.unwrap();
    subscription
        .acknowledge()
        .await
        .expect("nothing is to be acknowledged");
    assert_eq!(bodies(&mut subscription, 1).await, ["b"]);
    drop(subscription);
    let mut again = bench.subscribe(&settings).await.unwrap();
    assert_eq!(bodies(&mut again, 1).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_shows_what_it_holds() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    let settings = bench.making();
    let mut subscription = bench.subscribe(&settings).await.unwrap();
    let mut inner = FieldTable::default();
    inner.insert("count".into(), AMQPValue::LongLongInt(3));
    let mut list = FieldArray::default();
    list.push(AMQPValue::FieldTable(inner));
    list.push(AMQPValue::Void);
    let mut headers = FieldTable::default();
    headers.insert(
        "bytes".into(),
        AMQPValue::LongString(vec![b'a', 0xff].into()),
    );
    headers.insert("number".into(), AMQPValue::LongInt(-7));
    headers.insert("list".into(), AMQPValue::FieldArray(list));
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_type("order.created".into())
        .with_timestamp(u64::MAX)
        .with_headers(headers);
    bench.message(properties, &[0xff, 0x00]).await;
    bench.message(BasicProperties::default(), b"").await;
    let mut messages = Vec::new();
    while messages.len() < 2 {
        messages.extend(subscription.receive(most(2)).await.unwrap().messages);
    }
    let [Message::Unreadable(full), Message::Unreadable(empty)] = &messages[..] else {
        panic!("{messages:?}");
    };
    let header = |name: &str| {
        let mut headers = full.raw.headers.iter();
        headers
            .find(|(own, _)| own == name)
            .map(|(_, value)| &**value)
    };
    for (name, value) in [
        ("subject", &*bench.name),
        ("message-id", "m-1"),
        ("amqp-type", "order.created"),
        ("amqp-timestamp", "18446744073709551615"),
        ("bytes", "a\u{fffd}"),
        ("number", "-7"),
        ("list", r#"[{"count":3},null]"#),
    ] {
        assert_eq!(header(name), Some(value), "{name}");
    }
    assert_eq!(&full.raw.body[..], [0xff, 0x00]);
    assert!(full.raw.place.contains(&bench.name), "{}", full.raw.place);
    assert!(empty.raw.body.is_empty());
    let id = full.id;
    drop(subscription);
    let mut again = bench.subscribe(&settings).await.unwrap();
    let repeated = again.receive(most(1)).await.unwrap().messages;
    assert!(matches!(&repeated[..], [Message::Unreadable(message)] if message.id == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_repairs_is_refused_and_no_server_is_not() {
    let Some(bench) = Bench::of_kind(RabbitMqQueueType::Quorum).await else {
        return skipped(URL);
    };
    let mut settings = bench.settings();
    settings.vhost = Some("no-such-vhost".to_owned());
    assert!(refused(&bench, &settings).await.contains("virtual host"));
    let mut settings = bench.settings();
    settings.credentials = Some(RabbitMqCredentials {
        user: "guest".to_owned(),
        password: "wrong-password".into(),
    });
    let text = refused(&bench, &settings).await;
    assert!(
        text.contains("credentials") && !text.contains("wrong-password"),
        "{text}"
    );
    let mut settings = bench.settings();
    settings.url = format!("amqp://127.0.0.1:{}", free_port()).as_str().into();
    let error = bench
        .subscribe(&settings)
        .await
        .expect_err("nothing listens");
    assert!(!error.is_refused(), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_only_reads_vouches_for_the_queue() {
    let Some(broker) = Broker::start("") else {
        return skipped(PROGRAM);
    };
    // It listens before all of it runs.
    broker.control(&["await_startup"]);
    broker.control(&["add_user", "reader", "secret"]);
    let bench = Bench::on(broker.url(), RabbitMqQueueType::Classic).await;
    let making = bench.making();
    let mut settings = bench.settings();
    settings.credentials = Some(RabbitMqCredentials {
        user: "reader".to_owned(),
        password: "secret".into(),
    });
    broker.control(&["set_permissions", "reader", "^$", "^$", ".*"]);
    let text = refused(&bench, &settings).await;
    assert!(text.contains("`assume_single_active = true`"), "{text}");
    settings.assume_single_active = true;
    let mut subscription = bench.subscribe(&settings).await.unwrap();
    bench.text("read").await;
    assert_eq!(bodies(&mut subscription, 1).await, ["read"]);
    subscription.close().await;
    broker.control(&["set_permissions", "reader", "^$", "^$", "^$"]);
    assert!(refused(&bench, &settings).await.contains("may not read"));

    let mut subscription = bench.subscribe(&making).await.unwrap();
    assert_eq!(bodies(&mut subscription, 1).await, ["read"]);
    broker.server.kill();
    let error = subscription
        .receive(most(1))
        .await
        .expect_err("the server is gone");
    assert!(!error.is_refused(), "{}", error.chain());
    let error = bench
        .subscribe(&making)
        .await
        .expect_err("the server is gone");
    assert!(!error.is_refused(), "{}", error.chain());
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(variable: &str) {
    eprintln!("skipped: {variable} is not set");
}
