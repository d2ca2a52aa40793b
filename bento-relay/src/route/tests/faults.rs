//! The faults that building a router reports, with their texts.

use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn refused(json: &str, expected: Expect) {
    let result = RouterConfig::from_json(json).and_then(|config| config.build());
    expected.assert_eq(&result.map_or_else(|errors| errors.to_string(), |_| "in order".to_owned()));
}

/// Checks a rule to `a` with these additional keys.
#[track_caller]
fn refused_rule(keys: &str, expected: Expect) {
    refused(
        &format!(
            r#"{{"version":1,"destinations":{{"a":{{}},"b":{{}}}},
                "rules":[{{"name":"r","to":"a",{keys}}}]}}"#
        ),
        expected,
    );
}

#[test]
fn everything_that_cannot_be_read_is_said_at_once_with_its_path() {
    let json = r#"{
        "version": 2, "destination": {},
        "destinations": {"a": {"versioned": "yes", "topik": "t"}},
        "rules": [
            {"name": "one", "to": 5, "delay": "soon",
             "when": {"all": [{"payload.total": {"gt": [1], "gtt": 2}}, 7]}},
            {"to": "a", "strategy": "some", "transform": {"rename": {"a": 1}}, "when": {},
             "stop": 1},
            {"name": "three", "to": "a", "when": {"payload": {"customer": {"country": "DE"}}},
             "name": "four"}
        ],
        "retry_policies": {"slow": {"transient": {"base": 5}}}
    }"#;
    refused(
        json,
        expect![[r#"
            destination: unknown key `destination`: the keys are `version`, `destinations`, `rules`, `fallback`, `retry_policies`; did you mean `destinations`?
            version: unsupported version 2: this release reads version 1 of the configuration
            destinations.a.topik: unknown key `topik`: the keys are `publisher`, `topic`, `routing_key`, `partition_key`, `versioned`; did you mean `topic`?
            destinations.a.versioned: expected true or false, found a text
            rules[0].when.all[0].payload.total.gt: expected one value (several are compared with by `in`), found a list
            rules[0].when.all[0].payload.total.gtt: unknown operator `gtt`: the operators are `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`
            rules[0].when.all[1]: expected a table, found a number
            rules[0].to: expected a list, found a number
            rules[0].delay: invalid duration `soon`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` or `1h30m`
            rules[1]: `name` is missing
            rules[1].when: a condition says something: write `all`, `any`, `not` or a path as in "payload.total"
            rules[1].strategy: `some` is neither `best-effort` nor `all-or-nothing`
            rules[1].transform.rename.a: expected a text, found a number
            rules[1].stop: expected true or false, found a number
            rules[2].name: the name `name` is used twice
            rules[2].when.payload.customer: unknown operator `customer`: the operators are `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`; a path is one key, in TOML in quotes
            retry_policies.slow.transient.base: expected a duration as in "30s" or "1h30m", found a whole number"#]],
    );
}

#[test]
fn a_retry_policy_is_read_as_in_settings_with_every_fault() {
    refused(
        r#"{"version": 1, "destinations": {"a": {}}, "rules": [{"name": "r", "to": "a"}],
        "retry_policies": {
            "mine": {
                "transient": {"backoff": "fixd", "wait": 5, "max_attempts": "3", "cpa": "1s"},
                "throttled": "patiently", "thrown": {}
            },
            "twice": {"transient": {"base": "1s", "base": "2s"}},
            "soon": {"transient": {"backoff": "fixed", "wait": "soon"}},
            "none": {"transient": {"backoff": "fixed"}}, "number": 3
        }}"#,
        expect![[r#"
            retry_policies.mine.transient.backoff: must be one of `immediate`, `fixed`, `exponential`; did you mean `fixed`?
            retry_policies.mine.transient.wait: expected a duration as in "30s" or "1h30m", found a whole number
            retry_policies.mine.transient.max_attempts: expected a whole number, found a text
            retry_policies.mine.transient.cpa: unknown key `cpa`: the keys are `max_attempts`, `backoff`, `base`, `cap`, `wait`; did you mean `cap`?
            retry_policies.mine.throttled: must be one of `default`, `aggressive`, `patient`, `once`; did you mean `patient`?
            retry_policies.mine.thrown: unknown key `thrown`: the keys are `transient`, `throttled`
            retry_policies.twice.transient.base: the name `base` is used twice
            retry_policies.soon.transient.wait: invalid duration `soon`: write whole numbers with a unit of d, h, m, s or ms, as in `30s` or `1h30m`
            retry_policies.none.transient: `backoff = "fixed"` needs a `wait`
            retry_policies.number: expected the name of a retry policy, or a table with `transient` and `throttled`, found a whole number"#]],
    );
    let named = r#"{"version": 1, "retry_policies": {"calm": "patient"}}"#;
    let policies = RouterConfig::from_json(named).unwrap().retry_policies;
    let patient = crate::retry::RetryPolicies::named("patient").unwrap();
    assert_eq!(policies["calm"], patient);
}

#[test]
fn a_text_that_is_no_configuration_is_refused() {
    refused(
        "{",
        expect!["invalid syntax: EOF while parsing an object at line 1 column 1"],
    );
    refused("[]", expect!["expected a table, found a list"]);
    refused("{}", expect!["`version` is missing"]);
    refused(
        r#"{"version":1} x"#,
        expect!["invalid syntax: trailing characters at line 1 column 15"],
    );
}

#[test]
fn names_are_known_and_those_of_one_thing() {
    let config = to(&["nats", "nats", "dead_letter_queue", "unroutable", ""])
        .rule(
            Rule::new("one")
                .to(["natz", "dead_letter_queue"])
                .retry("agressive"),
        )
        .rule(Rule::new("one").to(["nats", "nats"]))
        .rule(
            Rule::new("nats")
                .events(["x.*"])
                .to(["nats"])
                .all_or_nothing(),
        )
        .rule(Rule::new("nowhere"))
        .rule(Rule::new("unreadable").events(["y.*"]).to(["nats"]))
        .retry_policy("once", crate::retry::RetryPolicy::immediate(0))
        .fallback("gone");
    expect![[r#"
        destinations.nats: the name `nats` is used twice
        destinations.dead_letter_queue: `dead_letter_queue` is reserved for the dead letters: use it only as a fallback
        destinations.unroutable: the name `unroutable` is reserved for events that have no route: choose another
        destinations.: a name has 1 to 128 bytes and no control characters
        rules[1].name: the name `one` is used twice
        rules[2].name: the name `nats` is used twice
        rules[4].name: the name `unreadable` is reserved for events that have no route: choose another
        retry_policies.once: the name `once` is used twice
        retry_policies.once.transient.max_attempts: `max_attempts` must be at least 1
        fallback: unknown destination `gone`: the destinations are `nats`
        rules[0].to[0]: unknown destination `natz`: the destinations are `nats`; did you mean `nats`?
        rules[0].to[1]: `dead_letter_queue` is reserved for the dead letters: use it only as a fallback
        rules[0].retry: unknown retry policy `agressive`: the policies are `default`, `aggressive`, `patient`, `once`, `once`; did you mean `aggressive`?
        rules[1].to[1]: the name `nats` is used twice
        rules[3].to: a rule leads to a destination: name one
        rules[2].to: rules `one` and `nats` both lead to `nats`, and rule `nats` is all-or-nothing: events of one aggregate would overtake each other there; give one of them a destination of its own, with the same publisher and topic
        rules[4].to: rules `nats` and `unreadable` both lead to `nats`, and rule `nats` is all-or-nothing: events of one aggregate would overtake each other there; give one of them a destination of its own, with the same publisher and topic"#]].assert_eq(&config.build().unwrap_err().to_string());
}

#[test]
fn a_condition_makes_sense() {
    refused_rule(
        r#""when":{"any":[{"total":1},{"envelope.tenants":1},{"payload.a":{"gt":true}},
            {"payload.":1},{"payload.b":1e300},{"not":{"all":[]}}]}"#,
        expect![
            "rules[0].when.any[4].payload.b: the number has too many digits and would be rounded: \
             write it as a text"
        ],
    );
    refused_rule(
        r#""when":{"payload.b":1e300,"payload.c":[1]}"#,
        expect![[r#"
        rules[0].when.payload.b: the number has too many digits and would be rounded: write it as a text
        rules[0].when.payload.c: expected one value (several are compared with by `in`), found a list"#]],
    );
    let nan = to(&["a"]).rule(
        Rule::new("r")
            .to(["a"])
            .when(field("payload.x").lt(f64::NAN)),
    );
    expect!["rules[0].when.payload.x.lt: invalid number: an event cannot hold it"]
        .assert_eq(&nan.build().unwrap_err().to_string());
    let deep = (0..100).fold(field("payload.x").exists(), |condition, _| !condition);
    assert!(
        to(&["a"])
            .rule(Rule::new("r").to(["a"]).when(deep))
            .build()
            .is_err()
    );
}

#[test]
fn a_rule_that_no_event_can_take_is_refused() {
    for keys in [
        r#""when":{"all":[{"payload.a":1},{"payload.a":2}]}"#,
        r#""when":{"payload.a":{"gt":5,"lt":3}}"#,
        r#""when":{"payload.a":{"gt":5,"lte":5}}"#,
        r#""when":{"payload.a":{"gt":"b","lt":"b\u0000"}}"#,
        r#""when":{"payload.a":{"gt":5,"lt":"x"}}"#,
        r#""when":{"payload.a":{"in":[]}}"#,
        r#""when":{"payload.a":{"in":[1,2],"nin":["1.0",2]}}"#,
        r#""when":{"payload.a":{"exists":false,"ne":1}}"#,
        r#""when":{"payload.a":5,"not":{"payload.a":"5.0"}}"#,
        r#""when":{"payload.a":5,"not":{"any":[{"payload.a":5},{"payload.b":1}]}}"#,
        r#""when":{"any":[{"payload.a":{"gt":1,"lt":1}},{"payload.a":{"gt":2,"lt":2}}]}"#,
        r#""events":["order.*"],"when":{"envelope.event_type":"invoice.sent"}"#,
        r#""events":[]"#,
        r#""sample":0"#,
        r#""delay":"2s","expires_after":"2s""#,
    ] {
        let json = format!(
            r#"{{"version":1,"destinations":{{"a":{{}}}},
                "rules":[{{"name":"r","to":"a",{keys}}}]}}"#
        );
        let errors = RouterConfig::from_json(&json)
            .unwrap()
            .build()
            .expect_err(keys);
        let never = |error: &RouterError| matches!(error.fault, RouterFault::NeverMatches { .. });
        assert!(
            errors.iter().all(never) && errors.iter().next().is_some(),
            "{keys}: {errors}"
        );
    }
}

#[test]
fn a_narrow_condition_is_not_refused() {
    for keys in [
        r#""when":{"payload.a":{"gt":5,"lt":"5.0000001"}}"#,
        r#""when":{"payload.a":{"gt":-5.1,"lt":-5}}"#,
        r#""when":{"payload.a":{"gt":-1,"lt":1,"ne":0}}"#,
        r#""when":{"payload.a":{"gte":5,"lte":5}}"#,
        r#""when":{"payload.a":{"gt":"b","lt":"c"}}"#,
        r#""when":{"payload.a":{"lt":"b"}}"#,
        r#""when":{"payload.a":{"ne":5},"not":{"payload.a":{"in":[1,2,3,null,true,false]}}}"#,
        r#""when":{"not":{"payload.a":{"exists":true}}}"#,
        r#""when":{"not":{"any":[{"payload.a":{"gt":5}},{"payload.a":{"lte":5}}]}}"#,
        r#""events":["order.*"],"when":{"envelope.event_type":"order.placed"}"#,
        r#""events":["order.*"],"when":{"envelope.event_type":{"gt":"p"}}"#,
        r#""sample":0.000001"#,
    ] {
        refused_rule(keys, expect!["in order"]);
    }
}

#[test]
fn a_rule_that_an_earlier_stop_leaves_nothing_is_refused() {
    let behind = |first: Rule, second: Rule| {
        to(&["a", "b"])
            .rule(first.to(["a"]).stop())
            .rule(second.to(["b"]))
            .build()
    };
    let (first, second) = (|| Rule::new("first"), || Rule::new("second"));
    let eu = || field("payload.eu").eq(true);
    for (first, second) in [
        (first(), second()),
        (
            first().events(["order.*"]),
            second().events(["order.placed", "order.*.late"]),
        ),
        (first().when(eu()), second().when(eu())),
    ] {
        expect![
            "rules[1]: this rule can never apply: rule `first` before it stops with \
                 each of its events"
        ]
        .assert_eq(&behind(first, second).unwrap_err().to_string());
    }
    for (first, second) in [
        (first().events(["order.*"]), second()),
        (first().when(eu()), second()),
        (first().sample(0.5), second()),
        (
            first().events(["order.*"]),
            second().events(["order.placed", "invoice.sent"]),
        ),
    ] {
        assert!(behind(first, second).is_ok());
    }
}

#[test]
fn a_transform_whose_names_collide_is_refused() {
    refused_rule(
        r#""transform":{"rename":{"a":"x","b":"x"}}"#,
        expect!["rules[0].transform: two values would have the name `x`"],
    );
    refused_rule(
        r#""transform":{"rename":{"a":"x"},"add":{"x.y":1}}"#,
        expect!["rules[0].transform: two values would have the name `x.y`"],
    );
    refused_rule(
        r#""transform":{"include":["a","b"],"rename":{"a":"b"}}"#,
        expect!["rules[0].transform: two values would have the name `b`"],
    );
    refused_rule(
        r#""transform":{"include":["a"],"add":{"a":1}}"#,
        expect!["rules[0].transform: two values would have the name `a`"],
    );
    refused_rule(
        r#""transform":{"rename":{"a":"a"}}"#,
        expect!["rules[0].transform: two values would have the name `a`"],
    );
    refused_rule(
        r#""transform":{"include":["a"],"exclude":["a.b"],
            "rename":{"c":"d","a.b":"e","a.b.c":"f"}}"#,
        expect![[r#"
            rules[0].transform.rename: `a.b` is removed by `exclude`
            rules[0].transform.rename: `a.b.c` is removed by `exclude`
            rules[0].transform.rename: `a.b.c` overlaps with the path of another `rename`
            rules[0].transform.rename: `c` is not kept by `include`"#]],
    );
    refused_rule(
        r#""transform":{}"#,
        expect![
            "rules[0].transform: the transform is empty: write `include`, `exclude`, \
             `rename`, `add` or `event_type`"
        ],
    );
    refused_rule(
        r#""transform":{"include":["payload.a","l[0]","a..b"]}"#,
        expect![[r#"
            rules[0].transform.include[0]: a path in a transform starts in the payload: leave out `payload.`
            rules[0].transform.include[1]: a transform does not reach into lists: name the list as a whole
            rules[0].transform.include[2]: invalid path `a..b`: a name in it is empty"#]],
    );
    refused_rule(
        r#""transform":{"event_type":""}"#,
        expect!["rules[0].transform.event_type: the event type is empty"],
    );
    refused_rule(
        r#""transform":{"exclude":["a"],"version":2}"#,
        expect!["rules[0].transform.version: `version` requires an `event_type` beside it"],
    );
    refused_rule(
        r#""transform":{"event_type":"x.y","version":0}"#,
        expect!["rules[0].transform.version: `version` must be at least 1"],
    );
    refused_rule(
        r#""transform":{"include":["a","b"],"rename":{"a":"b","b":"a"}}"#,
        expect!["in order"],
    );
}

#[test]
fn an_all_or_nothing_rule_shares_no_destination() {
    let config = |other: Rule| {
        to(&["a", "b", "c"]).rule(other).rule(
            Rule::new("both")
                .events(["order.*"])
                .to(["a", "b"])
                .all_or_nothing(),
        )
    };
    let audit = || Rule::new("audit").events(["invoice.*"]);
    expect![
        "rules[1].to: rules `audit` and `both` both lead to `a`, and rule `both` is \
             all-or-nothing: events of one aggregate would overtake each other there; give one of \
             them a destination of its own, with the same publisher and topic"
    ]
    .assert_eq(
        &config(audit().to(["c", "a"]))
            .build()
            .unwrap_err()
            .to_string(),
    );
    assert!(
        config(audit().events(["order.placed"]).stop().to(["a"]))
            .build()
            .is_err()
    );
    assert!(config(audit().to(["c"])).build().is_ok());
    expect![
        "rules[0].fallback: `b` belongs to the all-or-nothing rule `both`, whose events and \
             those that fall back would overtake each other there; fall back on a destination of \
             its own, with the same publisher and topic"
    ]
    .assert_eq(
        &config(audit().to(["c"]).fallback("b"))
            .build()
            .unwrap_err()
            .to_string(),
    );
    assert!(config(audit().to(["c"])).fallback("a").build().is_err());
    assert!(config(audit().to(["c"])).fallback("c").build().is_ok());
}

#[test]
fn a_share_is_a_share() {
    refused_rule(
        r#""sample":1.5"#,
        expect!["rules[0].sample: a sample is a share above 0 and up to 1, not 1.5"],
    );
    refused_rule(
        r#""sample":-0.1"#,
        expect!["rules[0].sample: a sample is a share above 0 and up to 1, not -0.1"],
    );
    refused_rule(
        r#""delay":"90000d""#,
        expect!["rules[0].delay: a duration is at most 36500d"],
    );
    let nan = to(&["a"]).rule(Rule::new("r").to(["a"]).sample(f64::NAN));
    assert!(nan.build().is_err());
}

#[test]
fn an_unknown_kind_is_refused_with_a_hint() {
    refused_rule(
        r#""kind":"integraton""#,
        expect![[r#"
            rules[0].kind: unknown kind `integraton`: the kinds are `domain`, `integration`, `any`; did you mean `integration`?"#]],
    );
    refused_rule(
        r#""kind":7"#,
        expect![[r#"
            rules[0].kind: expected a text, found a number"#]],
    );
}

#[test]
fn a_condition_that_no_kind_meets_is_refused() {
    refused_rule(
        r#""when":{"envelope.kind":"integraton"}"#,
        expect![[r#"
            rules[0].when: this rule can never apply: no event that it takes meets what it asks of `envelope.kind`, which is `domain` or `integration`"#]],
    );
    refused_rule(
        r#""kind":"domain","when":{"envelope.kind":"integration"}"#,
        expect![[r#"
            rules[0].when: this rule can never apply: no event that it takes meets what it asks of `envelope.kind`, which is `domain` or `integration`"#]],
    );
    refused_rule(
        r#""when":{"envelope.kind":{"exists":false}}"#,
        expect![[r#"
            rules[0].when: this rule can never apply: no event that it takes meets what it asks of `envelope.kind`, which is `domain` or `integration`"#]],
    );
    refused_rule(
        r#""kind":"any","when":{"envelope.kind":"integration"}"#,
        expect!["in order"],
    );
}

#[test]
fn a_rule_that_stops_takes_the_events_of_its_kind() {
    let rules = |first: &str, second: &str| {
        format!(
            r#"{{"version":1,"destinations":{{"a":{{}}}},
                "rules":[{{"name":"one","to":["a"],"stop":true{first}}},
                         {{"name":"two","to":["a"]{second}}}]}}"#
        )
    };
    let (domain, integration) = (r#","kind":"domain""#, r#","kind":"integration""#);
    refused(&rules(domain, integration), expect!["in order"]);
    refused(&rules(domain, ""), expect!["in order"]);
    refused(
        &rules(domain, domain),
        expect![[r#"
            rules[1]: this rule can never apply: rule `one` before it stops with each of its events"#]],
    );
    refused(
        &rules(r#","kind":"any""#, integration),
        expect![[r#"
            rules[1]: this rule can never apply: rule `one` before it stops with each of its events"#]],
    );
}
