//! The settings of handlers, in both forms of a file and in the environment.

use std::time::Duration;

use bento_relay::retry::{Backoff, RetryPolicies, RetryPolicy};
use bento_relay::route::field;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn handlers(toml: &str, variables: &[(&str, &str)]) -> BTreeMap<String, HandlerSettings> {
    read_with(toml, variables).unwrap().handlers
}

fn one(name: &str, settings: HandlerSettings) -> BTreeMap<String, HandlerSettings> {
    BTreeMap::from([(name.to_owned(), settings)])
}

const EVERY_KEY: &str = r#"
timeout = "20s"
concurrency = 4
retry.transient = { max_attempts = 3, backoff = "fixed", wait = "1s" }
retry.throttled = "aggressive"
tenants = ["acme", "globex"]
when = { "payload.total" = { gte = 1000 } }
"#;

fn every_setting() -> HandlerSettings {
    HandlerSettings::default()
        .timeout(seconds(20))
        .concurrency(4)
        .retry(RetryPolicies {
            transient: RetryPolicy::fixed(seconds(1), 3),
            throttled: RetryPolicies::named("aggressive").unwrap().throttled,
        })
        .tenants(["acme", "globex"])
        .when(field("payload.total").gte(1000))
}

#[test]
fn a_handler_is_configured_under_its_name_with_or_without_quotes() {
    for header in [
        "[handlers.stock.reserve]",
        "[handlers.\"stock.reserve\"]",
        "[handlers.stock.\"reserve\"]",
    ] {
        let read = handlers(&format!("{header}\n{EVERY_KEY}"), &[]);
        assert_eq!(read, one("stock.reserve", every_setting()), "{header}");
    }
    let deep = handlers("[handlers.shop.stock.reserve.fast]\nconcurrency = 1", &[]);
    let expected = HandlerSettings::default().concurrency(1);
    assert_eq!(deep, one("shop.stock.reserve.fast", expected));
    let empty = handlers("[handlers.stock.reserve]", &[]);
    assert_eq!(empty, one("stock.reserve", HandlerSettings::default()));
    assert_eq!(
        handlers("[handlers]\n[handlers.stock]", &[]),
        BTreeMap::new()
    );
}

/// The TOML example of `docs/handlers.md`.
#[test]
fn the_documented_settings_are_read() {
    let document = include_str!("../../../../docs/handlers.md");
    let (_, section) = document.split_once("\n## Settings\n").unwrap();
    let (_, quoted) = section.split_once("```toml\n").unwrap();
    let (toml, _) = quoted.split_once("```").unwrap();
    let read = handlers(toml, &[]);
    let names: Vec<_> = read.keys().collect();
    assert_eq!(names, ["mail.confirmation", "stock.reserve"]);
    let mail = &read["mail.confirmation"];
    assert_eq!(mail.when, every_setting().when);
    assert_eq!(mail.tenants, every_setting().tenants);
    assert_eq!(read["stock.reserve"].timeout, Some(seconds(20)));
}

#[test]
fn a_handler_is_configured_by_variables() {
    let read = handlers(
        "",
        &[
            ("BENTO_HANDLERS__STOCK__RESERVE__TIMEOUT", "20s"),
            ("BENTO_HANDLERS__STOCK__RESERVE__CONCURRENCY", "4"),
            (
                "BENTO_HANDLERS__STOCK__RESERVE__RETRY__TRANSIENT",
                r#"{ max_attempts = 3, backoff = "fixed", wait = "1s" }"#,
            ),
            (
                "BENTO_HANDLERS__STOCK__RESERVE__RETRY__THROTTLED",
                "aggressive",
            ),
            ("BENTO_HANDLERS__STOCK__RESERVE__TENANTS", "acme, globex"),
            (
                "BENTO_HANDLERS__STOCK__RESERVE__WHEN",
                r#"{ "payload.total" = { gte = 1000 } }"#,
            ),
        ],
    );
    assert_eq!(read, one("stock.reserve", every_setting()));
    let named = handlers("", &[("BENTO_HANDLERS__MAIL__RETRY__RETRY", "once")]);
    let once = RetryPolicies::named("once").unwrap();
    assert_eq!(
        named,
        one("mail.retry", HandlerSettings::default().retry(once))
    );
}

#[test]
fn a_variable_goes_before_a_file_in_either_form() {
    let variable = (
        "BENTO_HANDLERS__STOCK__RESERVE__RETRY__TRANSIENT__MAX_ATTEMPTS",
        "9",
    );
    for header in ["[handlers.stock.reserve]", "[handlers.\"stock.reserve\"]"] {
        let toml = format!("{header}\ntimeout = \"5s\"\nretry.transient.max_attempts = 2");
        let read = handlers(&toml, &[variable]);
        let nine = RetryPolicy {
            max_attempts: 9,
            ..RetryPolicy::default()
        };
        let retry = RetryPolicies {
            transient: nine,
            throttled: Backoff::default(),
        };
        let expected = HandlerSettings::default().timeout(seconds(5)).retry(retry);
        assert_eq!(read, one("stock.reserve", expected), "{header}");
    }
}

#[test]
fn a_later_file_goes_before_an_earlier_one_in_either_form() {
    let forms = ["[handlers.stock.reserve]", "[handlers.\"stock.reserve\"]"];
    for (first, second) in [(0, 1), (1, 0)] {
        let file = |form: usize, text| format!("{}\n{text}", forms[form]);
        let read = Settings::builder()
            .toml(&file(first, "timeout = \"1s\"\nconcurrency = 1"))
            .unwrap()
            .toml(&file(second, "timeout = \"2s\""))
            .unwrap()
            .build();
        let expected = HandlerSettings::default()
            .timeout(seconds(2))
            .concurrency(1);
        assert_eq!(read.unwrap().handlers, one("stock.reserve", expected));
    }
}

