//! Laws for all rules, events and payloads.

use proptest::prelude::*;
use proptest::strategy::Strategy;
use serde_json::{Value, json};

use super::*;
use crate::retry::{Backoff, RetryPolicy};

/// JSON whose names and values are few, so that conditions meet them.
fn payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        (-30i64..30).prop_map(|tenths| Value::from(tenths as f64 / 10.0)),
        "[ab]{0,2}".prop_map(Value::from),
        (-30i64..30).prop_map(|tenths| Value::from(format!("{:.1}", tenths as f64 / 10.0))),
    ];
    let any = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[abc]", any, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        (-3i64..3).prop_map(Literal::from),
        (-3.0f64..3.0).prop_map(Literal::from),
        "[ab]{0,2}".prop_map(Literal::from),
        (-30i64..30).prop_map(|tenths| Literal::from(format!("{:.2}", tenths as f64 / 10.0))),
        any::<i128>().prop_map(Literal::from),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec("[abc]|0|1", 1..4)
            .prop_map(|names| format!("payload.{}", names.join("."))),
        prop::sample::select(vec![
            "envelope.event_type",
            "envelope.tenant",
            "envelope.version",
            "envelope.headers.x"
        ])
        .prop_map(str::to_owned),
    ]
}

fn test() -> impl Strategy<Value = Condition> {
    let one = (path(), literal(), 0..7usize);
    let one = one.prop_map(|(path, value, operator)| {
        let field = field(path);
        match operator {
            0 => field.eq(value),
            1 => field.ne(value),
            2 => field.gt(value),
            3 => field.gte(value),
            4 => field.lt(value),
            5 => field.lte(value),
            _ => field.exists(),
        }
    });
    let several = (
        path(),
        prop::collection::vec(literal(), 1..4),
        any::<bool>(),
    );
    let several = several.prop_map(|(path, values, is_in)| {
        if is_in {
            field(path).is_in(values)
        } else {
            field(path).not_in(values)
        }
    });
    prop_oneof![3 => one, 1 => several]
}

fn condition() -> impl Strategy<Value = Condition> {
    test().prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Condition::Any),
            inner.prop_map(|condition| !condition),
        ]
    })
}

/// True if a condition holds, also one that a router refuses because it never holds.
fn truth(condition: &Condition, payload: &Value) -> bool {
    // Beside a condition that can hold, the router refuses nothing.
    let never_refused = condition.clone().or(field("payload.zzz").exists());
    holds(never_refused, &event("a.b", &payload.to_string()))
}

fn duration() -> impl Strategy<Value = Option<Duration>> {
    prop::option::of(
        (0u64..10_000, 0u32..1_000_000_000)
            .prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
    )
}

fn transform() -> impl Strategy<Value = Transform> {
    let texts = || prop::collection::vec("[a-c]{1,2}", 0..3);
    let rename = prop::collection::btree_map("[a-c]", "[d-f]", 0..3);
    let add = prop::collection::btree_map("[g-i]", payload(), 0..3);
    let own_type = prop::option::of(("[a-c.]{1,6}", prop::option::of(1u32..9)));
    (texts(), texts(), rename, add, own_type).prop_map(
        |(include, exclude, rename, add, own_type)| {
            let (event_type, version) = own_type.unzip();
            Transform {
                include,
                exclude,
                rename,
                add,
                event_type,
                version: version.flatten(),
            }
        },
    )
}

prop_compose! {
    fn rule()(
        name in "\\PC{1,8}",
        events in prop::collection::vec("[a-c.*]{1,6}", 0..3),
        when in prop::option::of(condition()),
        destinations in prop::collection::vec("[abc]", 0..3),
        flags in any::<[bool; 5]>(),
        transform in prop::option::of(transform()),
        sample in prop::option::of((1u32..999).prop_map(|share| f64::from(share) / 1000.0)),
        (retry, fallback) in (prop::option::of("\\PC{0,5}"), prop::option::of("[a-c]")),
        (delay, expires_after) in (duration(), duration()),
    ) -> Rule {
        let [keeps_order, stop, whole, continues, copy] = flags;
        let strategy = match whole {
            true => super::Strategy::AllOrNothing,
            false => super::Strategy::BestEffort,
        };
        let head_of_line = if continues { HeadOfLine::Continue } else { HeadOfLine::Hold };
        Rule {
            events, when, strategy, transform, sample, delay, keeps_order, expires_after, retry,
            head_of_line, fallback, stop, copy,
            ..Rule::new(name).to(destinations)
        }
    }
}

