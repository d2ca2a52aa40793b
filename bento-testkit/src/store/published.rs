//! Published rows: kept if the relay says so, and pruned when they are old enough.

use std::sync::Arc;
use std::time::Duration;

use bento_relay::RelayStore;
use bento_relay::inspect::Inspect;
use bento_relay::store::{Advance, OutboxRow, Outcome, Prune, Settlement};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, call, died, event, failed, failure, held_published, numbers, open, published,
    sharding,
};

const NOW: Prune = Prune {
    older_than: Duration::ZERO,
    batch: 2,
    every: Duration::ZERO,
};

/// The id of a published event is recognised as long as its row is kept, and not at all if it is
/// not.
pub async fn a_published_row_is_known_only_if_it_is_kept<H: StoreHarness>(harness: &H) {
    for keep in [false, true] {
        let bench = Bench::new(harness).await;
        let rows = bench.pending([event("a", 1), event("b", 2)]).await;
        let settled = rows.iter().map(published).collect();
        assert_eq!(
            settle(&bench, keep, settled).await,
            [],
            "either way it is not pending any more"
        );
        assert_eq!(is_known(&bench, &rows[0]).await, keep);
        bench
            .store
            .release(bench.lease.owner)
            .await
            .expect("the store is there");
    }
}

/// A row that was held back is kept like any other, and stays kept when the call is repeated.
pub async fn a_held_row_is_kept_when_it_is_published<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("b", 2), event("c", 3)])
        .await;
    let settled = vec![
        failed(&rows[0], Duration::ZERO),
        failed(&rows[1], Duration::ZERO),
        published(&rows[2]),
    ];
    settle(&bench, true, settled).await;
    assert!(
        is_known(&bench, &rows[2]).await,
        "also beside rows that move"
    );
    let held = bench.next().await.held;
    for _ in 0..2 {
        settle(&bench, true, vec![held_published(&held[0])]).await;
    }
    settle(&bench, false, vec![held_published(&held[1])]).await;
    assert!(is_known(&bench, &held[0].row).await && !is_known(&bench, &held[1].row).await);
    assert_eq!(
        bench.store.prune(NOW).await.expect("the store is there"),
        Some(2)
    );
}

/// A row that moves is not published, whatever else is settled of it.
pub async fn what_is_held_or_dead_is_not_published<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=2).map(|number| event("a", number)))
        .await;
    let settled = vec![
        died(&rows[0], false),
        failed(&rows[1], LONG),
        published(&rows[1]),
    ];
    settle(&bench, true, settled).await;
    assert_eq!(
        bench.store.prune(NOW).await.expect("the store is there"),
        Some(0)
    );
    let counts = bench.store.counts().await.expect("the store is there");
    assert_eq!((counts.pending, counts.held, counts.dead), (0, 1, 1));
}

/// An event that waited for several routes is published once.
pub async fn an_event_that_several_got_is_kept_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let row = bench.pending([event("a", 1)]).await.remove(0);
    let hold = |route: &str| {
        Settlement::pending(
            row.position,
            Arc::from(route),
            Outcome::Retry(failure(1, Duration::ZERO)),
        )
    };
    let held = bench.settle(vec![hold("left"), hold("right")]).await.held;
    for held in &held {
        settle(&bench, true, vec![held_published(held)]).await;
    }
    assert!(is_known(&bench, &row).await);
    assert_eq!(
        bench.store.prune(NOW).await.expect("the store is there"),
        Some(1)
    );
}

/// Rows that were published long enough ago are pruned, in as many batches as it takes, and younger
/// ones stay.
pub async fn what_is_old_enough_is_pruned_and_then_unknown<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=5).map(|number| event("a", number)))
        .await;
    settle(&bench, true, rows.iter().map(published).collect()).await;
    let old = Prune {
        older_than: harness.short() * 2,
        ..NOW
    };
    assert_eq!(
        bench.store.prune(old).await.expect("the store is there"),
        Some(0)
    );
    harness.pass(harness.short() * 2).await;
    let young = bench.pending([event("a", 6)]).await;
    settle(&bench, true, young.iter().map(published).collect()).await;
    assert_eq!(
        bench.store.prune(old).await.expect("the store is there"),
        Some(5)
    );
    assert!(is_known(&bench, &young[0]).await && !is_known(&bench, &rows[0]).await);
}

/// One relay prunes, and for a while after it no other does.
pub async fn one_relay_prunes_at_a_time<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let other = open(harness, sharding(1, 1)).await;
    let rows = bench.pending([event("a", 1)]).await;
    let every = Prune {
        every: harness.short(),
        ..NOW
    };
    assert_eq!(
        bench.store.prune(every).await.expect("the store is there"),
        Some(0)
    );
    settle(&bench, true, vec![published(&rows[0])]).await;
    assert_eq!(other.prune(every).await.expect("the store is there"), None);
    assert_eq!(
        bench.store.prune(every).await.expect("the store is there"),
        None
    );
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        other
            .prune(Prune { every: LONG, ..NOW })
            .await
            .expect("the store is there"),
        Some(1)
    );
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        bench.store.prune(every).await.expect("the store is there"),
        None,
        "it is for the last one to say"
    );
}

async fn settle<H: StoreHarness>(
    bench: &Bench<'_, H>,
    keep_published: bool,
    settled: Vec<Settlement>,
) -> Vec<OutboxRow> {
    bench
        .advance(Advance {
            settled,
            keep_published,
            ..call(bench.lease)
        })
        .await
        .pending
}

/// True if an event with this id is left out when it is written again; if not, it is published
/// again and not kept.
async fn is_known<H: StoreHarness>(bench: &Bench<'_, H>, row: &OutboxRow) -> bool {
    let mut again = event(&row.envelope.aggregate_id, 99);
    (again.may_be_known, again.envelope.event_id) = (true, row.envelope.event_id);
    let written: Vec<_> = bench
        .pending([again])
        .await
        .into_iter()
        .filter(|row| numbers([row]) == [99])
        .collect();
    settle(bench, false, written.iter().map(published).collect()).await;
    written.is_empty()
}
