//! One bad event among many: who is sent with whom.

use super::*;

#[test]
fn a_wave_that_panicked_is_divided_until_one_event_is_left() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 2, 3, 4, 5, 6, 7]));
    let (mut calls, mut sent) = (0, Vec::new());
    while let Some(wave) = machine.next_wave(&mut always) {
        calls += 1;
        let is_poisoned = streams(&wave).contains(&"5".to_owned());
        match wave.deliveries().len() {
            1 if is_poisoned => machine.fail(
                wave,
                &PublishError::transient("the publisher panicked"),
                &mut ignore,
            ),
            _ if is_poisoned => machine.divide(wave),
            len => {
                sent.extend(streams(&wave));
                machine.answer(wave, (0..len).map(|_| Ok(())).collect(), &mut ignore);
            }
        }
    }
    assert_eq!(sent, ["1", "2", "3", "4", "6", "7"]);
    assert!(calls <= 7, "{calls} calls");
    let settled = machine.take_settlements();
    let failed = settled
        .iter()
        .filter(|settled| !settled.is_pending_published());
    assert_eq!(failed.map(position).collect::<Vec<_>>(), [5]);
    assert_eq!(settled.len(), 7);
}

#[test]
fn parts_of_a_chained_wave_keep_the_order_of_each_stream() {
    let mut machine = machine();
    take_in(
        &mut machine,
        pending(&[1, 2, 1, 1]),
        &World {
            chains: true,
            ..World::default()
        },
    );
    let whole = machine.next_wave(&mut always).unwrap();
    machine.divide(whole);
    assert_eq!(wave(&mut machine, [transient(), Ok(())]), ["1", "2"]);
    assert!(
        machine.next_wave(&mut always).is_none(),
        "the other half is behind a failure"
    );
    assert_eq!(machine.take_settlements().len(), 4);
}

#[test]
fn what_has_failed_is_not_sent_with_what_has_not() {
    let mut machine = machine();
    let held = vec![held(1, 1, 1), held(2, 2, 1)];
    take(
        &mut machine,
        Advanced {
            held,
            ..pending(&[3, 4])
        },
    );
    assert_eq!(wave(&mut machine, [Ok(()), Ok(())]), ["3", "4"]);
    assert_eq!(wave(&mut machine, [Ok(()), Ok(())]), ["1", "2"]);
}

#[test]
fn events_that_go_alone_are_out_at_the_same_time() {
    let mut machine = machine();
    let held = (1..=10)
        .map(|number| held(number, number as u8, 3))
        .collect();
    take(
        &mut machine,
        Advanced {
            held,
            ..pending(&[11])
        },
    );
    let waves: Vec<_> = std::iter::from_fn(|| machine.next_wave(&mut always)).collect();
    assert_eq!(waves.len(), 1 + 8);
    assert!(waves.iter().all(|wave| wave.deliveries().len() == 1));
    for wave in waves {
        machine.answer(wave, vec![Ok(())], &mut ignore);
    }
    assert_eq!(confirm_all(&mut machine).len(), 2);
}

#[test]
fn a_wave_that_failed_whole_is_sent_again_one_by_one() {
    let once = RetryPolicies::named("once").unwrap();
    let mut machine = Machine::new(Router::default(), once, 7);
    take(&mut machine, pending(&[1, 2]));
    let both = machine.next_wave(&mut always).unwrap();
    machine.fail(both, &away(), &mut ignore);
    let settled = machine.take_settlements();
    let is_untried = |settled: &Settlement| retried(settled, Place::Pending).attempts == 0;
    assert!(settled.iter().all(is_untried), "{settled:?}");
    take(
        &mut machine,
        Advanced {
            held: vec![held(1, 1, 0), held(2, 2, 0)],
            ..pending(&[3])
        },
    );
    assert_eq!(wave(&mut machine, [Ok(())]), ["3"]);
    let alone = machine.next_wave(&mut always).unwrap();
    assert_eq!(streams(&alone), ["1"]);
    machine.fail(
        alone,
        &PublishError::transient("the publisher did not answer"),
        &mut ignore,
    );
    assert_eq!(wave(&mut machine, [Ok(())]), ["2"]);
    let settled = machine.take_settlements();
    assert!(
        matches!(
            &settled[1],
            Settlement {
                position: 1,
                place: Place::Held,
                outcome: Outcome::Dead(_),
                ..
            }
        ),
        "{settled:?}"
    );
    assert!(
        matches!(
            &settled[2],
            Settlement {
                position: 2,
                place: Place::Held,
                outcome: Outcome::Published,
                ..
            }
        ),
        "{settled:?}"
    );
}

#[test]
fn a_missing_answer_is_no_attempt_and_its_event_is_sent_alone() {
    let mut machine = machine();
    take(&mut machine, pending(&[1, 2, 3]));
    assert_eq!(wave(&mut machine, [Ok(()), transient()]), ["1", "2", "3"]);
    let settled = machine.take_settlements();
    let Settlement {
        place: Place::Pending,
        position: 3,
        outcome: Outcome::Retry(failure),
        ..
    } = &settled[2]
    else {
        panic!("{settled:?}")
    };
    assert_eq!((failure.attempts, &*failure.error), (0, TOO_FEW_ANSWERS));
    take(
        &mut machine,
        Advanced {
            held: vec![held(3, 3, 0)],
            ..pending(&[4])
        },
    );
    assert_eq!(
        [wave(&mut machine, [Ok(())]), wave(&mut machine, [Ok(())])],
        [["4"], ["3"]]
    );
}

#[test]
fn an_unreached_event_waits_longer_each_time_and_never_dies() {
    let once = RetryPolicies::named("once").unwrap();
    let mut machine = Machine::new(Router::default(), once, 7);
    take(&mut machine, pending(&[1]));
    wave(&mut machine, [unavailable()]);
    machine.take_settlements();
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        take(
            &mut machine,
            Advanced {
                held: vec![held(1, 1, 0)],
                ..pending(&[])
            },
        );
        wave(&mut machine, [unavailable()]);
        let settled = machine.take_settlements();
        let [
            Settlement {
                place: Place::Held,
                outcome: Outcome::Retry(failure),
                ..
            },
        ] = &settled[..]
        else {
            panic!("{settled:?}")
        };
        assert_eq!((failure.attempts, &*failure.error), (0, "not connected"));
        longest = longest.max(failure.retry_after);
    }
    assert!(
        (Duration::from_secs(20)..=Duration::from_secs(30)).contains(&longest),
        "{longest:?}"
    );
}