prop_compose! {
    fn config()(
        rules in prop::collection::vec(rule(), 0..4),
        destinations in prop::collection::btree_map("\\PC{1,5}", any::<[bool; 5]>(), 0..4),
        fallback in prop::option::of("[a-c]"),
        policies in prop::collection::btree_map("\\PC{1,5}", (0u64..100, 0u64..100, 1u32..9), 0..3),
    ) -> RouterConfig {
        let mut config = RouterConfig { rules, fallback, ..RouterConfig::default() };
        for (name, [publisher, topic, key, partition, versioned]) in destinations {
            let mut destination = Destination::new(name);
            let text = |is_set: bool| is_set.then(|| Arc::from("text"));
            destination.publisher = text(publisher);
            destination.topic = text(topic);
            destination.routing_key = text(key);
            destination.partition_key = text(partition);
            destination.versioned = versioned;
            config = config.destination(destination);
        }
        // In the order of a file: by name.
        config.destinations.sort_by(|a, b| a.name.cmp(&b.name));
        for (name, (base, cap, max_attempts)) in policies {
            let [base, cap] = [base, cap].map(Duration::from_millis);
            let transient = RetryPolicy::exponential(base, cap, max_attempts);
            let is_fixed = max_attempts > 4;
            let throttled = if is_fixed { Backoff::Fixed(base) } else { Backoff::Immediate };
            config = config.retry_policy(name, RetryPolicies { transient, throttled });
        }
        config
    }
}

proptest! {
    #[test]
    fn not_not_is_nothing(c in condition(), payload in payload()) {
        prop_assert_eq!(truth(&!!c.clone(), &payload), truth(&c, &payload));
        prop_assert_eq!(truth(&!c.clone(), &payload), !truth(&c, &payload));
    }

    #[test]
    fn all_and_any_are_what_they_say(
        parts in prop::collection::vec(condition(), 1..4),
        payload in payload(),
    ) {
        let holds = |condition: &Condition| truth(condition, &payload);
        let truths: Vec<bool> = parts.iter().map(holds).collect();
        let (all, any) = (Condition::all(parts.clone()), Condition::any(parts.clone()));
        prop_assert_eq!(holds(&all), truths.iter().all(|truth| *truth));
        prop_assert_eq!(holds(&any), truths.iter().any(|truth| *truth));
        let not: Vec<Condition> = parts.into_iter().map(|part| !part).collect();
        prop_assert_eq!(holds(&!all), holds(&Condition::any(not.clone())));
        prop_assert_eq!(holds(&!any), holds(&Condition::all(not)));
    }

    #[test]
    fn of_two_numbers_one_is_less_or_they_are_equal(
        a in -1000i64..1000,
        b in -1000i64..1000,
        as_text in any::<bool>(),
    ) {
        let payload = if as_text { json!({"a": format!("{a}.00")}) } else { json!({"a": a}) };
        let ask = |test: fn(Field, Literal) -> Condition| {
            truth(&test(field("payload.a"), b.into()), &payload)
        };
        prop_assert_eq!([ask(Field::lt), ask(Field::eq), ask(Field::gt)], [a < b, a == b, a > b]);
        let (lte, ne, gte) = (ask(Field::lte), ask(Field::ne), ask(Field::gte));
        prop_assert_eq!((lte, ne, gte), (a <= b, a != b, a >= b));
    }

    #[test]
    fn what_is_refused_as_contradiction_never_holds(c in condition(), payload in payload()) {
        let config = to(&["a"]).rule(Rule::new("r").when(c.clone()).to(["a"]));
        prop_assert!(config.build().is_ok() || !truth(&c, &payload));
    }

    #[test]
    fn a_configuration_comes_back_from_json_and_toml(config in config()) {
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(&RouterConfig::from_json(&json).unwrap(), &config, "{}", json);
        prop_assert_eq!(&serde_json::from_str::<RouterConfig>(&json).unwrap(), &config);
        let has_null = json.contains("null");
        if !has_null {
            let text = toml::to_string(&config).unwrap();
            let read = RouterConfig::read(toml::Deserializer::parse(&text).unwrap());
            prop_assert_eq!(&read.unwrap(), &config, "{}", text);
        }
        let _ = config.build();
    }

    #[test]
    fn no_payload_makes_it_panic(
        c in condition(),
        text in "\\PC{0,40}",
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        t in transform(),
    ) {
        let config = to(&["a", "b"])
            .rule(Rule::new("r").when(c.or(field("payload.zzz").exists())).to(["a"]))
            .rule(Rule::new("s").to(["b"]).transform(t));
        if let Ok(router) = config.build() {
            for payload in [text.into_bytes(), bytes] {
                let mut envelope = Envelope::new("a.b", 1, Utc::now(), payload.clone());
                envelope.headers = payload.clone().into();
                (envelope.routing, envelope.routing_version) = (payload.into(), 1);
                let _ = router.route(&Arc::new(envelope.clone()));
                (envelope.routing, envelope.routing_version) = Default::default();
                let envelope = Arc::new(envelope);
                let _ = (router.route(&envelope), router.resume(&envelope, "b"));
            }
        }
    }

    #[test]
    fn no_text_and_no_json_makes_reading_panic(
        text in "\\PC{0,60}",
        value in payload(),
        rule in payload(),
    ) {
        let first = json!({"name": "r", "to": "a", "when": rule, "transform": value});
        let nested = json!({"version": 1, "destinations": {"a": value}, "rules": [first, rule]});
        for text in [text, value.to_string(), nested.to_string()] {
            let _ = RouterConfig::from_json(&text).and_then(|config| config.build());
        }
    }

    #[test]
    fn including_and_excluding_divide_a_payload(
        payload in payload(),
        names in prop::collection::vec("[abc]", 1..3),
    ) {
        let run = |transform: Transform| -> serde_json::Map<String, Value> {
            let rule = Rule::new("r").to(["a"]).transform(transform);
            let router = to(&["a"]).rule(rule).build().unwrap();
            let targets = router.route(&event("a.b", &payload.to_string())).unwrap();
            serde_json::from_slice(&targets[0].envelope.payload).unwrap()
        };
        let kept = run(Transform::default().include(names.clone()));
        let rest = run(Transform::default().exclude(names.clone()));
        let both: serde_json::Map<_, _> = kept.into_iter().chain(rest).collect();
        prop_assert_eq!(Value::Object(both), payload.clone());
        prop_assert!(run(Transform::default().include(names.clone()).exclude(names)).is_empty());
    }

    #[test]
    fn renaming_back_changes_nothing_and_adding_twice_adds_once(
        payload in payload(),
        value in payload(),
    ) {
        let run = |transform: Transform, payload: &Value| -> Value {
            let rule = Rule::new("r").to(["a"]).transform(transform);
            let router = to(&["a"]).rule(rule).build().unwrap();
            let targets = router.route(&event("a.b", &payload.to_string())).unwrap();
            serde_json::from_slice(&targets[0].envelope.payload).unwrap()
        };
        let there = run(Transform::default().rename("a", "x").rename("b", "y.z"), &payload);
        let there_and_back = Transform::default().rename("x", "a").rename("y.z", "b");
        let mut back = run(there_and_back.exclude(["y.none"]), &there);
        back.as_object_mut().unwrap().remove("y");
        prop_assert_eq!(&back, &payload);
        let add = || Transform::default().add("n", value.clone()).add("m.o", 1);
        let once = run(add(), &payload);
        prop_assert_eq!(run(add(), &once), once);
    }

    #[test]
    fn a_smaller_sample_lies_within_a_larger_one(share in 0.01f64..1.0, larger in 0.0f64..1.0) {
        let larger = share + (1.0 - share) * larger;
        let rule = |share| Rule::new("r").to(["a"]).sample(share);
        let router = |share| to(&["a"]).rule(rule(share)).build().unwrap();
        let (small, large) = (router(share), router(larger));
        let envelope = event("a.b", "{}");
        let takes = |router: &Router| !router.route(&envelope).unwrap().is_empty();
        prop_assert!(!takes(&small) || takes(&large));
        prop_assert_eq!(takes(&small), takes(&router(share)), "the same in every process");
    }
}

