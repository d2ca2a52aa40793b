//! Destinations that answer one by one.

use super::plan::{Plan, along, in_words, plan, to};
use super::*;

const WAIT: Duration = Duration::from_secs(35);

fn world() -> World {
    World {
        one_by_one: HashSet::from(["h"]),
        ..World::default()
    }
}

/// A machine with the routes `h`, which answers one by one, and `b`, after a batch.
fn taken(advanced: Advanced, names: &[&str]) -> Machine<Plan> {
    let mut machine = along(plan(names.iter().map(|name| to(name)).collect::<Vec<_>>()));
    take_in(&mut machine, advanced, &world());
    machine
}

/// The waves that can be sent with a number of free slots.
fn waves(machine: &mut Machine<Plan>, mut slots: usize) -> Vec<Wave> {
    let mut take_slot = |_: &Arc<str>| {
        let is_free = slots > 0;
        slots = slots.saturating_sub(1);
        is_free
    };
    std::iter::from_fn(|| machine.next_wave(&mut take_slot)).collect()
}

fn confirm(machine: &mut Machine<Plan>, wave: Wave) {
    let answers = wave.deliveries().iter().map(|_| Ok(())).collect();
    machine.answer(wave, answers, &mut ignore);
}

fn words(machine: &mut Machine<Plan>) -> Vec<String> {
    let mut words: Vec<_> = machine.take_settlements().iter().map(in_words).collect();
    words.sort();
    words
}

fn of(waves: &[Wave]) -> Vec<(String, usize)> {
    let each = waves.iter();
    each.map(|wave| (wave.destination().to_string(), wave.deliveries().len()))
        .collect()
}

#[test]
fn each_event_has_a_wave_of_its_own_up_to_the_free_slots() {
    let mut machine = taken(pending(&[1, 2, 3, 3]), &["h", "b"]);
    let first = waves(&mut machine, 2);
    let [h, b] = ["h", "b"].map(str::to_owned);
    assert_eq!(of(&first), [(h.clone(), 1), (h.clone(), 1), (b, 3)]);
    assert!(machine.wants_slots(), "stream 3 has no slot yet");
    let second = waves(&mut machine, 9);
    assert_eq!(
        of(&second),
        [(h, 1)],
        "the second event of stream 3 waits for the first"
    );
    assert!(!machine.wants_slots());
}

#[test]
fn a_follower_is_sent_when_the_event_before_it_is_confirmed() {
    let mut machine = taken(pending(&[1, 1]), &["h"]);
    let mut first = waves(&mut machine, 9);
    assert_eq!(first.len(), 1);
    confirm(&mut machine, first.remove(0));
    assert_eq!(waves(&mut machine, 9).len(), 1);
}

#[test]
fn a_late_call_leaves_the_other_events_of_its_destination_as_they_are() {
    let mut machine = taken(pending(&[1, 2]), &["h", "b"]);
    let mut sent = waves(&mut machine, 9);
    confirm(&mut machine, sent.pop().unwrap());
    confirm(&mut machine, sent.pop().unwrap());
    let slow = sent.pop().unwrap();
    assert!(!machine.awaits_a_batch());
    assert!(
        machine.postpone(WAIT, &mut ignore).is_empty(),
        "nothing is shut"
    );
    machine.close(&mut ignore);
    assert_eq!(
        words(&mut machine),
        ["1 held for h: failed 0", "2 published"]
    );
    take_in(&mut machine, pending(&[3]), &world());
    assert_eq!(
        of(&waves(&mut machine, 9))[0].0,
        "h",
        "the next batch goes on"
    );
    confirm(&mut machine, slow);
    assert_eq!(words(&mut machine), ["1 of h published"]);
}

#[test]
fn events_that_have_not_begun_are_held_untried_when_the_batch_ends() {
    let mut machine = taken(pending(&[1, 2, 3]), &["h", "b"]);
    let mut sent = waves(&mut machine, 1);
    confirm(&mut machine, sent.pop().unwrap());
    machine.postpone(WAIT, &mut ignore);
    machine.close(&mut ignore);
    assert_eq!(
        words(&mut machine),
        [
            "1 held for h: failed 0",
            "2 held for h: behind",
            "3 held for h: behind"
        ]
    );
}

#[test]
fn a_busy_destination_has_its_events_held_and_the_others_go_on() {
    let mut machine = along(plan([to("h"), to("b")]));
    let mut busy = world();
    busy.busy.insert("h");
    take_in(&mut machine, pending(&[1]), &busy);
    let mut sent = waves(&mut machine, 9);
    assert_eq!(of(&sent), [("b".to_owned(), 1)]);
    confirm(&mut machine, sent.pop().unwrap());
    machine.close(&mut ignore);
    assert_eq!(words(&mut machine), ["1 held for h: behind"]);
}

#[test]
fn an_event_that_was_not_tried_counts_no_attempt() {
    let mut machine = taken(pending(&[1]), &["h"]);
    let wave = waves(&mut machine, 9).remove(0);
    machine.answer(
        wave,
        vec![Err(PublishError::not_tried("a deadlock"))],
        &mut ignore,
    );
    machine.close(&mut ignore);
    assert_eq!(words(&mut machine), ["1 held for h: failed 0"]);
}
