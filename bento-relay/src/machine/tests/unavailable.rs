//! Destinations that are unavailable, their trials, and paused tenants.

use super::plan::{along, answer_of, held_for, key_for, plan, to, words};
use super::*;

#[test]
fn events_for_an_unavailable_destination_are_held_untried() {
    let mut machine = along(plan([to("a"), to("b")]));
    let world = World {
        away: HashSet::from(["b"]),
        ..World::default()
    };
    take_in(
        &mut machine,
        Advanced {
            held: vec![held_for("b", 9, 2, 1)],
            ..pending(&[1, 1])
        },
        &world,
    );
    assert_eq!(confirm_all(&mut machine), ["a/1", "a/1"]);
    machine.close(&mut ignore);
    let mut settled = words(&mut machine);
    settled.sort();
    assert_eq!(
        settled,
        ["1 held for b: behind", "2 held for b: behind"],
        "what is held already stays"
    );
}

#[test]
fn the_rest_for_a_destination_that_goes_away_is_held_untried() {
    let mut machine = along(plan([to("b")]));
    take(&mut machine, pending(&[1, 1, 2]));
    answer_of(&mut machine, "b", || Ok(()));
    machine.shut("b");
    assert!(machine.next_wave(&mut always).is_none());
    machine.close(&mut ignore);
    let mut settled = words(&mut machine);
    settled.sort();
    assert_eq!(
        settled,
        ["1 published", "2 held for b: behind", "3 published"]
    );
}

#[test]
fn a_trial_sends_one_held_and_one_pending_event_each_alone() {
    for is_back in [true, false] {
        let mut machine = along(plan([to("b")]));
        let world = World {
            on_trial: HashSet::from(["b"]),
            ..World::default()
        };
        let held = vec![held_for("b", 1, 1, 1), held_for("b", 2, 2, 1)];
        take_in(
            &mut machine,
            Advanced {
                held,
                ..pending(&[3, 4])
            },
            &world,
        );
        let trials = [(); 2].map(|()| machine.next_wave(&mut always).unwrap());
        assert!(
            trials
                .iter()
                .all(|trial| trial.is_trial() && trial.deliveries().len() == 1)
        );
        assert!(machine.next_wave(&mut always).is_none());
        let [first, second] = trials;
        let tried = first.deliveries()[0].envelope.aggregate_id.clone();
        if is_back {
            machine.answer(first, vec![Ok(())], &mut ignore);
            machine.answer(second, vec![Ok(())], &mut ignore);
            assert_eq!(
                confirm_all(&mut machine).len(),
                2,
                "the rest follows at once"
            );
        } else {
            machine.answer(first, vec![unavailable()], &mut ignore);
            machine.shut("b");
            machine.answer(second, vec![unavailable()], &mut ignore);
            assert!(machine.next_wave(&mut always).is_none());
        }
        machine.close(&mut ignore);
        let mut settled = words(&mut machine);
        settled.sort();
        if is_back {
            assert_eq!(
                settled,
                [
                    "1 of b published",
                    "1 published",
                    "2 of b published",
                    "2 published"
                ]
            );
        } else {
            let mut expected = [
                format!("{tried} of b waits: 1"),
                "1 held for b: failed 0".into(),
                "2 held for b: behind".into(),
            ];
            expected.sort();
            assert_eq!(settled, expected);
        }
    }
}

#[test]
fn an_answer_to_a_trial_frees_the_other_trial_and_the_rest() {
    let mut machine = along(plan([to("b")]));
    let world = World {
        on_trial: HashSet::from(["b"]),
        ..World::default()
    };
    take_in(
        &mut machine,
        Advanced {
            held: vec![held_for("b", 1, 1, 1)],
            ..pending(&[2, 3])
        },
        &world,
    );
    let trial = machine.next_wave(&mut always).unwrap();
    machine.answer(trial, vec![transient()], &mut ignore);
    assert_eq!(
        confirm_all(&mut machine).len(),
        2,
        "a refusal of one event is an answer"
    );
}

#[test]
fn a_trial_overtakes_nothing_although_the_publisher_chains() {
    for seed in 0..20 {
        let mut machine = Machine::new(plan([to("b")]), RetryPolicies::default(), seed);
        let world = World {
            chains: true,
            on_trial: HashSet::from(["b"]),
            ..World::default()
        };
        let held = vec![
            held_for("b", 1, 1, 1),
            held_for("b", 2, 1, 0),
            held_for("b", 3, 2, 1),
            held_for("b", 4, 2, 0),
        ];
        let streams = Some(vec![key_for("b", 1), key_for("b", 2)]);
        let rows = vec![row(5, 1), row(6, 2), row(7, 3), row(8, 3)];
        let place: Vec<_> = held
            .iter()
            .map(|held| &held.row)
            .chain(&rows)
            .map(|row| row.envelope.event_id)
            .collect();
        take_in(
            &mut machine,
            Advanced {
                held,
                streams,
                pending: rows,
                ..Advanced::default()
            },
            &world,
        );
        let trials: Vec<_> = std::iter::from_fn(|| machine.next_wave(&mut always)).collect();
        let tried: Vec<_> = trials
            .iter()
            .flat_map(Wave::deliveries)
            .map(|sent| {
                1 + place
                    .iter()
                    .position(|id| *id == sent.envelope.event_id)
                    .unwrap()
            })
            .collect();
        assert!(tried == [1, 7] || tried == [3, 7], "{tried:?}");
    }
}

#[test]
fn fresh_rows_of_a_paused_tenant_are_held_untried() {
    let mut machine = along(plan([to("a")]));
    let mut advanced = pending(&[1, 2]);
    Arc::make_mut(&mut advanced.pending[0].envelope).tenant_id = Some("paused".to_owned());
    advanced.paused_tenants = vec!["paused".to_owned()];
    take(&mut machine, advanced);
    assert_eq!(confirm_all(&mut machine), ["a/2"]);
    assert_eq!(words(&mut machine), ["1 held for a: behind", "2 published"]);
    let mut later = pending(&[3]);
    Arc::make_mut(&mut later.pending[0].envelope).tenant_id = Some("paused".to_owned());
    take(
        &mut machine,
        Advanced {
            streams: None,
            ..later
        },
    );
    assert_eq!(
        words(&mut machine),
        ["1 held for a: behind"],
        "until the store says otherwise"
    );
}
