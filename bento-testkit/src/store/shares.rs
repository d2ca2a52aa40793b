//! The shards that each relay gets, among relays and lanes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_core::outbox::OutboxEntry;
use bento_relay::RelayStore;
use bento_relay::inspect::Inspect;
use bento_relay::store::{Advance, Heartbeat, RelayId, StoreError, Surplus};

use super::StoreHarness;
use super::bench::{
    LONG, beat, call, event, heartbeat, is_lost, open, published, sharding, shards_of, surplus,
};

/// A relay that comes later gets its share once the first one offers what is idle.
pub async fn a_newcomer_gets_its_share_of_what_is_idle<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let (first, second) = (RelayId::new(), RelayId::new());
    let leases = beat(&store, heartbeat(first, LONG)).await.leases;
    assert_eq!(beat(&store, heartbeat(second, LONG)).await.leases, []);
    let told = beat(&store, heartbeat(first, LONG)).await;
    assert_eq!((told.leases.len(), surplus(&told)), (4, 2));

    let idle = shards_of(&leases);
    let kept = beat(
        &store,
        Heartbeat {
            idle,
            ..heartbeat(first, LONG)
        },
    )
    .await;
    assert_eq!(
        (kept.leases.len(), surplus(&kept)),
        (2, 0),
        "no more than the surplus is handed over"
    );
    assert!(
        kept.leases.iter().all(|lease| leases.contains(lease)),
        "what is kept keeps its epoch"
    );
    let got = beat(&store, heartbeat(second, LONG)).await;
    assert_eq!(got.leases.len(), 2);
    assert_eq!(
        got.taken_over,
        Vec::<i32>::new(),
        "what was handed over was not taken over"
    );
    for lease in &got.leases {
        let old = leases
            .iter()
            .find(|old| old.shard == lease.shard)
            .expect("it was the first relay's");
        assert!(is_lost(&store.advance(call(*old)).await));
        assert!(store.advance(call(*lease)).await.is_ok());
    }
}

/// Only what a relay offers is given away.
pub async fn a_shard_that_is_not_offered_is_not_given_away<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let (first, second) = (RelayId::new(), RelayId::new());
    beat(&store, heartbeat(first, LONG)).await;
    beat(&store, heartbeat(second, LONG)).await;
    let kept = beat(
        &store,
        Heartbeat {
            idle: vec![3],
            ..heartbeat(first, LONG)
        },
    )
    .await;
    assert_eq!(
        (shards_of(&kept.leases), surplus(&kept)),
        (vec![0, 1, 2], 1)
    );
    assert_eq!(
        shards_of(&beat(&store, heartbeat(second, LONG)).await.leases),
        [3]
    );
}

/// A relay that does not claim keeps what it has and gets nothing.
pub async fn a_relay_that_does_not_claim_gets_nothing<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let holdings = beat(
        &store,
        Heartbeat {
            claim: false,
            ..heartbeat(RelayId::new(), LONG)
        },
    )
    .await;
    assert_eq!(holdings.leases, []);
}

/// A relay whose heartbeat ran out has no share.
pub async fn a_relay_that_died_counts_for_nothing<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let survivor = RelayId::new();
    beat(&store, heartbeat(survivor, LONG)).await;
    beat(&store, heartbeat(RelayId::new(), harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let holdings = beat(&store, heartbeat(survivor, LONG)).await;
    assert_eq!((holdings.leases.len(), surplus(&holdings)), (4, 0));
}

/// However many relays there are, they end up within one shard of each other.
pub async fn many_relays_share_within_one_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(16, 1)).await;
    let relays: Vec<_> = (0..5).map(|_| RelayId::new()).collect();
    let mut held = vec![Vec::new(); relays.len()];
    for _ in 0..4 {
        for (relay, held) in relays.iter().zip(&mut held) {
            let idle = shards_of(held);
            *held = beat(
                &store,
                Heartbeat {
                    idle,
                    ..heartbeat(*relay, LONG)
                },
            )
            .await
            .leases;
        }
    }
    let counts: Vec<_> = held.iter().map(Vec::len).collect();
    assert!(
        counts.iter().all(|count| [3, 4].contains(count)),
        "{counts:?}"
    );
    assert_eq!(
        shards_of(&held.concat()),
        (0..16).collect::<Vec<_>>(),
        "every shard has one owner"
    );
}

/// A relay claims only the lanes that it serves, and shares them only with relays that serve them
/// too.
pub async fn a_relay_serves_only_its_lanes<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 2)).await;
    let (some, all) = (RelayId::new(), RelayId::new());
    let holdings = beat(
        &store,
        Heartbeat {
            lanes: Some(vec![1]),
            ..heartbeat(some, LONG)
        },
    )
    .await;
    assert_eq!(
        (shards_of(&holdings.leases), surplus(&holdings)),
        (vec![4, 5, 6, 7], 0)
    );
    let rest = beat(&store, heartbeat(all, LONG)).await;
    assert_eq!(shards_of(&rest.leases), [0, 1, 2, 3]);
}

