//! Events that are delayed, and events whose time is over.

use super::plan::{along, held_for, key_for, plan, to, words};
use super::*;

#[test]
fn a_delayed_event_leaves_its_order_unless_the_route_keeps_it() {
    let delay = Some(Duration::from_secs(1_000_060));
    for (keeps_order, expected) in [
        (
            false,
            [
                "1 held for a: delayed 60 without a place",
                "2 held for a: delayed 60 without a place",
            ],
        ),
        (true, ["1 held for a: delayed 60", "2 held for a: behind"]),
    ] {
        let mut machine = along(plan([Route {
            delay,
            keeps_order,
            ..to("a")
        }]));
        take(&mut machine, pending(&[1, 1]));
        assert!(machine.next_wave(&mut always).is_none());
        assert_eq!(words(&mut machine), expected);
    }
    let mut due = along(plan([Route {
        delay: Some(Duration::from_secs(1_000_000)),
        ..to("a")
    }]));
    take(&mut due, pending(&[1]));
    assert_eq!(confirm_all(&mut due), ["a/1"]);
}

#[test]
fn a_held_row_before_its_time_waits_on_and_keeps_its_place() {
    let route = Route {
        delay: Some(Duration::from_secs(1_000_060)),
        keeps_order: true,
        ..to("a")
    };
    let mut machine = along(plan([route]));
    let held = vec![held_for("a", 1, 1, 0), held_for("a", 2, 1, 1)];
    take(
        &mut machine,
        Advanced {
            held,
            streams: Some(vec![key_for("a", 1)]),
            ..pending(&[])
        },
    );
    assert!(machine.next_wave(&mut always).is_none());
    let settled = machine.take_settlements();
    let [
        Settlement {
            place: Place::Held,
            position: 1,
            outcome: Outcome::Retry(failure),
            ..
        },
    ] = &settled[..]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((failure.attempts, failure.retry_after.as_secs()), (0, 60));
}

#[test]
fn an_expired_event_is_a_dead_letter_that_parks_nothing() {
    let route = Route {
        expires_after: Some(Duration::from_secs(10)),
        ..to("a")
    };
    let mut machine = along(plan([route]));
    let held = vec![held_for("a", 1, 1, 1)];
    take(
        &mut machine,
        Advanced {
            held,
            ..pending(&[2])
        },
    );
    assert!(machine.next_wave(&mut always).is_none());
    assert_eq!(
        words(&mut machine),
        ["1 of a dead: expired", "1 dead for a: expired"]
    );
}

#[test]
fn nothing_overtakes_a_delayed_event_that_keeps_its_place() {
    let route = Route {
        delay: Some(Duration::from_secs(1_000_060)),
        keeps_order: true,
        ..to("a")
    };
    let mut machine = along(plan([route]));
    let held = vec![held_for("a", 1, 1, 1)];
    let mut advanced = Advanced {
        held,
        streams: Some(vec![key_for("a", 1)]),
        ..pending(&[1, 1])
    };
    let at = |row: &mut OutboxRow, seconds| {
        Arc::make_mut(&mut row.envelope).occurred_at =
            DateTime::UNIX_EPOCH - Duration::from_secs(seconds);
    };
    at(&mut advanced.pending[1], 60);
    take(&mut machine, advanced);
    assert_eq!(confirm_all(&mut machine), ["a/1"]);
    machine.close(&mut ignore);
    let expected = [
        "1 held for a: delayed 60",
        "2 held for a: behind",
        "1 of a published",
    ];
    assert_eq!(words(&mut machine), expected);
}
