//! Several routes: the waves of each destination, and rows that they do not agree on.

use super::plan::{Plan, all, along, answer_of, held_for, in_words, plan, to, words};
use super::*;
use crate::route::HeadOfLine;
use crate::store::Failure;

#[test]
fn a_row_is_published_when_all_its_destinations_have_confirmed() {
    let mut machine = along(plan([to("a"), to("b")]));
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", || Ok(()));
    assert_eq!(words(&mut machine), [""; 0]);
    answer_of(&mut machine, "b", || Ok(()));
    assert_eq!(words(&mut machine), ["1 published"]);
}

#[test]
fn a_row_that_fails_at_one_destination_is_held_for_it_only() {
    let mut machine = along(plan([to("a"), to("b")]));
    take(&mut machine, pending(&[1, 1]));
    answer_of(&mut machine, "a", transient);
    answer_of(&mut machine, "b", || Ok(()));
    answer_of(&mut machine, "b", || Ok(()));
    machine.close(&mut ignore);
    assert_eq!(
        words(&mut machine),
        ["1 held for a: failed 1", "2 held for a: behind"]
    );
}

#[test]
fn waves_of_different_destinations_do_not_wait_for_each_other() {
    let mut machine = along(plan([to("slow"), to("quick")]));
    take(&mut machine, pending(&[1, 1, 1]));
    let slow = machine.next_wave(&mut always).unwrap();
    assert_eq!(&**slow.destination(), "slow");
    assert_eq!(confirm_all(&mut machine), ["quick/1", "quick/1", "quick/1"]);
    machine.answer(slow, vec![Ok(())], &mut ignore);
    assert_eq!(words(&mut machine), ["1 published"]);
    assert_eq!(confirm_all(&mut machine), ["slow/1", "slow/1"]);
}

#[test]
fn an_unfinished_row_is_held_if_another_destination_has_it() {
    let mut machine = along(plan([to("a"), to("b")]));
    take(&mut machine, pending(&[1, 1, 2]));
    answer_of(&mut machine, "a", || Ok(()));
    machine.close(&mut ignore);
    let mut settled = words(&mut machine);
    settled.sort();
    assert_eq!(
        settled,
        ["1 held for b: behind", "3 held for b: behind"],
        "row 2 was sent nowhere, so it stays"
    );
}

#[test]
fn a_row_that_stays_is_never_behind_a_later_one_that_is_held() {
    // Row 1 goes to b alone, row 2 to both; a confirms row 2, and b answers nothing before the
    // batch ends.
    #[derive(Debug)]
    struct Uneven(Plan, Plan);
    impl Routing for Uneven {
        fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
            if envelope.tenant_id.is_some() {
                self.0.route(envelope)
            } else {
                self.1.route(envelope)
            }
        }
        fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
            self.1.resume(envelope, name)
        }
        fn named(&self, name: &str) -> Option<&Arc<Route>> {
            self.1.named(name)
        }
    }
    let mut machine = Machine::new(
        Uneven(plan([to("b")]), plan([to("a"), to("b")])),
        RetryPolicies::default(),
        7,
    );
    let mut advanced = pending(&[1, 1]);
    let first = Arc::make_mut(&mut advanced.pending[0].envelope);
    first.tenant_id = Some("only b".to_owned());
    take(&mut machine, advanced);
    let b = machine.next_wave(&mut always).unwrap();
    let a = machine.next_wave(&mut always).unwrap();
    assert_eq!((&**b.destination(), &**a.destination()), ("b", "a"));
    machine.answer(a, vec![Ok(())], &mut ignore);
    drop(b);
    machine.close(&mut ignore);
    let mut settled: Vec<_> = machine.take_settlements().iter().map(in_words).collect();
    settled.sort();
    assert_eq!(settled, ["1 held for b: behind", "2 held for b: behind"]);
}

#[test]
fn all_or_nothing_is_tried_again_where_it_failed() {
    let mut machine = along(plan([all("both", &["a", "b"])]));
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", || Ok(()));
    answer_of(&mut machine, "b", transient);
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Pending,
        route,
        outcome: Outcome::Retry(failure),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((&**route, failure.attempts), ("both", 1));
    assert_eq!(failure.delivered, [Arc::from("a")]);
    assert_eq!(failure.error, "b: busy; delivered to a");

    let again = HeldRow {
        delivered: vec![Arc::from("a")],
        ..held_for("both", 1, 1, 1)
    };
    take(
        &mut machine,
        Advanced {
            held: vec![again],
            ..pending(&[])
        },
    );
    assert_eq!(confirm_all(&mut machine), ["b/1"]);
    assert_eq!(words(&mut machine), ["1 of both published"]);
}

