//! Whatever the rules are, if they are not refused: the first publications of an aggregate's events
//! to a destination are in order.

use std::collections::{HashMap, HashSet};

use bento_core::id::EventId;
use bento_core::outbox::{OutboxEntry, Sharding};
use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::MemoryStore;
use crate::inspect::Inspect;
use crate::route::{Rule, Strategy as Settled};
use crate::store::{Advance, Heartbeat, Lease, RelayId, RelayStore};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TYPES: [&str; 3] = ["t.one", "t.two", "t.three"];

fn rules() -> impl Strategy<Value = Router> {
    let rule = (
        0..3_usize,
        subsequence(&NAMES[..3], 1..=2),
        any::<bool>(),
        prop::option::of(0..4_usize),
    );
    let router = vec(rule, 1..4).prop_filter_map("the rules are refused", |rules| {
        let mut config = Router::builder();
        for name in NAMES {
            config = config.destination(Destination::new(name));
        }
        for (index, (event, to, is_whole, fallback)) in rules.into_iter().enumerate() {
            let mut rule = Rule::new(format!("rule {index}"))
                .events([TYPES[event]])
                .to(to);
            rule.strategy = if is_whole {
                Settled::AllOrNothing
            } else {
                Settled::BestEffort
            };
            rule.fallback = fallback.map(|fallback| NAMES[fallback].to_owned());
            config = config.rule(rule);
        }
        config.fallback("d").build().ok()
    });
    router.boxed()
}

struct Play {
    store: MemoryStore,
    lease: Lease,
    machine: Machine,
    delivered: Vec<(EventId, Arc<str>)>,
    /// The events that left their order, because they fell back.
    fallen: HashSet<EventId>,
}

impl Play {
    fn new(router: Router) -> Self {
        let one = std::num::NonZeroU16::MIN;
        let (store, _) = MemoryStore::with_manual_clock(Sharding {
            shards: one,
            lanes: one,
        });
        let relay = RelayId::new();
        let beat = Heartbeat {
            relay,
            ttl: Duration::from_secs(10),
            lanes: None,
            claim: true,
            publishes: true,
            handlers: vec![],
            idle: vec![],
        };
        let lease = store
            .heartbeat(beat)
            .now_or_never()
            .unwrap()
            .unwrap()
            .leases[0];
        let at_once = RetryPolicy::immediate(2);
        let machine = Machine::new(router, at_once.into(), 7);
        Self {
            store,
            lease,
            machine,
            delivered: Vec::new(),
            fallen: HashSet::new(),
        }
    }

    fn batch(&mut self, fails: &mut impl Iterator<Item = bool>) {
        let call = Advance {
            lease: self.lease,
            ttl: Duration::from_secs(10),
            settled: self.machine.take_settlements(),
            pending: 3,
            held: 5,
            revision: self.machine.revision(),
            without: vec![],
            keep_published: false,
        };
        let advanced = self.store.advance(call).now_or_never().unwrap().unwrap();
        let fallen = &mut self.fallen;
        let observer = &mut |event: &Envelope, _: &str, decision: Decision<'_>| {
            if matches!(decision, Decision::FellBack { .. }) {
                fallen.insert(event.event_id);
            }
        };
        self.machine
            .take(advanced, 5, now(), &mut World::default().reach(), observer);
        while let Some(wave) = self.machine.next_wave(&mut always) {
            let mut answers = Vec::new();
            for sent in wave.deliveries() {
                let has_failed = fails.next().unwrap_or(false);
                if !has_failed {
                    self.delivered
                        .push((sent.envelope.event_id, Arc::clone(wave.destination())));
                }
                answers.push(if has_failed { transient() } else { Ok(()) });
            }
            self.machine.answer(wave, answers, observer);
        }
        self.machine.close(observer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn first_publications_to_a_destination_are_in_order(
        router in rules(),
        events in vec((0..3_usize, 1..3_u8), 1..12),
        fails in vec(any::<bool>(), 0..30),
    ) {
        let mut play = Play::new(router);
        let mut place = HashMap::new();
        for (index, (event, stream)) in events.into_iter().enumerate() {
            let mut envelope = Arc::unwrap_or_clone(envelope(stream));
            envelope.event_type = TYPES[event].into();
            place.insert(envelope.event_id, (stream, index));
            play.store.append([OutboxEntry { shard: 0, may_be_known: false, envelope }]);
        }
        let mut fails = fails.into_iter();
        for _ in 0..60 {
            play.batch(&mut fails);
        }
        let mut last: HashMap<(u8, &str), usize> = HashMap::new();
        let mut seen = HashSet::new();
        for (event, to) in play.delivered.iter().filter(|(event, _)| !play.fallen.contains(event)) {
            let (stream, index) = place[event];
            if seen.insert((event, to)) {
                let before = last.insert((stream, to), index);
                let is_in_order = before.is_none_or(|before| before < index);
                prop_assert!(is_in_order, "{} got {} after {:?}", to, index, before);
            }
        }
        let counts = play.store.counts().now_or_never().unwrap().unwrap();
        prop_assert_eq!(counts.pending, 0);
    }
}
