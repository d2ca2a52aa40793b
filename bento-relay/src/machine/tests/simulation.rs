//! Two relays on one store in memory with routes of every kind and handlers, of which one relay
//! lacks some, under random answers, late ones, outages, takeovers, repeated calls and operators.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use bento_core::id::EventId;
use bento_core::outbox::{OutboxEntry, Sharding};
use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;

use self::handlers::{KEEN, NEW, Record};
use self::relay::{Out, Relay};
use self::step::{Step, any_step};
use super::*;
use crate::dead_letter::{DeadLetterQuery, DeadLetters, Discarding};
use crate::inspect::Inspect;
use crate::store::{Advance, Heartbeat, RelayId, RelayStore, StoreError};
use crate::tenant::Pauses;
use crate::{ManualClock, MemoryStore, Staged};

mod handlers;
mod outcome;
mod relay;
mod step;

const TTL: Duration = Duration::from_secs(10);
const BATCH: usize = 3;

/// The time after which a late wave has arrived or never does.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The time after which the events of a late wave are due by themselves.
const DUE: Duration = Duration::from_secs(35);

/// The time until the delayed route delivers for the first time.
const DELAY: Duration = Duration::from_secs(35);

/// The destinations on which first deliveries are in order. Of the others one continues past
/// failures, and one is a fallback.
const ORDERED: [&str; 7] = ["x", "y", "alone", "later", "prone", KEEN, NEW];

/// The destinations that answer one by one, and their calls at once.
const ONE_BY_ONE: [&str; 4] = ["alone", "loose", KEEN, NEW];
const SLOTS: usize = 2;

const DESTINATIONS: [&str; 9] = [
    "x", "y", "alone", "later", "prone", "loose", "spare", KEEN, NEW,
];

struct Simulation {
    store: MemoryStore,
    clock: ManualClock,
    elapsed: Duration,
    relays: [Relay; 2],
    /// The index of the relay that holds the shard.
    owner: usize,
    staged: Option<(EventId, Staged)>,
    /// The record of the handler that is new.
    record: Record,
    world: World,
    /// The stream of each event, and its place in it.
    committed: HashMap<EventId, (u8, u64)>,
    last: HashMap<u8, u64>,
    discarded: HashSet<(EventId, Arc<str>)>,
    delivered: Vec<(EventId, Arc<str>)>,
    /// The events of late waves, each with the latest time at which it arrives.
    travelling: Vec<(Duration, (EventId, Arc<str>))>,
}

impl Simulation {
    fn new() -> Self {
        let one = std::num::NonZeroU16::MIN;
        let (store, clock) = MemoryStore::with_manual_clock(Sharding {
            shards: one,
            lanes: one,
        });
        let mut simulation = Self {
            store,
            clock,
            elapsed: Duration::ZERO,
            relays: [Relay::new(&[KEEN, NEW]), Relay::new(&[KEEN])],
            owner: 0,
            staged: None,
            record: Record::default(),
            world: Self::world(),
            committed: HashMap::new(),
            last: HashMap::new(),
            discarded: HashSet::new(),
            delivered: Vec::new(),
            travelling: Vec::new(),
        };
        simulation.record(KEEN);
        simulation.claim(0);
        simulation
    }

