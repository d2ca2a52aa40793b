//! Pending rows: order, settling, late commits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bento_core::Envelope;
use bento_core::event::EventKind;
use bento_core::outbox::OutboxEntry;
use bento_relay::RelayStore;
use bento_relay::dead_letter::{DeadLetterQuery, DeadLetters, Discarding};
use bento_relay::inspect::Inspect;
use bento_relay::publish::Destination;
use bento_relay::store::{Advance, Outcome, RelayId, Settlement};
use chrono::{DateTime, Utc};

use super::StoreHarness;
use super::bench::{
    Bench, LONG, beat, call, dead_letter, default_route, died, event, failed, failure, follows,
    heartbeat, held_failed, held_numbers, held_published, numbers, open, published, sharding,
    unordered_event,
};

/// Rows come in the order of their positions, and no more of them than asked for.
pub async fn rows_come_in_position_order_up_to_the_limit<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    harness
        .append((1..=3).map(|number| event("a", number)).collect())
        .await;
    bench.append([event("b", 4), event("a", 5)]).await;
    let rows = bench.next().await.pending;
    assert_eq!(numbers(&rows), [1, 2, 3, 4, 5]);
    assert!(rows.is_sorted_by(|left, right| left.position < right.position));
    let some = bench
        .advance(Advance {
            pending: 2,
            ..call(bench.lease)
        })
        .await;
    assert_eq!(numbers(&some.pending), [1, 2]);
}

/// A row comes again and again until it is settled, then never.
pub async fn a_row_comes_until_it_is_settled<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=3).map(|number| event("a", number)))
        .await;
    assert_eq!(numbers(&bench.next().await.pending), [1, 2, 3]);
    let rest = bench
        .settle(vec![published(&rows[0]), published(&rows[2])])
        .await;
    assert_eq!(
        numbers(&rest.pending),
        [2],
        "what was settled is gone from the same call's answer"
    );
    assert_eq!(numbers(&bench.next().await.pending), [2]);
}

/// A shard returns its own rows, and its lease settles no other's.
pub async fn a_shard_returns_only_its_own_rows<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    let lease = |shard| {
        *leases
            .iter()
            .find(|lease| lease.shard == shard)
            .expect("all shards are claimed")
    };
    let mut other = event("b", 2);
    other.shard = 1;
    harness.append(vec![event("a", 1), other]).await;
    let own = store.advance(call(lease(0))).await.expect("held").pending;
    assert_eq!(numbers(&own), [1]);
    let others = store.advance(call(lease(1))).await.expect("held").pending;
    store
        .advance(Advance {
            settled: vec![published(&others[0])],
            ..call(lease(0))
        })
        .await
        .expect("held");
    assert_eq!(
        numbers(&store.advance(call(lease(1))).await.expect("held").pending),
        [2]
    );
}

/// A call for no rows settles and returns none.
pub async fn a_call_for_no_rows_only_settles<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    let settled = vec![failed(&rows[0], Duration::ZERO)];
    let none = bench
        .advance(Advance {
            settled,
            pending: 0,
            held: 0,
            ..call(bench.lease)
        })
        .await;
    assert_eq!((none.pending, none.held), (vec![], vec![]));
    let all = bench.next().await;
    assert_eq!(
        (held_numbers(&all.held), numbers(&all.pending)),
        (vec![1], vec![2])
    );
}

/// The same call made twice, as after an answer that was lost, leaves what the first one left.
pub async fn repeating_a_call_changes_nothing_more<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending((1..=7).map(|number| event(&number.to_string(), number)))
        .await;
    let soon = Duration::ZERO;
    let held = bench
        .settle(vec![
            failed(&rows[4], soon),
            failed(&rows[5], soon),
            failed(&rows[6], soon),
        ])
        .await
        .held;
    let again = Advance {
        settled: vec![
            published(&rows[0]),
            failed(&rows[1], LONG),
            follows(&rows[2]),
            died(&rows[3], true),
            held_published(&held[0]),
            held_failed(&held[1], 2, LONG),
            Settlement::held(
                held[2].row.position,
                default_route(),
                Outcome::Dead(dead_letter(true)),
            ),
        ],
        ..call(bench.lease)
    };
    let first = bench.advance(again.clone()).await;
    let counts = bench.store.counts().await.expect("the store is there");
    for _ in 0..2 {
        let repeated = bench.advance(again.clone()).await;
        assert_eq!(
            (&repeated.pending, &repeated.held),
            (&first.pending, &first.held)
        );
        assert_eq!(repeated.streams, first.streams);
        assert_eq!(
            bench.store.counts().await.expect("the store is there"),
            counts
        );
    }
    assert_eq!((counts.pending, counts.held, counts.dead), (0, 3, 2));
    assert_eq!(
        held_numbers(&first.held),
        [3],
        "of the held ones only the follower without a wait is due"
    );
}

