//! The two crates: the same structs, declared as events and aggregates, and with serde alone.
//!
//! An event has six fields, two of them of structs of its own crate. Every fifth event is at
//! version 2 and has a field that version 1 had not.

use std::fmt::Write;
use std::path::Path;

use super::Contender;

/// The numbers of declarations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) events: usize,
    pub(super) aggregates: usize,
}

pub(super) const WORKSPACE: &str = r#"[workspace]
resolver = "3"
members = ["events-of-bento", "structs-of-serde"]
"#;

/// `Cargo.toml` of one of the crates. Both depend on the same crates, so that these are built once.
pub(super) fn manifest(contender: Contender, bento_core: &Path) -> String {
    let (name, bento_core) = (contender.package(), bento_core.display());
    format!(
        r#"[package]
name = "{name}"
version = "0.0.0"
edition = "2024"

[dependencies]
bento-core = {{ path = "{bento_core}" }}
chrono = {{ version = "0.4.45", default-features = false, features = ["clock", "serde"] }}
serde = {{ version = "1.0.229", features = ["derive"] }}
serde_json = "1.0.154"
uuid = {{ version = "1.29", features = ["v7", "serde"] }}
"#
    )
}

/// `src/lib.rs` of one of the crates.
pub(super) fn library(contender: Contender, size: Size) -> String {
    let mut text = match contender {
        Contender::Bento => {
            "use bento_core::{PendingEvents, aggregate, domain_event};\n".to_owned()
        }
        Contender::Serde => String::new(),
    };
    text.push_str(SHARED);
    for number in 0..size.events {
        event(contender, number, &mut text).expect("a String takes everything");
    }
    for number in 0..size.aggregates {
        let events: Vec<_> = (0..size.events)
            .filter(|event| event % size.aggregates == number)
            .collect();
        aggregate(contender, number, &events, &mut text).expect("a String takes everything");
    }
    text
}

const SHARED: &str = r"use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub street: String,
    pub city: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
    pub price_cents: i64,
}
";

fn event(contender: Contender, number: usize, text: &mut String) -> std::fmt::Result {
    let has_history = number.is_multiple_of(5);
    let version = if has_history { 2 } else { 1 };
    match contender {
        Contender::Bento => writeln!(
            text,
            "\n#[domain_event(schema = \"thing.happened_{number}\", version = \
             {version})]\n#[derive(Clone, Debug, PartialEq)]"
        )?,
        Contender::Serde => writeln!(
            text,
            "\n#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]"
        )?,
    }
    writeln!(
        text,
        "pub struct Event{number} {{\n    pub thing_id: Uuid,\n    pub total_cents: i64,"
    )?;
    writeln!(
        text,
        "    pub placed_at: DateTime<Utc>,\n    pub shipping: Address,\n    pub lines: Vec<Line>,"
    )?;
    if has_history && contender == Contender::Bento {
        writeln!(text, "    #[event(since = 2, default = \"EUR\")]")?;
    }
    writeln!(text, "    pub currency: String,\n}}")?;
    if contender == Contender::Serde {
        writeln!(text, "\nimpl Event{number} {{")?;
        writeln!(
            text,
            "    pub fn write(&self, payload: &mut Vec<u8>) -> serde_json::Result<()> {{"
        )?;
        writeln!(
            text,
            "        serde_json::to_writer(payload, self)\n    }}\n"
        )?;
        writeln!(
            text,
            "    pub fn read(payload: &[u8]) -> serde_json::Result<Self> {{"
        )?;
        writeln!(text, "        serde_json::from_slice(payload)\n    }}\n}}")?;
    }
    Ok(())
}

/// An aggregate with a method for each of its events; by hand it keeps them in an enum.
fn aggregate(
    contender: Contender,
    number: usize,
    events: &[usize],
    text: &mut String,
) -> std::fmt::Result {
    let names: Vec<_> = events.iter().map(|event| format!("Event{event}")).collect();
    match contender {
        Contender::Bento => writeln!(
            text,
            "\n#[aggregate(events({}))]\n#[derive(Debug)]\npub struct Thing{number} {{\n    pub \
             id: Uuid,\n    pub events: PendingEvents,\n}}",
            names.join(", ")
        )?,
        Contender::Serde => {
            writeln!(
                text,
                "\n#[derive(Clone, Debug, PartialEq)]\npub enum Thing{number}Event {{"
            )?;
            for name in &names {
                writeln!(text, "    {name}({name}),")?;
            }
            writeln!(
                text,
                "}}\n\n#[derive(Debug)]\npub struct Thing{number} {{\n    pub id: Uuid,\n    \
                 pub events: Vec<Thing{number}Event>,\n}}"
            )?;
        }
    }
    writeln!(text, "\nimpl Thing{number} {{")?;
    for name in &names {
        let raised = match contender {
            Contender::Bento => "self.raise(event)".to_owned(),
            Contender::Serde => format!("self.events.push(Thing{number}Event::{name}(event))"),
        };
        writeln!(
            text,
            "    pub fn {}(&mut self, event: {name}) {{\n        {raised};\n    }}",
            name.to_lowercase()
        )?;
    }
    writeln!(text, "}}")
}