#[test]
fn both_forms_of_a_handler_are_one() {
    let both = "[handlers.stock.reserve]\ntimeout = \"1s\"\n[handlers.\"stock.reserve\"]\n";
    let read = handlers(&format!("{both}concurrency = 2"), &[]);
    let expected = HandlerSettings::default()
        .timeout(seconds(1))
        .concurrency(2);
    assert_eq!(read, one("stock.reserve", expected));
    refuses(
        &format!("{both}timeout = \"2s\""),
        &[],
        expect![
            "bento.toml:4: `handlers.stock.reserve.timeout`: it is set as well by bento.toml:2; \
             remove one of them"
        ],
    );
}

#[test]
fn a_mistake_in_the_settings_of_a_handler_has_its_message() {
    refuses(
        r#"[handlers]
timeout = "5s"
[handlers.mail]
timeout = "5s"
[handlers.stock.reserve]
timout = "5s"
concurrency = "many"
retyr = { transient = "once" }
[handlers."stock.refill"]
retry = "patiently"
whne = { "payload.total" = 5 }
[handlers.audit.write]
retry.transient = { max_attempts = 0 }
when = { "payload.total" = { gtt = 5 } }
[handlers.audit.read]
when = { total = 5, "payload.a" = { in = [] } }
[handlers.mail.send]
timeout = "0s"
concurrency = 0
tenants = []
"#,
        &[
            ("BENTO_HANDLERS__STOCK", "5s"),
            ("BENTO_HANDLERS__MAIL__TIMEOUT", "5s"),
            ("BENTO_HANDLERS__STOCK__RESERVE__TIMEUOT", "5s"),
            ("BENTO_HANDLERS__MAIL__LIST__TENANTS", "acme,,globex"),
            ("BENTO_HANDLERS__AUDIT__LIST__WHEN", "payload.total"),
            ("BENTO_HANDLERS__AUDIT__LIST__TIMEOUT", "10"),
        ],
        expect![[r#"
            bento.toml:2: `handlers.timeout`: expected the settings of a handler, as in `[handlers.stock.reserve]`, found a text
            bento.toml:6: unknown key `handlers.stock.reserve.timout`; did you mean `handlers.stock.reserve.timeout`?
            bento.toml:7: `handlers.stock.reserve.concurrency`: expected a whole number, found a text
            bento.toml:8: unknown key `handlers.stock.reserve.retyr`; did you mean `handlers.stock.reserve.retry`?
            bento.toml:10: `handlers.stock.refill.retry` must be one of `default`, `aggressive`, `patient`, `once`; did you mean `patient`?
            bento.toml:11: unknown key `handlers.stock.refill.whne`; did you mean `handlers.stock.refill.when`?
            bento.toml:13: `handlers.audit.write.retry.transient.max_attempts`: must be at least 1
            bento.toml:14: `handlers.audit.write.when.payload.total.gtt`: unknown operator `gtt`: the operators are `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`
            bento.toml:16: `handlers.audit.read.when.all[0].payload.a.in`: no event can meet this condition: `in` of nothing: name values
            bento.toml:16: `handlers.audit.read.when.all[1].total`: invalid path `total`: begin it with `payload.` or `envelope.`
            bento.toml:18: `handlers.mail.send.timeout`: must be greater than 0; leave it out for the timeout of the attribute or of the relay
            bento.toml:19: `handlers.mail.send.concurrency`: must be greater than 0; pause a handler that should not run
            bento.toml:20: `handlers.mail.send.tenants`: must name a tenant; leave it out for the events of all tenants
            BENTO_HANDLERS__AUDIT__LIST__TIMEOUT: `handlers.audit.list.timeout`: invalid duration `10`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` or `1h30m`
            BENTO_HANDLERS__AUDIT__LIST__WHEN: `handlers.audit.list.when`: expected a table, found a text
            BENTO_HANDLERS__MAIL__LIST__TENANTS: `handlers.mail.list.tenants[1]`: must not be empty; ask for events without a tenant by `when`, as in `"envelope.tenant" = { exists = false }`
            BENTO_HANDLERS__MAIL__TIMEOUT: `handlers.mail.timeout`: the name of a handler has two segments or more: write the setting below it, as in `[handlers.stock.reserve]`
            BENTO_HANDLERS__STOCK: `handlers.stock`: expected the settings of a handler, as in `[handlers.stock.reserve]`, found a text
            BENTO_HANDLERS__STOCK__RESERVE__TIMEUOT: unknown key `handlers.stock.reserve.timeuot`; did you mean `BENTO_HANDLERS__STOCK__RESERVE__TIMEOUT`?"#]],
    );
}

#[test]
fn a_setting_of_a_handler_can_be_in_a_file() {
    let file = std::env::temp_dir().join(format!("bento-tenants-{}", std::process::id()));
    std::fs::write(&file, "acme,globex\n").unwrap();
    let variable = "BENTO_HANDLERS__STOCK__RESERVE__TENANTS_FILE";
    let read = handlers("", &[(variable, file.to_str().unwrap())]);
    let expected = HandlerSettings::default().tenants(["acme", "globex"]);
    assert_eq!(read, one("stock.reserve", expected));
    std::fs::remove_file(&file).unwrap();
}