/// A settlement whose row is gone changes nothing.
pub async fn settling_what_is_gone_is_no_error<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench.pending([event("a", 1), event("b", 2)]).await;
    bench.settle(vec![published(&rows[0])]).await;
    let late = vec![
        failed(&rows[0], LONG),
        died(&rows[0], true),
        published(&rows[0]),
    ];
    assert_eq!(numbers(&bench.settle(late).await.pending), [2]);
    let counts = bench.store.counts().await.expect("the store is there");
    assert_eq!((counts.pending, counts.held, counts.dead), (1, 0, 0));
}

/// A row whose transaction commits late is there from then on, also behind later positions that are
/// settled.
pub async fn a_late_commit_is_neither_lost_nor_settled_with_later_rows<H: StoreHarness>(
    harness: &H,
) {
    let bench = Bench::new(harness).await;
    let Some(staged) = harness.stage(vec![event("late", 1)]).await else {
        return;
    };
    let rows = bench
        .pending((2..=4).map(|number| event("a", number)))
        .await;
    assert_eq!(
        numbers(&rows),
        [2, 3, 4],
        "an open transaction is not visible"
    );
    bench
        .settle(rows[..2].iter().map(published).collect())
        .await;
    harness.commit(staged).await;
    let late = bench.settle(vec![published(&rows[2])]).await.pending;
    assert_eq!(numbers(&late), [1]);
    assert!(
        late[0].position < rows[0].position,
        "it took its position when it was written"
    );
    assert_eq!(bench.settle(vec![published(&late[0])]).await.pending, []);
}

/// Every field of an envelope survives, also odd texts and bytes.
pub async fn an_envelope_comes_back_whole<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let occurred_at: DateTime<Utc> = "2024-02-29T23:59:59.123456Z".parse().expect("a time");
    let mut full = Envelope::new(
        "thing.happened",
        3,
        occurred_at,
        vec![0_u8, 255, b'\'', b'\\'],
    );
    full.aggregate_type = "thing".into();
    full.aggregate_id = "Ä'\\;--💡".to_owned();
    full.sequence = Some(i64::MAX);
    full.tenant_id = Some("acme \"Ltd\"".to_owned());
    full.topic = Some("things".to_owned());
    full.routing_key = Some("eu.west".to_owned());
    full.routing = vec![b'{', 0, b'}'].into();
    full.routing_version = u16::MAX;
    full.content_encoding = Some("binary".to_owned());
    full.key_id = Some("key-1".to_owned());
    full.kind = EventKind::Integration;
    full.headers = r#"{"correlation_id":"c-1"}"#.into();
    let bare = unordered_event(1).envelope;
    for envelope in [full, bare] {
        harness
            .append(vec![OutboxEntry {
                shard: 0,
                may_be_known: false,
                envelope: envelope.clone(),
            }])
            .await;
        let row = bench.next().await.pending.remove(0);
        assert_eq!(*row.envelope, envelope);
        let held = bench
            .settle(vec![failed(&row, Duration::ZERO)])
            .await
            .held
            .remove(0);
        assert_eq!((*held.row.envelope).clone(), envelope, "also held");
        assert_eq!((held.row.position, held.attempts), (row.position, 1));
        let dead = Settlement::held(
            row.position,
            default_route(),
            Outcome::Dead(dead_letter(true)),
        );
        bench.settle(vec![dead]).await;
        let letter = bench
            .store
            .list(&DeadLetterQuery::default())
            .await
            .expect("the store is there")
            .remove(0);
        assert_eq!((*letter.envelope).clone(), envelope, "also dead");
        bench
            .store
            .replay(envelope.event_id, Destination::DEFAULT)
            .await
            .expect("the store is there");
        let held = bench.next().await.held.remove(0);
        assert_eq!((*held.row.envelope).clone(), envelope, "also replayed");
        bench.settle(vec![held_published(&held)]).await;
    }
}

/// An event whose supplied id is pending, held or dead is not written again.
pub async fn a_known_event_id_is_not_written_again<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    let rows = bench
        .pending([event("a", 1), event("b", 2), event("c", 3)])
        .await;
    bench
        .settle(vec![failed(&rows[1], LONG), died(&rows[2], true)])
        .await;
    for row in &rows {
        let mut again = event(&row.envelope.aggregate_id, 9);
        (again.may_be_known, again.envelope.event_id) = (true, row.envelope.event_id);
        harness.append(vec![again, event("e", 10)]).await;
    }
    assert_eq!(
        numbers(&bench.next().await.pending),
        [1, 10, 10, 10],
        "what comes with it is written"
    );
}

