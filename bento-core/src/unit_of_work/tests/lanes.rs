//! With several lanes an aggregate keeps its tenant; with one lane it need not have any.

use super::*;

fn several() -> Sharding {
    Sharding {
        lanes: 4.try_into().unwrap(),
        ..Sharding::default()
    }
}

fn count_for(counter: &mut Counter, tenant: Option<&str>) {
    counter.raise_with(Counted { number: 1 }, |metadata| Metadata {
        tenant_id: tenant.map(str::to_owned),
        ..metadata
    });
}

/// Raises an event for each of the tenants from one aggregate.
fn raised(tenants: &[Option<&str>]) -> (UnitOfWork, FrameId) {
    let (unit_of_work, root) = UnitOfWork::open();
    let mut counter = Counter::new(7);
    unit_of_work.scope_sync(|| {
        tenants
            .iter()
            .for_each(|tenant| count_for(&mut counter, *tenant))
    });
    (unit_of_work, root)
}

fn rule_of(refused: &FlushError) -> &TenantOfAggregate {
    let FlushError::TenantOfAggregate {
        event_type, rule, ..
    } = refused
    else {
        panic!("{refused}")
    };
    assert_eq!(event_type, "unit.counted");
    rule
}

#[test]
fn an_ordered_event_without_a_tenant_is_refused_with_a_way_out() {
    let (unit_of_work, root) = raised(&[Some("acme"), None]);
    let refused = unit_of_work.flush(root, &several()).unwrap_err();
    assert!(matches!(
        rule_of(&refused),
        TenantOfAggregate::Missing { aggregate_id, .. } if aggregate_id == "7"
    ));
    for part in ["`counter` `7` has no tenant", "4 lanes", "bind_tenant"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    unit_of_work.bind_tenant("acme").unwrap();
    assert_eq!(
        unit_of_work.flush(root, &several()).unwrap().entries.len(),
        2,
        "nothing is lost"
    );
}

#[test]
fn two_tenants_of_one_aggregate_are_refused_with_both() {
    let (unit_of_work, root) = raised(&[Some("acme"), Some("acme"), Some("other")]);
    let refused = unit_of_work.flush(root, &several()).unwrap_err();
    let TenantOfAggregate::Changed { first, second, .. } = rule_of(&refused) else {
        panic!("{refused}")
    };
    assert_eq!((first.as_str(), second.as_str()), ("acme", "other"));
}

#[test]
fn another_tenant_is_refused_after_a_flush_too() {
    let (unit_of_work, root) = raised(&[Some("acme")]);
    unit_of_work.flush(root, &several()).unwrap().done();
    let mut counter = Counter::new(7);
    unit_of_work.scope_sync(|| count_for(&mut counter, Some("other")));
    let refused = unit_of_work.flush(root, &several()).unwrap_err();
    assert!(
        matches!(rule_of(&refused), TenantOfAggregate::Changed { .. }),
        "{refused}"
    );
}

#[test]
fn a_key_needs_a_tenant_and_an_event_without_order_does_not() {
    let (unit_of_work, root) = UnitOfWork::open();
    unit_of_work.scope_sync(|| raise_number(1));
    unit_of_work.flush(root, &several()).unwrap().done();
    unit_of_work
        .enqueue(root, "audit", "order-1", Bytes::from_static(b""))
        .unwrap();
    let refused = unit_of_work.flush(root, &several()).unwrap_err();
    assert!(
        matches!(refused, FlushError::TenantOfAggregate { .. }),
        "{refused}"
    );
}

#[test]
fn with_one_lane_any_tenant_and_none_will_do() {
    let (unit_of_work, root) = raised(&[Some("acme"), None, Some("other")]);
    let flush = unit_of_work.flush(root, &Sharding::default()).unwrap();
    assert!(
        flush
            .entries
            .iter()
            .all(|entry| entry.shard == flush.entries[0].shard),
        "one shard keeps their order"
    );
}
