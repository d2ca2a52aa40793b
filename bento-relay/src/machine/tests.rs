//! The rules of the machine, one by one, and under random answers.

use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::DateTime;

use self::world::World;
use super::answers::{ERROR_LIMIT, TOO_FEW_ANSWERS, bounded};
use super::*;
use crate::publish::PublishError;
use crate::retry::RetryPolicy;
use crate::store::{Failure, HeldRow, NewDeadLetter, OutboxRow, StreamKey};

mod any_rules;
mod company;
mod handlers;
mod late;
mod one_batch;
mod one_by_one;
mod plan;
mod routes;
mod simulation;
mod times;
mod unavailable;
mod unroutable;
mod world;

const HELD_LIMIT: usize = 100;

/// An event of stream `stream`; without order if that is 0.
fn envelope(stream: u8) -> Arc<Envelope> {
    let mut envelope = Envelope::new("thing.happened", 1, DateTime::UNIX_EPOCH, "{}");
    if stream > 0 {
        envelope.aggregate_type = "thing".into();
        envelope.aggregate_id = stream.to_string();
    }
    Arc::new(envelope)
}

fn row(position: i64, stream: u8) -> OutboxRow {
    OutboxRow {
        position,
        envelope: envelope(stream),
    }
}

fn held(position: i64, stream: u8, attempts: u32) -> HeldRow {
    HeldRow {
        route: Arc::from(Destination::DEFAULT),
        attempts,
        ordered: true,
        delivered: Vec::new(),
        unroutable_for: None,
        row: row(position, stream),
    }
}

fn key(stream: u8) -> StreamKey {
    StreamKey {
        route: Arc::from(Destination::DEFAULT),
        aggregate_type: "thing".to_owned(),
        aggregate_id: stream.to_string(),
    }
}

fn pending(streams: &[u8]) -> Advanced {
    let rows = streams
        .iter()
        .zip(1..)
        .map(|(&stream, position)| row(position, stream));
    Advanced {
        pending: rows.collect(),
        streams: Some(vec![]),
        ..Advanced::default()
    }
}

fn machine() -> Machine {
    Machine::new(Router::default(), RetryPolicies::default(), 7)
}

/// The slots of destinations that have enough.
fn always(_: &Arc<str>) -> bool {
    true
}

fn ignore(_: &Envelope, _: &str, _: Decision<'_>) {}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// Takes a batch in a world where nothing is wrong.
fn take(machine: &mut Machine<impl Routing>, advanced: Advanced) {
    take_in(machine, advanced, &World::default());
}

fn take_in(machine: &mut Machine<impl Routing>, advanced: Advanced, world: &World) {
    machine.take(advanced, HELD_LIMIT, now(), &mut world.reach(), &mut ignore);
}

/// The streams of the next wave, which is then answered.
fn wave(
    machine: &mut Machine<impl Routing>,
    answers: impl IntoIterator<Item = Result<(), PublishError>>,
) -> Vec<String> {
    let Some(wave) = machine.next_wave(&mut always) else {
        return Vec::new();
    };
    let streams = streams(&wave);
    machine.answer(wave, answers.into_iter().collect(), &mut ignore);
    streams
}

fn streams(wave: &Wave) -> Vec<String> {
    wave.deliveries()
        .iter()
        .map(|delivery| delivery.envelope.aggregate_id.clone())
        .collect()
}

/// Confirms everything that may be sent, until nothing is left. Returns what was sent, as
/// `destination/stream`.
fn confirm_all(machine: &mut Machine<impl Routing>) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(wave) = machine.next_wave(&mut always) {
        sent.extend(
            streams(&wave)
                .iter()
                .map(|stream| format!("{}/{stream}", wave.destination())),
        );
        let answers = wave.deliveries().iter().map(|_| Ok(())).collect();
        machine.answer(wave, answers, &mut ignore);
    }
    sent
}

fn transient() -> Result<(), PublishError> {
    Err(PublishError::transient("busy"))
}

fn unavailable() -> Result<(), PublishError> {
    Err(away())
}

fn away() -> PublishError {
    PublishError::unavailable("not connected")
}

fn permanent() -> Result<(), PublishError> {
    Err(PublishError::permanent("no such topic"))
}

fn position(settlement: &Settlement) -> i64 {
    settlement.position
}

/// The failure of a row in this place that is tried again.
#[track_caller]
fn retried(settlement: &Settlement, place: Place) -> &Failure {
    match &settlement.outcome {
        Outcome::Retry(failure) if settlement.place == place => failure,
        _ => panic!("{settlement:?}"),
    }
}

