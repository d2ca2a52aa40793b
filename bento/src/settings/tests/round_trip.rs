//! Any settings of the relay are read as they are written.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

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
        let sections = [
            "",
            "RELAY__",
            "PUBLISHERS__NATS__",
            "RELAY__RETRY__",
            "HANDLERS__",
            "HANDLERS__STOCK__RESERVE__",
        ];
        for section in sections {
            let variable = (format!("BENTO_{section}{name}"), value.clone());
            let _ = Settings::builder().vars([variable]).build();
        }
    }
}
