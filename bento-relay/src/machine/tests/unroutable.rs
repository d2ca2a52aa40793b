//! Events that a relay finds no way for: who waits for them, and where they go once a relay knows
//! one.

use super::plan::{Plan, all, along, held_for, key_for, plan, to, words};
use super::*;

const QUEUE: &str = NewDeadLetter::UNROUTABLE;

fn clueless() -> Machine<Plan> {
    along(Plan {
        refuses: true,
        ..Plan::default()
    })
}

/// A relay that knows `a`, and events that name destinations themselves.
fn by_name(names: &[&str], streams: &[u8]) -> (Machine, Advanced) {
    let router = Router::to(Destination::new("a"));
    let mut advanced = pending(streams);
    for row in &mut advanced.pending {
        let named = serde_json::json!({ "destinations": names }).to_string();
        let envelope = Arc::make_mut(&mut row.envelope);
        (envelope.routing, envelope.routing_version) = (named.into(), 1);
    }
    (Machine::new(router, RetryPolicies::default(), 7), advanced)
}

fn settled_of(machine: &mut Machine) -> Vec<String> {
    machine
        .take_settlements()
        .iter()
        .map(super::plan::in_words)
        .collect()
}

#[test]
fn an_event_without_a_rule_is_held_with_its_aggregate() {
    let mut machine = clueless();
    take(&mut machine, pending(&[1, 1, 0]));
    assert!(machine.next_wave(&mut always).is_none());
    let expected = [
        "1 held for unroutable: unroutable for 5",
        "2 held for unroutable: behind",
        "3 held for unroutable: unroutable for 5 without a place",
    ];
    assert_eq!(words(&mut machine), expected);
    assert_eq!(machine.take_missing().len(), 1);
}

#[test]
fn an_event_that_names_the_queue_itself_stays_in_it() {
    for name in [NewDeadLetter::UNROUTABLE, NewDeadLetter::UNREADABLE] {
        let (mut machine, advanced) = by_name(&["a", name], &[1]);
        let envelope = Arc::clone(&advanced.pending[0].envelope);
        take(&mut machine, advanced);
        assert_eq!(
            settled_of(&mut machine),
            ["1 held for unroutable: unroutable for 5"],
            "{name}"
        );
        let mut held = held_for(QUEUE, 1, 1, 0);
        held.row.envelope = envelope;
        take(
            &mut machine,
            Advanced {
                held: vec![held],
                ..pending(&[])
            },
        );
        assert_eq!(
            settled_of(&mut machine),
            ["1 of unroutable unroutable for 5"],
            "{name}"
        );
    }
}

#[test]
fn a_destination_that_has_the_name_of_the_queue_loses_nothing() {
    let mut machine = Machine::new(
        Router::to(Destination::new(QUEUE)),
        RetryPolicies::default(),
        7,
    );
    take(
        &mut machine,
        Advanced {
            held: vec![held_for(QUEUE, 1, 1, 1)],
            ..pending(&[])
        },
    );
    assert_eq!(
        settled_of(&mut machine),
        ["1 of unroutable unroutable for 5"]
    );
}

#[test]
fn what_is_sampled_out_is_done() {
    let mut sampled_out = 0;
    let mut machine = along(plan([]));
    let count = &mut |_: &Envelope, _: &str, decision: Decision<'_>| {
        sampled_out += u32::from(decision == Decision::Filtered)
    };
    machine.take(
        pending(&[1]),
        9,
        now(),
        &mut World::default().reach(),
        count,
    );
    assert_eq!(
        (words(&mut machine), sampled_out),
        (vec!["1 published".to_owned()], 1)
    );
}

#[test]
fn an_event_without_a_route_for_long_enough_dies_and_parks() {
    let after = |minutes: u64| HeldRow {
        unroutable_for: Some(Duration::from_secs(minutes * 60)),
        ..held_for(QUEUE, 1, 1, 0)
    };
    for (row, expected) in [
        (after(59), "1 of unroutable unroutable for 5"),
        (after(60), "1 of unroutable dead: unroutable, parks"),
        (
            HeldRow {
                route: Arc::from("newer"),
                ..after(59)
            },
            "1 of newer unroutable for 5",
        ),
        (
            HeldRow {
                route: Arc::from("newer"),
                ..after(60)
            },
            "1 of newer dead: unroutable, parks",
        ),
    ] {
        let mut machine = clueless();
        take(
            &mut machine,
            Advanced {
                held: vec![row, held_for(QUEUE, 2, 1, 0)],
                ..pending(&[])
            },
        );
        assert_eq!(words(&mut machine)[0], expected);
    }
    let mut impatient = clueless().unroutable_after(Duration::ZERO);
    take(&mut impatient, pending(&[1, 1]));
    assert_eq!(
        words(&mut impatient),
        [
            "1 dead for unroutable: unroutable, parks",
            "2 held for unroutable: behind"
        ]
    );
}

