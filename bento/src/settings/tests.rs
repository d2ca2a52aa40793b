//! Settings as a user writes them, and each message as a user reads it.

use std::time::Duration;

use bento_relay::retry::{RetryPolicies, RetryPolicy};
use bento_relay::{MemoryStore, RelaySettings};
use expect_test::{Expect, expect};

use super::*;

mod example;
#[cfg(feature = "handlers")]
mod handlers;
mod messages;
#[cfg(feature = "handlers")]
mod projections;
mod round_trip;
mod router;
#[cfg(feature = "nats")]
mod secrets;
#[cfg(feature = "handlers")]
mod sources;

fn read(toml: &str) -> Result<Settings, ConfigError> {
    Settings::builder().toml(toml)?.build()
}

fn read_with(toml: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    Settings::builder()
        .toml(toml)?
        .vars(variables.iter().copied())
        .build()
}

fn refuses(toml: &str, variables: &[(&str, &str)], message: Expect) {
    message.assert_eq(&read_with(toml, variables).unwrap_err().to_string());
}

#[test]
fn nothing_configured_is_the_defaults() {
    assert_eq!(Settings::builder().build().unwrap(), Settings::default());
    assert_eq!(read("[relay]\n[publishers]").unwrap(), Settings::default());
}

#[test]
fn the_environment_wins_over_later_files_over_earlier_ones() {
    let settings = Settings::builder()
        .vars([
            ("BENTO_RELAY__WORKERS", "7"),
            ("BENTO_RELAY__RETRY__TRANSIENT__MAX_ATTEMPTS", "9"),
        ])
        .toml(
            "[relay]\nbatch = 1\nworkers = 1\ncircuit.failure_threshold = \
               1\nretry.transient.base = \"1s\"",
        )
        .unwrap()
        .toml("[relay]\nbatch = 2\nworkers = 2")
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        (
            settings.relay.batch,
            settings.relay.workers,
            settings.relay.circuit.failure_threshold
        ),
        (2, 7, 1)
    );
    let retry = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(60), 9);
    assert_eq!(settings.relay.retry.transient, retry);
}

#[test]
fn a_variable_is_read_as_its_key_wants_it() {
    let settings = read_with(
        "[publishers.Order-Events]\nkind = \"console\"",
        &[
            ("BENTO_PUBLISHER", "Order-Events"),
            ("BENTO_PUBLISHERS__ORDER_EVENTS__FORMAT", "json"),
            ("BENTO_RELAY__LEASE", "1m"),
            ("BENTO_RELAY__RETRY", "patient"),
            ("BENTO_RELAY__LANES", "0, 2"),
            ("BENTO_RELAY__BATCH", ""),
            ("BENTO_CONFIG", "elsewhere.toml"),
            ("BENTO_TEST_POSTGRES_URL", "postgres://"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(
        settings.publishers["Order-Events"],
        PublisherSettings::Console(ConsoleSettings {
            format: ConsoleFormat::Json
        })
    );
    assert_eq!(settings.relay.lease, Duration::from_secs(60));
    assert_eq!(
        settings.relay.retry,
        RetryPolicies::named("patient").unwrap()
    );
    assert_eq!(settings.relay.lanes, Some(vec![0, 2]));
    assert_eq!(settings.relay.batch, 1000, "an empty variable is not set");
    let [bracketed, table] = [
        ("BENTO_RELAY__LANES", "[3]"),
        ("BENTO_RELAY", "{ lanes = [3] }"),
    ]
    .map(|variable| read_with("", &[variable]).unwrap().relay.lanes);
    assert_eq!((bracketed, table), (Some(vec![3]), Some(vec![3])));
}

#[test]
fn variables_of_a_kubernetes_service_are_ignored_but_no_others() {
    let made = [
        ("BENTO_RELAY_SERVICE_HOST", "10.0.0.1"),
        ("BENTO_RELAY_SERVICE_PORT", "8080"),
        ("BENTO_RELAY_SERVICE_PORT_HTTP", "8080"),
        ("BENTO_RELAY_PORT", "tcp://10.0.0.1:8080"),
        ("BENTO_RELAY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("BENTO_RELAY_PORT_8080_TCP_PROTO", "tcp"),
        ("BENTO_RELAY_PORT_8080_TCP_PORT", "8080"),
        ("BENTO_RELAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("BENTO_PORT", "tcp://10.0.0.2:80"),
        ("BENTO_CONFIG_SERVICE_HOST", "10.0.0.3"),
    ];
    assert_eq!(read_with("", &made).unwrap(), Settings::default());
    refuses(
        "",
        &[
            ("BENTO_RELAY_PORT", "8080"),
            ("BENTO_RELAY_SERVICE_HOST", "relay.local"),
        ],
        expect![[r#"
            BENTO_RELAY_PORT: unknown key `relay_port`; did you mean `BENTO_RELAY__PORT`?
            BENTO_RELAY_SERVICE_HOST: unknown key `relay_service_host`; did you mean `BENTO_RELAY__SERVICE_HOST`?"#]],
    );
}

#[cfg(feature = "http")]
#[test]
fn a_header_that_is_called_as_kubernetes_calls_a_variable_is_set() {
    let toml = "publisher = \"http\"\n[publishers.http]\nurl = \"https://example.com\"";
    let settings = read_with(
        toml,
        &[(
            "BENTO_PUBLISHERS__HTTP__HEADERS__X_SERVICE_HOST",
            "10.0.0.1",
        )],
    )
    .unwrap();
    let PublisherSettings::Http(http) = &settings.publishers["http"] else {
        panic!("{settings:?}")
    };
    assert_eq!(http.headers.len(), 1);
}

#[tokio::test]
async fn only_what_is_used_is_connected() {
    let settings = read("publisher = \"memory\"\n[publishers.audit]\nkind = \"console\"").unwrap();
    let publishers = settings.build_publishers().unwrap();
    assert_eq!(publishers.names().collect::<Vec<_>>(), ["memory"]);
}

#[tokio::test]
async fn a_configured_relay_starts() {
    let settings = read("publisher = \"memory\"\n[relay]\nlease = \"1s\"").unwrap();
    let relay = settings
        .relay(MemoryStore::default())
        .unwrap()
        .start()
        .unwrap();
    relay.stop().await.unwrap();
}
