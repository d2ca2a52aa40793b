//! The rules of the router's documentation, each with a test.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use bento_core::metadata::Metadata;
use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::publish::Destination;
use crate::retry::RetryPolicy;

mod documented;
mod faults;
mod filters;
mod kinds;
mod laws;
mod rows;
mod transforms;
mod write;

fn event(event_type: &str, payload: &str) -> Arc<Envelope> {
    Arc::new(Envelope::new(
        event_type.to_owned(),
        1,
        DateTime::UNIX_EPOCH,
        payload.to_owned(),
    ))
}

fn to(names: &[&str]) -> RouterConfig {
    let defined = |config: RouterConfig, name: &&str| config.destination(Destination::new(*name));
    names.iter().fold(RouterConfig::default(), defined)
}

fn names(targets: &Targets) -> Vec<&str> {
    targets.iter().map(|target| &*target.route.name).collect()
}

/// The names of the routes that the router gives an event.
#[track_caller]
fn routed(router: &Router, envelope: &Arc<Envelope>) -> Vec<String> {
    names(&router.route(envelope).expect("it goes somewhere"))
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// True if a condition holds for an event.
fn holds(condition: Condition, envelope: &Arc<Envelope>) -> bool {
    let config = to(&["a"]).rule(Rule::new("r").when(condition).to(["a"]));
    config
        .build()
        .expect("the condition is in order")
        .route(envelope)
        .is_ok()
}

#[track_caller]
fn check(payload: &str, condition: &str, expected: bool) {
    let json = format!(
        r#"{{"version":1,"destinations":{{"a":{{}}}},
            "rules":[{{"name":"r","to":"a","when":{condition}}}]}}"#
    );
    let router = RouterConfig::from_json(&json)
        .expect(condition)
        .build()
        .expect(condition);
    assert_eq!(
        router.route(&event("x.y", payload)).is_ok(),
        expected,
        "{condition} of {payload}"
    );
}

