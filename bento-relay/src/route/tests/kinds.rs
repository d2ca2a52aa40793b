//! Domain events and integration events.

use bento_core::event::EventKind;
use bento_core::names::Listed;

use super::*;

fn event_of(kind: EventKind) -> Arc<Envelope> {
    let mut envelope = Envelope::clone(&event("order.confirmed", "{}"));
    envelope.kind = kind;
    Arc::new(envelope)
}

/// The routes of a domain event and of an integration event; `None` where it is unroutable.
fn both(config: &RouterConfig) -> [Option<Vec<String>>; 2] {
    let router = config.build().expect("the rules are in order");
    EventKind::ALL.map(|kind| {
        let targets = router.route(&event_of(kind)).ok()?;
        Some(names(&targets).into_iter().map(str::to_owned).collect())
    })
}

fn some(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_rule_takes_the_kind_that_it_says() {
    let rule = |name, kind: Kinds| Rule::new(name).kind(kind).to([name]);
    let config = to(&["inside", "partners", "audit"])
        .rule(rule("inside", EventKind::Domain.into()))
        .rule(rule("partners", EventKind::Integration.into()))
        .rule(rule("audit", Kinds::Any));
    assert_eq!(
        both(&config),
        [some(&["inside", "audit"]), some(&["partners", "audit"])]
    );
}

#[test]
fn a_rule_without_a_kind_takes_both() {
    let config = to(&["all"]).rule(Rule::new("all").to(["all"]));
    assert_eq!(both(&config), [some(&["all"]), some(&["all"])]);
}

/// They are for the handlers of their own context, and no fallback sends them out of it.
#[test]
fn domain_events_stay_inside_if_every_rule_is_for_integration_events() {
    let partners = Rule::new("partners")
        .events(["order.*"])
        .kind(EventKind::Integration)
        .to(["partners"]);
    let config = to(&["partners", "rest", "copies"]).rule(partners.clone());
    assert_eq!(both(&config), [some(&[]), some(&["partners"])]);
    let with_fallback = config.clone().fallback("rest");
    assert_eq!(both(&with_fallback), [some(&[]), some(&["partners"])]);
    let with_copies = config.clone().sampled_copy("copies", 1.0);
    assert_eq!(
        both(&with_copies),
        [some(&["copies"]), some(&["copies", "partners"])]
    );
    let other = Rule::new("other")
        .events(["invoice.*"])
        .kind(EventKind::Domain)
        .to(["rest"]);
    assert_eq!(
        both(&config.rule(other)),
        [None, some(&["partners"])],
        "a rule for domain events says where they go, so this one is left out"
    );
}

#[test]
fn an_integration_event_that_no_rule_takes_is_unroutable() {
    let config = to(&["a"]).rule(Rule::new("a").kind(EventKind::Domain).to(["a"]));
    assert_eq!(both(&config), [some(&["a"]), None]);
}

#[test]
fn a_destination_that_an_event_names_itself_needs_no_kind() {
    let config = to(&["partners"]).rule(
        Rule::new("partners")
            .kind(EventKind::Integration)
            .to(["partners"]),
    );
    let metadata = Metadata::default().with_destinations(["partners"]);
    let mut envelope = Envelope::clone(&event_of(EventKind::Domain));
    (envelope.routing, envelope.routing_version) = metadata.routing(Utc::now()).encode();
    let router = config.build().expect("the rules are in order");
    assert_eq!(routed(&router, &Arc::new(envelope)), ["partners"]);
}

#[test]
fn a_condition_can_ask_for_the_kind() {
    let is_integration = || field("envelope.kind").eq("integration");
    assert!(holds(is_integration(), &event_of(EventKind::Integration)));
    assert!(!holds(is_integration(), &event_of(EventKind::Domain)));
    assert!(holds(!is_integration(), &event_of(EventKind::Domain)));
}

#[test]
fn a_transformed_copy_keeps_its_kind() {
    let rule = Rule::new("r")
        .kind(EventKind::Integration)
        .transform(Transform::default().add("x", 1))
        .to(["a"]);
    let router = to(&["a"]).rule(rule).build().expect("it is in order");
    let targets = router.route(&event_of(EventKind::Integration));
    let targets = targets.expect("it goes somewhere");
    assert_eq!(targets[0].envelope.kind, EventKind::Integration);
}

#[test]
fn the_kind_of_rules_that_say_none_is_set_at_once() {
    let config = RouterConfig::by_event_type([("order.*", "orders"), ("*", "rest")])
        .rule(Rule::new("all").kind(Kinds::Any).to(["rest"]))
        .kind(EventKind::Integration);
    let kinds: Vec<_> = config.rules.iter().map(|rule| rule.kind).collect();
    let integration = Some(Kinds::Only(EventKind::Integration));
    assert_eq!(kinds, [integration, integration, Some(Kinds::Any)]);
}

#[test]
fn a_kind_is_read_as_rules_write_it() {
    for (text, kinds) in Kinds::NAMES {
        let json = format!(
            r#"{{"version":1,"destinations":{{"a":{{}}}},
                "rules":[{{"name":"r","to":["a"],"kind":"{text}"}}]}}"#
        );
        let config = RouterConfig::from_json(&json).expect("it can be read");
        assert_eq!(config.rules[0].kind, Some(kinds));
    }
    assert_eq!(
        Listed(&Kinds::NAMES.map(|(name, _)| name)).to_string(),
        "`domain`, `integration`, `any`"
    );
}