#[test]
fn a_wave_holds_one_event_of_each_stream_and_all_without_order() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 1, 2, 0, 0, 1]));
    assert_eq!(
        wave(&mut machine, [Ok(()), Ok(()), Ok(()), Ok(())]),
        ["1", "2", "", ""]
    );
    assert_eq!(wave(&mut machine, [Ok(())]), ["1"]);
    assert_eq!(wave(&mut machine, [Ok(())]), ["1"]);
    assert!(machine.next_wave(&mut always).is_none());
    assert_eq!(machine.take_settlements().len(), 6);
    assert_eq!(machine.take_settlements(), [], "nothing is settled twice");
}

#[test]
fn a_publisher_that_chains_gets_the_batch_in_one_wave() {
    let mut machine = machine();
    take_in(
        &mut machine,
        pending(&[1, 1, 2, 1]),
        &World {
            chains: true,
            ..World::default()
        },
    );
    assert_eq!(
        wave(&mut machine, [Ok(()), transient(), Ok(()), Ok(())]),
        ["1", "1", "2", "1"]
    );
    assert!(machine.next_wave(&mut always).is_none());
    let settled = machine.take_settlements();
    assert_eq!(
        settled.iter().map(position).collect::<Vec<_>>(),
        [1, 2, 4, 3]
    );
    assert!(
        settled[2].outcome == Outcome::Behind,
        "what is behind a failure was not published"
    );
}

#[test]
fn a_failure_holds_back_the_rest_of_its_stream_only() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 2, 1, 2, 1]));
    wave(&mut machine, [transient(), Ok(())]);
    assert_eq!(wave(&mut machine, [Ok(())]), ["2"]);
    assert!(machine.next_wave(&mut always).is_none());
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Pending,
        position: 1,
        outcome: Outcome::Retry(failure),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((failure.attempts, &*failure.error), (1, "busy"));
    assert!(failure.retry_after <= RetryPolicy::default().ceiling(1));
    let followers = settled
        .iter()
        .filter(|settled| settled.outcome == Outcome::Behind);
    assert_eq!(followers.map(position).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn a_failing_held_head_leaves_its_followers_where_they_are() {
    let mut machine = machine();
    let held = vec![held(1, 1, 1), held(2, 1, 0)];
    take(
        &mut machine,
        Advanced {
            held,
            streams: Some(vec![key(1)]),
            ..pending(&[])
        },
    );
    wave(&mut machine, [transient()]);
    assert!(machine.next_wave(&mut always).is_none());
    let settled = machine.take_settlements();
    assert_eq!(settled.iter().map(position).collect::<Vec<_>>(), [1]);
    assert_eq!(retried(&settled[0], Place::Held).attempts, 2);
}

#[test]
fn a_pending_row_of_a_waiting_stream_is_held_back_unsent() {
    let mut machine = machine();
    take(
        &mut machine,
        Advanced {
            streams: Some(vec![key(1)]),
            ..pending(&[1, 2])
        },
    );
    assert_eq!(wave(&mut machine, [Ok(())]), ["2"]);
    let settled = machine.take_settlements();
    assert!((settled[0].position, &settled[0].outcome) == (1, &Outcome::Behind));
    assert_eq!(settled[1], Settlement::published(2));
}

#[test]
fn pending_rows_follow_held_ones_in_the_batch_if_those_are_all() {
    for (limit, is_sent) in [(2, true), (1, false)] {
        let mut machine = machine();
        let mut advanced = Advanced {
            held: vec![held(1, 1, 1)],
            streams: Some(vec![key(1)]),
            ..pending(&[])
        };
        advanced.pending = vec![row(8, 1), row(9, 1)];
        machine.take(
            advanced,
            limit,
            now(),
            &mut World::default().reach(),
            &mut ignore,
        );
        assert_eq!(confirm_all(&mut machine).len(), if is_sent { 3 } else { 1 });
        let held_back = |settled: &&Settlement| settled.outcome == Outcome::Behind;
        assert_eq!(
            machine.take_settlements().iter().filter(held_back).count(),
            if is_sent { 0 } else { 2 }
        );
    }
}

#[test]
fn the_last_attempt_and_a_permanent_failure_are_dead_letters() {
    let mut machine = machine();
    let held = vec![held(1, 1, 4), held(2, 2, 3), held(3, 3, 0)];
    let streams = Some(vec![key(1), key(2), key(3)]);
    take(
        &mut machine,
        Advanced {
            held,
            streams,
            ..pending(&[])
        },
    );
    // The last attempt is made alone.
    assert_eq!(wave(&mut machine, [permanent()]), ["3"]);
    assert_eq!(wave(&mut machine, [transient()]), ["1"]);
    assert_eq!(wave(&mut machine, [transient()]), ["2"]);
    let mut settled = machine.take_settlements();
    settled.sort_by_key(position);
    let Settlement {
        place: Place::Held,
        outcome: Outcome::Dead(exhausted),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!(
        (exhausted.attempts, &*exhausted.cause, exhausted.parks),
        (5, "max attempts", true)
    );
    assert_eq!(retried(&settled[1], Place::Held).attempts, 4);
    let Settlement {
        place: Place::Held,
        outcome: Outcome::Dead(hopeless),
        ..
    } = &settled[2]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((hopeless.attempts, &*hopeless.cause), (1, "permanent"));
}

#[test]
fn an_event_without_order_parks_and_holds_back_nothing() {
    let mut machine = machine();
    take(&mut machine, pending(&[0, 0, 0]));
    wave(&mut machine, [permanent(), transient(), Ok(())]);
    let settled = machine.take_settlements();
    let Outcome::Dead(dead) = &settled[0].outcome else {
        panic!("{settled:?}")
    };
    assert_eq!((settled[0].place, dead.parks), (Place::Pending, false));
    assert!(matches!(
        &settled[1],
        Settlement {
            place: Place::Pending,
            outcome: Outcome::Retry(_),
            ..
        }
    ));
    assert_eq!(settled[2], Settlement::published(3));
}

#[test]
fn a_throttling_broker_gets_its_wait_and_costs_no_attempt() {
    let mut machine = machine();
    let asked = Duration::from_secs(30);
    take(
        &mut machine,
        Advanced {
            held: vec![held(1, 1, 4)],
            ..pending(&[])
        },
    );
    wave(
        &mut machine,
        [Err(PublishError::throttled("slow down", asked))],
    );
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Held,
        outcome: Outcome::Retry(failure),
        ..
    } = &settled[0]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((failure.attempts, failure.retry_after), (4, asked));
}

#[test]
fn a_missing_answer_is_transient_and_one_too_many_is_ignored() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 2]));
    wave(&mut machine, [Ok(())]);
    let settled = machine.take_settlements();
    assert_eq!(settled[0], Settlement::published(1));
    let failure = retried(&settled[1], Place::Pending);
    assert_eq!(failure.error, TOO_FEW_ANSWERS);
    take(&mut machine, pending(&[1]));
    wave(&mut machine, [Ok(()), Ok(()), transient()]);
    assert_eq!(machine.take_settlements(), [Settlement::published(1)]);
}

