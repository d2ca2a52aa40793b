//! When a breaker opens and closes, alone and among others.

use super::errand::SPREAD;
use super::*;
use crate::publish::Destination;
use crate::relay::store::TrialClaim;

const MINUTE: Duration = Duration::from_secs(60);

fn failing(count: usize) -> Vec<Result<(), PublishError>> {
    (0..count).map(|_| Err(PublishError::transient("away"))).collect()
}

/// What the breakers have to tell or ask now, all of it.
fn errands(breakers: &Breakers, now: Instant) -> Vec<Errand> {
    std::iter::from_fn(|| breakers.next_errand(now)).collect()
}

fn claim(destination: &Arc<str>) -> Errand {
    Errand::Claim { destination: Arc::clone(destination) }
}

fn name(name: &str) -> Arc<str> {
    Arc::from(name)
}

/// The breaker of the only destination.
struct Only(Arc<Breakers>, Arc<str>);

fn only(limit: u32) -> Only {
    Only(Arc::new(Breakers::new(limit, &Router::default())), name(Destination::DEFAULT))
}

impl Only {
    fn note(&self, answers: &[Result<(), PublishError>], now: Instant) -> Option<Duration> {
        self.0.note(&self.1, answers, now)
    }

    fn is_blocked(&self, now: Instant) -> bool {
        matches!(self.0.enter(now), Passage::Blocked(_))
    }

    /// Something is there to try with, and the store answers so.
    fn ask(&self, answer: Option<TrialClaim>, now: Instant) -> bool {
        assert!(self.is_blocked(now), "it is asked for first");
        assert_eq!(errands(&self.0, now).pop(), Some(claim(&self.1)));
        assert!(self.is_blocked(now), "until the answer is there");
        assert_eq!(errands(&self.0, now), [], "it is asked once");
        self.0.claimed(&self.1, answer, now, now + MINUTE)
    }

    /// A trial, without other relays.
    fn trial(&self, now: Instant) -> Passage {
        assert!(self.ask(None, now));
        self.begin(now)
    }

