//! The rules that only Redis has: keys of another type, memory that is full, streams that are
//! trimmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bento_brokers::redis::{RedisPublisher, RedisSettings};
use bento_brokers::{ConnectError, TlsSettings};
use bento_core::Envelope;
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_testkit::publisher::{Mode, PublisherHarness};
use redis::AsyncCommands as _;

use super::certificates::{Certificates, REQUIRED, says};
use super::harness::{Harness, redis_server};
use super::support::{PrivateServer, chain};

fn delivery() -> Delivery {
    let event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    Delivery::new(Arc::new(event), Destination::default().with_topic("events"))
}

async fn publish_one(publisher: &RedisPublisher) -> Result<(), PublishError> {
    publisher.publish(&[delivery()]).await.pop().unwrap()
}

fn settings_of(server: &PrivateServer) -> RedisSettings {
    RedisSettings {
        url: format!("redis://127.0.0.1:{}", server.port).as_str().into(),
        ..RedisSettings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_is_waited_for_and_costs_no_other_entry() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let publisher = harness.publisher(Mode::Binary).await;
    let text = format!("{}text", harness.prefix);
    let mut connection = harness.connection().await;
    connection
        .set::<_, _, ()>(&text, "no stream")
        .await
        .unwrap();
    let mut elsewhere = delivery();
    elsewhere.destination = Destination::default().with_topic("text");
    let answers = publisher
        .publish(&[delivery(), elsewhere, delivery()])
        .await;
    connection.del::<_, ()>(&text).await.unwrap();
    let classes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(PublishError::class))
        .collect();
    assert_eq!(classes, [None, Some(FailureClass::Unavailable), None]);
    assert_eq!(harness.received(2).await.len(), 2);
}

