//! Several routes: what each destination gets, and what becomes of a row that they do not agree on.

use super::*;
use crate::route::HeadOfLine;
use crate::store::{Failure, Unroutable};

/// A router that sends every event on the same routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) every: Vec<Arc<Route>>,
    pub(super) others: Vec<Arc<Route>>,
    /// True if it is that of an older release, which has no rules and not the destination `alone`.
    pub(super) refuses: bool,
}

impl Routing for Plan {
    fn route(&self, envelope: &Arc<Envelope>) -> Result<Targets, RouteError> {
        if self.refuses {
            return Err(RouteError::NoRule {
                event_type: envelope.event_type.clone().into_owned(),
            });
        }
        Ok(self
            .every
            .iter()
            .map(|route| Target::new(Arc::clone(route), Arc::clone(envelope)))
            .collect())
    }

    fn resume(&self, envelope: &Arc<Envelope>, name: &str) -> Result<Target, RouteError> {
        let unknown = || RouteError::UnknownDestination {
            name: name.to_owned(),
        };
        let route = self
            .named(name)
            .filter(|_| !self.refuses || name != "alone")
            .ok_or_else(unknown)?;
        Ok(Target::new(Arc::clone(route), Arc::clone(envelope)))
    }

    fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.every
            .iter()
            .chain(&self.others)
            .find(|route| *route.name == *name)
    }
}

pub(super) fn to(name: &str) -> Route {
    Route::to(Destination::new(name))
}

/// A route of all or nothing.
pub(super) fn all(name: &str, destinations: &[&str]) -> Route {
    let destinations = destinations
        .iter()
        .map(|name| Destination::new(*name))
        .collect();
    Route {
        name: Arc::from(name),
        destinations,
        ..to(name)
    }
}

pub(super) fn plan(every: impl IntoIterator<Item = Route>) -> Plan {
    Plan {
        every: every.into_iter().map(Arc::new).collect(),
        ..Plan::default()
    }
}

pub(super) fn along(plan: Plan) -> Machine<Plan> {
    Machine::new(plan, RetryPolicies::default(), 7)
}

pub(super) fn held_for(route: &str, position: i64, stream: u8, attempts: u32) -> HeldRow {
    HeldRow {
        route: Arc::from(route),
        ..held(position, stream, attempts)
    }
}

pub(super) fn key_for(route: &str, stream: u8) -> StreamKey {
    StreamKey {
        route: Arc::from(route),
        ..key(stream)
    }
}

/// Answers the next wave of a destination, whichever comes first.
fn answer_of(
    machine: &mut Machine<Plan>,
    route: &str,
    answer: impl Fn() -> Result<(), PublishError>,
) {
    let mut others = Vec::new();
    loop {
        let wave = machine
            .next_wave()
            .unwrap_or_else(|| panic!("nothing goes to {route}"));
        if **wave.destination() == *route {
            let answers = wave.deliveries().iter().map(|_| answer()).collect();
            machine.answer(wave, answers, &mut ignore);
            break;
        }
        others.push(wave);
    }
    assert!(
        others.is_empty(),
        "the test names them in the order of the routes"
    );
}

/// What was settled, in words.
pub(super) fn words(machine: &mut Machine<Plan>) -> Vec<String> {
    machine.take_settlements().iter().map(in_words).collect()
}

pub(super) fn in_words(settlement: &Settlement) -> String {
    let Settlement {
        position,
        place,
        route,
        ordered,
        outcome,
    } = settlement;
    let unroutable =
        |unroutable: &Unroutable| format!("unroutable for {}", unroutable.retry_after.as_secs());
    let dead = |dead: &NewDeadLetter| {
        let parks = if dead.parks { ", parks" } else { "" };
        format!("{}{parks}", dead.cause)
    };
    if *place == Place::Held {
        let words = match outcome {
            store::Outcome::Published => "published".to_owned(),
            store::Outcome::Retry(failure) => format!("waits: {}", failure.attempts),
            store::Outcome::Unroutable(obstacle) => unroutable(obstacle),
            store::Outcome::Moved { to } => format!("moved to {to}"),
            store::Outcome::Dead(letter) => format!("dead: {}", dead(letter)),
            other => panic!("a held row has no outcome {other:?}"),
        };
        return format!("{position} of {route} {words}");
    }
    let why = match outcome {
        store::Outcome::Published => return format!("{position} published"),
        store::Outcome::Dead(letter) => {
            return format!("{position} dead for {route}: {}", dead(letter));
        }
        store::Outcome::Retry(failure) => format!("failed {}", failure.attempts),
        store::Outcome::Behind => "behind".to_owned(),
        store::Outcome::Delayed(wait) => format!("delayed {}", wait.as_secs()),
        store::Outcome::Unroutable(obstacle) => unroutable(obstacle),
        other @ store::Outcome::Moved { .. } => panic!("a pending row has no outcome {other:?}"),
    };
    let place = if *ordered { "" } else { " without a place" };
    format!("{position} held for {route}: {why}{place}")
}

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
fn a_row_that_fails_for_one_destination_is_held_for_that_one_only() {
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
    let slow = machine.next_wave().unwrap();
    assert_eq!(&**slow.destination(), "slow");
    assert_eq!(confirm_all(&mut machine), ["quick/1", "quick/1", "quick/1"]);
    machine.answer(slow, vec![Ok(())], &mut ignore);
    assert_eq!(words(&mut machine), ["1 published"]);
    assert_eq!(confirm_all(&mut machine), ["slow/1", "slow/1"]);
}

