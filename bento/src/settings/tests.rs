//! Settings as a user writes them, and each message as a user reads it.

use std::time::Duration;

use bento_relay::retry::{RetryPolicies, RetryPolicy};
use bento_relay::{MemoryStore, RelaySettings};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

mod example;
#[cfg(feature = "nats")]
mod secrets;

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
fn the_environment_goes_before_later_files_and_these_before_earlier_ones() {
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
fn what_kubernetes_makes_for_a_service_is_passed_over_and_what_looks_like_it_is_not() {
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

#[test]
fn an_unknown_key_names_the_one_that_is_meant() {
    refuses(
        r#"publishr = "console"
retries = 3

[relay]
bathc = 500
timeout = "1s"

[relay.retry.transient]
max_attempt = 3

[publishers.console]
fromat = "text"
"#,
        &[
            ("BENTO_RELAY__WORKRES", "3"),
            ("BENTO_RELAY_BATCH", "3"),
            ("BENTO_RELAY__RETRY__THROTLED", "once"),
        ],
        expect![[r#"
            bento.toml:1: unknown key `publishr`; did you mean `publisher`?
            bento.toml:2: unknown key `retries`; the keys are `application`, `publisher`, `relay`, `router`, `publishers`
            bento.toml:5: unknown key `relay.bathc`; did you mean `relay.batch`?
            bento.toml:6: unknown key `relay.timeout`; the keys are `batch`, `batch_bytes`, `workers`, `turn`, `retry`, `circuit`, `lease`, `poll_busy`, `poll_idle`, `publish_timeout`, `max_retry_after`, `drain_timeout`, `unroutable_after`, `retention`, `lanes`
            bento.toml:9: unknown key `relay.retry.transient.max_attempt`; did you mean `relay.retry.transient.max_attempts`?
            bento.toml:11: `publisher`: choose the publisher of the events, as in `publisher = "console"`
            bento.toml:12: unknown key `publishers.console.fromat`; did you mean `publishers.console.format`?
            BENTO_RELAY_BATCH: unknown key `relay_batch`; did you mean `BENTO_RELAY__BATCH`?
            BENTO_RELAY__RETRY__THROTLED: unknown key `relay.retry.throtled`; did you mean `BENTO_RELAY__RETRY__THROTTLED`?
            BENTO_RELAY__WORKRES: unknown key `relay.workres`; did you mean `BENTO_RELAY__WORKERS`?"#]],
    );
}

#[test]
fn everything_that_does_not_fit_is_reported_at_once() {
    refuses(
        r#"publisher = 3

[relay]
batch = "many"
workers = -1
turn = 5
lease = "10 parsecs"
lanes = [0, "one", 70000]
retry = "patiently"
poll_idle = "1s"
circuit.failure_threshold = 99999999999999999999

[publishers]
file = 5
audit = { format = "text" }
console = { format = "txt" }
other = { kind = "natz" }
"#,
        &[
            ("BENTO_RELAY__DRAIN_TIMEOUT", "10"),
            ("BENTO_RELAY__LANES__FIRST", "0"),
            ("BENTO_RELAY__POLL_IDLE__X", "1"),
        ],
        expect![[r#"
            bento.toml:1: `publisher`: expected a text, found a whole number
            bento.toml:4: `relay.batch`: expected a whole number, found a text
            bento.toml:5: `relay.workers`: -1 is out of range
            bento.toml:6: `relay.turn`: expected a duration as in "30s" or "1h30m", found a whole number
            bento.toml:7: `relay.lease`: invalid duration `10 parsecs`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` or `1h30m`
            bento.toml:8: `relay.lanes[1]`: expected a whole number, found a text
            bento.toml:9: `relay.retry` must be one of `default`, `aggressive`, `patient`, `once`; did you mean `patient`?
            bento.toml:11: `relay.circuit.failure_threshold`: the number is out of range
            bento.toml:14: `publishers.file`: expected a table, found a whole number
            bento.toml:15: `publishers.audit`: its name is not a kind of publisher; set `kind` to one of `console`, `memory`, `http`, `kafka`, `nats`, `rabbitmq`, `redis`
            bento.toml:16: `publishers.console.format` must be one of `text`, `json`; did you mean `text`?
            bento.toml:17: `publishers.other.kind` must be one of `console`, `memory`, `http`, `kafka`, `nats`, `rabbitmq`, `redis`; did you mean `nats`?
            BENTO_RELAY__DRAIN_TIMEOUT: `relay.drain_timeout`: invalid duration `10`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` or `1h30m`
            BENTO_RELAY__LANES__FIRST: `relay.lanes`: bento.toml:8 sets this to a list, which has no keys
            BENTO_RELAY__POLL_IDLE__X: `relay.poll_idle`: bento.toml:10 sets this to a text, which has no keys"#]],
    );
}

#[test]
fn a_number_out_of_range_is_shown_with_its_line() {
    refuses(
        "[relay]\n\nbatch = 0",
        &[],
        expect!["bento.toml:3: `relay.batch`: out of range; it is 1 to 10,000"],
    );
    refuses(
        "",
        &[("BENTO_RELAY__RETRY__TRANSIENT__MAX_ATTEMPTS", "0")],
        expect![
            "BENTO_RELAY__RETRY__TRANSIENT__MAX_ATTEMPTS: `relay.retry.transient.max_attempts`: \
             out of range; it is at least 1"
        ],
    );
    refuses(
        "[relay.retry]\ntransient = { backoff = \"fixed\" }",
        &[],
        expect![[r#"bento.toml:2: `relay.retry.transient`: `backoff = "fixed"` needs a `wait`"#]],
    );
}

#[test]
fn a_publisher_has_to_be_there() {
    refuses(
        "publisher = \"nats\"",
        &[],
        expect![
            "bento.toml:1: `publisher`: section `[publishers.nats]` is missing; the publishers \
             are `console`, `memory`"
        ],
    );
    refuses(
        "publisher = \"audti\"\n[publishers.audit]\nkind = \"console\"",
        &[],
        expect![
            "bento.toml:1: `publisher`: section `[publishers.audti]` is missing; the publishers \
             are `console`, `memory`, `audit`; did you mean `audit`?"
        ],
    );
    refuses(
        "[publishers.audit]\nkind = \"console\"",
        &[],
        expect![[
            r#"bento.toml:1: `publisher`: choose the publisher of the events, as in `publisher = "audit"`"#
        ]],
    );
    assert_eq!(read("publisher = \"memory\"").unwrap().publisher, "memory");
}

#[cfg(not(feature = "nats"))]
#[test]
fn a_kind_that_is_not_built_in_names_its_feature() {
    refuses(
        "publisher = \"nats\"\n[publishers.nats]\nprefix = \"shop\"",
        &[],
        expect![
            "bento.toml:2: `publishers.nats` needs the cargo feature `nats` of `bento-brokers`, \
             without which this program was built"
        ],
    );
}

#[test]
fn what_is_no_toml_is_refused_without_a_word_of_it() {
    refuses(
        "[relay]\nbatch = hunter2",
        &[],
        expect!["bento.toml:2: string values must be quoted, expected literal string"],
    );
    refuses(
        "[relay]\n[relay]",
        &[],
        expect!["bento.toml:2: duplicate key"],
    );
    let missing = Settings::builder().file("nowhere.toml").unwrap_err();
    expect!["nowhere.toml cannot be read"].assert_eq(&missing.to_string());
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

const ROUTES: &str = r#"
[router]
version = 1

[router.destinations.orders]
topic = "shop.orders"

[router.destinations.audit]
publisher = "memory"

[[router.rules]]
name = "all"
to = ["orders", "audit"]
"#;

#[tokio::test]
async fn destinations_have_the_publisher_that_they_name_or_their_own_or_the_default() {
    let publishers = |toml: String| async move {
        let settings = read(&toml).unwrap();
        let router = settings.router().unwrap();
        let served = router.routes().flat_map(|route| route.destinations.clone());
        let served: Vec<_> = served
            .map(|destination| destination.publisher().to_owned())
            .collect();
        let connected = settings.build_publishers().unwrap();
        assert!(
            served.iter().all(|name| connected.get(name).is_some()),
            "{served:?} {connected:?}"
        );
        settings
            .relay(MemoryStore::default())
            .unwrap()
            .start()
            .unwrap()
            .stop()
            .await
            .unwrap();
        served
    };
    assert_eq!(publishers(ROUTES.to_owned()).await, ["console", "memory"]);
    assert_eq!(
        publishers(format!("publisher = \"memory\"{ROUTES}")).await,
        ["memory", "memory"]
    );
    let own = format!("{ROUTES}[publishers.orders]\nkind = \"memory\"");
    assert_eq!(publishers(own).await, ["orders", "memory"]);
}

#[test]
fn rules_that_cannot_be_used_are_shown_with_their_line() {
    let wrong = ROUTES
        .replace("\"audit\"]", "\"audti\"]")
        .replace("topic", "tpoic");
    refuses(
        &wrong,
        &[("BENTO_RELAY__BATCH", "0")],
        expect![[r#"
        bento.toml:6: `router.destinations.orders.tpoic`: unknown key `tpoic`: the keys are `publisher`, `topic`, `routing_key`, `partition_key`, `versioned`; did you mean `topic`?
        BENTO_RELAY__BATCH: `relay.batch`: out of range; it is 1 to 10,000"#]],
    );
    refuses(
        &ROUTES.replace("\"memory\"", "\"memroy\""),
        &[],
        expect![
            "bento.toml:9: `router.destinations.audit.publisher` must be one of `console`, `memory`; \
             did you mean `memory`?"
        ],
    );
    refuses(
        ROUTES,
        &[("BENTO_ROUTER__FILE", "routes.toml")],
        expect![
            "bento.toml:5: `router.destinations`: the rules are in the file that \
             BENTO_ROUTER__FILE names; remove them here"
        ],
    );
    refuses(
        "",
        &[("BENTO_ROUTER__FILE", "nowhere.toml")],
        expect![
            "BENTO_ROUTER__FILE: `router.file`: nowhere.toml cannot be read: No such file or \
             directory (os error 2)"
        ],
    );
    let unsaid = format!("{ROUTES}[publishers.console]");
    refuses(
        &unsaid,
        &[],
        expect![[
            r#"bento.toml:14: `publisher`: choose the publisher of the events, as in `publisher = "console"`"#
        ]],
    );
}

#[test]
fn rules_can_be_in_a_file_beside_the_one_that_names_it() {
    let folder = std::env::temp_dir().join(format!("bento-routes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let rules = ROUTES.replace("[router]", "").replace("router.", "");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let load = || Settings::builder().file(folder.join("bento.toml"))?.build();
    write("bento.toml", "router.file = \"routes.toml\"");
    write("routes.toml", &rules);
    assert_eq!(load().unwrap().router, read(ROUTES).unwrap().router);

    write("routes.toml", &rules.replace("to = ", "too = "));
    let shown = |error: ConfigError| error.to_string().replace(folder.to_str().unwrap(), "…");
    expect![[r#"
        …/routes.toml:11: `rules[0]`: `to` is missing
        …/routes.toml:13: `rules[0].too`: unknown key `too`: the keys are `name`, `events`, `when`, `to`, `strategy`, `transform`, `sample`, `delay`, `keeps_order`, `expires_after`, `retry`, `head_of_line`, `fallback`, `stop`, `copy`; did you mean `to`?"#]].assert_eq(&shown(load().unwrap_err()));
    write("routes.toml", "version = ");
    expect!["…/routes.toml:1: string values must be quoted, expected literal string"]
        .assert_eq(&shown(load().unwrap_err()));

    write("bento.toml", "router.file = \"routes.json\"");
    write(
        "routes.json",
        r#"{"version": 1, "destinations": {"memory": {}}, "rules": [{"name": "all", "to": ["memory"]}]}"#,
    );
    assert_eq!(load().unwrap().router.unwrap().rules.len(), 1);
    write(
        "routes.json",
        r#"{"version": 1, "rules": [{"name": "all", "to": ["memory"]}]}"#,
    );
    expect![
        "…/routes.json: `rules[0].to[0]`: there is no destination `memory`, nor any other: \
             define it under `destinations`"
    ]
    .assert_eq(&shown(load().unwrap_err()));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Every number of a relay as it is written in a file.
fn written(settings: &RelaySettings) -> Vec<(&'static str, String)> {
    let duration = |duration| bento_core::duration::format(duration);
    let lanes = settings
        .lanes
        .as_ref()
        .map(|lanes| ("lanes", format!("{lanes:?}")));
    let retention = settings.retention.map(|keep| ("retention", duration(keep)));
    let numbers = [
        ("batch", settings.batch.to_string()),
        ("batch_bytes", settings.batch_bytes.to_string()),
        ("workers", settings.workers.to_string()),
        ("turn", duration(settings.turn)),
        (
            "circuit.failure_threshold",
            settings.circuit.failure_threshold.to_string(),
        ),
        ("lease", duration(settings.lease)),
        ("poll_busy", duration(settings.poll_busy)),
        ("poll_idle", duration(settings.poll_idle)),
        ("publish_timeout", duration(settings.publish_timeout)),
        ("max_retry_after", duration(settings.max_retry_after)),
        ("drain_timeout", duration(settings.drain_timeout)),
        ("unroutable_after", duration(settings.unroutable_after)),
    ];
    numbers.into_iter().chain(lanes).chain(retention).collect()
}

prop_compose! {
    fn relays()(
        batch in 1usize..=10_000,
        workers in 1usize..=1024,
        failure_threshold in 1u32..,
        lease in 30u64..3_600_000,
        polls in (1u64..1_000_000, 0u64..1_000_000),
        others in [1u64..1_000_000, 1..1_000_000, 1..1_000_000, 1..1_000_000, 1..1_000_000],
        lanes in proptest::option::of(proptest::collection::vec(any::<u16>(), 1..4)),
        retention in proptest::option::of(1u64..1_000_000),
    ) -> RelaySettings {
        let millis = Duration::from_millis;
        let mut settings = RelaySettings::default();
        (settings.batch, settings.workers, settings.lanes) = (batch, workers, lanes);
        settings.circuit.failure_threshold = failure_threshold;
        settings.lease = millis(lease);
        (settings.poll_busy, settings.poll_idle) = (millis(polls.0), millis(polls.0 + polls.1));
        settings.retention = retention.map(Duration::from_secs);
        [
            settings.turn,
            settings.publish_timeout,
            settings.max_retry_after,
            settings.drain_timeout,
            settings.unroutable_after,
        ] = others.map(millis);
        settings
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_from_a_file_and_from_the_environment(relay in relays()) {
        let quoted = |(key, value): &(&str, String)| {
            if value.ends_with(|last: char| last.is_ascii_alphabetic()) {
                format!("{key} = {value:?}\n")
            } else {
                format!("{key} = {value}\n")
            }
        };
        let written = written(&relay);
        let file = format!("[relay]\n{}", written.iter().map(quoted).collect::<String>());
        let variables = written.iter().map(|(key, value)| {
            let key = key.replace('.', "__").to_uppercase();
            (format!("BENTO_RELAY__{key}"), value)
        });
        prop_assert_eq!(&read(&file).unwrap().relay, &relay);
        prop_assert_eq!(&Settings::builder().vars(variables).build().unwrap().relay, &relay);
    }

    #[test]
    fn no_text_and_no_variable_makes_it_panic(
        toml in "\\PC{0,40}",
        name in "[A-Z_]{0,20}",
        value in "\\PC{0,12}",
    ) {
        let _ = read(&toml);
        let sections = ["", "RELAY__", "PUBLISHERS__NATS__", "RELAY__RETRY__"];
        for section in sections {
            let variable = (format!("BENTO_{section}{name}"), value.clone());
            let _ = Settings::builder().vars([variable]).build();
        }
    }
}
