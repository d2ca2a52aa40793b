//! Two relays on one store in memory, under random answers, takeovers, repeated calls and operators.

use std::collections::{HashMap, HashSet};

use std::future::Future;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dead_letter::{DeadLetterQuery, DeadLetters, Discarding};
use crate::id::EventId;
use crate::inspect::Inspect;
use crate::outbox::{OutboxEntry, Sharding};
use crate::relay::store::{Advance, Heartbeat, Lease, RelayId, RelayStore, StoreError};
use crate::relay::{ManualClock, MemoryStore, Staged};

const TTL: Duration = Duration::from_secs(10);
const BATCH: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody commits an event of a stream.
    Append(u8),
    /// Somebody takes a position, and commits at the next such step.
    Stage(u8),
    /// A relay makes its next move; `fails` says which of its deliveries fail, `hopeless` for good, and `repeats` whether the answer
    /// of the store is lost and the call repeated.
    Move {
        relay: usize,
        fails: u8,
        hopeless: bool,
        repeats: bool,
    },
    /// Time passes, and the relay that does not own the shard claims it: the owner is a zombie now.
    TakeOver,
    /// Time passes.
    Wait,
    /// An operator takes the oldest dead letter.
    Replay,
    Discard,
}

fn any_step() -> impl Strategy<Value = Step> {
    let step = (0..2_usize, any::<u8>(), any::<bool>(), any::<bool>());
    prop_oneof![
        6 => (0..4_u8).prop_map(Step::Append),
        1 => (1..4_u8).prop_map(Step::Stage),
        8 => step.prop_map(|(relay, fails, hopeless, repeats)| Step::Move { relay, fails: fails & 3, hopeless, repeats }),
        1 => Just(Step::TakeOver),
        2 => Just(Step::Wait),
        1 => Just(Step::Replay),
        1 => Just(Step::Discard),
    ]
}

struct Relay {
    id: RelayId,
    lease: Option<Lease>,
    machine: Machine,
    in_batch: bool,
}

impl Relay {
    fn new() -> Self {
        Self { id: RelayId::new(), lease: None, machine: Self::machine(), in_batch: false }
    }

    fn machine() -> Machine {
        let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::default() };
        Machine::new(Router::default(), retry.into(), 7)
    }
}

struct World {
    store: MemoryStore,
    clock: ManualClock,
    relays: [Relay; 2],
    staged: Option<Staged>,
    /// Every event's stream and place in it.
    committed: HashMap<EventId, (u8, u64)>,
    last: HashMap<u8, u64>,
    discarded: HashSet<EventId>,
    delivered: Vec<EventId>,
}