#[test]
fn all_or_nothing_that_is_given_up_names_who_got_it() {
    let mut machine = along(plan([all("all", &["a", "b", "c"])]));
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", || Ok(()));
    answer_of(&mut machine, "b", permanent);
    answer_of(&mut machine, "c", || Ok(()));
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Pending,
        outcome: Outcome::Dead(dead),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!(dead.delivered, [Arc::from("a"), Arc::from("c")]);
    assert_eq!(dead.error, "b: no such topic; delivered to a, c");
}

#[test]
fn an_unfinished_all_or_nothing_row_remembers_who_confirmed() {
    for is_held in [false, true] {
        let mut machine = along(plan([all("both", &["a", "b"])]));
        let held: Vec<_> = is_held
            .then(|| held_for("both", 1, 1, 2))
            .into_iter()
            .collect();
        take(
            &mut machine,
            Advanced {
                held,
                ..pending(if is_held { &[] } else { &[1] })
            },
        );
        answer_of(&mut machine, "a", || Ok(()));
        machine.close(&mut ignore);
        let settled = machine.take_settlements();
        let Outcome::Retry(failure) = &settled[0].outcome else {
            panic!("{settled:?}")
        };
        let Failure {
            attempts,
            delivered,
            retry_after,
            ..
        } = failure;
        assert_eq!(
            (*attempts, *retry_after),
            (if is_held { 2 } else { 0 }, Duration::ZERO)
        );
        assert_eq!(delivered, &[Arc::from("a")]);
    }
}

#[test]
fn a_route_that_continues_holds_nothing_back_and_parks_nothing() {
    for (answer, expected) in [
        (
            transient as fn() -> _,
            "1 held for a: failed 1 without a place",
        ),
        (permanent, "1 dead for a: permanent"),
    ] {
        let mut machine = along(plan([Route {
            head_of_line: HeadOfLine::Continue,
            ..to("a")
        }]));
        take(&mut machine, pending(&[1, 1]));
        answer_of(&mut machine, "a", answer);
        assert_eq!(
            confirm_all(&mut machine),
            ["a/1"],
            "the next one goes on, and not before"
        );
        assert_eq!(words(&mut machine), [expected, "2 published"]);
    }
}

#[test]
fn a_final_failure_goes_to_the_fallback_and_its_stream_goes_on() {
    let fallback = Arc::new(to("spare"));
    let route = Route {
        fallback: Some(Arc::clone(&fallback)),
        ..to("a")
    };
    let mut machine = along(Plan {
        others: vec![fallback],
        ..plan([route])
    });
    take(&mut machine, pending(&[1, 1]));
    answer_of(&mut machine, "a", permanent);
    assert!(
        machine.next_wave(&mut always).is_none(),
        "nothing overtakes it before it has moved"
    );
    machine.close(&mut ignore);
    assert_eq!(words(&mut machine), ["1 held for spare: behind"]);
    take(&mut machine, pending(&[1]));
    assert_eq!(
        confirm_all(&mut machine),
        ["a/1"],
        "then its stream goes on"
    );
    assert_eq!(words(&mut machine), ["1 published"]);

    take(
        &mut machine,
        Advanced {
            held: vec![held_for("a", 1, 1, 4), held_for("spare", 2, 2, 0)],
            ..pending(&[])
        },
    );
    answer_of(&mut machine, "a", transient);
    answer_of(&mut machine, "spare", permanent);
    assert_eq!(
        words(&mut machine),
        ["1 of a moved to spare", "2 of spare dead: permanent, parks"]
    );
}

#[test]
fn fallbacks_in_a_circle_are_not_followed() {
    let back = |name: &str, to_name: &str| Route {
        fallback: Some(Arc::new(to(to_name))),
        ..to(name)
    };
    let circle = Plan {
        others: vec![Arc::new(back("b", "a"))],
        ..plan([back("a", "b")])
    };
    let mut machine = along(circle);
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", permanent);
    assert_eq!(words(&mut machine), ["1 dead for a: permanent, parks"]);
}

#[test]
fn a_fallback_that_gets_the_event_anyway_gets_it_once() {
    let spare = Arc::new(to("spare"));
    let mut machine = along(plan([
        Route {
            fallback: Some(spare),
            ..to("a")
        },
        to("spare"),
    ]));
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", permanent);
    answer_of(&mut machine, "spare", || Ok(()));
    assert_eq!(words(&mut machine), ["1 published"]);
}
