//! Waves that a batch does not wait for.

use super::plan::{Plan, all, along, in_words, plan, to};
use super::*;
use crate::store::Failure;

const WAIT: Duration = Duration::from_secs(35);

fn held_for(route: &str, position: i64, stream: u8) -> HeldRow {
    HeldRow {
        route: Arc::from(route),
        ..held(position, stream, 0)
    }
}

/// The waves that can be sent now, by destination.
fn waves<const N: usize>(machine: &mut Machine<Plan>, names: [&str; N]) -> [Wave; N] {
    let mut waves: Vec<_> = std::iter::from_fn(|| machine.next_wave(&mut always)).collect();
    assert_eq!(waves.len(), N, "{waves:?}");
    names.map(|name| {
        let index = waves.iter().position(|wave| **wave.destination() == *name);
        waves.swap_remove(index.unwrap_or_else(|| panic!("nothing goes to {name}")))
    })
}

fn confirm(machine: &mut Machine<Plan>, wave: Wave) {
    let answers = wave.deliveries().iter().map(|_| Ok(())).collect();
    machine.answer(wave, answers, &mut ignore);
}

fn refuse(machine: &mut Machine<Plan>, wave: Wave) {
    let answers = wave.deliveries().iter().map(|_| transient()).collect();
    machine.answer(wave, answers, &mut ignore);
}

/// Ends the batch without what is out. Returns to where that goes.
fn leave(machine: &mut Machine<Plan>) -> Vec<String> {
    let late = machine.postpone(WAIT, &mut ignore);
    machine.close(&mut ignore);
    assert!(!machine.is_waiting());
    late.iter().map(ToString::to_string).collect()
}

fn words(machine: &mut Machine<Plan>) -> Vec<String> {
    let mut words: Vec<_> = machine.take_settlements().iter().map(in_words).collect();
    words.sort();
    words
}

