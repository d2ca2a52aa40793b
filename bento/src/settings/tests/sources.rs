//! The settings of the consumer and its sources.

use std::time::Duration;

use super::*;

#[test]
fn the_consumer_has_settings_and_their_rules() {
    let settings = read("[consumer]\nlease = \"1m\"\nown_origin = \"/stock\"").unwrap();
    assert_eq!(settings.consumer.lease, Duration::from_secs(60));
    assert_eq!(settings.consumer.own_origin.as_deref(), Some("/stock"));
    for (toml, expected) in [
        (
            "[consumer]\nbatch = 0",
            "`consumer.batch`: 0 must be from 1 to 10,000",
        ),
        ("[consumer]\nlease = \"0s\"", "must be from 1 s to 1 h"),
        (
            "[consumer]\nleas = \"1s\"",
            "did you mean `consumer.lease`?",
        ),
        ("sources = 1", "expected a table"),
        (
            "[sources.orders]",
            "its name is not a kind of source; set `kind` to one of",
        ),
        ("[sources.orders]\nkind = \"natz\"", "did you mean"),
        ("[sources.orders]\nkind = \"http\"", "`sources.orders.kind`"),
    ] {
        let text = read(toml).unwrap_err().to_string();
        assert!(text.contains(expected), "{toml}: {text}");
    }
}

#[cfg(feature = "nats")]
#[test]
fn a_source_is_read_with_the_rules_of_every_kind() {
    let toml = "[sources.orders]\nkind = \"nats\"\nstream = \"ORDERS\"\ntrusted = true";
    let variables = [("BENTO_SOURCES__ORDERS__ALLOW_OLD", "true")];
    let sources = read_with(toml, &variables).unwrap().sources;
    let source = &sources["orders"];
    assert!(source.settings.trusted && source.settings.allow_old && !source.settings.accept_own);
    let BrokerSource::Nats(nats) = &source.broker else {
        panic!("{source:?}");
    };
    assert_eq!(nats.stream, "ORDERS");
    let wrong = read(&format!("{toml}\nstrem = \"x\""))
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("did you mean `sources.orders.stream`?"),
        "{wrong}"
    );
    let wrong = read(&toml.replace("true", "1")).unwrap_err().to_string();
    assert!(wrong.contains("`sources.orders.trusted`"), "{wrong}");
}

#[cfg(all(feature = "nats", feature = "sqlite"))]
#[tokio::test]
async fn a_source_that_can_never_be_used_is_named() {
    let database = bento_testkit::database_in_memory().await;
    let settings = read("[sources.orders]\nkind = \"nats\"").unwrap();
    let handlers = crate::Handlers::new(()).build(&database).unwrap();
    let inbox = bento_seaorm::Inbox::new(database.inner().clone());
    let error = settings.consumer(inbox, handlers).unwrap_err();
    let text = bento_core::report::with_causes(&error);
    assert!(
        text.contains("the source `orders` of kind `nats`"),
        "{text}"
    );
    assert!(text.contains("`stream` is empty"), "{text}");
}
