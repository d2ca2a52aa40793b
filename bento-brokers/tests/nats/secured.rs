//! Servers that ask who connects, and servers with TLS.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use async_nats::{ConnectOptions, jetstream};
use bento_brokers::nats::{NatsCredentials, NatsPublisher, NatsSettings};
use bento_brokers::{ConnectError, TlsSettings};
use nkeys::KeyPair;

use super::certificates::{Certificates, REQUIRED, says};
use super::decentralised::Operator;
use super::harness::nats_server;
use super::own::publish_one;
use super::support::{PrivateServer, chain};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_needs_its_password() {
    let password = |user: &str, password: &str| NatsCredentials::Password {
        user: user.to_owned(),
        password: password.into(),
    };
    let Some(server) = server("authorization { user: relay, password: right }".to_owned()) else {
        return;
    };
    lets_in_only(
        &server,
        password("relay", "right"),
        [password("relay", "wrong"), password("nobody", "right")],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_must_be_the_right_one() {
    let Some(server) = server("authorization { token: right }".to_owned()) else {
        return;
    };
    let token = |token: &str| NatsCredentials::Token(token.into());
    lets_in_only(&server, token("right"), [token("wrong")]).await;
    let empty = connect(&server, Some(token("")), TlsSettings::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&empty, ConnectError::Settings { what, .. } if what.contains("`token` is empty")),
        "{empty:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_holds_a_name_and_its_password_or_a_token() {
    for (rule, right, wrong) in [
        (
            "{ user: relay, password: 'r/ght' }",
            "relay:r%2Fght",
            "relay:wrong",
        ),
        ("{ token: 'r/ght' }", "r%2Fght", "wrong"),
    ] {
        let Some(server) = server(format!("authorization {rule}")) else {
            return;
        };
        let with = |login: &str| NatsSettings {
            urls: vec![format!("nats://{login}@127.0.0.1:{}", server.port).into()],
            ..NatsSettings::default()
        };
        let error = NatsPublisher::new(with(wrong))
            .unwrap()
            .check()
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Credentials { .. }),
            "{error:?}"
        );
        is_answered(&NatsPublisher::new(with(right)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_of_an_nkey_proves_who_connects() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}",
        known.public_key()
    );
    let Some(server) = server(users) else { return };
    let seed = |pair: &KeyPair| NatsCredentials::NkeySeed(pair.seed().unwrap().into());
    lets_in_only(&server, seed(&known), [seed(&unknown)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_credentials_proves_who_connects() {
    let (operator, other) = (Operator::new(), Operator::new());
    let Some(server) = server(operator.configuration()) else {
        return;
    };
    let file = |name: &str, content: String| -> PathBuf {
        let path = server.directory.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let right = NatsCredentials::File(file("right.creds", operator.credentials_of_a_user()));
    let wrong = NatsCredentials::File(file("wrong.creds", other.credentials_of_a_user()));
    lets_in_only(&server, right, [wrong]).await;
    let absent = NatsCredentials::File(server.directory.join("absent.creds"));
    let error = connect(&server, Some(absent), TlsSettings::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Settings { .. }), "{error:?}");
}

/// The rights that `docs/deploying.md` gives to the relay's user.
#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_page_on_deploying_suffice() {
    let user = |name: &str, publish: &str| {
        let rights = format!(r#"permissions: {{ publish: [{publish}], subscribe: ["_INBOX.>"] }}"#);
        format!("{{ user: {name}, password: right, {rights} }}")
    };
    let without = r#""shop.>", "$JS.API.STREAM.NAMES""#;
    let relay = user(
        "relay",
        &format!(r#"{without}, "$JS.API.STREAM.INFO.shop""#),
    );
    let users = format!(
        "{}, {relay}, {{ user: admin, password: any }}",
        user("other", without)
    );
    let Some(server) = server(format!("authorization {{ users: [{users}] }}")) else {
        return;
    };
    let publisher = |user: &str, expected_stream: Option<&str>| {
        let settings = NatsSettings {
            urls: vec![format!("nats://{user}:right@127.0.0.1:{}", server.port).into()],
            prefix: "shop".to_owned(),
            expected_stream: expected_stream.map(str::to_owned),
            ack_timeout: Duration::from_secs(2),
            ..NatsSettings::default()
        };
        NatsPublisher::new(settings).unwrap()
    };
    let admin = ConnectOptions::with_user_and_password("admin".to_owned(), "any".to_owned());
    let context = jetstream::new(
        admin
            .connect(format!("127.0.0.1:{}", server.port))
            .await
            .unwrap(),
    );
    let config = Config {
        name: "shop".to_owned(),
        subjects: vec!["shop.>".to_owned()],
        ..Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let publishers = [publisher("relay", Some("shop")), publisher("other", None)];
    for publisher in &publishers {
        publisher.check().await.unwrap();
        publish_one(publisher).await.unwrap();
    }
    assert_eq!(stream.get_info().await.unwrap().state.messages, 2);
    let unfit = chain(&publisher("other", Some("shop")).check().await.unwrap_err());
    assert!(
        unfit.contains("the permission to publish to `$JS.API.STREAM.INFO.shop`"),
        "{unfit}"
    );
    context.delete_stream("shop").await.unwrap();
    for publisher in &publishers {
        let missing = publish_one(publisher).await.unwrap_err();
        assert_eq!(
            missing.to_string(),
            "no stream of NATS takes the subject `shop.events`"
        );
    }
}

/// Wrong credentials are refused, and so are none.
async fn lets_in_only<const N: usize>(
    server: &PrivateServer,
    right: NatsCredentials,
    wrong: [NatsCredentials; N],
) {
    for credentials in wrong.into_iter().map(Some).chain([None]) {
        let error = connect(server, credentials.clone(), TlsSettings::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Credentials { .. }),
            "{credentials:?}: {error:?}"
        );
    }
    is_answered(
        &connect(server, Some(right), TlsSettings::default())
            .await
            .unwrap(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_authority_and_asks_for_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl");
    };
    let Some(server) = server(tls(&certificates, true)) else {
        return;
    };
    is_answered(
        &connect(&server, None, certificates.of_the_client())
            .await
            .unwrap(),
    )
    .await;
    for (tls, why) in [
        (certificates.of_a_sceptic(), "UnknownIssuer"),
        (certificates.of_a_stranger(), REQUIRED),
    ] {
        let error = connect(&server, None, tls).await.unwrap_err();
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
    let error = connect(&server, None, half).await.unwrap_err();
    assert!(matches!(error, ConnectError::Settings { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_without_client_certificates_lets_every_client_in() {
    let Some(certificates) = Certificates::make() else {
        return skipped("openssl");
    };
    let Some(server) = server(tls(&certificates, false)) else {
        return;
    };
    is_answered(
        &connect(&server, None, certificates.of_a_stranger())
            .await
            .unwrap(),
    )
    .await;
}

fn tls(certificates: &Certificates, asks: bool) -> String {
    let [ca, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|name| certificates.argument(name));
    format!(
        "tls {{ cert_file: '{certificate}', key_file: '{key}', ca_file: '{ca}', verify: {asks} }}"
    )
}

/// A server with a file of settings.
fn server(settings: String) -> Option<PrivateServer> {
    let server = PrivateServer::start_new(move |port, directory| {
        let file = directory.join("server.conf");
        fs::write(&file, &settings).unwrap();
        nats_server(port, directory, &["--config", &file.display().to_string()])
    });
    if server.is_none() {
        skipped("nats-server");
    }
    server
}

async fn connect(
    server: &PrivateServer,
    credentials: Option<NatsCredentials>,
    tls: TlsSettings,
) -> Result<NatsPublisher, ConnectError> {
    let urls = vec![format!("nats://127.0.0.1:{}", server.port).into()];
    let publisher = NatsPublisher::new(NatsSettings {
        urls,
        credentials,
        tls,
        ..NatsSettings::default()
    })?;
    publisher.check().await.map(|()| publisher)
}

/// JetStream answers that there is no stream, so the credentials were accepted.
async fn is_answered(publisher: &NatsPublisher) {
    let answered = publish_one(publisher).await.unwrap_err();
    assert_eq!(
        answered.to_string(),
        "no stream of NATS takes the subject `events`"
    );
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(program: &str) {
    eprintln!("skipped: {program} is not installed");
}