#[test]
fn the_streams_are_asked_for_again_after_what_may_free_one() {
    let mut machine = machine();
    assert_eq!(machine.revision(), None);
    take(
        &mut machine,
        Advanced {
            revision: 3,
            ..pending(&[1])
        },
    );
    wave(&mut machine, [Ok(())]);
    machine.take_settlements();
    assert_eq!(machine.revision(), Some(3));
    take(
        &mut machine,
        Advanced {
            revision: 3,
            streams: None,
            ..pending(&[1])
        },
    );
    wave(&mut machine, [transient()]);
    machine.take_settlements();
    assert_eq!(
        machine.revision(),
        Some(3),
        "that this stream waits is known"
    );
    take(
        &mut machine,
        Advanced {
            revision: 3,
            streams: None,
            ..pending(&[1])
        },
    );
    assert!(machine.next_wave(&mut always).is_none());
    take(
        &mut machine,
        Advanced {
            revision: 3,
            streams: None,
            held: vec![held(1, 1, 1)],
            ..pending(&[])
        },
    );
    wave(&mut machine, [Ok(())]);
    machine.take_settlements();
    assert_eq!(machine.revision(), None, "it may wait no longer");
}

#[test]
fn an_abandoned_batch_is_settled_as_far_as_it_was_answered() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 1, 2]));
    wave(&mut machine, [Ok(()), Ok(())]);
    machine.close(&mut ignore);
    assert!(machine.next_wave(&mut always).is_none());
    assert_eq!(
        machine
            .take_settlements()
            .iter()
            .map(position)
            .collect::<Vec<_>>(),
        [1, 3]
    );
}

#[test]
fn a_long_error_is_cut_at_a_character() {
    let text = bounded("é".repeat(ERROR_LIMIT));
    assert!(text.len() <= ERROR_LIMIT && text.len() > ERROR_LIMIT - 4);
}