    fn begin(&self, now: Instant) -> Passage {
        let passage = self.0.enter(now);
        assert!(matches!(passage, Passage::Trial(_)), "it is its turn");
        passage
    }
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_tries_one_at_a_time() {
    let (breaker, now) = (only(10), Instant::now());
    assert_eq!(breaker.note(&failing(9), now), None);
    assert!(matches!(breaker.0.enter(now), Passage::Free));
    let pause = breaker.note(&failing(1), now).unwrap();
    assert!(matches!(breaker.0.enter(now), Passage::Blocked(until) if until == now + pause));
    let later = now + pause;
    let trial = breaker.trial(later);
    assert!(breaker.is_blocked(later), "one at a time");
    drop(trial);
    assert!(matches!(breaker.0.enter(later), Passage::Trial(_)), "a trial without an answer is made again");
}

#[test]
fn it_stays_open_longer_each_time_and_closes_at_the_first_answer() {
    let (breaker, now) = (only(1), Instant::now());
    let first = breaker.note(&failing(1), now).unwrap();
    assert_eq!(breaker.note(&failing(5), now + first), None, "what was under way tells nothing new");
    let _trial = breaker.trial(now + first);
    let second = breaker.note(&failing(1), now + first).unwrap();
    assert!(second > first);
    let permanent = [Err(PublishError::permanent("no such topic"))];
    assert_eq!(breaker.note(&permanent, now + first + second), None);
    assert!(matches!(breaker.0.enter(now), Passage::Free));
    assert_eq!(breaker.note(&failing(1), now), Some(first), "it starts anew");
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
fn a_broker_that_asks_to_wait_for_ever_stops_no_relay() {
    let (breaker, now) = (only(1), Instant::now());
    let pause = breaker.note(&[Err(PublishError::throttled("go away", Duration::MAX))], now).unwrap();
    assert_eq!(breaker.0.blocked_until(now), Some(now + pause));
}

#[test]
fn a_broker_that_asks_for_a_longer_pause_gets_it() {
    let breaker = only(1);
    let asked = Duration::from_secs(300);
    let throttled = [Err(PublishError::throttled("slow down", asked))];
    assert_eq!(breaker.note(&throttled, Instant::now()), Some(asked));
}

#[test]
fn of_several_destinations_only_the_one_that_is_away_is_left_out() {
    let (breakers, now) = (Arc::new(Breakers::new(1, &Router::default())), Instant::now());
    let (there, away) = (name(Destination::DEFAULT), name("away"));
    assert!(breakers.is_only_one());
    let pause = breakers.note(&away, &failing(1), now).unwrap();
    assert!(!breakers.is_only_one());
    assert!(matches!(breakers.enter(now), Passage::Free), "the others go on");
    let without = vec![away.clone(), name(Burial::UNROUTABLE)];
    assert_eq!((breakers.without(now), breakers.open()), (without.clone(), vec![away.clone()]));
    assert_eq!((breakers.admit(&away, now).0, breakers.admit(&there, now).0), (Admission::Away, Admission::Open));
    let later = now + pause;
    assert_eq!(breakers.without(later), [], "its rows are wanted, to see whether there are any");
    assert_eq!((breakers.admit(&away, later).0, breakers.without(later)), (Admission::Away, without.clone()));
    assert_eq!(errands(&breakers, later).pop(), Some(claim(&away)));
    assert!(breakers.claimed(&away, Some(TrialClaim::Closed), later, later + MINUTE));
    assert_eq!(breakers.without(later), [], "its rows are wanted for a trial");
    let (admission, trial) = breakers.admit(&away, later);
    assert_eq!(admission, Admission::Trial);
    assert_eq!((breakers.without(later), breakers.admit(&away, later).0), (without, Admission::Away));
    assert_eq!(breakers.note(&away, &[Ok(())], later), None);
    drop(trial);
    assert_eq!((breakers.admit(&away, later).0, breakers.open()), (Admission::Open, vec![]));
}

#[test]
fn a_destination_with_a_late_wave_is_left_alone_until_the_last_is_back() {
    let (breakers, now) = (Arc::new(Breakers::new(1, &Router::default())), Instant::now());
    let (there, slow) = (name(Destination::DEFAULT), name("slow"));
    let [first, second] = [(); 2].map(|()| breakers.postpone(slow.clone()));
    let admitted = |name| breakers.admit(name, now).0;
    assert_eq!((admitted(&slow), admitted(&there)), (Admission::Away, Admission::Open));
    assert_eq!(breakers.without(now), [slow.clone(), name(Burial::UNROUTABLE)]);
    assert_eq!(breakers.open(), [], "its circuit is closed");
    assert_eq!(breakers.note(&slow, &[Ok(())], now), None);
    drop(first);
    assert_eq!((admitted(&slow), breakers.take_returned()), (Admission::Away, false), "another one is out");
    drop(second);
    assert_eq!((admitted(&slow), breakers.without(now)), (Admission::Open, vec![]));
    assert_eq!((breakers.take_returned(), breakers.take_returned()), (true, false), "once");
}

#[test]
fn a_trial_that_is_late_is_the_only_one() {
    let (breakers, now) = (Arc::new(Breakers::new(1, &Router::default())), Instant::now());
    let slow = name("slow");
    let later = now + breakers.note(&slow, &failing(1), now).unwrap();
    let turn = |now| {
        assert_eq!(breakers.admit(&slow, now).0, Admission::Away, "it asks first");
        assert_eq!(errands(&breakers, now).pop(), Some(claim(&slow)));
        breakers.claimed(&slow, None, now, now + MINUTE)
    };
    assert!(turn(later));
    let (admission, trial) = breakers.admit(&slow, later);
    let postponed = breakers.postpone(slow.clone());
    assert_eq!((admission, breakers.admit(&slow, later).0), (Admission::Trial, Admission::Away));
    let pause = breakers.note(&slow, &failing(1), later).unwrap();
    drop((trial, postponed));
    assert_eq!(breakers.admit(&slow, later).0, Admission::Away, "it failed");
    assert!(turn(later + pause));
    assert_eq!(breakers.admit(&slow, later + pause).0, Admission::Trial);
}

#[test]
fn the_other_relays_are_told_when_it_opens_and_when_it_closes() {
    let (breaker, now) = (only(10), Instant::now());
    breaker.note(&failing(9), now);
    breaker.note(&[Ok(())], now);
    assert_eq!(errands(&breaker.0, now), [], "nothing while it is closed");
    let pause = breaker.note(&failing(10), now).unwrap();
    let destination = || name(Destination::DEFAULT);
    assert_eq!(errands(&breaker.0, now), [Errand::Open { destination: destination(), trials: 0, pause }]);
    breaker.note(&[Ok(())], now);
    assert_eq!(errands(&breaker.0, now), [Errand::Close { destination: destination() }]);
    breaker.note(&failing(10), now);
    breaker.note(&[Ok(())], now);
    assert_eq!(errands(&breaker.0, now), [Errand::Close { destination: destination() }], "the last counts");
}

#[test]
fn a_relay_with_nothing_to_try_asks_for_no_turn() {
    let (breaker, now) = (only(1), Instant::now());
    let pause = breaker.note(&failing(1), now).unwrap();
    assert_eq!(errands(&breaker.0, now).len(), 1);
    assert_eq!(breaker.0.next_trial(now), Some(now + pause), "it looks then");
    let later = now + pause * 100;
    assert_eq!((errands(&breaker.0, later), breaker.0.next_question()), (vec![], None));
    assert!(breaker.is_blocked(later));
    assert_eq!((breaker.0.next_question(), errands(&breaker.0, later)), (Some(now + pause), vec![claim(&breaker.1)]));
}

#[test]
fn a_relay_waits_for_its_turn_and_asks_again_every_second() {
    let (breaker, now) = (only(1), Instant::now());
    let mut at = now + breaker.note(&failing(1), now).unwrap();
    let wait = Duration::from_millis(300);
    assert!(!breaker.ask(Some(TrialClaim::Later(wait)), at));
    let question = breaker.0.next_question().unwrap();
    assert!((wait..=wait + SPREAD).contains(&(question - at)), "{:?}", question - at);
    at = question;
    assert_eq!(errands(&breaker.0, at), [claim(&breaker.1)]);
    assert!(!breaker.0.claimed(&breaker.1, Some(TrialClaim::Later(Duration::MAX)), at, at + MINUTE));
    let question = breaker.0.next_question().unwrap();
    assert!((ASK_AGAIN..=ASK_AGAIN + SPREAD).contains(&(question - at)), "it may be back sooner");
    assert!(breaker.is_blocked(at) && breaker.0.blocked_until(at) >= Some(at + ASK_AGAIN));
    at = question;
    assert_eq!(errands(&breaker.0, at), [claim(&breaker.1)]);
    assert!(breaker.0.claimed(&breaker.1, Some(TrialClaim::Granted { trials: 4 }), at, at + MINUTE));
    assert!(matches!(breaker.0.enter(at), Passage::Trial(_)));
}

#[test]
fn a_turn_that_is_not_used_in_time_is_asked_for_again() {
    let (breaker, now) = (only(1), Instant::now());
    let at = now + breaker.note(&failing(1), now).unwrap();
    assert!(breaker.ask(Some(TrialClaim::Granted { trials: 1 }), at));
    drop(breaker.begin(at));
    assert!(
        matches!(breaker.0.enter(at + MINUTE - Duration::from_secs(1)), Passage::Trial(_)),
        "given back by the first"
    );
    assert!(breaker.is_blocked(at + MINUTE));
    assert_eq!(errands(&breaker.0, at + MINUTE), [claim(&breaker.1)]);
}

#[test]
fn that_a_destination_is_back_is_told_until_somebody_heard() {
    let (breaker, now) = (only(1), Instant::now());
    breaker.note(&failing(1), now);
    breaker.note(&[Ok(())], now);
    let close = Errand::Close { destination: Arc::clone(&breaker.1) };
    assert_eq!(errands(&breaker.0, now), std::slice::from_ref(&close));
    breaker.0.untold(&breaker.1);
    assert_eq!(errands(&breaker.0, now), [close]);
    breaker.note(&failing(1), now);
    breaker.0.untold(&breaker.1);
    assert!(matches!(errands(&breaker.0, now)[..], [Errand::Open { .. }]), "it is away again");
}

#[test]
fn the_pause_grows_with_the_trials_of_all_relays() {
    let (breaker, now) = (only(1), Instant::now());
    let at = now + breaker.note(&failing(1), now).unwrap();
    assert!(breaker.ask(Some(TrialClaim::Granted { trials: 4 }), at));
    let _trial = breaker.begin(at);
    let pause = breaker.note(&failing(1), at).unwrap();
    assert_eq!(pause, Duration::from_secs(16));
    let destination = name(Destination::DEFAULT);
    assert_eq!(errands(&breaker.0, at), [Errand::Open { destination, trials: 4, pause }]);
}

#[test]
fn an_answer_that_comes_too_late_opens_nothing() {
    let (breaker, now) = (only(1), Instant::now());
    let at = now + breaker.note(&failing(1), now).unwrap();
    assert!(breaker.is_blocked(at));
    assert_eq!(errands(&breaker.0, at).len(), 2, "that it is open, and whose turn it is");
    breaker.note(&[Ok(())], at);
    assert!(!breaker.0.claimed(&breaker.1, Some(TrialClaim::Granted { trials: 1 }), at, at + MINUTE));
    assert!(matches!(breaker.0.enter(at), Passage::Free));
}