impl World {
    fn new() -> Self {
        let one = std::num::NonZeroU16::MIN;
        let (store, clock) = MemoryStore::with_manual_clock(Sharding { shards: one, lanes: one });
        let mut world = Self {
            store,
            clock,
            relays: [Relay::new(), Relay::new()],
            staged: None,
            committed: HashMap::new(),
            last: HashMap::new(),
            discarded: HashSet::new(),
            delivered: Vec::new(),
        };
        world.claim(0);
        world
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append(stream) => {
                let entry = self.entry(stream);
                self.store.append([entry]);
            }
            Step::Stage(stream) => match self.staged.take() {
                Some(staged) => staged.commit(),
                // A stream of its own: two open transactions never write one aggregate.
                None => {
                    let entry = self.entry(stream + 10);
                    self.staged = Some(self.store.stage([entry]));
                }
            },
            Step::Move { relay, fails, hopeless, repeats } => self.proceed(relay, fails, hopeless, repeats),
            Step::TakeOver => {
                self.clock.advance(TTL * 2);
                let owner = self.relays.iter().position(|relay| relay.lease.is_some()).unwrap_or(0);
                self.claim(1 - owner);
            }
            Step::Wait => self.clock.advance(TTL),
            Step::Replay => {
                if let Some(dead) = self.oldest_dead() {
                    now(self.store.replay(dead, Destination::DEFAULT)).unwrap();
                }
            }
            Step::Discard => {
                if let Some(dead) = self.oldest_dead() {
                    let discarding = Discarding::because("simulated").unwrap();
                    now(self.store.discard(dead, Destination::DEFAULT, &discarding)).unwrap();
                    self.discarded.insert(dead);
                }
            }
        }
    }

    fn entry(&mut self, stream: u8) -> OutboxEntry {
        let envelope = Arc::unwrap_or_clone(envelope(stream));
        let place = self.last.entry(stream).or_default();
        *place += 1;
        self.committed.insert(envelope.event_id, (stream, *place));
        OutboxEntry { shard: 0, may_be_known: false, envelope }
    }

    fn claim(&mut self, relay: usize) {
        let relay = &mut self.relays[relay];
        let beat = Heartbeat { relay: relay.id, ttl: TTL, lanes: None, claim: true, idle: vec![] };
        let leases = now(self.store.heartbeat(beat)).unwrap().leases;
        if let Some(&lease) = leases.first().filter(|lease| relay.lease != Some(**lease)) {
            *relay = Relay { id: relay.id, lease: Some(lease), ..Relay::new() };
        }
    }

    /// The next thing that a relay does: a wave, or a call. It does not know yet whether its lease is lost.
    fn proceed(&mut self, relay: usize, fails: u8, hopeless: bool, repeats: bool) {
        let relay = &mut self.relays[relay];
        let Some(lease) = relay.lease else { return };
        if relay.in_batch
            && let Some(wave) = relay.machine.next_wave()
        {
            let mut answers = Vec::new();
            for (index, delivery) in wave.deliveries().iter().enumerate() {
                let is_ok = fails & (1 << (index % 8)) == 0;
                if is_ok {
                    self.delivered.push(delivery.envelope.event_id);
                }
                answers.push(if is_ok {
                    Ok(())
                } else if hopeless {
                    permanent()
                } else {
                    transient()
                });
            }
            relay.machine.answer(wave, answers, &mut ignore);
            return;
        }
        let settled = relay.machine.take_settlements();
        let revision = relay.machine.revision();
        let call = Advance {
            lease,
            ttl: TTL,
            settled,
            fresh: BATCH,
            held: BATCH,
            revision,
            without: Vec::new(),
            keep_published: false,
        };
        if repeats {
            let _lost = now(self.store.advance(call.clone()));
        }
        match now(self.store.advance(call)) {
            Ok(advanced) => {
                relay.in_batch = true;
                let circumstances = Circumstances { held_limit: BATCH, now: super::now() };
                relay.machine.take(advanced, circumstances, &mut super::World::default(), &mut ignore);
            }
            Err(StoreError::LeaseLost { .. }) => *relay = Relay { id: relay.id, ..Relay::new() },
            Err(error) => panic!("{error}"),
        }
    }

    fn oldest_dead(&self) -> Option<EventId> {
        let dead = now(self.store.list(&DeadLetterQuery::default())).unwrap();
        dead.first().map(|dead| dead.envelope.event_id)
    }

    /// Everything recovers, and the outbox empties.
    fn recover(&mut self) {
        if let Some(staged) = self.staged.take() {
            staged.commit();
        }
        for _ in 0..10_000 {
            while self.oldest_dead().is_some() {
                self.apply(&Step::Replay);
            }
            let owner = self.relays.iter().position(|relay| relay.lease.is_some()).unwrap_or(0);
            self.claim(owner);
            self.proceed(owner, 0, false, false);
            self.clock.advance(TTL);
            if now(self.store.counts()).unwrap() == Default::default() {
                return;
            }
        }
        panic!("the outbox does not empty: {:?}", now(self.store.counts()).unwrap());
    }
}

/// A store in memory answers at once.
fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("a store in memory does not wait")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_first_deliveries_are_in_order_whatever_happens(steps in vec(any_step(), 0..150)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.apply(step));
        world.recover();
        let mut last: HashMap<u8, u64> = HashMap::new();
        let mut seen = HashSet::new();
        for event in world.delivered.iter().filter(|event| seen.insert(**event)) {
            let (stream, place) = world.committed[event];
            let last = last.entry(stream).or_default();
            prop_assert!(stream == 0 || place > *last, "stream {} delivered {} after {}", stream, place, *last);
            *last = place;
        }
        let lost: Vec<_> = world.committed.keys().filter(|event| !seen.contains(event) && !world.discarded.contains(event)).collect();
        prop_assert!(lost.is_empty(), "lost {:?}", lost);
    }
}
