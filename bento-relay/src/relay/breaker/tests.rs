//! A breaker opens and closes, alone and among others.

use super::*;
use crate::publish::Destination;

fn failing(count: usize) -> Vec<Result<(), PublishError>> {
    (0..count)
        .map(|_| Err(PublishError::unavailable("away")))
        .collect()
}

fn name(name: &str) -> Arc<str> {
    Arc::from(name)
}

impl Breakers {
    /// Takes the answers to a wave, all of them.
    fn hear(
        &self,
        to: &Arc<str>,
        answers: &[Result<(), PublishError>],
        now: Instant,
    ) -> Option<Duration> {
        self.note(to, answers, answers.len(), now)
    }
}

/// The breaker of the only destination.
struct Only(Arc<Breakers>, Arc<str>);

fn only(limit: u32) -> Only {
    Only(
        Arc::new(Breakers::new(limit, &Router::default(), &[])),
        name(Destination::DEFAULT),
    )
}

impl Only {
    fn note(&self, answers: &[Result<(), PublishError>], now: Instant) -> Option<Duration> {
        self.0.hear(&self.1, answers, now)
    }
}

#[test]
fn it_opens_after_ten_failures_in_a_row_and_tries_one_at_a_time() {
    let (breaker, now) = (only(10), Instant::now());
    assert_eq!(breaker.note(&failing(9), now), None);
    assert!(matches!(breaker.0.enter(now), Ok(None)));
    let pause = breaker.note(&failing(1), now).unwrap();
    assert!(matches!(breaker.0.enter(now), Err(until) if until == now + pause));
    let later = now + pause;
    let trial = breaker.0.enter(later);
    assert!(matches!(trial, Ok(Some(_))));
    assert!(breaker.0.enter(later).is_err(), "one at a time");
    drop(trial);
    assert!(
        matches!(breaker.0.enter(later), Ok(Some(_))),
        "a trial without an answer is made again"
    );
}

#[test]
fn it_stays_open_longer_each_time_and_closes_at_an_answer() {
    let (breaker, now) = (only(1), Instant::now());
    let first = breaker.note(&failing(1), now).unwrap();
    let second = breaker.note(&failing(1), now + first).unwrap();
    assert!(second > first);
    let permanent = [Err(PublishError::permanent("no such topic"))];
    assert_eq!(breaker.note(&permanent, now + first + second), None);
    assert!(matches!(breaker.0.enter(now), Ok(None)));
    assert_eq!(
        breaker.note(&failing(1), now),
        Some(first),
        "it starts anew"
    );
}

#[test]
fn a_confirmation_between_keeps_it_closed() {
    let (breaker, now) = (only(2), Instant::now());
    for _ in 0..10 {
        assert_eq!(breaker.note(&failing(1), now), None);
        assert_eq!(breaker.note(&[Ok(())], now), None);
    }
}

#[test]
fn an_answer_about_an_event_never_opens_it_and_closes_it() {
    let (breaker, now) = (only(2), Instant::now());
    for class in [PublishError::transient, PublishError::permanent] {
        for _ in 0..100 {
            assert_eq!(breaker.note(&[Err(class("no"))], now), None);
        }
        assert_eq!(breaker.note(&failing(1), now), None);
        assert_eq!(
            breaker.note(
                &[
                    Err(class("no")),
                    Err(PublishError::unavailable("no stream"))
                ],
                now
            ),
            None
        );
        assert_eq!(breaker.note(&failing(1), now), None, "it was not in a row");
        breaker.note(&failing(1), now).expect("it opens");
        breaker.note(&[Err(class("no"))], now);
        assert_eq!(breaker.0.open(), []);
    }
}

#[test]
fn what_is_not_answered_at_all_opens_it() {
    let (breaker, now) = (only(10), Instant::now());
    assert!(
        breaker.0.note(&breaker.1, &[], 10, now).is_some(),
        "no answers to ten events"
    );
    let panicked = PublishError::transient("the publisher panicked");
    let breaker = only(2);
    assert_eq!(breaker.0.note_broken(&breaker.1, 1, &panicked, now), None);
    assert!(
        breaker
            .0
            .note_broken(&breaker.1, 1, &panicked, now)
            .is_some()
    );
}

#[test]
fn a_destination_has_answered_since_a_call_began_or_not() {
    let (breaker, now) = (only(2), Instant::now());
    let second = Duration::from_secs(1);
    assert!(!breaker.0.has_answered_since(&breaker.1, now));
    breaker.0.answered(&breaker.1, now + second);
    assert!(breaker.0.has_answered_since(&breaker.1, now));
    assert!(!breaker.0.has_answered_since(&breaker.1, now + second * 2));
    breaker.note(&[Ok(())], now);
    assert!(
        breaker.0.has_answered_since(&breaker.1, now),
        "it is not forgotten"
    );
}

