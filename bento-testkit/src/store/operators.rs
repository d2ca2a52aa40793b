//! Several dead letters at once: filtered replay and discard.

use std::time::Duration;

use bento_core::outbox::OutboxEntry;
use bento_relay::RelayStore;
use bento_relay::dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterQuery, DeadLetters, DiscardedDeadLetter, Discarding,
    Problem, ReplayMode,
};
use bento_relay::inspect::Inspect;
use bento_relay::publish::Destination;
use bento_relay::store::{Advance, NewDeadLetter, Outcome, RelayId, Settlement, StoreError};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, dead_letter, default_route, died, event, event_of_tenant, follows,
    heartbeat, held_numbers, number_of, open, sharding,
};
use super::dead_letters::dead_numbers;

/// All that match are due again, the letters of a stream in their original order, whichever failed
/// first.
pub async fn a_filtered_replay_keeps_the_order_of_a_stream<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([
            event("a", 1),
            event("a", 2),
            event("a", 3),
            event("b", 4),
            event("a", 5),
        ])
        .await;
    bench
        .settle(vec![died(&rows[2], true), follows(&rows[4])])
        .await;
    harness.pass(Duration::from_millis(5)).await;
    let delivered: Vec<_> = vec!["first".into()];
    let dead = NewDeadLetter {
        delivered: delivered.clone(),
        ..dead_letter(true)
    };
    let first = Settlement::pending(rows[0].position, default_route(), Outcome::Dead(dead));
    bench
        .settle(vec![first, died(&rows[1], true), died(&rows[3], true)])
        .await;
    let of_a = DeadLetterFilter::default().aggregate("thing", "a");
    let report = bench
        .store
        .replay_all(&of_a, ReplayMode::Replay)
        .await
        .expect("the store is there");
    assert_eq!(
        (report.matched, report.replayed, &report.problems[..]),
        (3, 3, &[][..])
    );
    let held = bench.next().await.held;
    assert_eq!(held_numbers(&held), [1, 2, 3, 5]);
    assert_eq!(
        (&held[0].row, held[0].attempts, &held[0].delivered),
        (&rows[0], 0, &delivered)
    );
    assert_eq!(dead_numbers(&everything(&bench.store).await), [4]);
}

/// As long as a dead letter that parks is left, none of its aggregate is due: a page of a replay
/// lets no later one go first.
pub async fn a_part_of_a_replay_lets_nothing_overtake<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event("a", number)))
        .await;
    bench
        .settle(vec![died(&rows[1], true), follows(&rows[2])])
        .await;
    harness.pass(Duration::from_millis(5)).await;
    bench.settle(vec![died(&rows[0], true)]).await;
    let in_order = bench
        .store
        .list_in_order(&DeadLetterFilter::default(), None, 1)
        .await
        .expect("the store is there");
    assert_eq!(dead_numbers(&in_order), [1]);
    let letters = [(rows[0].envelope.event_id, default_route())];
    let replayed = async || {
        bench
            .store
            .replay_together(0, &letters)
            .await
            .expect("the store is there")
    };
    assert_eq!((replayed().await, replayed().await), (1, 0));
    assert_eq!(
        held_numbers(&bench.next().await.held),
        [0; 0],
        "the second still parks them"
    );
    let report = bench
        .store
        .replay_all(&DeadLetterFilter::default(), ReplayMode::Replay)
        .await;
    assert_eq!(report.expect("the store is there").replayed, 1);
    assert_eq!(held_numbers(&bench.next().await.held), [1, 2, 3]);
}

/// More than fit into one page, over several shards, are replayed once each and in order.
pub async fn a_replay_goes_through_all_pages<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(3, 1)).await;
    let leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    let entries = (0..250_u32).map(|number| OutboxEntry {
        shard: (number % 3).cast_signed(),
        ..event(&(number % 12).to_string(), number)
    });
    harness.append(entries.collect()).await;
    for lease in &leases {
        let all = || Advance {
            pending: 250,
            held: 250,
            ..call(*lease)
        };
        let rows = store.advance(all()).await.expect("held").pending;
        let settled = rows.iter().rev().map(|row| died(row, true)).collect();
        store
            .advance(Advance { settled, ..all() })
            .await
            .expect("held");
    }
    let report = store
        .replay_all(&DeadLetterFilter::default(), ReplayMode::Replay)
        .await
        .expect("the store is there");
    assert_eq!((report.matched, report.replayed), (250, 250));
    let mut count = 0;
    for lease in &leases {
        let held = store
            .advance(Advance {
                held: 250,
                ..call(*lease)
            })
            .await
            .expect("held")
            .held;
        count += held.len();
        for aggregate in 0..12 {
            let of_one = held
                .iter()
                .filter(|held| held.row.envelope.aggregate_id == aggregate.to_string());
            assert!(of_one.map(|held| held.row.position).is_sorted());
        }
    }
    assert_eq!(
        (
            count,
            store.counts().await.expect("the store is there").dead
        ),
        (250, 0)
    );
}