#[test]
fn every_operator_compares_by_value() {
    let payload = r#"{"n":10,"d":"10.0","big":340282366920938463463374607431768211455,
        "s":"abc","b":true,"z":null,
        "o":{"in":{"a":1}},"l":[{"p":1.50},{"p":"2"}],"e":"","id":"007","q":"a\"b","f":0.1}"#;
    for (condition, expected) in [
        (r#"{"payload.n":10}"#, true),
        (r#"{"payload.n":"10.00"}"#, true),
        (r#"{"payload.d":10}"#, true),
        (r#"{"payload.d":{"gt":9}}"#, true),
        (r#"{"payload.d":{"lt":"9"}}"#, false),
        (r#"{"payload.f":0.1}"#, true),
        (r#"{"payload.id":7}"#, false),
        (r#"{"payload.id":"007"}"#, true),
        (r#"{"payload.n":{"gte":10,"lte":10}}"#, true),
        (r#"{"payload.n":{"gt":10}}"#, false),
        (
            r#"{"payload.big":"340282366920938463463374607431768211455"}"#,
            true,
        ),
        (
            r#"{"payload.big":{"gt":"340282366920938463463374607431768211454.9"}}"#,
            true,
        ),
        (r#"{"payload.s":{"gt":"abb","lt":"abd"}}"#, true),
        (r#"{"payload.s":{"gt":5}}"#, false),
        (r#"{"payload.s":{"lte":5}}"#, false),
        (r#"{"payload.s":{"ne":5}}"#, true),
        (r#"{"payload.b":true}"#, true),
        (r#"{"payload.b":{"ne":true}}"#, false),
        (r#"{"payload.z":null}"#, true),
        (r#"{"payload.z":{"exists":true}}"#, true),
        (r#"{"payload.z":{"ne":null}}"#, false),
        (r#"{"payload.s":{"in":["x","abc"]}}"#, true),
        (r#"{"payload.s":{"nin":["x","abc"]}}"#, false),
        (r#"{"payload.n":{"in":["10.000"]}}"#, true),
        (r#"{"payload.o.in.a":1}"#, true),
        (r#"{"payload.o":{"exists":true}}"#, true),
        (r#"{"payload.o":{"ne":1},"payload.o.in.a":1}"#, true),
        (r#"{"payload.l[0].p":1.5}"#, true),
        (r#"{"payload.l.1.p":2}"#, true),
        (r#"{"payload.l[2].p":{"exists":false}}"#, true),
        (r#"{"payload.q":"a\"b"}"#, true),
        (r#"{"payload.e":{"lt":"a"}}"#, true),
    ] {
        check(payload, condition, expected);
    }
}

#[test]
fn a_missing_path_is_false_whatever_the_operator() {
    for operator in ["eq", "ne", "gt", "gte", "lt", "lte"] {
        check(
            "{}",
            &format!(r#"{{"payload.x":{{"{operator}":1}}}}"#),
            false,
        );
        check(
            "{}",
            &format!(r#"{{"not":{{"payload.x":{{"{operator}":1}}}}}}"#),
            true,
        );
        check(
            r#"{"x":{"y":1}}"#,
            &format!(r#"{{"payload.x.y.z":{{"{operator}":1}}}}"#),
            false,
        );
    }
    check("{}", r#"{"payload.x":{"in":[1]}}"#, false);
    check("{}", r#"{"payload.x":{"nin":[1]}}"#, false);
    check("{}", r#"{"payload.x":{"exists":true}}"#, false);
    check("{}", r#"{"payload.x":{"exists":false}}"#, true);
}

#[test]
fn what_is_not_json_has_no_payload() {
    let there = || field("payload.x").exists();
    assert!(holds(there(), &event("x.y", r#"{"x":1}"#)));
    for broken in [
        "",
        "{",
        r#"{"x":1"#,
        r#"{"x":1} trailing"#,
        r#"{"x":1,"y":}"#,
        "\u{feff}{}",
        "[1]",
        "7",
        "null",
    ] {
        assert!(!holds(there(), &event("x.y", broken)), "{broken}");
        assert!(
            holds(field("payload.x").is_missing(), &event("x.y", broken)),
            "{broken}"
        );
    }
    let mut encoded = Envelope::new("x.y", 1, DateTime::UNIX_EPOCH, r#"{"x":1}"#);
    encoded.content_encoding = Some("binary".to_owned());
    assert!(!holds(there(), &Arc::new(encoded)));
}

#[test]
fn conditions_see_the_whole_envelope() {
    let mut envelope = Envelope::new("order.placed", 3, DateTime::UNIX_EPOCH, "{}");
    let missing = Arc::new(envelope.clone());
    envelope.tenant_id = Some("acme".to_owned());
    envelope.aggregate_type = "order".into();
    envelope.aggregate_id = "7".to_owned();
    envelope.sequence = Some(4);
    envelope.topic = Some("orders".to_owned());
    envelope.routing_key = Some("eu".to_owned());
    envelope.headers = r#"{"correlation_id":"c","causation_id":"b","source":"shop","actor":"ann",
            "x.region":"north"}"#
        .into();
    let envelope = Arc::new(envelope);
    let id = envelope.event_id.to_string();
    for (path, value) in [
        ("event_type", "order.placed"),
        ("version", "3"),
        ("event_id", &id),
        ("tenant", "acme"),
        ("aggregate_type", "order"),
        ("aggregate_id", "7"),
        ("sequence", "4"),
        ("topic", "orders"),
        ("routing_key", "eu"),
        ("correlation_id", "c"),
        ("causation_id", "b"),
        ("source", "shop"),
        ("actor", "ann"),
        ("headers.x.region", "north"),
    ] {
        let path = format!("envelope.{path}");
        assert!(holds(field(&path).eq(value), &envelope), "{path}");
        assert!(!holds(field(&path).ne(value), &envelope), "{path}");
        let is_always_there = [
            "envelope.event_type",
            "envelope.version",
            "envelope.event_id",
        ]
        .contains(&&*path);
        assert_eq!(
            holds(field(&path).exists(), &missing),
            is_always_there,
            "{path}"
        );
    }
    assert!(holds(field("envelope.version").gt(2), &envelope));
}

#[test]
fn several_rules_name_each_destination_once() {
    let config = to(&["a", "b", "c"])
        .rule(
            Rule::new("first")
                .events(["order.*"])
                .to(["a"])
                .delay(Duration::from_secs(5)),
        )
        .rule(Rule::new("second").events(["*.placed"]).to(["b", "a"]))
        .rule(Rule::new("third").events(["invoice.*"]).to(["c"]));
    let router = config.build().unwrap();
    let both = event("order.placed", "{}");
    let targets = router.route(&both).unwrap();
    assert_eq!(names(&targets), ["a", "b"]);
    assert_eq!(
        targets[0].route.delay,
        Some(Duration::from_secs(5)),
        "as the first rule says"
    );
    assert!(
        targets
            .iter()
            .all(|target| Arc::ptr_eq(&target.envelope, &both))
    );
    assert_eq!(
        targets[0].not_before,
        Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(5))
    );
    assert_eq!(
        routed(&router, &event("invoice.placed", "{}")),
        ["b", "a", "c"]
    );
    let Err(RouteError::NoRule { event_type }) = router.route(&event("x.y", "{}")) else {
        panic!("no rule takes it");
    };
    assert_eq!(event_type, "x.y");
}

#[test]
fn a_rule_that_stops_ends_the_list_for_what_takes_it() {
    let config = to(&["a", "b"])
        .rule(
            Rule::new("eu")
                .when(field("payload.region").eq("eu"))
                .to(["a"])
                .stop(),
        )
        .rule(Rule::new("all").to(["b"]));
    let router = config.build().unwrap();
    assert_eq!(routed(&router, &event("x.y", r#"{"region":"eu"}"#)), ["a"]);
    assert_eq!(routed(&router, &event("x.y", r#"{"region":"us"}"#)), ["b"]);
}

#[test]
fn the_fallback_serves_what_no_rule_takes_and_what_fails() {
    let config = to(&["a", "b", "rest"])
        .rule(Rule::new("a").events(["a.*"]).to(["a"]))
        .rule(
            Rule::new("b")
                .events(["b.*"])
                .to(["b"])
                .fallback(RouterConfig::DEAD_LETTER_QUEUE),
        )
        .rule(Rule::new("c").events(["c.*"]).to(["rest"]))
        .fallback("rest");
    let router = config.build().unwrap();
    let fallback = |event_type: &str| {
        let targets = router.route(&event(event_type, "{}")).unwrap();
        (
            targets[0].route.name.to_string(),
            targets[0]
                .route
                .fallback
                .as_ref()
                .map(|route| route.name.to_string()),
        )
    };
    assert_eq!(fallback("a.b"), ("a".into(), Some("rest".into())));
    assert_eq!(fallback("b.b"), ("b".into(), None));
    assert_eq!(
        fallback("c.b"),
        ("rest".into(), None),
        "it does not fall back on itself"
    );
    assert_eq!(fallback("x.y"), ("rest".into(), None));
}

#[test]
fn a_rule_hands_the_relay_what_it_has_to_keep_to() {
    let patient = RetryPolicies::from(RetryPolicy::fixed(Duration::from_secs(1), 99));
    let rule = Rule::new("all of them")
        .to(["a", "b"])
        .all_or_nothing()
        .delay(Duration::from_secs(1))
        .keeps_order()
        .expires_after(Duration::from_secs(9))
        .retry("stubborn")
        .head_of_line(HeadOfLine::Continue);
    let router = to(&["a", "b"])
        .retry_policy("stubborn", patient)
        .rule(rule)
        .build()
        .unwrap();
    let targets = router.route(&event("x.y", "{}")).unwrap();
    let [target] = &targets[..] else {
        panic!("one route for both")
    };
    let route = &target.route;
    assert_eq!(
        (&*route.name, route.destinations.len(), route.retry),
        ("all of them", 2, Some(patient))
    );
    assert_eq!(
        (route.head_of_line, route.keeps_order),
        (HeadOfLine::Continue, true)
    );
    assert_eq!(
        target.not_before,
        Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(1))
    );
    assert_eq!(
        target.expires_at,
        Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(9))
    );
}

#[test]
fn the_shorthands_say_the_common_cases() {
    let router = Router::by_event_type([
        ("order.placed", "first"),
        ("order.*", "orders"),
        ("*", "rest"),
    ])
    .unwrap();
    assert_eq!(routed(&router, &event("order.placed", "{}")), ["first"]);
    assert_eq!(routed(&router, &event("order.paid", "{}")), ["orders"]);
    assert_eq!(routed(&router, &event("x.y", "{}")), ["rest"]);

    let large = || field("payload.total").gte(100);
    let abroad = || field("payload.country").ne("DE");
    let router = Router::by_condition([
        (large(), "fraud"),
        (abroad(), "customs"),
        (large(), "sales"),
    ])
    .unwrap();
    assert_eq!(
        routed(
            &router,
            &event("x.y", r#"{"total":"250.00","country":"FR"}"#)
        ),
        ["fraud", "customs", "sales"]
    );
    assert_eq!(
        routed(&router, &event("x.y", r#"{"total":1,"country":"FR"}"#)),
        ["customs"]
    );

    let router = RouterConfig::by_event_type([("*", "all")])
        .sampled_copy("copy", 0.5)
        .build()
        .unwrap();
    let copied = (0..1000)
        .filter(|_| routed(&router, &event("x.y", "{}")).len() == 2)
        .count();
    assert!((350..650).contains(&copied), "{copied}");
}

#[test]
fn an_event_that_every_sample_leaves_out_is_not_an_error() {
    let config = to(&["a", "rest"])
        .rule(Rule::new("few").to(["a"]).sample(1e-12))
        .fallback("rest");
    assert!(
        config
            .build()
            .unwrap()
            .route(&event("x.y", "{}"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_copy_takes_no_event_away_from_the_fallback() {
    let copied = to(&["a", "rest"])
        .rule(Rule::new("orders").events(["order.*"]).to(["a"]))
        .sampled_copy("copy", 0.5);
    let router = copied.clone().fallback("rest").build().unwrap();
    for _ in 0..100 {
        let unknown = routed(&router, &event("x.y", "{}"));
        assert!(
            unknown == ["rest"] || unknown == ["copy", "rest"],
            "{unknown:?}"
        );
        assert!(
            copied.build().unwrap().route(&event("x.y", "{}")).is_err(),
            "without a fallback it is a dead letter"
        );
    }
    let stops = to(&["a"]).rule(Rule::new("both").to(["a"]).copy().stop());
    assert_eq!(
        stops
            .build()
            .unwrap_err()
            .iter()
            .next()
            .unwrap()
            .path
            .to_string(),
        "rules[0].copy"
    );
}

#[test]
fn an_event_takes_up_its_route_again() {
    let config = to(&["a", "b", "rest"])
        .rule(
            Rule::new("eu")
                .events(["order.*"])
                .when(field("payload.eu").eq(true))
                .to(["a"])
                .keeps_order(),
        )
        .rule(Rule::new("else").events(["order.*"]).to(["a", "b"]))
        .fallback("rest");
    let router = config.build().unwrap();
    let (eu, other) = (
        event("order.placed", r#"{"eu":true}"#),
        event("order.placed", "{}"),
    );
    assert!(router.resume(&eu, "a").unwrap().route.keeps_order);
    assert!(
        !router.resume(&other, "a").unwrap().route.keeps_order,
        "as it was routed"
    );
    assert_eq!(&*router.resume(&eu, "b").unwrap().route.name, "b");
    assert_eq!(&*router.resume(&eu, "rest").unwrap().route.name, "rest");
    assert_eq!(
        router.resume(&eu, "gone").unwrap_err(),
        RouteError::UnknownDestination {
            name: "gone".into()
        }
    );
    let single = Router::to(Destination::new("only"));
    assert_eq!(&*single.resume(&eu, "only").unwrap().route.name, "only");
    assert!(single.resume(&eu, "other").is_err());
}

#[test]
fn every_route_is_listed_once() {
    let config = to(&["a", "b", "unused", "rest"])
        .rule(Rule::new("one").to(["a"]))
        .rule(Rule::new("two").to(["b"]))
        .rule(Rule::new("three").events(["x.*"]).to(["a"]))
        .fallback("rest");
    let router = config.build().unwrap();
    let mut listed: Vec<_> = router
        .routes()
        .map(|route| route.name.to_string())
        .collect();
    listed.sort();
    assert_eq!(
        listed,
        ["a", "b", "rest", "unused"],
        "also where an event may send itself"
    );
}