    /// A world where nothing is wrong.
    fn world() -> World {
        World {
            one_by_one: HashSet::from(ONE_BY_ONE),
            ..World::default()
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append(stream) => {
                let entry = self.entry(stream);
                self.store.append([entry]);
            }
            Step::Stage(stream) => match self.staged.take() {
                Some((_, staged)) => staged.commit(),
                // A stream of its own: two open transactions never write one aggregate.
                None => {
                    let entry = self.entry(stream + 10);
                    self.staged = Some((entry.envelope.event_id, self.store.stage([entry])));
                }
            },
            Step::Move {
                relay,
                fails,
                hopeless,
                repeats,
            } => self.proceed(relay, fails, hopeless, repeats),
            Step::Break(relay) => {
                let relay = &mut self.relays[relay];
                relay.machine.close(&mut ignore);
                relay.in_batch = false;
                self.delivered
                    .extend(relay.out.drain(..).flat_map(|out| out.arrivals));
            }
            Step::Postpone(relay) => self.postpone(relay),
            Step::Back(relay, which) => {
                let late = &mut self.relays[relay].late;
                if !late.is_empty() {
                    let out = late.swap_remove(usize::from(which) % late.len());
                    self.hear(relay, out);
                }
            }
            Step::GiveUp(relay) => self.relays[relay].late.clear(),
            Step::Age(relay, is_old) => self.relays[relay].machine.router.refuses = is_old,
            Step::TakeOver => {
                self.pass(TTL * 2);
                let owner = self
                    .relays
                    .iter()
                    .position(|relay| relay.lease.is_some())
                    .unwrap_or(0);
                self.claim(1 - owner);
            }
            Step::Wait => self.pass(TTL),
            Step::Record => self.record_new(),
            Step::Turn(name, turn) => {
                self.world.away.remove(name);
                self.world.on_trial.remove(name);
                self.world.busy.remove(name);
                match turn {
                    0 => drop(self.world.away.insert(name)),
                    1 => drop(self.world.on_trial.insert(name)),
                    2 if ONE_BY_ONE.contains(&name) => drop(self.world.busy.insert(name)),
                    _ => {}
                }
            }
            Step::Pause(true) => drop(now(self.store.pause("three", "", None)).unwrap()),
            Step::Pause(false) => drop(now(self.store.resume("three")).unwrap()),
            Step::Replay => {
                if let Some((dead, destination)) = self.oldest_dead() {
                    now(self.store.replay(dead, &destination)).unwrap();
                }
            }
            Step::Discard => {
                if let Some((dead, destination)) = self.oldest_dead() {
                    let discarding = Discarding::because("simulated").unwrap();
                    now(self.store.discard(dead, &destination, &discarding)).unwrap();
                    self.discarded.insert((dead, destination));
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        // A call of a destination that answers one by one ends before its event is due by itself.
        let elapsed = self.elapsed + time;
        let is_over = |out: &mut Out| {
            out.wave.answering().is_one_by_one()
                && out.latest.is_some_and(|latest| latest <= elapsed)
        };
        for relay in 0..2 {
            let over: Vec<_> = self.relays[relay].late.extract_if(.., is_over).collect();
            over.into_iter().for_each(|out| self.hear(relay, out));
        }
        self.clock.advance(time);
        self.elapsed += time;
        let arrived = self
            .travelling
            .extract_if(.., |(latest, _)| *latest <= self.elapsed);
        self.delivered.extend(arrived.map(|(_, arrival)| arrival));
    }

    /// Makes waves late. Answers may come after any number of batches; events arrive before they
    /// are due again.
    fn postpone(&mut self, relay: usize) {
        if !self.relays[relay].in_batch || !self.relays[relay].machine.is_waiting() {
            return;
        }
        let Relay {
            id,
            machine,
            in_batch,
            out,
            late,
            ..
        } = &mut self.relays[relay];
        let together = out
            .iter()
            .filter(|out| !out.wave.answering().is_one_by_one());
        assert_eq!(machine.postpone(DUE, &mut ignore).len(), together.count());
        machine.close(&mut ignore);
        *in_batch = false;
        let latest = self.elapsed + TIMEOUT;
        let arrivals: Vec<_> = out
            .iter()
            .flat_map(|out| &out.arrivals)
            .map(|arrival| (latest, arrival.clone()))
            .collect();
        out.iter_mut().for_each(|out| out.latest = Some(latest));
        late.append(out);
        let id = *id;
        self.call(false, id, 0);
        if self.relays[relay].lease.is_some() {
            self.travelling.extend(arrivals);
        } else {
            // The lease was lost, so the late waves were not recorded.
            self.delivered
                .extend(arrivals.into_iter().map(|(_, arrival)| arrival));
        }
    }

    fn entry(&mut self, stream: u8) -> OutboxEntry {
        let mut envelope = Arc::unwrap_or_clone(envelope(stream));
        envelope.tenant_id = (stream == 3).then(|| "three".to_owned());
        let place = self.last.entry(stream).or_default();
        *place += 1;
        self.committed.insert(envelope.event_id, (stream, *place));
        OutboxEntry {
            shard: 0,
            may_be_known: false,
            envelope,
        }
    }

    fn claim(&mut self, index: usize) {
        let relay = &mut self.relays[index];
        let beat = Heartbeat {
            relay: relay.id,
            ttl: TTL,
            lanes: None,
            claim: true,
            publishes: true,
            handlers: relay.served(),
            idle: vec![],
        };
        let leases = now(self.store.heartbeat(beat)).unwrap().leases;
        if let Some(&lease) = leases.first().filter(|lease| relay.lease != Some(**lease)) {
            *relay = Relay {
                id: relay.id,
                lease: Some(lease),
                ..Relay::new(relay.serves)
            };
            self.owner = index;
            // The events that the other relay has sent arrive at last.
            let out = self.relays.iter().flat_map(|relay| &relay.out);
            self.delivered
                .extend(out.flat_map(|out| out.arrivals.iter().cloned()));
        }
    }

    /// The next thing that a relay does: it sends a wave, hears of one, or calls. It does not know
    /// yet whether its lease is lost.
    fn proceed(&mut self, relay: usize, fails: u8, hopeless: bool, repeats: bool) {
        if self.relays[relay].lease.is_none() || self.send(relay, fails, hopeless) {
            return;
        }
        let out = &mut self.relays[relay].out;
        if !out.is_empty() {
            let out = out.swap_remove(usize::from(fails) % out.len());
            return self.hear(relay, out);
        }
        let relay = &mut self.relays[relay];
        relay.machine.close(&mut ignore);
        let id = relay.id;
        self.call(repeats, id, BATCH);
    }

    /// Sends the next wave, if there is one. The events that do not fail arrive.
    fn send(&mut self, relay: usize, fails: u8, hopeless: bool) -> bool {
        let owner = self.relays[self.owner].id;
        let relay = &mut self.relays[relay];
        let Some(wave) = Some(&mut relay.machine)
            .filter(|_| relay.in_batch)
            .and_then(|machine| {
                let all = relay.out.iter().chain(&relay.late);
                let taken = |to: &Arc<str>| {
                    all.clone()
                        .filter(|out| out.wave.destination() == to)
                        .count()
                };
                machine.next_wave(&mut |to: &Arc<str>| taken(to) < SLOTS)
            })
        else {
            return false;
        };
        let (mut answers, mut arrivals) = (Vec::new(), Vec::new());
        let is_zombie = relay.id != owner;
        for (index, delivery) in wave.deliveries().iter().enumerate() {
            if fails & (1 << (index % 8)) == 0 {
                arrivals.push((delivery.envelope.event_id, Arc::clone(wave.destination())));
                answers.push(Ok(()));
            } else {
                answers.push(match fails & 0x40 {
                    _ if hopeless => permanent(),
                    0 => unavailable(),
                    _ => transient(),
                });
            }
        }
        if is_zombie {
            self.delivered.extend(arrivals.iter().cloned());
        }
        relay.out.push(Out {
            wave,
            answers,
            arrivals,
            latest: None,
        });
        true
    }

    fn hear(&mut self, relay: usize, out: Out) {
        let Out {
            wave,
            answers,
            arrivals,
            latest: _,
        } = out;
        let machine = &mut self.relays[relay].machine;
        if machine.is_late(&wave) {
            let arrived = self
                .travelling
                .extract_if(.., |(_, arrival)| arrivals.contains(arrival));
            self.delivered.extend(arrived.map(|(_, arrival)| arrival));
        } else {
            self.delivered.extend(arrivals);
        }
        let is_there = |answer: &Result<(), PublishError>| {
            answer
                .as_ref()
                .map_or_else(|error| error.class().is_answer(), |()| true)
        };
        let stays_away = wave.is_trial() && !answers.iter().any(is_there);
        let destination = Arc::clone(wave.destination());
        machine.answer(wave, answers, &mut ignore);
        if stays_away {
            machine.shut(&destination);
        }
    }

    fn call(&mut self, repeats: bool, id: RelayId, rows: usize) {
        let relay = self.relays.iter_mut().find(|relay| relay.id == id).unwrap();
        let settled = relay.machine.take_settlements();
        let revision = relay.machine.revision();
        let mut world = self.world.clone();
        let late = relay
            .late
            .iter()
            .filter(|out| !out.wave.answering().is_one_by_one());
        let late = late.map(|out| &**out.wave.destination());
        world
            .away
            .extend(late.map(|late| DESTINATIONS.into_iter().find(|name| *name == late).unwrap()));
        let mut without: Vec<Arc<str>> = world
            .away
            .iter()
            .chain(&world.busy)
            .map(|name| Arc::from(*name))
            .collect();
        if world.away.contains("x") || world.away.contains("y") {
            without.push(Arc::from("both"));
        }
        // Those that are not recorded have no rows.
        let absent = handlers::ALL.into_iter();
        let absent = absent.filter(|name| !relay.serves.contains(name));
        without.extend(absent.map(Arc::from));
        let call = Advance {
            lease: relay.lease.unwrap(),
            ttl: TTL,
            settled,
            pending: rows,
            held: rows,
            revision,
            without,
            keep_published: false,
        };
        if repeats {
            let _lost = now(self.store.advance(call.clone()));
        }
        match now(self.store.advance(call)) {
            Ok(advanced) => {
                if rows == 0 {
                    return;
                }
                relay.in_batch = true;
                let now = super::now() + self.elapsed;
                relay
                    .machine
                    .take(advanced, rows, now, &mut world.reach(), &mut ignore);
            }
            Err(StoreError::LeaseLost { .. }) => {
                *relay = Relay {
                    id: relay.id,
                    ..Relay::new(relay.serves)
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A store in memory answers at once.
fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never()
        .expect("a store in memory does not wait")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_first_deliveries_are_in_order(steps in vec(any_step(), 0..200)) {
        let mut simulation = Simulation::new();
        steps.iter().for_each(|step| simulation.apply(step));
        simulation.recover();
        let mut last: HashMap<(u8, &str), u64> = HashMap::new();
        let mut seen = HashSet::new();
        for (event, to) in simulation.delivered.iter().filter(|delivered| seen.insert(*delivered)) {
            let (stream, place) = simulation.committed[event];
            let last = last.entry((stream, &**to)).or_default();
            let is_ordered = stream > 0 && ORDERED.contains(&&**to);
            let is_in_order = !is_ordered || place > *last;
            prop_assert!(is_in_order, "stream {} to {}: {} after {}", stream, to, place, *last);
            *last = place;
        }
        let early = simulation.handled_early();
        prop_assert!(early.is_empty(), "before the handler was recorded: {:?}", early);
        let lost = simulation.lost();
        prop_assert!(lost.is_empty(), "lost {:?}", lost);
    }

    #[test]
    fn while_all_relays_live_nothing_is_delivered_twice(steps in vec(any_step(), 0..200)) {
        let ends_well = |step: &&Step| {
            let dies = matches!(step, Step::Break(_) | Step::TakeOver | Step::GiveUp(_));
            !dies && !matches!(step, Step::Turn(..) | Step::Stage(_))
        };
        let mut simulation = Simulation::new();
        steps.iter().filter(ends_well).for_each(|step| simulation.apply(step));
        simulation.recover();
        let mut seen = HashSet::new();
        for delivered in &simulation.delivered {
            let committed = &simulation.committed[&delivered.0];
            prop_assert!(seen.insert(delivered), "twice: {:?} of {:?}", delivered, committed);
        }
    }
}