/// A relay that serves all lanes hands over shards of the lane that the other one serves, and keeps
/// those of the others, however it offers them.
pub async fn what_is_handed_over_is_of_the_lane_that_is_shared<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 2)).await;
    let (all, some) = (RelayId::new(), RelayId::new());
    beat(&store, heartbeat(all, LONG)).await;
    let of_first = || Heartbeat {
        lanes: Some(vec![0]),
        ..heartbeat(some, LONG)
    };
    beat(&store, of_first()).await;
    let told = beat(&store, heartbeat(all, LONG)).await;
    assert_eq!(
        told.surplus,
        [Surplus {
            lane: 0..4,
            shards: 2
        }]
    );
    let offer = Heartbeat {
        idle: (0..8).rev().collect(),
        ..heartbeat(all, LONG)
    };
    let kept = shards_of(&beat(&store, offer).await.leases);
    assert!((4..8).all(|shard| kept.contains(&shard)), "{kept:?}");
    let got = shards_of(&beat(&store, of_first()).await.leases);
    let mut every: Vec<_> = kept.into_iter().chain(got).collect();
    every.sort_unstable();
    assert_eq!(
        every,
        (0..8).collect::<Vec<_>>(),
        "every shard has one owner"
    );
}

/// Relays that ask at the same moment never get the same shard.
pub async fn no_shard_goes_to_two_relays_that_ask_at_once<H: StoreHarness>(harness: &H) {
    let store = Arc::new(open(harness, sharding(16, 1)).await);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        // A back end may refuse one of two at once as unavailable; the relay then asks again.
        calls.spawn(async move {
            let relay = RelayId::new();
            loop {
                match store.heartbeat(heartbeat(relay, LONG)).await {
                    Ok(holdings) => return holdings.leases,
                    Err(StoreError::Unavailable { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let leases = calls.join_all().await.concat();
    assert_eq!(
        BTreeSet::from_iter(shards_of(&leases)).len(),
        leases.len(),
        "a shard has two owners: {leases:?}"
    );
    let states = store.leases().await.expect("the store is there");
    for lease in &leases {
        let state = states
            .iter()
            .find(|state| state.shard == lease.shard)
            .expect("a claimed shard is shown");
        assert_eq!((state.owner, state.epoch), (Some(lease.owner), lease.epoch));
    }
}

/// A process that still writes by another sharding: its events are in shards that the recorded one
/// does not have. They are served above the fair share and told of, until they are gone.
pub async fn a_shard_outside_of_the_division_is_served_while_it_holds_events<H: StoreHarness>(
    harness: &H,
) {
    let store = open(harness, sharding(2, 1)).await;
    harness
        .append(vec![
            OutboxEntry {
                shard: 5,
                ..event("a", 1)
            },
            OutboxEntry {
                shard: 0,
                ..event("b", 2)
            },
        ])
        .await;
    let (relay, other) = (RelayId::new(), RelayId::new());
    let holdings = beat(&store, heartbeat(relay, LONG)).await;
    assert_eq!(
        (
            shards_of(&holdings.leases),
            holdings.stray.clone(),
            surplus(&holdings)
        ),
        (vec![0, 1, 5], vec![5], 0)
    );
    let second = beat(&store, heartbeat(other, LONG)).await;
    assert_eq!(
        (shards_of(&second.leases), second.stray),
        (vec![], vec![5]),
        "it is claimed once"
    );
    let outside = *holdings
        .leases
        .iter()
        .find(|lease| lease.shard == 5)
        .expect("it is claimed");
    assert_eq!(
        store.poll(&[5], &[]).await.expect("the store is there"),
        [5]
    );
    let row = store
        .advance(call(outside))
        .await
        .expect("it is held")
        .pending
        .remove(0);
    let offer = Heartbeat {
        idle: vec![5],
        ..heartbeat(relay, LONG)
    };
    let kept = beat(&store, offer.clone()).await;
    assert_eq!(
        (shards_of(&kept.leases), surplus(&kept)),
        (vec![0, 1, 5], 1),
        "one of the others is the second relay's"
    );
    let settled = vec![published(&row)];
    store
        .advance(Advance {
            settled,
            ..call(outside)
        })
        .await
        .expect("it is held");
    let holdings = beat(&store, offer).await;
    assert_eq!(
        (shards_of(&holdings.leases), holdings.stray),
        (vec![0, 1], vec![]),
        "an empty one is given up"
    );
}
