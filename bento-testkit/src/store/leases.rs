//! Who owns which shard.

use std::collections::BTreeSet;
use std::sync::Arc;

use bento_core::outbox::OutboxEntry;
use bento_relay::RelayStore;
use bento_relay::inspect::Inspect;
use bento_relay::store::{Advance, Heartbeat, Lease, RelayId, StoreError};

use super::StoreHarness;
use super::bench::{
    LONG, beat, call, event, heartbeat, is_lost, numbers, open, published, sharding, shards_of,
};

/// A relay that is alone claims every shard, with an epoch of its own each.
pub async fn a_relay_alone_claims_every_shard<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(8, 2)).await;
    let relay = RelayId::new();
    let holdings = beat(&store, heartbeat(relay, LONG)).await;
    assert_eq!(shards_of(&holdings.leases), (0..16).collect::<Vec<_>>());
    assert!(holdings.leases.iter().all(|lease| lease.owner == relay));
    assert_eq!((holdings.taken_over, holdings.surplus), (vec![], 0));
}

/// A lease is its owner's until it runs out.
pub async fn a_lease_is_not_claimed_while_it_lasts<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    beat(&store, heartbeat(RelayId::new(), LONG)).await;
    let other = beat(
        &harness.store(sharding(4, 1)).await,
        heartbeat(RelayId::new(), LONG),
    )
    .await;
    assert_eq!(other.leases, []);
}

/// A lease that ran out is claimed by another relay, which learns of it and gets a higher epoch.
pub async fn an_expired_lease_is_taken_over_with_a_higher_epoch<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let first = beat(&store, heartbeat(RelayId::new(), harness.short()))
        .await
        .leases[0];
    harness.pass(harness.short() * 2).await;
    let holdings = beat(&store, heartbeat(RelayId::new(), LONG)).await;
    assert_eq!(holdings.taken_over, [0]);
    assert!(holdings.leases[0].epoch > first.epoch);
}

/// Whoever lost a lease settles nothing and gets nothing, also by the right epoch of another owner.
pub async fn a_lost_lease_settles_and_returns_nothing<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    harness.append(vec![event("a", 1)]).await;
    let first = beat(&store, heartbeat(RelayId::new(), harness.short()))
        .await
        .leases[0];
    let row = store
        .advance(Advance {
            ttl: harness.short(),
            ..call(first)
        })
        .await
        .expect("held")
        .pending
        .remove(0);
    harness.pass(harness.short() * 2).await;
    let second = beat(&store, heartbeat(RelayId::new(), LONG)).await.leases[0];
    for lost in [
        first,
        Lease {
            owner: first.owner,
            ..second
        },
        Lease {
            epoch: first.epoch,
            ..second
        },
    ] {
        assert!(
            is_lost(
                &store
                    .advance(Advance {
                        settled: vec![published(&row)],
                        ..call(lost)
                    })
                    .await
            ),
            "{lost:?}"
        );
    }
    let advanced = store.advance(call(second)).await.expect("held");
    assert_eq!(numbers(&advanced.pending), [1]);
}

/// The clock alone takes nothing away: an expired lease that nobody claimed is renewed.
pub async fn an_expired_lease_that_nobody_took_is_still_held<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let relay = RelayId::new();
    let leases = beat(&store, heartbeat(relay, harness.short())).await.leases;
    harness.pass(harness.short() * 2).await;
    assert!(store.advance(call(leases[0])).await.is_ok());
    let again = beat(&store, heartbeat(relay, LONG)).await;
    assert_eq!(shards_of(&again.leases), [0, 1]);
    assert!(
        leases.iter().all(|lease| again.leases.contains(lease)),
        "the epochs are unchanged"
    );
    assert_eq!(
        again.taken_over,
        Vec::<i32>::new(),
        "nothing was taken over from oneself"
    );
}

/// A heartbeat renews all leases of its relay.
pub async fn a_heartbeat_renews_every_lease<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(2, 1)).await;
    let relay = RelayId::new();
    let leases = beat(&store, heartbeat(relay, harness.short())).await.leases;
    let renewed = beat(&store, heartbeat(relay, LONG)).await.leases;
    assert_eq!(
        BTreeSet::from_iter(shards_of(&leases)),
        BTreeSet::from_iter(shards_of(&renewed))
    );
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        beat(&store, heartbeat(RelayId::new(), LONG)).await.leases,
        []
    );
}

/// A call that advances a shard renews its lease.
pub async fn an_advance_renews_its_lease<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let relay = RelayId::new();
    let lease = beat(&store, heartbeat(relay, harness.short())).await.leases[0];
    store
        .advance(Advance {
            ttl: LONG,
            ..call(lease)
        })
        .await
        .expect("held");
    harness.pass(harness.short() * 2).await;
    assert_eq!(
        beat(&store, heartbeat(RelayId::new(), LONG)).await.leases,
        []
    );
    assert!(store.advance(call(lease)).await.is_ok());
}

