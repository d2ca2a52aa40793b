//! Settings that can never work are refused when a publisher is made, and not found again at each
//! attempt to connect.

#![cfg(all(
    feature = "http",
    feature = "kafka",
    feature = "nats",
    feature = "rabbitmq",
    feature = "redis"
))]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;

use bento::Settings;
use bento_brokers::http::{HttpAuthorization, HttpPublisher, HttpSettings, WebhookAlert};
use bento_brokers::kafka::{KafkaPublisher, KafkaSasl, KafkaSettings, SaslMechanism};
use bento_brokers::nats::{NatsCredentials, NatsPublisher, NatsSettings};
use bento_brokers::rabbitmq::{RabbitMqCredentials, RabbitMqPublisher, RabbitMqSettings};
use bento_brokers::redis::{RedisPublisher, RedisSettings};
use bento_brokers::{ConnectError, Secret, TlsSettings};

use self::certificates::Certificates;
use self::support::chain;

#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/mod.rs"]
mod support;

type Make = fn(TlsSettings) -> Result<(), ConnectError>;

const PUBLISHERS: [(&str, Make); 5] = [
    ("http", |tls| {
        HttpPublisher::new(HttpSettings {
            url: Some("https://127.0.0.1/".into()),
            tls,
            ..Default::default()
        })
        .map(drop)
    }),
    ("kafka", |tls| {
        KafkaPublisher::new(KafkaSettings {
            tls,
            ..Default::default()
        })
        .map(drop)
    }),
    ("nats", |tls| {
        NatsPublisher::new(NatsSettings {
            tls,
            ..Default::default()
        })
        .map(drop)
    }),
    ("rabbitmq", |tls| {
        RabbitMqPublisher::new(RabbitMqSettings {
            url: "amqps://127.0.0.1".into(),
            tls,
            ..Default::default()
        })
        .map(drop)
    }),
    ("redis", |tls| {
        RedisPublisher::new(RedisSettings {
            tls,
            ..Default::default()
        })
        .map(drop)
    }),
];