fn of_aggregate(aggregate_id: &str, topic: &str) -> Delivery {
    let mut event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    (event.aggregate_type, event.aggregate_id) = ("thing".into(), aggregate_id.to_owned());
    Delivery::new(Arc::new(event), Destination::default().with_topic(topic))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_entry_stops_the_rest_of_its_aggregate() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let publisher = harness.publisher(Mode::Binary).await;
    let text = format!("{}text", harness.prefix);
    let mut connection = harness.connection().await;
    connection
        .set::<_, _, ()>(&text, "no stream")
        .await
        .unwrap();
    let batch = [
        ("a", "events"),
        ("a", "text"),
        ("a", "text"),
        ("a", "events"),
        ("b", "events"),
        ("b", "events"),
    ];
    let answers = publisher
        .publish(&batch.map(|(aggregate, topic)| of_aggregate(aggregate, topic)))
        .await;
    connection.del::<_, ()>(&text).await.unwrap();
    let are_confirmed: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(
        are_confirmed,
        [true, false, false, false, true, true],
        "{answers:?}"
    );
    assert!(
        answers[1]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("WRONGTYPE"),
        "{answers:?}"
    );
    assert_eq!(harness.received(3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_transactions_gets_an_aggregate_event_by_event() {
    let Some(server) = PrivateServer::start_new(|port, directory| {
        let user = [
            "--user",
            "relay",
            "on",
            ">secret",
            "~*",
            "+@connection",
            "+xadd",
            "+xlen",
            "-multi",
            "-exec",
        ];
        redis_server(port, directory, &user)
    }) else {
        return;
    };
    let mut settings = settings_of(&server);
    (settings.user, settings.password) = (Some("relay".to_owned()), Some("secret".into()));
    let publisher = RedisPublisher::new(settings).unwrap();
    let batch: Vec<_> = (0..20).map(|_| of_aggregate("a", "events")).collect();
    let answers = publisher.publish(&batch).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    assert_eq!(connection.xlen::<_, usize>("events").await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_trimmed_to_about_its_length() {
    let Some(harness) = Harness::on_the_shared_server().await else {
        return;
    };
    let settings = RedisSettings {
        max_len: Some(100),
        ..harness.settings()
    };
    let publisher = RedisPublisher::new(settings).unwrap();
    let batch: Vec<_> = (0..1_000).map(|_| delivery()).collect();
    assert!(publisher.publish(&batch).await.iter().all(Result::is_ok));
    let left = harness.received(100).await.len();
    // Redis trims whole nodes, of 100 entries by default.
    assert!(left < 400, "{left} entries are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_throttles() {
    let Some(server) = PrivateServer::start_new(|port, directory| {
        redis_server(port, directory, &["--maxmemory", "1"])
    }) else {
        return;
    };
    let publisher = RedisPublisher::new(settings_of(&server)).unwrap();
    let error = publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        (error.class(), error.retry_after()),
        (FailureClass::Throttled, Some(Duration::from_secs(1)))
    );
    assert!(error.to_string().contains("OOM"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_for_a_while_is_connected_to_again() {
    let is_strange = Arc::new(AtomicBool::new(false));
    let strange = Arc::clone(&is_strange);
    let server = PrivateServer::start_new(move |port, directory| {
        let password = if strange.load(Ordering::SeqCst) {
            "another"
        } else {
            "right"
        };
        redis_server(port, directory, &["--requirepass", password])
    });
    let Some(server) = server else { return };
    let settings = RedisSettings {
        password: Some("right".into()),
        ..settings_of(&server)
    };
    let publisher = RedisPublisher::new(settings).unwrap();
    publish_one(&publisher).await.unwrap();
    server.kill();
    is_strange.store(true, Ordering::SeqCst);
    assert!(server.start());
    // The first call finds the old connection closed, the second is refused.
    let _ = publish_one(&publisher).await.unwrap_err();
    let refused = publish_one(&publisher).await.unwrap_err();
    assert_eq!(refused.class(), FailureClass::Unavailable);
    assert!(
        refused
            .to_string()
            .contains("does not accept the credentials"),
        "{refused}"
    );
    server.kill();
    is_strange.store(false, Ordering::SeqCst);
    assert!(server.start());
    // It listens before it has loaded its log.
    let published = async {
        while publish_one(&publisher).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), published)
        .await
        .expect("the publisher goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_authority_and_asks_for_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl");
    };
    let Some(server) = server_with_tls(&certificates, "yes") else {
        return skipped("redis-server");
    };
    let connect = async |tls| {
        let publisher = RedisPublisher::new(RedisSettings {
            tls,
            ..settings_of(&server)
        })?;
        publisher.check().await.map(|()| publisher)
    };
    publish_one(&connect(certificates.of_the_client()).await.unwrap())
        .await
        .unwrap();
    for (tls, why) in [
        (certificates.of_a_sceptic(), "UnknownIssuer"),
        (certificates.of_a_stranger(), REQUIRED),
    ] {
        let error = connect(tls).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(says(&chain(&error), why), "{}", chain(&error));
    }
    let half = TlsSettings {
        key_file: None,
        ..certificates.of_the_client()
    };
    let error = connect(half).await.unwrap_err();
    assert!(matches!(error, ConnectError::Settings { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_without_client_certificates_lets_every_client_in() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl");
    };
    let Some(server) = server_with_tls(&certificates, "no") else {
        return skipped("redis-server");
    };
    let settings = RedisSettings {
        tls: certificates.of_a_stranger(),
        ..settings_of(&server)
    };
    publish_one(&RedisPublisher::new(settings).unwrap())
        .await
        .unwrap();
}

/// `asks` is `yes` if it lets only clients in that have a certificate.
fn server_with_tls(certificates: &Certificates, asks: &'static str) -> Option<PrivateServer> {
    let [ca, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|name| certificates.argument(name));
    PrivateServer::start_new(move |port, directory| {
        let files = [
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
        ];
        let port = port.to_string();
        // The plain port is closed by the last word on it.
        let ports = [
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-auth-clients",
            asks,
        ];
        redis_server(0, directory, &[&files[..], &ports[..]].concat())
    })
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(program: &str) {
    eprintln!("skipped: {program} is not installed");
}