/// A relay that comes later gets its share once the first one offers what is idle.
pub async fn a_newcomer_gets_its_share_of_what_is_idle<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let (first, second) = (RelayId::new(), RelayId::new());
    let leases = beat(&store, heartbeat(first, LONG)).await.leases;
    assert_eq!(beat(&store, heartbeat(second, LONG)).await.leases, []);
    let told = beat(&store, heartbeat(first, LONG)).await;
    assert_eq!((told.leases.len(), told.surplus), (4, 2));

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
        (kept.leases.len(), kept.surplus),
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
    assert_eq!((shards_of(&kept.leases), kept.surplus), (vec![0, 1, 2], 1));
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

/// Releasing makes every shard of a relay free at once, and nothing of it counts as taken over.
pub async fn a_released_shard_is_free_at_once<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let first = RelayId::new();
    let leases = beat(&store, heartbeat(first, LONG)).await.leases;
    store.release(first).await.expect("the store is there");
    assert!(
        is_lost(&store.advance(call(leases[0])).await),
        "a released lease is lost"
    );
    let holdings = beat(&store, heartbeat(RelayId::new(), LONG)).await;
    assert_eq!(
        (holdings.leases.len(), holdings.taken_over, holdings.surplus),
        (4, vec![], 0)
    );
    store
        .release(first)
        .await
        .expect("releasing twice is no error");
    assert!(
        store.advance(call(holdings.leases[0])).await.is_ok(),
        "and releases nothing of the next owner"
    );
}

/// A relay whose heartbeat ran out has no share.
pub async fn a_relay_that_died_counts_for_nothing<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(4, 1)).await;
    let survivor = RelayId::new();
    beat(&store, heartbeat(survivor, LONG)).await;
    beat(&store, heartbeat(RelayId::new(), harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let holdings = beat(&store, heartbeat(survivor, LONG)).await;
    assert_eq!((holdings.leases.len(), holdings.surplus), (4, 0));
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
        (shards_of(&holdings.leases), holdings.surplus),
        (vec![4, 5, 6, 7], 0)
    );
    let rest = beat(&store, heartbeat(all, LONG)).await;
    assert_eq!(shards_of(&rest.leases), [0, 1, 2, 3]);
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

/// How the outbox is divided is recorded at its first use; who was told otherwise is refused with
/// both numbers.
pub async fn the_division_is_recorded_and_another_one_refused<H: StoreHarness>(harness: &H) {
    open(harness, sharding(4, 2)).await;
    open(harness, sharding(4, 2)).await;
    let refused = harness.store(sharding(8, 1)).await.open().await;
    match refused {
        Err(StoreError::Mismatch {
            recorded,
            configured,
        }) => {
            assert_eq!((recorded, configured), (sharding(4, 2), sharding(8, 1)));
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Without tables, every call says which one is missing and how to make it.
pub async fn a_missing_table_is_named<H: StoreHarness>(harness: &H) {
    let Some(store) = harness.unmigrated().await else {
        return;
    };
    let lease = Lease {
        shard: 0,
        owner: RelayId::new(),
        epoch: 1,
    };
    let errors = [
        store.open().await.err(),
        store.heartbeat(heartbeat(lease.owner, LONG)).await.err(),
        store.advance(call(lease)).await.err(),
        store.poll(&[0], &[]).await.err(),
        store.release(lease.owner).await.err(),
    ];
    for error in errors {
        let error = error.expect("nothing works without tables");
        assert!(matches!(error, StoreError::NotMigrated { .. }), "{error:?}");
        assert!(
            error.to_string().contains("migrate"),
            "the way out is named: {error}"
        );
    }
}

/// A heartbeat says what the store's clock says, by which waits run.
pub async fn a_heartbeat_tells_the_time_of_the_store<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 1)).await;
    let relay = RelayId::new();
    let first = beat(&store, heartbeat(relay, LONG))
        .await
        .now
        .expect("it has a clock");
    harness.pass(harness.short()).await;
    let second = beat(&store, heartbeat(relay, LONG))
        .await
        .now
        .expect("it has a clock");
    let passed = (second - first).to_std().expect("time goes on");
    assert!(passed >= harness.short() && passed < LONG, "{passed:?}");
}

/// The relays that gave a sign of life are listed, and those that gave none for too long are not.
pub async fn relays_that_are_alive_are_listed_with_their_lanes<H: StoreHarness>(harness: &H) {
    let store = open(harness, sharding(1, 3)).await;
    assert_eq!(store.relays().await.expect("the store is there"), []);
    let (all, some, dead) = (RelayId::new(), RelayId::new(), RelayId::new());
    beat(&store, heartbeat(all, LONG)).await;
    beat(
        &store,
        Heartbeat {
            lanes: Some(vec![0, 2]),
            ..heartbeat(some, LONG)
        },
    )
    .await;
    beat(&store, heartbeat(dead, harness.short())).await;
    harness.pass(harness.short() * 2).await;
    let relays = store.relays().await.expect("the store is there");
    let listed: Vec<_> = relays
        .iter()
        .map(|state| (state.relay, state.lanes.clone()))
        .collect();
    assert_eq!(listed, [(all, None), (some, Some(vec![0, 2]))]);
    assert!(
        relays
            .iter()
            .all(|state| state.expires_in <= LONG && state.expires_in > LONG / 2)
    );
    store.release(all).await.expect("the store is there");
    assert_eq!(store.relays().await.expect("the store is there").len(), 1);
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
            holdings.stray,
            holdings.surplus
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
        (shards_of(&kept.leases), kept.surplus),
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
