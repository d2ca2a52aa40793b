//! The activities of a shard, and the transitions between them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bento_core::envelope::Envelope;

use super::*;
use crate::machine::{Admission, Decision, Reach};

use crate::publish::{Answering, Destination};
use crate::relay::reply::Reply;
use crate::retry::RetryPolicies;
use crate::route::Router;
use crate::store::{Advanced, OutboxRow, RelayId, Surplus};

const OWNER: RelayId = RelayId(uuid::Uuid::nil());

fn lease(shard: ShardId, epoch: i64) -> Lease {
    Lease {
        shard,
        owner: OWNER,
        epoch,
    }
}

/// More workers than there are shards.
const MANY: usize = 1000;

fn holding(count: ShardId) -> (Shards, Vec<Lease>) {
    let leases: Vec<_> = (0..count).map(|shard| lease(shard, 1)).collect();
    let mut shards = Shards::default();
    let changes = shards.renew(&leases, Instant::now());
    assert_eq!(changes.claimed, leases.len());
    (shards, leases)
}

/// Hands the next ready shard to one of many workers.
fn start(shards: &mut Shards) -> Option<(ShardId, watch::Receiver<bool>)> {
    let (sender, stop) = watch::channel(false);
    let shard = shards.next_ready(MANY)?;
    shards
        .start(shard, sender)
        .map(|task| (task.lease.shard, stop))
}

/// A surplus in the only lane.
fn surplus(shards: usize) -> [Surplus; 1] {
    let lane = 0..100;
    [Surplus { lane, shards }]
}

#[test]
fn events_that_come_while_a_shard_is_busy_queue_it_again() {
    let (mut shards, leases) = holding(1);
    shards.queue_shard(0);
    shards.queue_shard(0);
    assert!(
        start(&mut shards).is_some() && start(&mut shards).is_none(),
        "queued once"
    );
    shards.queue_shard(0);
    assert!(start(&mut shards).is_none(), "one worker at a time");
    shards.finished(leases[0], None, Activity::Idle, None);
    assert!(start(&mut shards).is_some());
    shards.finished(leases[0], None, Activity::Idle, None);
    assert!(start(&mut shards).is_none(), "once");
}

/// Two shards in each of three lanes.
fn in_lanes() -> (Shards, Vec<Lease>) {
    let (mut shards, leases) = holding(6);
    let of = |number| std::num::NonZeroU16::new(number).unwrap();
    shards.divide(&Sharding {
        shards: of(2),
        lanes: of(3),
    });
    (shards, leases)
}

#[test]
fn the_lane_with_the_fewest_workers_comes_first() {
    let (mut shards, _) = in_lanes();
    (0..6).for_each(|shard| shards.queue_shard(shard));
    let order: Vec<_> = std::iter::from_fn(|| start(&mut shards))
        .map(|(shard, _)| shard)
        .collect();
    assert_eq!(order, [0, 2, 4, 1, 3, 5]);
}

#[test]
fn the_last_free_worker_is_kept_for_a_lane_that_has_none() {
    let (mut shards, _) = in_lanes();
    let begin = |shards: &mut Shards, free| {
        let shard = shards.next_ready(free)?;
        shards
            .start(shard, watch::channel(false).0)
            .map(|task| task.lease.shard)
    };
    (0..2).for_each(|shard| shards.queue_shard(shard));
    assert_eq!(begin(&mut shards, 0), None);
    assert_eq!(
        begin(&mut shards, 1),
        Some(0),
        "the first lane had none either"
    );
    assert_eq!(begin(&mut shards, 1), None);
    shards.queue_shard(2);
    assert_eq!(begin(&mut shards, 1), Some(2));
    shards.queue_shard(4);
    assert_eq!(
        (begin(&mut shards, 2), begin(&mut shards, 1)),
        (Some(4), Some(1)),
        "every lane has one"
    );
}

