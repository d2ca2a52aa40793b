//! The client of Kafka: what producer and consumer have in common, and the producer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, Producer as _};

use super::{KafkaSasl, KafkaSettings, SaslMechanism};
use crate::{ConnectError, Secret, TlsSettings};

pub(super) type Client = FutureProducer<Watcher>;

/// Properties of the connection, which the settings decide.
const CONNECTION: [&str; 7] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
];
/// Properties that the settings or the guarantees of the publisher decide.
const DECIDED: [&str; 12] = [
    "enable.idempotence",
    "enable.gapless.guarantee",
    "transactional.id",
    "acks",
    "request.required.acks",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "linger.ms",
    "queue.buffering.max.ms",
    "message.max.bytes",
];

/// The settings of a connection.
#[derive(Clone, Copy)]
pub(super) struct Connection<'a> {
    pub(super) servers: &'a [String],
    pub(super) sasl: Option<&'a KafkaSasl>,
    pub(super) tls: &'a TlsSettings,
    pub(super) connect_timeout: Duration,
    pub(super) properties: &'a BTreeMap<String, Secret>,
}

/// Remembers why a broker was not connected to: the client itself goes on trying and says only that
/// it reaches none.
#[derive(Clone, Debug, Default)]
pub(super) struct Watcher {
    refusal: Arc<Mutex<Option<Refusal>>>,
}

/// The last error of the client while it connected to a broker.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Refusal {
    reason: String,
    source: KafkaError,
    step: Step,
}

/// The stage that connecting reached. The later a refusal, the more it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// In TLS 1.3 a client hears only here that it should have shown a certificate.
    Connecting,
    Encrypting,
    LoggingIn,
}

impl Watcher {
    /// The last one, unless the cluster has answered since.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes that the cluster answers.
    pub(super) fn forget(&self) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn remember(&self, refusal: Refusal) {
        let mut kept = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|kept| kept.step <= refusal.step) {
            *kept = Some(refusal);
        }
    }
}

impl ClientContext for Watcher {
    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, Authentication, SSL, SaslAuthenticationFailed};
        let step = match error.rdkafka_error_code() {
            Some(Authentication | SaslAuthenticationFailed) => Step::LoggingIn,
            Some(SSL) => Step::Encrypting,
            // Says nothing of why.
            Some(AllBrokersDown) => {
                return tracing::debug!(%error, reason, "Kafka's client reports");
            }
            _ => Step::Connecting,
        };
        match step {
            Step::Connecting => tracing::debug!(%error, reason, "Kafka's client reports"),
            Step::Encrypting | Step::LoggingIn => {
                tracing::warn!(%error, reason, "Kafka's client cannot log in")
            }
        }
        self.remember(Refusal {
            reason: reason.to_owned(),
            source: error,
            step,
        });
    }
}

/// Asks for the cluster's metadata.
pub(super) async fn ask(
    client: &Client,
    watcher: &Watcher,
    settings: &KafkaSettings,
) -> Result<(), ConnectError> {
    let (asked, patience) = (client.clone(), settings.connect_timeout);
    // The client has no other way to ask than by blocking.
    let metadata =
        tokio::task::spawn_blocking(move || asked.client().fetch_metadata(None, patience)).await;
    match metadata {
        Ok(Ok(_)) => {
            watcher.forget();
            Ok(())
        }
        Ok(Err(error)) => Err(unreachable(watcher, &settings.servers, error.into())),
        Err(error) => Err(unreachable(watcher, &settings.servers, error.into())),
    }
}

/// The error of a cluster that did not answer, with what the watcher knows of it.
pub(super) fn unreachable(
    watcher: &Watcher,
    servers: &[String],
    error: Box<dyn std::error::Error + Send + Sync>,
) -> ConnectError {
    let address = servers.join(", ");
    match watcher.refusal() {
        Some(refusal) if refusal.step == Step::LoggingIn => ConnectError::Credentials {
            address,
            source: refusal.into(),
        },
        Some(refusal) => ConnectError::Unreachable {
            address,
            source: refusal.into(),
        },
        None => ConnectError::Unreachable {
            address,
            source: error,
        },
    }
}

/// A producer, which connects by itself.
pub(super) fn create(settings: &KafkaSettings) -> Result<(Client, Watcher), ConnectError> {
    let watcher = Watcher::default();
    let client = FutureProducer::from_config_and_context(&config(settings)?, watcher.clone());
    Ok((client.map_err(refused)?, watcher))
}

/// The error of a client that takes other settings.
pub(super) fn refused(error: KafkaError) -> ConnectError {
    match error {
        // What it says of the value may be a password.
        KafkaError::ClientConfig(_, _, property, _) => {
            ConnectError::settings(format!("Kafka's client refuses the value of `{property}`"))
        }
        error => ConnectError::Settings {
            what: "Kafka's client refuses the settings".to_owned(),
            source: Some(error.into()),
        },
    }
}