#[test]
fn a_sample_has_its_share() {
    let envelopes: Vec<_> = (0..20_000).map(|_| event("a.b", "{}")).collect();
    for share in [0.01, 0.1, 0.5, 0.9, 1.0] {
        let router = to(&["a"])
            .rule(Rule::new("r").to(["a"]).sample(share))
            .build()
            .unwrap();
        let taken = envelopes
            .iter()
            .filter(|envelope| !router.route(envelope).unwrap().is_empty())
            .count() as f64;
        // Six standard deviations: it fails once in a billion runs.
        let (expected, deviation) = (20_000.0 * share, (20_000.0 * share * (1.0 - share)).sqrt());
        assert!(
            (taken - expected).abs() <= 6.0 * deviation,
            "{taken} of 20000 for {share}"
        );
    }
}

#[test]
fn the_sample_of_an_event_never_changes() {
    let sampled = |id: u128| {
        let id = bento_core::id::EventId::from(uuid::Uuid::from_u128(id));
        let envelope = Arc::new(Envelope::with_id(id, "a.b", 1, DateTime::UNIX_EPOCH, "{}"));
        let router = to(&["a"])
            .rule(Rule::new("r").to(["a"]).sample(0.5))
            .build()
            .unwrap();
        !router.route(&envelope).unwrap().is_empty()
    };
    let bits: String = (0..16)
        .map(|id| if sampled(id) { '1' } else { '0' })
        .collect();
    assert_eq!(
        bits, "0100001111111001",
        "another hash would sample other events after a deploy"
    );
}