#[tokio::test]
async fn every_publisher_refuses_a_file_that_is_not_the_right_pem() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let write = |name: &str, text: &str| {
        std::fs::write(certificates.file(name), text).unwrap();
        certificates.file(name)
    };
    let junk = "-----BEGIN CERTIFICATE-----\naGVsbG8gd29ybGQ=\n-----END CERTIFICATE-----\n";
    let junk_key = "-----BEGIN PRIVATE KEY-----\naGVsbG8gd29ybGQ=\n-----END PRIVATE KEY-----\n";
    let fine = certificates.of_the_client();
    let ca = |ca_file: PathBuf| TlsSettings {
        ca_file: Some(ca_file),
        ..fine.clone()
    };
    let certificate = |file: PathBuf| TlsSettings {
        certificate_file: Some(file),
        ..fine.clone()
    };
    let key = |file: PathBuf| TlsSettings {
        key_file: Some(file),
        ..fine.clone()
    };
    let faulty = [
        ("an authority that is not there", ca("/no/such/file".into())),
        ("an empty authority", ca(write("empty.pem", ""))),
        ("an authority of text", ca(write("text.pem", "hello world"))),
        ("an authority of junk", ca(write("junk.pem", junk))),
        (
            "a certificate that is not there",
            certificate("/no/such/file".into()),
        ),
        (
            "a certificate of text",
            certificate(write("text.pem", "hello world")),
        ),
        (
            "a certificate of junk",
            certificate(write("junk.pem", junk)),
        ),
        ("a key of text", key(write("text.key", "hello world"))),
        ("a key of junk", key(write("junk.key", junk_key))),
        (
            "the key of another certificate",
            key(certificates.file("server.key")),
        ),
        (
            "a certificate without its key",
            TlsSettings {
                key_file: None,
                ..fine.clone()
            },
        ),
        (
            "a key without its certificate",
            TlsSettings {
                certificate_file: None,
                ..fine.clone()
            },
        ),
    ];
    for (publisher, make) in PUBLISHERS {
        make(fine.clone()).unwrap_or_else(|error| panic!("{publisher}: {}", chain(&error)));
        for (what, tls) in &faulty {
            match make(tls.clone()) {
                Err(ConnectError::Settings { .. }) => {}
                other => panic!("{publisher} with {what}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_empty_secret_is_refused_wherever_it_stands() {
    let url = || Some("https://127.0.0.1/".into());
    let sasl = |password: Secret| {
        Some(KafkaSasl {
            mechanism: SaslMechanism::Plain,
            user: "relay".to_owned(),
            password,
        })
    };
    for empty in ["", " ", "\r\n"] {
        let secret = || Secret::from(empty);
        let http = [
            HttpSettings {
                signing_secrets: vec![secret()],
                ..Default::default()
            },
            HttpSettings {
                authorization: Some(HttpAuthorization::Bearer(secret())),
                ..Default::default()
            },
            HttpSettings {
                authorization: Some(HttpAuthorization::Basic {
                    user: "relay".to_owned(),
                    password: secret(),
                }),
                ..Default::default()
            },
            HttpSettings {
                headers: [("x-api-key".to_owned(), secret())].into(),
                ..Default::default()
            },
        ];
        for settings in http {
            refused(HttpPublisher::new(HttpSettings {
                url: url(),
                ..settings.clone()
            }));
            refused(WebhookAlert::new(HttpSettings {
                url: url(),
                ..settings
            }));
        }
        refused(KafkaPublisher::new(KafkaSettings {
            sasl: sasl(secret()),
            ..Default::default()
        }));
        for credentials in [
            NatsCredentials::Password {
                user: "relay".to_owned(),
                password: secret(),
            },
            NatsCredentials::Token(secret()),
            NatsCredentials::NkeySeed(secret()),
        ] {
            refused(NatsPublisher::new(NatsSettings {
                credentials: Some(credentials),
                ..Default::default()
            }));
        }
        let credentials = Some(RabbitMqCredentials {
            user: "relay".to_owned(),
            password: secret(),
        });
        refused(RabbitMqPublisher::new(RabbitMqSettings {
            credentials,
            ..Default::default()
        }));
        refused(RedisPublisher::new(RedisSettings {
            password: Some(secret()),
            ..Default::default()
        }));
    }
}

#[test]
fn a_url_whose_password_is_empty_is_refused_by_every_publisher() {
    refused(HttpPublisher::new(HttpSettings {
        url: Some("https://relay:@h/a@b:c".into()),
        ..Default::default()
    }));
    refused(NatsPublisher::new(NatsSettings {
        urls: vec!["nats://relay:@h".into()],
        ..Default::default()
    }));
    refused(RabbitMqPublisher::new(RabbitMqSettings {
        url: "amqp://relay:@h/v".into(),
        ..Default::default()
    }));
    refused(RedisPublisher::new(RedisSettings {
        url: "redis://relay:@h".into(),
        ..Default::default()
    }));
}

#[test]
fn an_empty_secret_in_a_file_is_refused_before_the_start() {
    for secret in [
        "credentials.token = ''",
        "credentials = { password = { user = 'relay', password = '' } }",
        "urls = ['nats://relay:@h']",
    ] {
        let settings = Settings::builder()
            .toml(&format!("publisher = 'nats'\n[publishers.nats]\n{secret}"))
            .unwrap();
        let error = settings.build().unwrap().build_publishers().unwrap_err();
        assert!(chain(&error).contains("is empty"), "{}", chain(&error));
    }
}

fn refused<P>(made: Result<P, ConnectError>) {
    match made.map(drop) {
        Err(ConnectError::Settings { what, .. }) => assert!(what.contains("is empty"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn unreadable_seeds_and_credentials_are_refused_and_not_shown() {
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    let make = |credentials| {
        let credentials = Some(credentials);
        NatsPublisher::new(NatsSettings {
            credentials,
            ..Default::default()
        })
        .map(drop)
    };
    make(NatsCredentials::NkeySeed(seed.as_str().into())).unwrap();
    let account = nkeys::KeyPair::new_account().seed().unwrap();
    let cut = &seed[..seed.len() - 1];
    let file = std::env::temp_dir().join(support::unique("bento-test-creds"));
    for text in [
        "",
        "hunter2",
        cut,
        &account,
        &format!("{seed}x"),
        &format!("x{seed}"),
    ] {
        let refused = make(NatsCredentials::NkeySeed(text.into())).unwrap_err();
        let shown = format!("{} {refused:?}", chain(&refused));
        assert!(matches!(refused, ConnectError::Settings { .. }), "{shown}");
        assert!(
            shown.contains("nkey_seed") && (text.is_empty() || !shown.contains(text)),
            "{shown}"
        );

        let held = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def.ghi\n------END NATS USER \
             JWT------\n\n-----BEGIN USER NKEY SEED-----\n{text}\n------END USER NKEY SEED------\n"
        );
        for held in [text, &held] {
            std::fs::write(&file, held).unwrap();
            let refused = make(NatsCredentials::File(file.clone()));
            if held.contains(&account) && held != account {
                // The server says whether an account may connect.
                continue;
            }
            let refused = refused.unwrap_err();
            let shown = format!("{} {refused:?}", chain(&refused));
            assert!(matches!(refused, ConnectError::Settings { .. }), "{shown}");
            assert!(text.is_empty() || !shown.contains(text), "{shown}");
        }
    }
    std::fs::remove_file(&file).unwrap();
}