fn failure(settlement: &Settlement) -> &Failure {
    match &settlement.outcome {
        Outcome::Retry(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_event_is_held_untried_and_settled_when_it_comes_back() {
    let mut machine = along(plan([to("slow"), to("quick")]));
    take(&mut machine, pending(&[1, 1, 2]));
    let [slow, quick] = waves(&mut machine, ["slow", "quick"]);
    confirm(&mut machine, quick);
    assert_eq!(confirm_all(&mut machine), ["quick/1"]);
    assert!(machine.is_waiting() && !machine.is_late(&slow));
    assert_eq!(leave(&mut machine), ["slow"]);
    assert!(machine.is_late(&slow));
    let settled = machine.take_settlements();
    assert_eq!(
        (
            failure(&settled[0]).attempts,
            failure(&settled[0]).retry_after
        ),
        (0, WAIT)
    );
    assert_eq!(failure(&settled[0]).error, "still being sent to slow");
    let settled: Vec<_> = settled.iter().map(in_words).collect();
    assert_eq!(
        settled,
        [
            "1 held for slow: failed 0",
            "3 held for slow: failed 0",
            "2 held for slow: behind"
        ]
    );

    let streams = Some(vec![]);
    take(
        &mut machine,
        Advanced {
            pending: vec![row(4, 3)],
            streams,
            ..Advanced::default()
        },
    );
    confirm(&mut machine, slow);
    assert_eq!(
        words(&mut machine),
        ["1 of slow published", "3 of slow published"]
    );
    assert_eq!(machine.revision(), None, "what follows may go on");
    assert_eq!(
        confirm_all(&mut machine),
        ["slow/3", "quick/3"],
        "the batch is as it was"
    );
}

#[test]
fn nothing_overtakes_what_is_late() {
    let mut machine = along(plan([to("slow"), to("quick")]));
    take(&mut machine, pending(&[1]));
    let [_slow, quick] = waves(&mut machine, ["slow", "quick"]);
    confirm(&mut machine, quick);
    leave(&mut machine);
    machine.take_settlements();
    take(
        &mut machine,
        Advanced {
            pending: vec![row(2, 1)],
            ..Advanced::default()
        },
    );
    assert_eq!(confirm_all(&mut machine), ["quick/1"]);
    assert_eq!(words(&mut machine), ["2 held for slow: behind"]);
}

#[test]
fn a_late_failure_is_an_attempt_like_any_other() {
    let spare = Arc::new(to("spare"));
    let prone = Route {
        fallback: Some(Arc::clone(&spare)),
        ..to("prone")
    };
    let mut machine = along(Plan {
        others: vec![spare],
        ..plan([to("a"), prone])
    });
    take(&mut machine, pending(&[1, 2]));
    let [a, prone] = waves(&mut machine, ["a", "prone"]);
    assert_eq!(leave(&mut machine), ["a", "prone"]);
    machine.take_settlements();
    machine.answer(a, vec![transient(), permanent()], &mut ignore);
    machine.answer(prone, vec![permanent(), Ok(())], &mut ignore);
    assert_eq!(
        words(&mut machine),
        [
            "1 of a waits: 1",
            "1 of prone moved to spare",
            "2 of a dead: permanent, parks",
            "2 of prone published"
        ]
    );
}

#[test]
fn a_late_wave_that_failed_as_a_whole_gives_nothing_up() {
    let once = RetryPolicies::named("once").unwrap();
    let mut machine = Machine::new(plan([to("a")]), once, 7);
    take(&mut machine, pending(&[1, 2]));
    let [a] = waves(&mut machine, ["a"]);
    leave(&mut machine);
    machine.take_settlements();
    machine.fail(a, &away(), &mut ignore);
    assert_eq!(words(&mut machine), ["1 of a waits: 0", "2 of a waits: 0"]);
}

#[test]
fn a_late_trial_that_failed_costs_its_event_no_attempt() {
    let mut machine = along(plan([to("a"), to("b")]));
    let world = World {
        on_trial: ["a"].into(),
        ..World::default()
    };
    take_in(
        &mut machine,
        Advanced {
            held: vec![held_for("a", 1, 1)],
            ..Advanced::default()
        },
        &world,
    );
    let [trial] = waves(&mut machine, ["a"]);
    assert!(trial.is_trial());
    leave(&mut machine);
    assert_eq!(failure(&machine.take_settlements()[0]).retry_after, WAIT);
    machine.answer(trial, vec![unavailable()], &mut ignore);
    let settled = machine.take_settlements();
    assert_eq!(failure(&settled[0]).attempts, 0);
    assert!(failure(&settled[0]).retry_after <= Duration::from_millis(500));
}

#[test]
fn a_row_late_at_two_destinations_is_settled_after_both() {
    for x_is_first in [true, false] {
        let mut machine = along(plan([all("both", &["x", "y"])]));
        take(&mut machine, pending(&[1]));
        let [x, y] = waves(&mut machine, ["x", "y"]);
        assert_eq!(leave(&mut machine), ["x", "y"]);
        assert_eq!(words(&mut machine), ["1 held for both: failed 0"]);
        let (first, second) = if x_is_first { (x, y) } else { (y, x) };
        let (name, other) = (
            Arc::clone(first.destination()),
            format!("still being sent to {}", second.destination()),
        );
        confirm(&mut machine, first);
        machine.close(&mut ignore);
        let settled = machine.take_settlements();
        assert_eq!(
            (
                &*failure(&settled[0]).delivered,
                failure(&settled[0]).retry_after
            ),
            (&[name][..], WAIT)
        );
        assert_eq!(failure(&settled[0]).error, other);
        machine.close(&mut ignore);
        assert_eq!(machine.take_settlements(), [], "progress is recorded once");
        confirm(&mut machine, second);
        assert_eq!(words(&mut machine), ["1 of both published"]);
    }
}

#[test]
fn a_confirmation_beside_a_late_destination_is_kept() {
    let mut machine = along(plan([all("both", &["x", "y"])]));
    take(&mut machine, pending(&[1, 2]));
    let [x, y] = waves(&mut machine, ["x", "y"]);
    machine.answer(x, vec![Ok(()), transient()], &mut ignore);
    assert_eq!(leave(&mut machine), ["y"]);
    let settled = machine.take_settlements();
    assert_eq!(
        settled
            .iter()
            .map(|settled| failure(settled).delivered.len())
            .collect::<Vec<_>>(),
        [1, 0]
    );
    confirm(&mut machine, y);
    let settled = machine.take_settlements();
    assert_eq!(in_words(&settled[0]), "1 of both published");
    assert_eq!(
        (
            failure(&settled[1]).attempts,
            &*failure(&settled[1]).delivered
        ),
        (1, &[Arc::from("y")][..])
    );
}

#[test]
fn an_unsent_destination_is_due_when_the_late_one_has_it() {
    let mut machine = along(plan([all("both", &["x", "y"])]));
    take_in(
        &mut machine,
        pending(&[1]),
        &World {
            away: ["y"].into(),
            ..World::default()
        },
    );
    let [x] = waves(&mut machine, ["x"]);
    leave(&mut machine);
    machine.take_settlements();
    confirm(&mut machine, x);
    let settled = machine.take_settlements();
    assert_eq!(
        (
            &*failure(&settled[0]).delivered,
            failure(&settled[0]).retry_after
        ),
        (&[Arc::from("x")][..], Duration::ZERO)
    );
}

#[test]
fn what_was_still_to_go_to_a_late_destination_is_held_untried() {
    let mut machine = along(plan([to("a")]));
    take(&mut machine, pending(&[1, 2]));
    let whole = machine.next_wave(&mut always).unwrap();
    machine.divide(whole);
    let [_half] = waves(&mut machine, ["a"]);
    leave(&mut machine);
    assert_eq!(
        words(&mut machine),
        ["1 held for a: failed 0", "2 held for a: behind"]
    );
}

#[test]
fn nothing_behind_a_failure_in_a_late_chain_is_published() {
    let mut machine = along(plan([to("a")]));
    take_in(
        &mut machine,
        pending(&[1, 1, 2, 1]),
        &World {
            chains: true,
            ..World::default()
        },
    );
    let [a] = waves(&mut machine, ["a"]);
    leave(&mut machine);
    machine.take_settlements();
    machine.answer(a, vec![Ok(()), transient(), Ok(()), Ok(())], &mut ignore);
    let settled = machine.take_settlements();
    let in_words: Vec<_> = settled.iter().map(in_words).collect();
    assert_eq!(
        in_words,
        [
            "1 of a published",
            "2 of a waits: 1",
            "3 of a published",
            "4 of a waits: 0"
        ]
    );
    assert_eq!(
        failure(&settled[3]).retry_after,
        Duration::ZERO,
        "it waits for what is before it, and for nothing else"
    );
}

#[test]
fn a_late_event_that_comes_due_ignores_its_answer() {
    let mut machine = along(plan([to("a")]));
    take(&mut machine, pending(&[1]));
    let [a] = waves(&mut machine, ["a"]);
    leave(&mut machine);
    machine.take_settlements();
    take(
        &mut machine,
        Advanced {
            held: vec![held_for("a", 1, 1)],
            ..Advanced::default()
        },
    );
    refuse(&mut machine, a);
    assert_eq!(machine.take_settlements(), []);
    assert_eq!(confirm_all(&mut machine), ["a/1"]);
    assert_eq!(words(&mut machine), ["1 of a published"]);
}

#[test]
fn a_late_wave_of_another_machine_changes_nothing() {
    let mut first = along(plan([to("a")]));
    take(&mut first, pending(&[1]));
    let [a] = waves(&mut first, ["a"]);
    let mut second = along(plan([to("a")]));
    take(&mut second, pending(&[2]));
    confirm(&mut second, a);
    assert_eq!(second.take_settlements(), []);
    assert_eq!(confirm_all(&mut second), ["a/2"]);
}
