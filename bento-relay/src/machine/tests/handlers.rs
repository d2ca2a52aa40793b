//! Handlers that are recorded, and what this process says about its own.

use super::*;
use crate::publish::HandlerRoute;
use crate::store::RecordedHandler;

const ATTEMPTS: u32 = 4;

/// A machine of a process with these handlers, whose other routes give an event up after
/// `ATTEMPTS`.
fn serving(own: &[HandlerRoute]) -> Machine<Router> {
    let retry = RetryPolicy::immediate(ATTEMPTS).into();
    Machine::new(Router::nowhere(), retry, 7).serving(Arc::new(OwnHandlers::new(own)))
}

fn handler(name: &str) -> HandlerRoute {
    HandlerRoute::new(name, ["thing.*"])
}

/// One event, and these handlers, which take it.
fn one_event_for(names: &[&str]) -> Advanced {
    let recorded = names.iter().map(|name| RecordedHandler {
        name: Arc::from(*name),
        takes: vec!["thing.*".into()],
        ordered: true,
        starts_after: 0,
        starts_at: None,
        is_paused: false,
    });
    Advanced {
        handlers: recorded.collect(),
        ..pending(&[1])
    }
}

/// The outcome of the event for each handler, by name, after a failure of each.
fn failed(machine: &mut Machine<Router>) -> Vec<(String, Outcome)> {
    while machine.next_wave(&mut always).is_some_and(|wave| {
        machine.answer(wave, vec![transient()], &mut ignore);
        true
    }) {}
    machine.close(&mut ignore);
    let settled = machine.take_settlements().into_iter();
    let mut outcomes: Vec<_> = settled
        .map(|settled| (settled.route.to_string(), settled.outcome))
        .collect();
    outcomes.sort_by(|one, other| one.0.cmp(&other.0));
    outcomes
}

#[test]
fn a_handler_is_retried_by_its_own_policy() {
    let once = handler("mail.once").retry(RetryPolicies::named("once"));
    let mut machine = serving(&[once, handler("stock.reserve")]);
    take(&mut machine, one_event_for(&["mail.once", "stock.reserve"]));
    let outcomes = failed(&mut machine);
    let [
        (once, Outcome::Dead(dead)),
        (other, Outcome::Retry(failure)),
    ] = &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (&**once, &*dead.cause),
        ("mail.once", NewDeadLetter::MAX_ATTEMPTS)
    );
    assert_eq!((&**other, failure.attempts), ("stock.reserve", 1));
}

#[test]
fn a_policy_may_allow_more_attempts_than_the_relay() {
    let patient = handler("stock.reserve").retry(Some(RetryPolicy::immediate(9).into()));
    let held = HeldRow {
        route: "stock.reserve".into(),
        ..held(1, 1, ATTEMPTS)
    };
    for (own, is_dead) in [(patient, false), (handler("stock.reserve"), true)] {
        let mut machine = serving(&[own]);
        let advanced = Advanced {
            pending: vec![],
            held: vec![held.clone()],
            ..one_event_for(&["stock.reserve"])
        };
        take(&mut machine, advanced);
        let outcomes = failed(&mut machine);
        let [(_, outcome)] = &outcomes[..] else {
            panic!("{outcomes:?}")
        };
        assert_eq!(matches!(outcome, Outcome::Dead(_)), is_dead, "{outcome:?}");
    }
}
