//! `cargo run --release --bin route [-- --rounds 300]`
//!
//! Events through a router of five rules, two of which look into the payload, without a database or
//! a broker. Beside it what reading the same payload costs: once to check it, and once into a
//! `serde_json::Value`, as a router that is not compiled would.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bento_benchmarks::cost::Cost;
use bento_benchmarks::order::OrderPlaced;
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_core::{DomainEvent, Envelope};
use bento_relay::publish::Destination;
use bento_relay::route::{Router, RouterConfig, Rule, field};
use chrono::Utc;
use serde::de::IgnoredAny;
use uuid::Uuid;

/// Different payloads, so that no branch is learnt by heart.
const EVENTS: usize = 256;

/// The time that a router may take for one event.
const NANOS_MAX: u128 = 2_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// `Router::route` with five rules.
    Rules,
    /// `Router::route` with the three of them that do not look into the payload.
    EnvelopeOnly,
    /// `serde_json::from_slice` into nothing: the payload is checked, and nothing is kept.
    Skip,
    /// `serde_json::from_slice` into a `Value`.
    Value,
}

use Contender::{EnvelopeOnly, Rules, Skip, Value};

const ROWS: [(Contender, &str); 4] = [
    (Rules, "5 rules, 2 of them with payload conditions"),
    (EnvelopeOnly, "3 rules without payload conditions"),
    (Skip, "the payload read into nothing"),
    (Value, "the payload read into a `serde_json::Value`"),
];

fn main() -> Result {
    arguments::expect_only(&["rounds"])?;
    let rounds: usize = arguments::option("rounds", 300)?;
    let bench = Bench::new()?;
    bench.check()?;
    let bytes: usize = bench.events.iter().map(|event| event.payload.len()).sum();
    println!("{}\n", environment::line("no database"));
    println!(
        "{EVENTS} events of {} bytes on average, {rounds} rounds\n",
        bytes / EVENTS
    );
    println!(
        "| what | ns for an event | ÷ the payload read into nothing | allocations for an event | \
         payloads copied |"
    );
    println!("|---|---:|---:|---:|---:|");
    let measured = bench.measure(rounds);
    for (contender, name) in ROWS {
        let nanos = measured
            .median(Measure::Elapsed, contender)
            .map(|burst| burst.as_nanos() / EVENTS as u128);
        let ratio = cell(measured.ratio(Measure::Elapsed, contender, Skip));
        let copies = bench.copies(contender);
        println!(
            "| {name} | {} | {ratio} | {:.2} | {} |",
            cell(nanos),
            bench.allocations(contender),
            cell(copies)
        );
        if contender == Rules && nanos.is_none_or(|nanos| nanos > NANOS_MAX) {
            return Err(format!("routing takes more than {NANOS_MAX} ns for an event").into());
        }
        if let Some(copies) = copies.filter(|copies| *copies > 0) {
            return Err(format!("routing copied {copies} payloads").into());
        }
    }
    Ok(())
}

struct Bench {
    events: Vec<Arc<Envelope>>,
    rules: Router,
    envelope_only: Router,
}

impl Bench {
    fn new() -> Result<Self> {
        let placed = (0..EVENTS).map(|number| {
            let mut event = OrderPlaced::sample(Uuid::now_v7(), number);
            event.shipping.street =
                "Rue du Faubourg Saint-Honoré 112, troisième étage, porte".to_owned();
            event.shipping.country = ["DE", "FR"][number % 2].to_owned();
            event
        });
        let events = placed.map(|event| {
            let payload = serde_json::to_vec(&event)?;
            Ok(Arc::new(Envelope::new(
                OrderPlaced::SCHEMA,
                OrderPlaced::VERSION,
                Utc::now(),
                payload,
            )))
        });
        let config = |rules: Vec<Rule>| {
            let names = ["orders", "fraud", "customs", "billing", "audit"];
            let config = names.iter().fold(RouterConfig::default(), |config, name| {
                config.destination(Destination::new(*name))
            });
            rules.into_iter().fold(config, RouterConfig::rule).build()
        };
        let envelope_only = || {
            vec![
                Rule::new("orders").events(["order.*"]).to(["orders"]),
                Rule::new("billing").events(["invoice.*"]).to(["billing"]),
                Rule::new("audit").to(["audit"]).sample(0.01),
            ]
        };
        let large = field("payload.total_cents").gte(10_000);
        let abroad = field("payload.shipping.country")
            .not_in(["DE", "AT"])
            .and(field("payload.currency").eq("EUR"));
        let mut all = envelope_only();
        all.push(
            Rule::new("fraud")
                .events(["order.placed"])
                .when(large)
                .to(["fraud"]),
        );
        all.push(
            Rule::new("customs")
                .events(["order.placed"])
                .when(abroad)
                .to(["customs"]),
        );
        Ok(Self {
            events: events.collect::<Result<_>>()?,
            rules: config(all)?,
            envelope_only: config(envelope_only())?,
        })
    }

    /// The rules do what their names say.
    fn check(&self) -> Result {
        for event in &self.events {
            let order: OrderPlaced = event.decode()?;
            let is_abroad =
                !["DE", "AT"].contains(&&*order.shipping.country) && order.currency == "EUR";
            let targets = self.rules.route(event)?;
            let goes_to = |name: &str| targets.iter().any(|target| *target.route.name == *name);
            let expected = [true, order.total_cents >= 10_000, is_abroad, false];
            if ["orders", "fraud", "customs", "billing"].map(goes_to) != expected {
                return Err(
                    format!("{} goes somewhere else than its rules say", event.event_id).into(),
                );
            }
        }
        Ok(())
    }

    fn measure(&self, rounds: usize) -> Rounds<Contender> {
        let mut measured = Rounds::new(&ROWS.map(|(contender, _)| contender));
        for round in 0..rounds {
            for contender in measured.turns(round) {
                let start = Instant::now();
                self.events
                    .iter()
                    .for_each(|event| self.run(contender, event));
                measured.record(
                    contender,
                    Cost {
                        elapsed: start.elapsed(),
                        processor: None,
                        client: None,
                    },
                );
            }
        }
        measured
    }

    fn allocations(&self, contender: Contender) -> f64 {
        let run = || {
            self.events
                .iter()
                .for_each(|event| self.run(contender, event))
        };
        allocation_counter::measure(run).count_total as f64 / EVENTS as f64
    }

    /// The number of targets that have another payload than the event.
    fn copies(&self, contender: Contender) -> Option<usize> {
        let router = match contender {
            Rules => &self.rules,
            EnvelopeOnly => &self.envelope_only,
            Skip | Value => return None,
        };
        let copied = |event: &Arc<Envelope>| {
            let targets = router.route(event).expect("every event goes somewhere");
            targets
                .iter()
                .filter(|target| !Arc::ptr_eq(&target.envelope, event))
                .count()
        };
        Some(self.events.iter().map(copied).sum())
    }

    #[inline(always)]
    fn run(&self, contender: Contender, event: &Arc<Envelope>) {
        let event = black_box(event);
        match contender {
            Rules => drop(black_box(self.rules.route(event))),
            EnvelopeOnly => drop(black_box(self.envelope_only.route(event))),
            Skip => drop(black_box(serde_json::from_slice::<IgnoredAny>(
                &event.payload,
            ))),
            Value => drop(black_box(serde_json::from_slice::<serde_json::Value>(
                &event.payload,
            ))),
        }
    }
}