fn config(settings: &KafkaSettings) -> Result<ClientConfig, ConnectError> {
    let connection = Connection {
        servers: &settings.servers,
        sasl: settings.sasl.as_ref(),
        tls: &settings.tls,
        connect_timeout: settings.connect_timeout,
        properties: &settings.properties,
    };
    // A topic that the producer was refused is refused by the client itself until it has asked for
    // it again, by default after five minutes.
    let usual = [("topic.metadata.refresh.interval.ms", "5000")];
    let mut config = connection.config(&usual, &DECIDED)?;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight", "5");
    config.set(
        "message.timeout.ms",
        settings.delivery_timeout.as_millis().max(1).to_string(),
    );
    config.set("linger.ms", settings.linger.as_millis().to_string());
    config.set(
        "topic.metadata.propagation.max.ms",
        settings.unknown_topic_patience.as_millis().to_string(),
    );
    config.set("message.max.bytes", settings.max_message_bytes.to_string());
    Ok(config)
}

impl Connection<'_> {
    /// The properties of a client: `usual` ones, which the settings may change, and those of the
    /// connection. `decided` are others that the settings may not name.
    pub(super) fn config(
        &self,
        usual: &[(&str, &str)],
        decided: &[&str],
    ) -> Result<ClientConfig, ConnectError> {
        if self.servers.is_empty() {
            return Err(ConnectError::settings("`servers` names no server of Kafka"));
        }
        let mut config = ClientConfig::new();
        config.set("client.id", "bento");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set(
            "socket.connection.setup.timeout.ms",
            self.connect_timeout.as_millis().max(1000).to_string(),
        );
        for (property, value) in usual {
            config.set(*property, *value);
        }
        for (property, value) in self.properties {
            if CONNECTION.contains(&&**property) || decided.contains(&&**property) {
                let message = format!(
                    "`{property}` is decided by the other settings or by what is guaranteed"
                );
                return Err(ConnectError::settings(message));
            }
            config.set(property, value.expose());
        }
        config.set("bootstrap.servers", self.servers.join(","));
        secure(&mut config, self)?;
        Ok(config)
    }
}

fn secure(config: &mut ClientConfig, settings: &Connection<'_>) -> Result<(), ConnectError> {
    let TlsSettings {
        required,
        ca_file,
        certificate_file,
        key_file,
    } = settings.tls;
    let is_encrypted =
        *required || ca_file.is_some() || certificate_file.is_some() || key_file.is_some();
    let files = [
        ("ssl.ca.location", ca_file),
        ("ssl.certificate.location", certificate_file),
        ("ssl.key.location", key_file),
    ];
    for (property, file) in files {
        let Some(file) = file else { continue };
        let path = file
            .to_str()
            .ok_or_else(|| ConnectError::settings(format!("{} is not UTF-8", file.display())))?;
        config.set(property, path);
    }
    if certificate_file.is_some() != key_file.is_some() {
        return Err(ConnectError::settings(
            "a client certificate needs both `certificate_file` and `key_file`",
        ));
    }
    if let Some(sasl) = settings.sasl {
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanism", mechanism);
        config
            .set("sasl.username", &sasl.user)
            .set("sasl.password", sasl.password.required("password")?);
    }
    let protocol = match (settings.sasl, is_encrypted) {
        (None, false) => "plaintext",
        (None, true) => "ssl",
        (Some(_), false) => "sasl_plaintext",
        (Some(_), true) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> KafkaSettings {
        KafkaSettings::default()
    }

    #[test]
    fn the_protocol_follows_from_tls_and_sasl() {
        let sasl = KafkaSasl {
            mechanism: SaslMechanism::Plain,
            user: "u".to_owned(),
            password: "p".into(),
        };
        let tls = TlsSettings {
            required: true,
            ..TlsSettings::default()
        };
        let protocol = |settings: KafkaSettings| {
            config(&settings)
                .unwrap()
                .get("security.protocol")
                .unwrap()
                .to_owned()
        };
        assert_eq!(protocol(base()), "plaintext");
        assert_eq!(
            protocol(KafkaSettings {
                tls: tls.clone(),
                ..base()
            }),
            "ssl"
        );
        assert_eq!(
            protocol(KafkaSettings {
                sasl: Some(sasl.clone()),
                ..base()
            }),
            "sasl_plaintext"
        );
        assert_eq!(
            protocol(KafkaSettings {
                tls,
                sasl: Some(sasl),
                ..base()
            }),
            "sasl_ssl"
        );
    }

    #[test]
    fn properties_are_passed_on_unless_the_guarantees_hang_on_them() {
        let with = |property: &str, value: &str| {
            let properties = [(property.to_owned(), Secret::from(value))].into();
            create(&KafkaSettings {
                properties,
                ..base()
            })
            .map(drop)
            .map_err(|error| error.to_string())
        };
        with("compression.type", "lz4").unwrap();
        assert!(
            with("enable.idempotence", "false")
                .unwrap_err()
                .contains("`enable.idempotence` is decided")
        );
        let refused = with("compression.type", "hunter2").unwrap_err();
        assert!(
            refused.contains("`compression.type`") && !refused.contains("hunter2"),
            "{refused}"
        );
        assert!(
            with("no.such.property", "1")
                .unwrap_err()
                .contains("`no.such.property`")
        );
    }
}