#[test]
fn an_event_whose_routes_are_known_now_moves_to_its_place_there() {
    let mut machine = along(plan([to("a"), all("bc", &["b", "c"])]));
    let held = vec![
        held_for("a", 0, 1, 1),
        held_for(QUEUE, 1, 1, 0),
        held_for(QUEUE, 2, 1, 0),
    ];
    let streams = Some(vec![key_for(QUEUE, 1), key_for("a", 1)]);
    take(
        &mut machine,
        Advanced {
            held,
            streams,
            ..pending(&[1])
        },
    );
    assert_eq!(
        confirm_all(&mut machine),
        ["a/1"],
        "what was held before it goes first"
    );
    let expected = [
        "1 of unroutable moved to a",
        "1 of unroutable moved to bc",
        "2 of unroutable moved to a",
        "2 of unroutable moved to bc",
        "1 held for a: behind",
        "1 held for bc: behind",
        "0 of a published",
    ];
    assert_eq!(words(&mut machine), expected);
    assert_eq!(
        machine.revision(),
        None,
        "the list of streams is read again"
    );
}

#[test]
fn a_later_event_waits_in_the_queue_of_its_aggregate() {
    let mut machine = along(plan([to("a")]));
    take(
        &mut machine,
        Advanced {
            streams: Some(vec![key_for(QUEUE, 1)]),
            ..pending(&[1, 2, 0])
        },
    );
    assert_eq!(confirm_all(&mut machine), ["a/2", "a/"]);
    assert_eq!(
        words(&mut machine),
        [
            "1 held for unroutable: behind",
            "2 published",
            "3 published"
        ]
    );
    // Unless all of the queue is here and has left it.
    let advanced = Advanced {
        streams: Some(vec![key_for(QUEUE, 1)]),
        ..pending(&[1])
    };
    take(
        &mut machine,
        Advanced {
            held: vec![held_for(QUEUE, 0, 1, 0)],
            ..advanced
        },
    );
    assert_eq!(
        words(&mut machine),
        ["0 of unroutable moved to a", "1 held for a: behind"]
    );
}

#[test]
fn an_event_of_the_queue_that_every_rule_samples_out_is_done() {
    let mut machine = along(plan([]));
    take(
        &mut machine,
        Advanced {
            held: vec![held_for(QUEUE, 1, 1, 0)],
            ..pending(&[])
        },
    );
    assert_eq!(words(&mut machine), ["1 of unroutable published"]);
}

#[test]
fn a_row_held_for_an_unknown_destination_keeps_its_attempts() {
    let mut machine = along(plan([to("a")]));
    let held = vec![held_for("newer", 1, 1, 3), held_for("newer", 2, 1, 0)];
    take(
        &mut machine,
        Advanced {
            held,
            streams: Some(vec![key_for("newer", 1)]),
            ..pending(&[1])
        },
    );
    assert_eq!(
        confirm_all(&mut machine),
        ["a/1"],
        "the other destinations do not wait"
    );
    assert_eq!(
        words(&mut machine),
        ["1 of newer unroutable for 5", "1 published"]
    );
}

#[test]
fn an_unknown_destination_of_an_event_waits_alone() {
    let (mut machine, advanced) = by_name(&["a", "newer", "a", "newer"], &[1, 1]);
    take(&mut machine, advanced);
    assert_eq!(confirm_all(&mut machine), ["a/1", "a/1"]);
    assert_eq!(
        settled_of(&mut machine),
        [
            "1 held for newer: unroutable for 5",
            "2 held for newer: behind"
        ]
    );
    let expected = std::collections::BTreeSet::from([Missing::Destination("newer".to_owned())]);
    assert_eq!(machine.take_missing(), expected);
}

#[test]
fn routing_of_a_later_release_waits_and_unreadable_does_not() {
    for (version, text, expected) in [
        (2, "{}", "1 held for unroutable: unroutable for 5"),
        (1, "{", "1 dead for unroutable: unroutable, parks"),
    ] {
        let (mut machine, mut advanced) = by_name(&[], &[1]);
        let envelope = Arc::make_mut(&mut advanced.pending[0].envelope);
        (envelope.routing, envelope.routing_version) = (text.into(), version);
        take(&mut machine, advanced);
        assert_eq!(settled_of(&mut machine), [expected]);
    }
}

#[test]
fn an_unserved_destination_holds_only_its_own_events() {
    let mut machine = along(plan([to("a"), to("b")]));
    let world = World {
        unserved: HashSet::from(["b"]),
        ..World::default()
    };
    take_in(&mut machine, pending(&[1]), &world);
    assert_eq!(confirm_all(&mut machine), ["a/1"]);
    assert_eq!(words(&mut machine), ["1 held for b: unroutable for 5"]);
}

#[test]
fn an_unroutable_event_waits_for_its_paused_tenant_first() {
    let mut machine = clueless();
    let mut advanced = pending(&[1]);
    Arc::make_mut(&mut advanced.pending[0].envelope).tenant_id = Some("paused".to_owned());
    take(
        &mut machine,
        Advanced {
            paused_tenants: vec!["paused".to_owned()],
            ..advanced
        },
    );
    assert_eq!(words(&mut machine), ["1 held for unroutable: behind"]);
}
