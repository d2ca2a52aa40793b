//! A broker with TLS.

use bento_brokers::rabbitmq::{RabbitMqPublisher, RabbitMqSettings};
use bento_brokers::{ConnectError, TlsSettings};
use bento_relay::publish::Publisher as _;

use super::broker::{Broker, PROGRAM};
use super::certificates::{Certificates, REQUIRED, says};
use super::harness::Queue;
use super::support::{chain, free_port, wait_for_listener};

#[tokio::test]
async fn tls_trusts_the_authority_and_asks_for_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl is not installed");
    };
    let port = free_port();
    let Some(broker) = Broker::start(listener(&certificates, port, true)) else {
        return not_set();
    };
    wait_for_listener(port);
    let queue = Queue::on(broker.url(), None).await;
    let connect = async |tls| {
        let publisher = RabbitMqPublisher::new(settings(&queue, port, tls))?;
        publisher.check().await.map(|()| publisher)
    };
    let publisher = connect(certificates.of_the_client()).await.unwrap();
    publisher
        .publish(&[queue.deliver(&queue.name, "{}")])
        .await
        .remove(0)
        .unwrap();
    let of_the_system = TlsSettings {
        ca_file: None,
        ..certificates.of_the_client()
    };
    for (tls, why) in [
        (certificates.of_a_sceptic(), "UnknownIssuer"),
        (of_the_system, "UnknownIssuer"),
        (certificates.of_a_stranger(), REQUIRED),
    ] {
        let error = connect(tls).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(says(&chain(&error), why), "{}", chain(&error));
    }
}

#[tokio::test]
async fn tls_without_client_certificates_asks_for_the_password() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl is not installed");
    };
    let port = free_port();
    let Some(broker) = Broker::start(listener(&certificates, port, false)) else {
        return not_set();
    };
    wait_for_listener(port);
    let queue = Queue::on(broker.url(), None).await;
    let right = settings(&queue, port, certificates.of_a_stranger());
    let publisher = queue.connect(right.clone()).await;
    publisher
        .publish(&[queue.deliver(&queue.name, "{}")])
        .await
        .remove(0)
        .unwrap();
    let url = format!("amqps://guest:wrong@127.0.0.1:{port}")
        .as_str()
        .into();
    let error = RabbitMqPublisher::new(RabbitMqSettings { url, ..right })
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Credentials { .. }),
        "{error:?}"
    );
}

fn listener(certificates: &Certificates, port: u16, asks: bool) -> String {
    let [ca, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|name| certificates.argument(name));
    let verify = if asks { "verify_peer" } else { "verify_none" };
    format!(
        "listeners.ssl.local = 127.0.0.1:{port}\nssl_options.cacertfile = \
         {ca}\nssl_options.certfile = {certificate}\nssl_options.keyfile = \
         {key}\nssl_options.verify = {verify}\nssl_options.fail_if_no_peer_cert = {asks}\n"
    )
}

fn settings(queue: &Queue, port: u16, tls: TlsSettings) -> RabbitMqSettings {
    RabbitMqSettings {
        url: format!("amqps://guest:guest@127.0.0.1:{port}")
            .as_str()
            .into(),
        tls,
        ..queue.settings()
    }
}

fn not_set() {
    skipped(&format!("{PROGRAM} is not set"));
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
