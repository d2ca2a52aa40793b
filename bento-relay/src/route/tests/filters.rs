//! Conditions without a rule.

use expect_test::{Expect, expect};

use super::*;

fn read(json: &str) -> Result<Condition, RouterErrors> {
    Condition::read(&mut serde_json::Deserializer::from_str(json))
}

/// The faults of a condition for events of these types.
#[track_caller]
fn refused(json: &str, event_types: &[&str], message: Expect) {
    let error = read(json).and_then(|when| Filter::new(&when, event_types));
    message.assert_eq(&error.unwrap_err().to_string());
}

#[test]
fn a_filter_asks_as_a_rule_does() {
    let when = r#"{"payload.total": {"gte": 1000}, "envelope.tenant": ["acme"]}"#;
    assert!(
        read(when).is_err(),
        "several values are compared with by `in`"
    );
    let when = r#"{"payload.total": {"gte": 1000}, "envelope.tenant": {"in": ["acme", "x"]}}"#;
    let condition = read(when).unwrap();
    let filter = Filter::new(&condition, ["*"]).unwrap();
    for (total, tenant, expected) in [
        ("1000.00", Some("acme"), true),
        ("1000", Some("other"), false),
        ("999", Some("acme"), false),
        ("1000", None, false),
    ] {
        let mut event =
            Arc::unwrap_or_clone(event("order.placed", &format!("{{\"total\":{total}}}")));
        event.tenant_id = tenant.map(Into::into);
        assert_eq!(filter.holds(&event), expected, "{total} {tenant:?}");
        assert_eq!(holds(condition.clone(), &Arc::new(event)), expected);
    }
    let of_all = Filter::new(&!field("payload.a").exists(), ["*"]).unwrap();
    assert!(of_all.holds(&event("order.placed", "no JSON")));
}

#[test]
fn what_is_wrong_with_a_filter_is_told_at_once() {
    refused(
        r#"{"total": 5, "payload.total": {"gt": true}, "envelope.tennant": "acme"}"#,
        &["*"],
        expect![[r#"
            when.all[0].total: invalid path `total`: begin it with `payload.` or `envelope.`
            when.all[1].payload.total.gt: only numbers and texts are greater or less: compare this by `eq` or `ne`
            when.all[2].envelope.tennant: unknown envelope field `tennant`: the fields are `event_type`, `version`, `kind`, `event_id`, `aggregate_type`, `aggregate_id`, `sequence`, `tenant`, `topic`, `routing_key`, `content_encoding`, `correlation_id`, `causation_id`, `source`, `actor`, `headers.…`"#]],
    );
    refused(
        r#"{"payload.total": {"gtt": 5}, "any": 3, "not": {}}"#,
        &["*"],
        expect![[r#"
            payload.total.gtt: unknown operator `gtt`: the operators are `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in`, `nin`, `exists`
            any: expected a list, found a number
            not: a condition says something: write `all`, `any`, `not` or a path as in "payload.total""#]],
    );
    refused(
        r#"{"payload.total": {"gt": 5, "lt": 3}}"#,
        &["*"],
        expect![
            "when: no event can meet this condition: what it asks of `payload.total` contradicts \
             itself"
        ],
    );
    refused(
        r#"{"envelope.event_type": "order.paid"}"#,
        &["order.placed", "invoice.*"],
        expect![
            "when: no event can meet this condition: what it asks of `envelope.event_type` \
             contradicts itself"
        ],
    );
    let paid = read(r#"{"envelope.event_type": "order.paid"}"#).unwrap();
    assert!(Filter::new(&paid, ["order.*"]).is_ok());
}