#[test]
fn a_broker_that_asks_to_wait_for_ever_stops_no_relay() {
    let (breaker, now) = (only(1), Instant::now());
    breaker
        .note(
            &[Err(PublishError::throttled("go away", Duration::MAX))],
            now,
        )
        .unwrap();
    assert!(
        breaker
            .0
            .blocked_until(now)
            .is_some_and(|until| until > now)
    );
}

#[test]
fn a_broker_that_asks_for_a_longer_pause_gets_it() {
    let breaker = only(1);
    let asked = Duration::from_secs(300);
    let throttled = [Err(PublishError::throttled("slow down", asked))];
    assert_eq!(breaker.note(&throttled, Instant::now()), Some(asked));
}

#[test]
fn only_the_unavailable_destination_is_left_out() {
    let (breakers, now) = (
        Arc::new(Breakers::new(1, &Router::default(), &[])),
        Instant::now(),
    );
    let (there, away) = (name(Destination::DEFAULT), name("away"));
    assert!(breakers.is_only_one());
    let pause = breakers.hear(&away, &failing(1), now).unwrap();
    assert!(!breakers.is_only_one());
    assert!(matches!(breakers.enter(now), Ok(None)), "the others go on");
    let without = vec![away.clone()];
    assert_eq!(
        (breakers.without(now, &[]), breakers.open()),
        (without.clone(), vec![away.clone()])
    );
    assert_eq!(
        (breakers.admit(&away, now).0, breakers.admit(&there, now).0),
        (Admission::Away, Admission::Open)
    );
    let later = now + pause;
    assert_eq!(
        breakers.without(later, &[]),
        [],
        "its rows are wanted for a trial"
    );
    let (admission, trial) = breakers.admit(&away, later);
    assert_eq!(admission, Admission::Trial);
    assert_eq!(
        (breakers.without(later, &[]), breakers.admit(&away, later).0),
        (without, Admission::Away)
    );
    assert_eq!(breakers.hear(&away, &[Ok(())], later), None);
    drop(trial);
    assert_eq!(
        (breakers.admit(&away, later).0, breakers.open()),
        (Admission::Open, vec![])
    );
}

#[test]
fn a_destination_gets_nothing_until_its_last_late_wave_is_back() {
    let (breakers, now) = (
        Arc::new(Breakers::new(1, &Router::default(), &[])),
        Instant::now(),
    );
    let (there, slow) = (name(Destination::DEFAULT), name("slow"));
    let [first, second] = [(); 2].map(|()| breakers.postpone(slow.clone()));
    let admitted = |name| breakers.admit(name, now).0;
    assert_eq!(
        (admitted(&slow), admitted(&there)),
        (Admission::Away, Admission::Open)
    );
    assert_eq!(breakers.without(now, &[]), std::slice::from_ref(&slow));
    assert_eq!(breakers.open(), [], "its circuit is closed");
    assert_eq!(breakers.hear(&slow, &[Ok(())], now), None);
    drop(first);
    assert_eq!(
        (admitted(&slow), breakers.take_returned()),
        (Admission::Away, false),
        "another one is out"
    );
    drop(second);
    assert_eq!(
        (admitted(&slow), breakers.without(now, &[])),
        (Admission::Open, vec![])
    );
    assert_eq!(
        (breakers.take_returned(), breakers.take_returned()),
        (true, false),
        "once"
    );
}

#[test]
fn a_trial_that_is_late_is_the_only_one() {
    let (breakers, now) = (
        Arc::new(Breakers::new(1, &Router::default(), &[])),
        Instant::now(),
    );
    let slow = name("slow");
    let later = now + breakers.hear(&slow, &failing(1), now).unwrap();
    let (admission, trial) = breakers.admit(&slow, later);
    let postponed = breakers.postpone(slow.clone());
    assert_eq!(
        (admission, breakers.admit(&slow, later).0),
        (Admission::Trial, Admission::Away)
    );
    let pause = breakers.hear(&slow, &failing(1), later).unwrap();
    drop((trial, postponed));
    assert_eq!(breakers.admit(&slow, later).0, Admission::Away, "it failed");
    assert_eq!(breakers.admit(&slow, later + pause).0, Admission::Trial);
}

#[test]
fn an_unreached_destination_is_named_until_it_answers() {
    let (breaker, now) = (only(2), Instant::now());
    assert_eq!(breaker.0.degraded(), []);
    let (destination, error) = (breaker.1.clone(), "not connected: refused".to_owned());
    let unavailable = [Err(
        PublishError::unavailable("not connected").because("refused")
    )];
    breaker.note(&unavailable, now);
    let expected = Degradation::Unavailable {
        destination: destination.clone(),
        error: error.clone(),
    };
    assert_eq!(breaker.0.degraded(), [expected]);
    breaker.note(&unavailable, now).expect("it opens");
    assert_eq!(
        breaker.0.degraded(),
        [Degradation::CircuitOpen { destination, error }]
    );
    breaker.note(&[Ok(())], now);
    assert_eq!(breaker.0.degraded(), []);
}