#[test]
fn what_is_unfinished_when_the_batch_ends_is_held_if_another_destination_has_it() {
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
    let b = machine.next_wave().unwrap();
    let a = machine.next_wave().unwrap();
    assert_eq!((&**b.destination(), &**a.destination()), ("b", "a"));
    machine.answer(a, vec![Ok(())], &mut ignore);
    drop(b);
    machine.close(&mut ignore);
    let mut settled: Vec<_> = machine.take_settlements().iter().map(in_words).collect();
    settled.sort();
    assert_eq!(settled, ["1 held for b: behind", "2 held for b: behind"]);
}

#[test]
fn all_or_nothing_is_confirmed_when_all_are_and_tried_again_where_it_failed() {
    let mut machine = along(plan([all("both", &["a", "b"])]));
    take(&mut machine, pending(&[1]));
    answer_of(&mut machine, "a", || Ok(()));
    answer_of(&mut machine, "b", transient);
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Pending,
        route,
        outcome: store::Outcome::Retry(failure),
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
        outcome: store::Outcome::Dead(dead),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!(dead.delivered, [Arc::from("a"), Arc::from("c")]);
    assert_eq!(dead.error, "b: no such topic; delivered to a, c");
}

#[test]
fn all_or_nothing_that_is_unfinished_remembers_who_confirmed_without_an_attempt() {
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
        let store::Outcome::Retry(failure) = &settled[0].outcome else {
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
fn what_fails_for_good_goes_to_the_fallback_and_its_stream_goes_on() {
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
        machine.next_wave().is_none(),
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
        assert!(machine.next_wave().is_none());
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
fn a_held_row_that_comes_before_its_time_waits_on_and_nothing_overtakes_it() {
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
    assert!(machine.next_wave().is_none());
    let settled = machine.take_settlements();
    let [
        Settlement {
            place: Place::Held,
            position: 1,
            outcome: store::Outcome::Retry(failure),
            ..
        },
    ] = &settled[..]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((failure.attempts, failure.retry_after.as_secs()), (0, 60));
}

#[test]
fn an_event_whose_time_is_over_is_a_dead_letter_that_parks_nothing() {
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
    assert!(machine.next_wave().is_none());
    assert_eq!(
        words(&mut machine),
        ["1 of a dead: expired", "1 dead for a: expired"]
    );
}

#[test]
fn what_goes_to_a_destination_that_is_away_is_held_untried_and_the_others_go_on() {
    let mut machine = along(plan([to("a"), to("b")]));
    let mut world = World {
        away: HashSet::from(["b"]),
        ..World::default()
    };
    take_in(
        &mut machine,
        Advanced {
            held: vec![held_for("b", 9, 2, 1)],
            ..pending(&[1, 1])
        },
        &mut world,
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
fn what_is_left_for_a_destination_that_goes_away_in_the_middle_is_held_untried() {
    let mut machine = along(plan([to("b")]));
    take(&mut machine, pending(&[1, 1, 2]));
    answer_of(&mut machine, "b", || Ok(()));
    machine.shut("b");
    assert!(machine.next_wave().is_none());
    machine.close(&mut ignore);
    let mut settled = words(&mut machine);
    settled.sort();
    assert_eq!(
        settled,
        ["1 published", "2 held for b: behind", "3 published"]
    );
}

#[test]
fn a_trial_sends_one_held_and_one_pending_event_each_alone_and_counts_for_nothing_if_it_fails() {
    for is_back in [true, false] {
        let mut machine = along(plan([to("b")]));
        let mut world = World {
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
            &mut world,
        );
        let trials = [(); 2].map(|()| machine.next_wave().unwrap());
        assert!(
            trials
                .iter()
                .all(|trial| trial.is_trial() && trial.deliveries().len() == 1)
        );
        assert!(machine.next_wave().is_none());
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
            assert!(machine.next_wave().is_none());
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
    let mut world = World {
        on_trial: HashSet::from(["b"]),
        ..World::default()
    };
    take_in(
        &mut machine,
        Advanced {
            held: vec![held_for("b", 1, 1, 1)],
            ..pending(&[2, 3])
        },
        &mut world,
    );
    let trial = machine.next_wave().unwrap();
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
        let mut world = World {
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
            &mut world,
        );
        let trials: Vec<_> = std::iter::from_fn(|| machine.next_wave()).collect();
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
fn a_delayed_event_that_keeps_its_place_is_overtaken_by_nothing_although_what_is_held_of_its_stream_is_here()
 {
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