#[test]
fn a_lane_without_a_worker_takes_one_from_the_busiest_lane() {
    let (mut shards, leases) = in_lanes();
    let started = |shards: &mut Shards, shard| {
        shards.queue_shard(shard);
        shards.next_ready(MANY).unwrap();
        shards
            .start(shard, watch::channel(false).0)
            .unwrap()
            .make_room
    };
    let told: Vec<_> = [0, 1, 2].map(|shard| started(&mut shards, shard)).into();
    let are_told = || {
        told.iter()
            .map(|told| told.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
    shards.make_room();
    shards.queue_shard(3);
    shards.make_room();
    assert_eq!(are_told(), [false; 3], "lane 1 has a worker");
    shards.queue_shard(5);
    shards.make_room();
    shards.make_room();
    assert_eq!(are_told(), [true, false, false], "one is enough");
    shards.finished(leases[0], None, Activity::Queued, None);
    assert_eq!(start(&mut shards).unwrap().0, 5);
}

#[test]
fn a_held_row_queues_its_shard_when_it_is_due() {
    let (mut shards, leases) = holding(1);
    let due = Instant::now() + Duration::from_secs(5);
    shards.queue_shard(0);
    start(&mut shards).unwrap();
    shards.finished(leases[0], None, Activity::Idle, Some(due));
    assert_eq!(shards.next_due(), Some(due));
    shards.queue_due(due - Duration::from_millis(1));
    assert!(start(&mut shards).is_none());
    shards.queue_due(due);
    assert!(start(&mut shards).is_some());
}

#[test]
fn a_shard_whose_worker_failed_rests_whatever_comes() {
    let (mut shards, leases) = holding(1);
    shards.queue_shard(0);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        start(&mut shards).unwrap();
        shards.queue_shard(0);
        let rest = shards.failed(leases[0], None, "broken".to_owned(), Duration::from_secs(1));
        assert_eq!(rest, Some(Duration::from_secs(seconds)));
        shards.queue_shard(0);
        assert!(start(&mut shards).is_none() && shards.idle().is_empty());
        assert_eq!(shards.failing(), BTreeMap::from([(0, "broken".to_owned())]));
        shards.queue_due(shards.next_due().unwrap());
    }
    start(&mut shards).unwrap();
    shards.finished(leases[0], None, Activity::Idle, None);
    assert!(shards.failing().is_empty() && shards.idle() == [0]);
}

#[test]
fn a_shard_is_offered_only_when_its_worker_is_done() {
    let (mut shards, leases) = holding(2);
    shards.queue_shard(0);
    shards.queue_shard(1);
    let (_, first_stop) = start(&mut shards).unwrap();
    let (_, second_stop) = start(&mut shards).unwrap();
    shards.retire(&surplus(1));
    assert_eq!(
        u8::from(*first_stop.borrow()) + u8::from(*second_stop.borrow()),
        1,
        "one is told to stop"
    );
    let retiring = i32::from(*second_stop.borrow());
    assert_eq!(
        (shards.offer(), shards.has_retired()),
        (vec![], false),
        "its worker is still at it"
    );
    shards.finished(leases[retiring as usize], None, Activity::Queued, None);
    assert!(
        shards.has_retired() && start(&mut shards).is_none(),
        "it is not taken up again"
    );
    assert_eq!(shards.offer(), [retiring]);
    shards.queue_shard(retiring);
    assert!(
        start(&mut shards).is_none(),
        "it gets no worker while it is offered"
    );
    let kept = leases[1 - retiring as usize];
    let changes = shards.renew(&[kept], Instant::now());
    assert_eq!((changes.released, changes.lost), (1, vec![]));
    assert_eq!(shards.len(), 1);
}

#[test]
fn an_offered_shard_that_is_kept_goes_on_with_its_events() {
    let (mut shards, leases) = holding(1);
    shards.retire(&surplus(1));
    assert_eq!(shards.offer(), [0]);
    shards.queue_shard(0);
    shards.renew(&leases, Instant::now());
    shards.retire(&surplus(0));
    assert!(start(&mut shards).is_some());
}

#[test]
fn an_offer_whose_answer_never_came_is_taken_back() {
    let (mut shards, _) = holding(1);
    shards.retire(&surplus(1));
    shards.offer();
    shards.queue_shard(0);
    shards.keep_offered();
    shards.retire(&surplus(0));
    assert!(start(&mut shards).is_some());
}

#[test]
fn a_lease_gone_or_of_another_epoch_is_lost() {
    let (mut shards, leases) = holding(2);
    shards.queue_shard(0);
    let (_, stop) = start(&mut shards).unwrap();
    let changes = shards.renew(&[lease(0, 2)], Instant::now());
    assert_eq!((changes.lost, changes.claimed), (leases.clone(), 1));
    assert!(
        stop.has_changed().is_err(),
        "the worker's channel is closed"
    );
    shards.queue_shard(0);
    assert!(start(&mut shards).is_some(), "the new lease is worked on");
    shards.finished(leases[0], None, Activity::Idle, None);
    assert!(
        !shards.forget(leases[0]),
        "the old worker's report changes nothing"
    );
    assert!(shards.forget(lease(0, 2)));
}

/// A late wave that has returned.
fn late() -> Sent {
    let anywhere = &mut |_: &Destination| Reach {
        is_served: true,
        chains: false,
        answering: Answering::Together,
        admission: Admission::Open,
    };
    let mut machine = Machine::new(Router::default(), RetryPolicies::default(), 7);
    let now = chrono::DateTime::UNIX_EPOCH;
    let envelope = Arc::new(Envelope::new("thing.happened", 1, now, "{}"));
    let pending = vec![OutboxRow {
        position: 1,
        envelope,
    }];
    let ignore = &mut |_: &Envelope, _: &str, _: Decision<'_>| {};
    machine.take(
        Advanced {
            pending,
            ..Advanced::default()
        },
        1,
        now,
        anywhere,
        ignore,
    );
    Sent {
        wave: machine.next_wave(&mut |_| true).unwrap(),
        reply: Reply::Answers(vec![Ok(())]),
        trial: None,
        postponed: None,
    }
}

#[test]
fn a_late_wave_queues_its_shard_once_its_worker_is_done() {
    let (mut shards, leases) = holding(1);
    shards.queue_shard(0);
    start(&mut shards).unwrap();
    assert!(shards.keep_late(leases[0], vec![], 1));
    shards.take_late(leases[0], late());
    assert!(start(&mut shards).is_none());
    shards.finished(leases[0], None, Activity::Idle, None);
    let shard = shards.next_ready(MANY).unwrap();
    let task = shards.start(shard, watch::channel(false).0).unwrap();
    assert_eq!(task.heard.len(), 1);
}

#[test]
fn a_shard_with_a_late_wave_is_released_last() {
    let (mut shards, leases) = holding(2);
    assert!(shards.keep_late(leases[0], vec![], 1));
    shards.retire(&surplus(1));
    assert_eq!(shards.offer(), [1], "the other one first");
    shards.retire(&surplus(2));
    assert!(shards.offer().is_empty(), "its answer is not there");
    shards.take_late(leases[0], late());
    assert!(!shards.has_retired());
    let (shard, stop) = start(&mut shards).unwrap();
    assert!((shard, *stop.borrow()) == (0, true), "only to record it");
    shards.finished(leases[0], None, Activity::Queued, None);
    assert_eq!(shards.offer(), [0]);
}

#[test]
fn a_late_wave_of_a_lost_lease_is_dropped() {
    let (mut shards, leases) = holding(1);
    assert!(shards.keep_late(leases[0], vec![], 1));
    shards.renew(&[lease(0, 2)], Instant::now());
    shards.take_late(leases[0], late());
    assert!(start(&mut shards).is_none());
    assert!(!shards.keep_late(leases[0], vec![late()], 1));
    assert!(start(&mut shards).is_none());
}
