//! The rules that only webhooks have.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bento_brokers::TlsSettings;
use bento_brokers::http::{
    HttpAuthorization, HttpPublisher, HttpSettings, ID_HEADER, SIGNATURE_HEADER, SignatureError,
    SigningSecrets, WebhookAlert,
};
use bento_core::Envelope;
use bento_core::outbox::{OutboxEntry, Sharding};
use bento_relay::dead_letter::{AlertHook, DeadLetter};
use bento_relay::inspect::Inspect as _;
use bento_relay::publish::{Delivery, Destination, FailureClass, PublishError, Publisher};
use bento_relay::{MemoryStore, Relay};
use chrono::Utc;
use reqwest::header::HeaderMap;

use super::certificates::{Certificates, REQUIRED, says};
use super::receiver::{Receiver, Request, Said};
use super::support::free_port;
use super::tls_server::server_config;

mod alerts;
mod signing;
mod slow;

fn settings(port: u16) -> HttpSettings {
    HttpSettings {
        url: Some(format!("http://127.0.0.1:{port}/hook").as_str().into()),
        allow_http: true,
        ..HttpSettings::default()
    }
}

fn delivery(destination: &'static str) -> Delivery {
    let envelope = Envelope::new("order.created", 1, Utc::now(), r#"{"total":1.10}"#);
    Delivery::new(Arc::new(envelope), Destination::new(destination))
}

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "whsec_//////////////////////////////////////////8=";

/// Verifies a body under the headers of a request, and returns the id of the message.
fn verify(request: &Request, body: &[u8], secret: &str) -> Result<String, SignatureError> {
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let headers: HeaderMap = headers.collect();
    let secrets = SigningSecrets::new(&[secret.into()]).unwrap();
    secrets
        .verify(&headers, body, Utc::now(), Duration::from_secs(60))
        .map(str::to_owned)
}

async fn publish(settings: HttpSettings) -> Result<(), PublishError> {
    HttpPublisher::new(settings)
        .unwrap()
        .publish(&[delivery("d")])
        .await
        .remove(0)
}

/// The error of a receiver that says this.
async fn said(status: u16, headers: &[(&'static str, &str)], body: &str) -> PublishError {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    let body = body.to_owned();
    let receiver = Receiver::new(move |_| Some((status, headers.clone(), body.clone())));
    publish(settings(receiver.port)).await.unwrap_err()
}

#[tokio::test]
async fn authorization_headers_and_the_event_id_are_sent() {
    let receiver = Receiver::content();
    let headers = [("x-api-key".to_owned(), "k".into())].into();
    let bearer = HttpSettings {
        authorization: Some(HttpAuthorization::Bearer("token".into())),
        headers,
        ..settings(receiver.port)
    };
    let delivery = delivery("d");
    HttpPublisher::new(bearer)
        .unwrap()
        .publish(std::slice::from_ref(&delivery))
        .await
        .remove(0)
        .unwrap();
    let user = HttpAuthorization::Basic {
        user: "ann".to_owned(),
        password: "secret".into(),
    };
    publish(HttpSettings {
        authorization: Some(user),
        ..settings(receiver.port)
    })
    .await
    .unwrap();
    let taken = receiver.taken();
    assert_eq!(taken[0].headers["authorization"], "Bearer token");
    assert_eq!(taken[0].headers["x-api-key"], "k");
    assert_eq!(
        taken[0].headers[ID_HEADER],
        delivery.envelope.event_id.to_string()
    );
    assert_eq!(taken[1].headers["authorization"], "Basic YW5uOnNlY3JldA==");
    assert!(!taken[1].headers.contains_key(SIGNATURE_HEADER));
}

/// Publishes to the port that the test below names, in a process of its own, whose environment it
/// sets.
#[tokio::test]
async fn publishes_to_the_port_of_the_environment() {
    let Ok(port) = std::env::var("BENTO_TEST_WEBHOOK_PORT") else {
        return;
    };
    publish(settings(port.parse().unwrap())).await.unwrap();
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let (receiver, proxy) = (Receiver::content(), Receiver::content());
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let mut publishing = std::process::Command::new(std::env::current_exe().unwrap());
    publishing.args(["--exact", "own::publishes_to_the_port_of_the_environment"]);
    publishing.envs([
        ("http_proxy", &address),
        ("HTTP_PROXY", &address),
        ("all_proxy", &address),
    ]);
    publishing.env_remove("no_proxy").env_remove("NO_PROXY");
    let published = publishing
        .env("BENTO_TEST_WEBHOOK_PORT", receiver.port.to_string())
        .status();
    assert!(published.unwrap().success());
    assert_eq!((receiver.taken().len(), proxy.taken().len()), (1, 0));
}

#[tokio::test]
async fn an_event_cannot_change_the_headers_of_the_settings() {
    let receiver = Receiver::content();
    let headers = [("x-api-key".to_owned(), "k".into())].into();
    let publisher = HttpPublisher::new(HttpSettings {
        headers,
        ..settings(receiver.port)
    })
    .unwrap();
    for own in [
        r#"{"Authorization":"Bearer mine"}"#,
        r#"{"X-Api-Key":"mine"}"#,
    ] {
        let mut delivery = delivery("d");
        let mut envelope = (*delivery.envelope).clone();
        envelope.headers = own.into();
        delivery.envelope = Arc::new(envelope);
        let error = publisher.publish(&[delivery]).await.remove(0).unwrap_err();
        assert_eq!(error.class(), FailureClass::Permanent);
    }
    assert!(receiver.taken().is_empty());
}

#[tokio::test]
async fn more_headers_than_http_carries_are_refused() {
    let receiver = Receiver::content();
    let publisher = HttpPublisher::new(settings(receiver.port)).unwrap();
    let mut delivery = delivery("d");
    let mut envelope = (*delivery.envelope).clone();
    let headers: BTreeMap<_, _> = (0..40_000)
        .map(|number| (format!("x-{number}"), "1"))
        .collect();
    envelope.headers = serde_json::to_vec(&headers).unwrap().into();
    delivery.envelope = Arc::new(envelope);
    let error = publisher.publish(&[delivery]).await.remove(0).unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
    assert!(
        error
            .to_string()
            .ends_with(" headers, more than HTTP carries"),
        "{error}"
    );
    assert!(receiver.taken().is_empty());
}

#[tokio::test]
async fn each_destination_has_its_own_url() {
    let (one, other) = (Receiver::content(), Receiver::content());
    let urls = [(
        "audit".to_owned(),
        format!("http://127.0.0.1:{}/audit", other.port)
            .as_str()
            .into(),
    )]
    .into();
    let publisher = HttpPublisher::new(HttpSettings {
        urls,
        ..settings(one.port)
    })
    .unwrap();
    let answers = publisher
        .publish(&[delivery("audit"), delivery("orders")])
        .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(
        (&*one.taken()[0].path, &*other.taken()[0].path),
        ("/hook", "/audit")
    );

    let urls = [("audit".to_owned(), "https://h/".into())].into();
    let named = HttpPublisher::new(HttpSettings {
        urls,
        ..HttpSettings::default()
    })
    .unwrap();
    assert!(named.serves(&Destination::new("audit")) && !named.serves(&Destination::new("orders")));
    let error = named
        .publish(&[delivery("orders")])
        .await
        .remove(0)
        .unwrap_err();
    assert_eq!(error.class(), FailureClass::Permanent);
}

#[tokio::test]
async fn what_the_receiver_says_is_in_the_error() {
    let error = said(422, &[], "no such\r\n\u{1b}[1mcurrency").await;
    assert_eq!(error.class(), FailureClass::Permanent);
    assert_eq!(
        error.to_string(),
        "the webhook answered 422 Unprocessable Entity: no such [1mcurrency"
    );
    let long = said(500, &[], &"x".repeat(100_000)).await;
    assert_eq!(
        (long.class(), long.to_string().len() < 600),
        (FailureClass::Transient, true)
    );
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    let seconds = said(503, &[("retry-after", "17")], "").await;
    assert_eq!(
        (seconds.class(), seconds.retry_after()),
        (FailureClass::Throttled, Some(Duration::from_secs(17)))
    );
    let date = (Utc::now() + Duration::from_secs(60))
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let wait = said(429, &[("retry-after", &date)], "")
        .await
        .retry_after()
        .unwrap();
    assert!(
        (Duration::from_secs(50)..=Duration::from_secs(60)).contains(&wait),
        "{wait:?}"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::content();
    let location = format!("http://127.0.0.1:{}/", elsewhere.port);
    let error = said(307, &[("location", &location)], "").await;
    assert_eq!(error.class(), FailureClass::Unavailable);
    assert!(
        error.to_string().contains("redirects are not followed"),
        "{error}"
    );
    assert!(elsewhere.taken().is_empty());
}

#[tokio::test]
async fn a_refused_port_may_pass_and_shows_no_password() {
    let port = free_port();
    let url = Some(
        format!("http://ann:hunter2@127.0.0.1:{port}/hook?key=hunter2")
            .as_str()
            .into(),
    );
    let error = publish(HttpSettings {
        url,
        ..settings(port)
    })
    .await
    .unwrap_err();
    assert_eq!(error.class(), FailureClass::Unavailable);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(
        !format!("{error:?} {}", error.chain()).contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_shows_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl is not installed");
    };
    let publish_to = async |receiver: &Receiver, tls: TlsSettings| {
        let url = Some(
            format!("https://127.0.0.1:{}/hook", receiver.port)
                .as_str()
                .into(),
        );
        publish(HttpSettings {
            url,
            tls,
            ..HttpSettings::default()
        })
        .await
    };
    let receiver = |asks| {
        Receiver::with(Some(server_config(&certificates, asks)), |_| {
            Some((204, Vec::new(), String::new()))
        })
    };
    publish_to(&receiver(false), certificates.of_a_stranger())
        .await
        .unwrap();
    let careful = receiver(true);
    publish_to(&careful, certificates.of_the_client())
        .await
        .unwrap();
    let of_the_system = TlsSettings {
        ca_file: None,
        ..certificates.of_the_client()
    };
    for (tls, why) in [
        (certificates.of_a_stranger(), REQUIRED),
        (certificates.of_a_sceptic(), "invalid peer certificate"),
        (of_the_system, "invalid peer certificate"),
    ] {
        let error = publish_to(&careful, tls).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Unavailable);
        assert!(says(&error.chain(), why), "{}", error.chain());
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
