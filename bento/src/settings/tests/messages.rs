//! The message of each mistake, as a user reads it.

use expect_test::expect;

use super::*;

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
            bento.toml:2: unknown key `retries`; the keys are `application`, `publisher`, `relay`, `router`, `publishers`, `handlers`, `projections`, `consumer`, `sources`
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
        expect!["bento.toml:3: `relay.batch`: must be 1 to 10,000"],
    );
    refuses(
        "",
        &[("BENTO_RELAY__RETRY__TRANSIENT__MAX_ATTEMPTS", "0")],
        expect![
            "BENTO_RELAY__RETRY__TRANSIENT__MAX_ATTEMPTS: `relay.retry.transient.max_attempts`: \
             must be at least 1"
        ],
    );
    refuses(
        "[relay.retry]\ntransient = { backoff = \"fixed\" }",
        &[],
        expect![[r#"bento.toml:2: `relay.retry.transient`: `backoff = "fixed"` needs a `wait`"#]],
    );
}

#[test]
fn a_key_that_is_not_bare_is_shown_as_toml_writes_it() {
    refuses(
        "[publishers.\"audit.log\"]\nkind = \"console\"\nformt = 1\n",
        &[("BENTO_PUBLISHER", "console")],
        expect![[
            r#"bento.toml:3: unknown key `publishers."audit.log".formt`; did you mean `publishers."audit.log".format`?"#
        ]],
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
            "bento.toml:2: `publishers.nats` needs the cargo feature `nats` of `bento-events`, \
             without which this program was built"
        ],
    );
}

#[cfg(not(feature = "handlers"))]
#[test]
fn settings_of_handlers_that_are_not_built_in_name_the_feature() {
    refuses(
        "[relay]\n[handlers.stock.reserve]\ntimeout = \"20s\"",
        &[],
        expect![
            "bento.toml:2: `handlers` needs the cargo feature `handlers` of `bento-events`, \
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
