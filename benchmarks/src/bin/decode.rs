//! `cargo run --release --bin decode [-- --rounds 300]`
//!
//! Stored payloads back into structs, without a database: the current version and version 1,
//! through Bento, through plain `serde_json`, and as upcasters are written by hand.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bento_benchmarks::cost::Cost;
use bento_benchmarks::order::{Address, Line, OrderPlaced};
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};
use bento_core::{DomainEvent, Envelope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Different payloads, so that no branch is learnt by heart.
const PAYLOADS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// `serde_json::from_slice` of the current version: what everything is compared with.
    Serde,
    /// `Envelope::decode` of the current version.
    Current,
    /// `Envelope::decode_any` of the current version: the type is found by the schema.
    CurrentAny,
    /// `Envelope::decode` of version 1, through the field history to version 3.
    Upcast,
    /// Version 1 into a struct of its own, and field by field to version 3.
    UpcastByStruct,
    /// Version 1 into a `serde_json::Value`, edited step by step, and then into version 3.
    UpcastByValue,
}

use Contender::{Current, CurrentAny, Serde, Upcast, UpcastByStruct, UpcastByValue};

const ROWS: [(Contender, &str); 5] = [
    (Current, "current version, `envelope.decode`"),
    (CurrentAny, "current version, `envelope.decode_any`"),
    (Upcast, "version 1 → 3, `envelope.decode`"),
    (UpcastByStruct, "version 1 → 3, by hand through a struct"),
    (
        UpcastByValue,
        "version 1 → 3, by hand through `serde_json::Value`",
    ),
];

fn main() -> Result {
    arguments::expect_only(&["rounds"])?;
    let rounds: usize = arguments::option("rounds", 300)?;
    let stored = Stored::new()?;
    stored.check()?;
    println!("{}\n", environment::line("no database"));
    println!(
        "{PAYLOADS} payloads, {rounds} rounds; the floor takes {:?} for one\n",
        stored.floor()
    );
    println!("| decode | ÷ `serde_json::from_slice` of the current version |\n|---|---:|");
    let measured = stored.measure(rounds);
    for (contender, name) in ROWS {
        println!(
            "| {name} | {} |",
            cell(measured.ratio(Measure::Elapsed, contender, Serde))
        );
    }
    Ok(())
}

/// The same orders as they are stored at version 3 and as they were at version 1.
struct Stored {
    placed: Vec<OrderPlaced>,
    current: Vec<Envelope>,
    version_1: Vec<Envelope>,
}

impl Stored {
    fn new() -> Result<Self> {
        let placed: Vec<_> = (0..PAYLOADS)
            .map(|number| OrderPlaced::sample(Uuid::now_v7(), number))
            .collect();
        let current = placed
            .iter()
            .map(|event| envelope(3, event))
            .collect::<Result<_>>()?;
        let version_1 = placed
            .iter()
            .map(|event| envelope(1, &OrderPlacedV1::of(event)))
            .collect::<Result<_>>()?;
        Ok(Self {
            placed,
            current,
            version_1,
        })
    }

    /// Every contender reads what was stored.
    fn check(&self) -> Result {
        for (number, placed) in self.placed.iter().enumerate() {
            for contender in [Serde, Current, Upcast, UpcastByStruct, UpcastByValue] {
                if self.decode(contender, number) != *placed {
                    return Err(format!("{contender:?} does not give back payload {number}").into());
                }
            }
            let any = self.current[number].decode_any()?;
            if any.downcast_ref::<OrderPlaced>() != Some(placed) {
                return Err(format!("{CurrentAny:?} does not give back payload {number}").into());
            }
        }
        Ok(())
    }

    fn measure(&self, rounds: usize) -> Rounds<Contender> {
        let mut measured = Rounds::new(&[
            Serde,
            Current,
            CurrentAny,
            Upcast,
            UpcastByStruct,
            UpcastByValue,
        ]);
        for round in 0..rounds {
            for contender in measured.turns(round) {
                measured.record(
                    contender,
                    Cost {
                        elapsed: self.burst(contender),
                        processor: None,
                        client: None,
                    },
                );
            }
        }
        measured
    }

    fn floor(&self) -> Duration {
        (0..10).map(|_| self.burst(Serde)).min().unwrap_or_default() / PAYLOADS as u32
    }

    /// The time to decode every payload.
    fn burst(&self, contender: Contender) -> Duration {
        let start = Instant::now();
        for number in 0..PAYLOADS {
            match contender {
                CurrentAny => drop(black_box(self.current[number].decode_any())),
                _ => drop(black_box(self.decode(contender, number))),
            }
        }
        start.elapsed()
    }

    #[inline(always)]
    fn decode(&self, contender: Contender, number: usize) -> OrderPlaced {
        let (current, version_1) = (
            black_box(&self.current[number]),
            black_box(&self.version_1[number]),
        );
        match contender {
            Serde => serde_json::from_slice(&current.payload).expect("it fits"),
            Current | CurrentAny => current.decode().expect("it fits"),
            Upcast => version_1.decode().expect("its history leads to version 3"),
            UpcastByStruct => OrderPlacedV1::into_current(&version_1.payload).expect("it fits"),
            UpcastByValue => upcast_value(&version_1.payload).expect("it fits"),
        }
    }
}

fn envelope(version: u32, event: &impl Serialize) -> Result<Envelope> {
    Ok(Envelope::new(
        OrderPlaced::SCHEMA,
        version,
        Utc::now(),
        serde_json::to_vec(event)?,
    ))
}

/// The shape of `order.placed` at version 1.
#[derive(Serialize, Deserialize)]
struct OrderPlacedV1 {
    order_id: Uuid,
    buyer_id: Uuid,
    total_cents: i64,
    placed_at: DateTime<Utc>,
    shipping: Address,
    lines: Vec<Line>,
}

impl OrderPlacedV1 {
    fn of(event: &OrderPlaced) -> Self {
        let OrderPlaced {
            order_id,
            customer_id,
            total_cents,
            placed_at,
            shipping,
            lines,
            currency: _,
        } = event.clone();
        Self {
            order_id,
            buyer_id: customer_id,
            total_cents,
            placed_at,
            shipping,
            lines,
        }
    }

    fn into_current(payload: &[u8]) -> serde_json::Result<OrderPlaced> {
        let Self {
            order_id,
            buyer_id,
            total_cents,
            placed_at,
            shipping,
            lines,
        } = serde_json::from_slice(payload)?;
        let currency = "EUR".to_owned();
        Ok(OrderPlaced {
            order_id,
            customer_id: buyer_id,
            currency,
            total_cents,
            placed_at,
            shipping,
            lines,
        })
    }
}

fn upcast_value(payload: &[u8]) -> serde_json::Result<OrderPlaced> {
    let mut value: Value = serde_json::from_slice(payload)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("currency".to_owned(), "EUR".into());
        if let Some(buyer) = fields.remove("buyer_id") {
            fields.insert("customer_id".to_owned(), buyer);
        }
    }
    serde_json::from_value(value)
}