/// A dry run changes nothing and tells what it found: here an event that no binary declares, and
/// one that did not park.
pub async fn a_dry_run_changes_nothing<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let mut unknown = event("a", 1);
    unknown.envelope.event_type = "nobody.declared".into();
    let mut bytes = event("b", 2);
    bytes.envelope.schema_version = 0;
    let rows = bench.pending([unknown, bytes]).await;
    bench
        .settle(vec![died(&rows[0], true), died(&rows[1], false)])
        .await;
    let before = everything(&bench.store).await;
    let revision = bench.next().await.revision;
    let report = bench
        .store
        .replay_all(&DeadLetterFilter::default(), ReplayMode::DryRun)
        .await;
    let report = report.expect("the store is there");
    assert_eq!((report.matched, report.replayed), (2, 0));
    assert_eq!(
        (
            report.count(Problem::UnknownEventType),
            report.count(Problem::LaterOnesOut)
        ),
        (1, 1)
    );
    assert_eq!(
        report
            .problems
            .iter()
            .map(|found| found.event_id)
            .collect::<Vec<_>>(),
        ids(&before, &[1, 2])
    );
    assert_eq!(
        (everything(&bench.store).await, bench.next().await.revision),
        (before, revision)
    );
}

/// A discarded letter is kept without its payload, with the actor and the reason, and can be listed
/// by the same filters.
pub async fn a_discard_keeps_its_reason<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event_of_tenant("acme", 1), event("b", 2)])
        .await;
    bench
        .settle(vec![died(&rows[0], true), died(&rows[1], true)])
        .await;
    let letters = everything(&bench.store).await;
    let id = rows[0].envelope.event_id;
    let unstorable = Discarding::because("test data\0").expect("it says something");
    let refused = bench
        .store
        .discard(id, Destination::DEFAULT, &unstorable)
        .await;
    assert!(
        matches!(refused, Err(StoreError::Unstorable(_))),
        "{refused:?}"
    );
    let because = Discarding::because("test data")
        .expect("it says something")
        .by("alice");
    for row in &rows {
        let id = row.envelope.event_id;
        assert!(
            bench
                .store
                .discard(id, Destination::DEFAULT, &because)
                .await
                .expect("the store is there")
        );
        harness.pass(Duration::from_millis(5)).await;
    }
    let kept = discarded(&bench, DeadLetterQuery::default()).await;
    let of = |kept: &DiscardedDeadLetter, number: u32| {
        let letter = letters
            .iter()
            .find(|letter| number_of(&letter.envelope) == number)
            .expect("it was dead");
        let mut expected = DiscardedDeadLetter::of(letter, &because, kept.discarded_at);
        expected.reason.clone_from(&kept.reason);
        expected
    };
    assert_eq!(
        kept,
        [of(&kept[0], 1), of(&kept[1], 2)],
        "the earliest first"
    );
    assert!(
        kept.iter()
            .all(|kept| kept.reason == "test data" && kept.actor.as_deref() == Some("alice"))
    );
    assert!(kept.iter().all(|kept| kept.discarded_at >= kept.failed_at));
    let filter = DeadLetterFilter::default()
        .tenant("acme")
        .cause(NewDeadLetter::PERMANENT);
    assert_eq!(
        discarded(&bench, DeadLetterQuery::of(filter)).await,
        kept[..1]
    );
    let second = DeadLetterQuery::default().after(kept[0].cursor()).limit(1);
    assert_eq!(discarded(&bench, second).await, kept[1..]);
}

/// All that match are dropped, and their aggregates go on.
pub async fn a_filtered_discard_lets_the_followers_go<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("a", 2), event("a", 3), event("b", 4)])
        .await;
    bench
        .settle(vec![
            died(&rows[0], true),
            died(&rows[1], true),
            follows(&rows[2]),
            died(&rows[3], true),
        ])
        .await;
    let because = Discarding::because("wrong").expect("it says something");
    let of_a = DeadLetterFilter::default().aggregate("thing", "a");
    assert_eq!(
        bench
            .store
            .discard_all(&of_a, &because)
            .await
            .expect("the store is there"),
        2
    );
    assert_eq!(held_numbers(&bench.next().await.held), [3]);
    assert_eq!(dead_numbers(&everything(&bench.store).await), [4]);
    let kept = discarded(&bench, DeadLetterQuery::default()).await;
    assert!(
        kept.len() == 2
            && kept
                .iter()
                .all(|kept| kept.actor.is_none() && kept.reason == "wrong"),
        "{kept:?}"
    );
}

async fn everything(store: &impl DeadLetters) -> Vec<DeadLetter> {
    store
        .list(&DeadLetterQuery::default())
        .await
        .expect("the store is there")
}

async fn discarded<H: StoreHarness>(
    bench: &Bench<'_, H>,
    query: DeadLetterQuery,
) -> Vec<DiscardedDeadLetter> {
    bench
        .store
        .discarded(&query)
        .await
        .expect("the store is there")
}

fn ids(letters: &[DeadLetter], numbers: &[u32]) -> Vec<bento_core::EventId> {
    let id = |number: &u32| {
        letters
            .iter()
            .find(|letter| number_of(&letter.envelope) == *number)
    };
    numbers
        .iter()
        .filter_map(id)
        .map(|letter| letter.envelope.event_id)
        .collect()
}
