//! One batch under random answers.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Confirmed,
    Transient,
    Permanent,
    Throttled,
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Confirmed),
        1 => Just(Answer::Transient),
        1 => Just(Answer::Permanent),
        1 => Just(Answer::Throttled),
    ]
}

impl Answer {
    fn result(self) -> Result<(), PublishError> {
        match self {
            Self::Confirmed => Ok(()),
            Self::Transient => transient(),
            Self::Permanent => permanent(),
            Self::Throttled => Err(PublishError::throttled("slow down", Duration::from_secs(1))),
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    chains: bool,
    held: Vec<u8>,
    pending: Vec<u8>,
    parked: Vec<u8>,
    is_all_held: bool,
    answers: Vec<Answer>,
}

prop_compose! {
    fn any_case()(
        chains in any::<bool>(),
        held in vec(0..4_u8, 0..8),
        pending in vec(0..7_u8, 0..24),
        parked in vec(4..6_u8, 0..2),
        is_all_held in any::<bool>(),
        answers in vec(any_answer(), 32),
    ) -> Case {
        Case { chains, held, pending, parked, is_all_held, answers }
    }
}

/// An event that was sent: its wave, and its answer.
struct Sent {
    wave: usize,
    stream: u8,
    position: i64,
    answer: Answer,
}

struct Run {
    streams: HashMap<i64, u8>,
    sent: Vec<Sent>,
    settled: Vec<Settlement>,
}

fn run(case: &Case) -> Run {
    let held: Vec<_> = case
        .held
        .iter()
        .zip(1..)
        .map(|(&stream, position)| held(position, stream, 0))
        .collect();
    let pending: Vec<_> = case
        .pending
        .iter()
        .zip(101..)
        .map(|(&stream, position)| row(position, stream))
        .collect();
    let rows = held.iter().map(|held| &held.row).chain(&pending);
    let by_event: HashMap<_, _> = rows
        .map(|row| (row.envelope.event_id, row.position))
        .collect();
    let positions = (1..).zip(&case.held).chain((101..).zip(&case.pending));
    let streams = positions
        .map(|(position, &stream)| (position, stream))
        .collect();
    let waiting = case
        .held
        .iter()
        .chain(&case.parked)
        .filter(|&&stream| stream > 0)
        .map(|&stream| key(stream));
    let limit = held.len() + usize::from(case.is_all_held);

    let mut machine = machine();
    let advanced = Advanced {
        held,
        pending,
        streams: Some(waiting.collect()),
        ..Advanced::default()
    };
    let world = World {
        chains: case.chains,
        ..World::default()
    };
    machine.take(advanced, limit, now(), &mut world.reach(), &mut ignore);
    let (mut sent, mut answers) = (Vec::new(), case.answers.iter().copied());
    let mut wave = 0;
    while let Some(out) = machine.next_wave(&mut always) {
        let mut results = Vec::new();
        for delivery in out.deliveries() {
            let answer = answers.next().expect("every row is sent at most once");
            let stream = delivery.envelope.aggregate_id.parse().unwrap_or(0);
            sent.push(Sent {
                wave,
                stream,
                position: by_event[&delivery.envelope.event_id],
                answer,
            });
            results.push(answer.result());
        }
        machine.answer(out, results, &mut ignore);
        wave += 1;
    }
    Run {
        streams,
        sent,
        settled: machine.take_settlements(),
    }
}

fn is_failure(settlement: &Settlement) -> bool {
    let is_failure = matches!(settlement.outcome, Outcome::Retry(_) | Outcome::Dead(_));
    settlement.place == Place::Held && is_failure
}

proptest! {
    #[test]
    fn no_row_is_unsettled_or_settled_twice(case in any_case()) {
        let Run { streams, settled, .. } = run(&case);
        let positions: Vec<_> = settled.iter().map(position).collect();
        let unique: HashSet<_> = positions.iter().copied().collect();
        prop_assert_eq!(unique.len(), positions.len(), "settled twice: {:?}", settled);
        for (position_of_row, stream) in &streams {
            let is_left = !unique.contains(position_of_row);
            let failed_before = settled.iter().any(|settled| {
                let is_of_stream = streams[&position(settled)] == *stream;
                is_failure(settled) && is_of_stream && position(settled) < *position_of_row
            });
            let may_stay = *position_of_row < 101 && *stream > 0 && failed_before;
            prop_assert!(!is_left || may_stay, "{} is unsettled: {:?}", position_of_row, settled);
        }
    }

    #[test]
    fn a_stream_goes_out_in_order_and_one_at_a_time(case in any_case()) {
        let Run { sent, .. } = run(&case);
        for stream in 1..7 {
            let of_stream: Vec<_> = sent.iter().filter(|sent| sent.stream == stream).collect();
            for pair in of_stream.windows(2) {
                prop_assert!(pair[0].position < pair[1].position, "out of order");
                let is_next = pair[0].wave < pair[1].wave && pair[0].answer == Answer::Confirmed;
                let [first, second] = [&pair[0], &pair[1]].map(|sent| sent.position);
                prop_assert!(case.chains || is_next, "{} before {} is confirmed", second, first);
            }
        }
    }

    #[test]
    fn nothing_behind_a_failure_is_settled_as_published(case in any_case()) {
        let Run { streams, sent, settled } = run(&case);
        let has_failed = |sent: &&Sent| sent.stream > 0 && sent.answer != Answer::Confirmed;
        for failed in sent.iter().filter(has_failed) {
            let overtakes = settled.iter().find(|settled| {
                let is_published = settled.outcome == Outcome::Published;
                let is_of_stream = streams[&position(settled)] == failed.stream;
                is_published && is_of_stream && position(settled) > failed.position
            });
            prop_assert!(overtakes.is_none(), "{:?} overtakes {}", overtakes, failed.position);
        }
    }

    #[test]
    fn a_waiting_stream_sends_pending_rows_only_after_all_held_ones(case in any_case()) {
        let Run { sent, .. } = run(&case);
        for sent in sent.iter().filter(|sent| sent.position > 100 && sent.stream > 0) {
            prop_assert!(!case.parked.contains(&sent.stream));
            prop_assert!(!case.held.contains(&sent.stream) || case.is_all_held);
        }
    }

    #[test]
    fn events_without_order_are_all_sent_and_park_nothing(case in any_case()) {
        let Run { streams, sent, settled } = run(&case);
        let without_order = streams.values().filter(|&&stream| stream == 0).count();
        prop_assert_eq!(sent.iter().filter(|sent| sent.stream == 0).count(), without_order);
        for settled in &settled {
            if let Outcome::Dead(dead) = &settled.outcome {
                prop_assert_eq!(dead.parks, streams[&position(settled)] > 0);
            }
        }
    }
}
