//! Transforms of payloads.

use super::*;

fn transformed(transform: Transform, payload: &str) -> Result<String, RouteError> {
    let router = to(&["a"])
        .rule(Rule::new("r").to(["a"]).transform(transform))
        .build()
        .expect("it is in order");
    let targets = router.route(&event("x.y", payload))?;
    Ok(String::from_utf8(targets[0].envelope.payload.to_vec()).expect("JSON"))
}

#[track_caller]
fn gives(transform: Transform, payload: &str, expected: &str) {
    assert_eq!(transformed(transform, payload).as_deref(), Ok(expected));
}

fn does() -> Transform {
    Transform::default()
}

#[test]
fn the_steps_come_in_their_order() {
    let payload = r#"{"id":1,"customer":{"name":"Ann","country":"DE","vat":null},
        "total":10.50,"lines":[1,2]}"#;
    let all = does()
        .add("source", "shop")
        .rename("customer.country", "country")
        .exclude(["customer.vat"])
        .include(["id", "customer", "total"]);
    gives(
        all,
        payload,
        r#"{"id":1,"customer":{"name":"Ann"},"total":10.50,"country":"DE","source":"shop"}"#,
    );
}

#[test]
fn what_is_not_named_keeps_its_bytes() {
    let payload = r#"{"big":340282366920938463463374607431768211455,"exact":0.10000000000000000000001,"e":1E+2,"t":"\u0041","x":{ "y" : 1 },"gone":1}"#;
    gives(
        does().exclude(["gone"]),
        payload,
        &payload.replace(r#","gone":1"#, ""),
    );
}

#[test]
fn paths_lead_into_objects() {
    let payload = r#"{"a":{"b":{"c":1,"d":2},"e":3},"f":4}"#;
    gives(
        does().include(["a.b.c", "f"]),
        payload,
        r#"{"a":{"b":{"c":1}},"f":4}"#,
    );
    gives(does().include(["a.b.x", "f.g", "nothing"]), payload, "{}");
    gives(
        does().exclude(["a.b.c", "f.x", "x.y"]),
        payload,
        r#"{"a":{"b":{"d":2},"e":3},"f":4}"#,
    );
    gives(
        does().rename("a.b", "moved.b"),
        payload,
        r#"{"a":{"e":3},"f":4,"moved":{"b":{"c":1,"d":2}}}"#,
    );
    gives(
        does().add("a.b.c", 7).add("n.m", true),
        payload,
        r#"{"a":{"b":{"c":7,"d":2},"e":3},"f":4,"n":{"m":true}}"#,
    );
    gives(
        does().exclude([r"a\.b"]),
        r#"{"a.b":1,"c":2}"#,
        r#"{"c":2}"#,
    );
}

#[test]
fn two_names_may_change_places() {
    gives(
        does().rename("a", "b").rename("b", "a"),
        r#"{"a":1,"b":2,"c":3}"#,
        r#"{"c":3,"b":1,"a":2}"#,
    );
    gives(does().rename("missing", "x"), r#"{"a":1}"#, r#"{"a":1}"#);
}

#[test]
fn an_odd_name_is_written_as_json() {
    gives(does().add("a\"b\n", "c\"d"), "{}", r#"{"a\"b\n":"c\"d"}"#);
}

#[test]
fn what_cannot_be_done_is_an_error_and_loses_nothing() {
    for (transform, payload) in [
        (does().exclude(["a"]), "not JSON"),
        (does().exclude(["a"]), "[1]"),
        (does().exclude(["a"]), ""),
        (does().rename("a", "b"), r#"{"a":1,"b":2}"#),
        (does().rename("a", "b.c"), r#"{"a":1,"b":2}"#),
        (does().add("a.b", 1), r#"{"a":1}"#),
    ] {
        assert!(
            matches!(
                transformed(transform.clone(), payload),
                Err(RouteError::Invalid { .. })
            ),
            "{transform:?}"
        );
    }
    let mut encoded = Envelope::new("x.y", 1, DateTime::UNIX_EPOCH, "{}");
    encoded.content_encoding = Some("binary".to_owned());
    let router = to(&["a"])
        .rule(Rule::new("r").to(["a"]).transform(does().add("a", 1)))
        .build()
        .unwrap();
    assert!(matches!(
        router.route(&Arc::new(encoded)),
        Err(RouteError::Invalid { .. })
    ));
}

#[test]
fn a_rule_transforms_once_for_its_own_destinations_only() {
    let config = to(&["a", "b", "c"])
        .rule(
            Rule::new("thin")
                .to(["a", "b"])
                .transform(does().include(["id"])),
        )
        .rule(Rule::new("whole").to(["c"]));
    let router = config.build().unwrap();
    let original = event("x.y", r#"{"id":1,"secret":2}"#);
    let targets = router.route(&original).unwrap();
    assert_eq!(&*targets[0].envelope.payload, br#"{"id":1}"#);
    let of = |nth: usize| targets[nth].envelope.payload.as_ptr();
    assert_eq!(of(0), of(1), "the payload is made once");
    assert!(Arc::ptr_eq(&targets[2].envelope, &original));
    let resumed = router.resume(&original, "b").unwrap();
    assert_eq!(
        resumed.envelope, targets[1].envelope,
        "as it was the first time"
    );
}

#[test]
fn a_copy_is_a_message_of_its_own_on_each_route() {
    let router = to(&["a", "b", "c"])
        .rule(
            Rule::new("copies")
                .to(["a", "b"])
                .transform(does().exclude(["secret"])),
        )
        .rule(Rule::new("as it is").to(["c"]))
        .build()
        .expect("it is in order");
    let event = event("x.y", r#"{"secret":1}"#);
    let ids = |targets: Targets| {
        targets
            .iter()
            .map(|target| target.envelope.event_id)
            .collect::<Vec<_>>()
    };
    let targets = router.route(&event).expect("it is routed");
    let first = ids(targets.clone());
    assert_eq!(
        first[2], event.event_id,
        "what is not transformed is the event itself"
    );
    assert!(
        first[0] != first[1] && first[0] != event.event_id,
        "{first:?}"
    );
    assert_eq!(
        first,
        ids(router.route(&event).expect("it is routed")),
        "each attempt gives the same ids"
    );
    let types = targets
        .iter()
        .map(|target| (&*target.envelope.event_type, target.envelope.schema_version));
    let version = event.schema_version;
    assert_eq!(
        types.collect::<Vec<_>>(),
        [("x.y", 0), ("x.y", 0), ("x.y", version)]
    );
}

#[test]
fn a_copy_can_have_a_type_of_its_own() {
    let transform = does().exclude(["secret"]).event_type("public.y", 3);
    let rule = Rule::new("public").to(["a"]).transform(transform);
    let router = to(&["a"]).rule(rule).build().expect("it is in order");
    let targets = router
        .route(&event("x.y", r#"{"secret":1,"id":2}"#))
        .expect("it is routed");
    let copy = &targets[0].envelope;
    assert_eq!(
        (&*copy.event_type, copy.schema_version, &copy.payload[..]),
        ("public.y", 3, &br#"{"id":2}"#[..])
    );
}
