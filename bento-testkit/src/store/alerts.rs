//! The alerts about dead letters: each letter is told of once.

use std::time::Duration;

use bento_relay::dead_letter::{AlertOutcome, AlertStore, DeadLetter, DeadLetters};
use bento_relay::store::{Outcome, Settlement};

use super::StoreHarness;
use super::bench::{Bench, LONG, dead_letter, default_route, died, event};
use super::dead_letters::dead_numbers;

/// A letter that was taken belongs to one process for a while, comes again without an answer, and
/// never once the hook has answered.
pub async fn a_letter_comes_until_somebody_was_told<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    assert_eq!(take(&bench, LONG).await, []);
    let rows = bench.pending([event("a", 1)]).await;
    bench.settle(vec![died(&rows[0], true)]).await;
    let letters = take(&bench, harness.short()).await;
    assert_eq!(
        (dead_numbers(&letters), take(&bench, LONG).await),
        (vec![1], vec![])
    );
    harness.pass(harness.short()).await;
    assert_eq!(
        take(&bench, Duration::ZERO).await,
        letters,
        "whoever took it is gone"
    );
    settle(&bench, &letters, AlertOutcome::Told).await;
    harness.pass(harness.short()).await;
    assert_eq!(take(&bench, LONG).await, []);
}

/// After a failed alert a letter comes again when its wait is over.
pub async fn a_failed_alert_is_due_again<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    bench
        .settle(vec![died(&rows[0], true), died(&rows[1], true)])
        .await;
    let letters = take(&bench, LONG).await;
    settle(&bench, &letters[..1], AlertOutcome::Failed(Duration::ZERO)).await;
    assert_eq!(take(&bench, LONG).await, letters[..1]);
    settle(&bench, &letters[..1], AlertOutcome::Failed(LONG)).await;
    assert_eq!(take(&bench, LONG).await, []);
}

/// Letters come oldest failure first, no more than asked for.
pub async fn the_oldest_letters_are_told_of_first<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event(&number.to_string(), number)))
        .await;
    for row in [&rows[2], &rows[0], &rows[1]] {
        bench.settle(vec![died(row, true)]).await;
        harness.pass(Duration::from_millis(5)).await;
    }
    let take_two = async || {
        bench
            .store
            .take_unalerted(2, LONG)
            .await
            .expect("the store is there")
    };
    assert_eq!(dead_numbers(&take_two().await), [3, 1]);
    assert_eq!(dead_numbers(&take_two().await), [2]);
}

/// A letter that died again is told again: the alert of its earlier death does not count.
pub async fn a_letter_that_died_again_is_told_again<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1)]).await;
    bench.settle(vec![died(&rows[0], true)]).await;
    let first = take(&bench, LONG).await;
    harness.pass(Duration::from_millis(5)).await;
    bench
        .store
        .replay(rows[0].envelope.event_id, &default_route())
        .await
        .expect("the store is there");
    let (position, route) = (rows[0].position, default_route());
    bench
        .settle(vec![Settlement::held(
            position,
            route,
            Outcome::Dead(dead_letter(true)),
        )])
        .await;
    settle(&bench, &first, AlertOutcome::Told).await;
    assert_eq!(dead_numbers(&take(&bench, LONG).await), [1]);
}

async fn take<H: StoreHarness>(bench: &Bench<'_, H>, hold: Duration) -> Vec<DeadLetter> {
    bench
        .store
        .take_unalerted(10, hold)
        .await
        .expect("the store is there")
}

async fn settle<H: StoreHarness>(
    bench: &Bench<'_, H>,
    letters: &[DeadLetter],
    outcome: AlertOutcome,
) {
    bench
        .store
        .settle_alerts(letters, outcome)
        .await
        .expect("the store is there");
}