/// More rows than a back end binds in one statement settle in one call.
pub async fn many_rows_are_settled_at_once<H: StoreHarness>(harness: &H) {
    let bench = Bench::new(harness).await;
    harness
        .append(
            (1..=2500)
                .map(|number| event(&(number % 7).to_string(), number))
                .collect(),
        )
        .await;
    let rows = bench
        .advance(Advance {
            pending: 2500,
            ..call(bench.lease)
        })
        .await
        .pending;
    assert_eq!(numbers(&rows), (1..=2500).collect::<Vec<_>>());
    let (done, rest) = rows.split_at(2000);
    let mut settled: Vec<_> = done.iter().map(published).collect();
    settled.extend(rest.iter().map(follows));
    let after = bench
        .advance(Advance {
            settled,
            held: 1000,
            ..call(bench.lease)
        })
        .await;
    assert_eq!((after.pending.len(), after.held.len()), (0, 500));
    assert_eq!(
        bench
            .settle(after.held.iter().map(held_published).collect())
            .await
            .held,
        []
    );
}

/// The poll names the asked shards that have pending rows or due held rows, and no other.
pub async fn a_poll_tells_which_shards_have_work<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(6, 1)).await;
    let leases = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases;
    let entries = (0..6).map(|shard| OutboxEntry {
        shard,
        ..event(&shard.to_string(), 1)
    });
    harness.append(entries.take(5).collect()).await;
    for lease in &leases {
        let rows = store.advance(call(*lease)).await.expect("held").pending;
        let settled = match lease.shard {
            1 => vec![failed(&rows[0], LONG)],
            2 => vec![failed(&rows[0], Duration::ZERO)],
            3 => vec![died(&rows[0], true)],
            4 => vec![published(&rows[0])],
            _ => vec![],
        };
        store
            .advance(Advance {
                settled,
                ..call(*lease)
            })
            .await
            .expect("held");
    }
    let asked = |shards: Vec<i32>| {
        let store = &store;
        async move {
            let held = store.poll(&shards, &[]).await;
            BTreeSet::from_iter(held.expect("the store is there"))
        }
    };
    assert_eq!(
        asked((0..6).collect()).await,
        BTreeSet::from([0, 2]),
        "pending, and due"
    );
    assert_eq!(
        asked(vec![1, 2, 5]).await,
        BTreeSet::from([2]),
        "only those asked for"
    );
    assert_eq!(asked(vec![]).await, BTreeSet::new());
}

/// An event whose texts are as long as may be, in characters of four bytes that no index makes
/// smaller, is held, given up, replayed and discarded like any other, for a route whose name is as
/// long.
pub async fn the_widest_event_goes_through_every_table<H: StoreHarness>(harness: &H) {
    let mut seed = 1_u32;
    let mut text = |characters: usize| -> String {
        let random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from_u32(0x1_0000 + (seed >> 12)).expect("it is above all surrogates")
        };
        std::iter::repeat_with(random).take(characters).collect()
    };
    let mut widest = event("", 1);
    let envelope = &mut widest.envelope;
    (envelope.event_type, envelope.aggregate_type) = (text(190).into(), text(190).into());
    (envelope.aggregate_id, envelope.tenant_id) = (text(255), Some(text(190)));
    (envelope.topic, envelope.routing_key) = (Some(text(255)), Some(text(255)));
    (envelope.content_encoding, envelope.key_id) = (Some(text(64)), Some(text(255)));
    let route: Arc<str> = text(190).into();
    let bench = Bench::new(harness).await;
    let row = bench.pending([widest.clone()]).await.remove(0);
    assert_eq!(*row.envelope, widest.envelope);
    let (position, event_id) = (row.position, row.envelope.event_id);
    let hold = |route| {
        let why = Outcome::Retry(failure(1, Duration::ZERO));
        Settlement::pending(position, route, why)
    };
    let held = bench.settle(vec![hold(Arc::clone(&route))]).await.held;
    assert_eq!((held.len(), &*held[0].route), (1, &*route));
    bench
        .settle(vec![Settlement::held(
            position,
            Arc::clone(&route),
            Outcome::Dead(dead_letter(true)),
        )])
        .await;
    assert!(
        bench
            .store
            .replay(event_id, &route)
            .await
            .expect("the store is there")
            .replayed
    );
    bench
        .settle(vec![Settlement::held(
            position,
            Arc::clone(&route),
            Outcome::Dead(dead_letter(true)),
        )])
        .await;
    let discarding = Discarding::because("audit").expect("it says something");
    assert!(
        bench
            .store
            .discard(event_id, &route, &discarding)
            .await
            .expect("the store is there")
    );
    let left = bench.next().await;
    assert_eq!((left.pending, left.held), (vec![], vec![]));
}
