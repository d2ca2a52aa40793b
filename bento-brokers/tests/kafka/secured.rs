//! Brokers that ask who connects, and brokers with TLS.
//!
//! tansu leaves TLS aside and with PLAIN takes any password. A gate in front of it asks for them;
//! behind the gate it is tansu.

use std::sync::Arc;
use std::time::Duration;

use bento_brokers::kafka::{KafkaPublisher, KafkaSettings, SaslMechanism};
use bento_brokers::{ConnectError, TlsSettings};
use bento_relay::publish::FailureClass;
use bento_testkit::publisher::WRONG_PASSWORD;

use super::certificates::Certificates;
use super::gate::Guard;
use super::guarded::{Guarded, sasl};
use super::harness::PROGRAM;
use super::login::Login;
use super::support::chain;
use super::tls_server::server_config;

const MECHANISMS: [SaslMechanism; 3] = [
    SaslMechanism::Plain,
    SaslMechanism::ScramSha256,
    SaslMechanism::ScramSha512,
];
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_authority_and_asks_for_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl is not installed");
    };
    let tls = Some(Arc::new(server_config(&certificates, true)).into());
    let Some(broker) = Guarded::by(Guard { tls, login: None }).await else {
        return not_set();
    };
    let connect = async |tls| {
        let publisher = KafkaPublisher::new(KafkaSettings {
            tls,
            ..broker.settings()
        })?;
        publisher.check().await.map(|()| publisher)
    };
    broker
        .publish_one(&connect(certificates.of_the_client()).await.unwrap())
        .await
        .unwrap();
    let of_the_system = TlsSettings {
        ca_file: None,
        ..certificates.of_the_client()
    };
    for (tls, why) in [
        (certificates.of_a_sceptic(), "certificate verify failed"),
        (of_the_system, "certificate verify failed"),
        (certificates.of_a_stranger(), "certificate required"),
    ] {
        let error = connect(tls).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(chain(&error).contains(why), "{}", chain(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_proven_by_each_mechanism_with_tls_and_without() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl is not installed");
    };
    for encrypted in [false, true] {
        let tls = encrypted.then(|| Arc::new(server_config(&certificates, false)).into());
        let login = Some(Arc::new(Login::new("relay", "right")));
        let Some(broker) = Guarded::by(Guard { tls, login }).await else {
            return not_set();
        };
        let tls = if encrypted {
            certificates.of_a_stranger()
        } else {
            TlsSettings::default()
        };
        for mechanism in MECHANISMS {
            let with = |password| KafkaSettings {
                sasl: sasl(mechanism, password),
                tls: tls.clone(),
                ..broker.settings()
            };
            broker
                .publish_one(&KafkaPublisher::new(with("right")).unwrap())
                .await
                .unwrap();
            let error = KafkaPublisher::new(with(WRONG_PASSWORD))
                .unwrap()
                .check()
                .await
                .unwrap_err();
            assert!(
                matches!(error, ConnectError::Credentials { .. }),
                "{mechanism:?}: {error:?}"
            );
            assert!(!format!("{error:?}").contains(WRONG_PASSWORD), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_and_given_back_costs_no_event() {
    let login = Arc::new(Login::new("relay", "right"));
    let guard = Guard {
        login: Some(Arc::clone(&login)),
        ..Guard::default()
    };
    let Some(broker) = Guarded::by(guard).await else {
        return not_set();
    };
    let sasl = sasl(SaslMechanism::ScramSha256, "right");
    let delivery_timeout = Duration::from_secs(1);
    let settings = KafkaSettings {
        sasl,
        delivery_timeout,
        ..broker.settings()
    };
    let publisher = KafkaPublisher::new(settings).unwrap();
    publish_in_the_end(&broker, &publisher).await;
    login.change("another");
    broker.send_all_away().await;
    let refused = broker.publish_one(&publisher).await.unwrap_err();
    assert_eq!(
        refused.class(),
        FailureClass::Unavailable,
        "{}",
        refused.chain()
    );
    login.change("right");
    publish_in_the_end(&broker, &publisher).await;
}

/// As the relay tries again. A client may need more than a second for its first event.
async fn publish_in_the_end(broker: &Guarded, publisher: &KafkaPublisher) {
    let published = async {
        while let Err(error) = broker.publish_one(publisher).await {
            assert_eq!(
                error.class(),
                FailureClass::Unavailable,
                "{}",
                error.chain()
            );
        }
    };
    tokio::time::timeout(PATIENCE, published)
        .await
        .expect("the publisher goes on");
}

fn not_set() {
    skipped(&format!("{PROGRAM} is not set"));
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
