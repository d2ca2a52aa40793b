//! The publishers without a broker behave as publishers do, as far as that goes.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bento_relay::publish::{ConsolePublisher, MemoryPublisher};
use bento_testkit::publisher::{Mode, PublisherHarness, Received, Traits};
use serde_json::Value;
use serde_json::value::RawValue;

bento_testkit::publisher_conformance!(memory, Memory::harness(MemoryPublisher::new()));
bento_testkit::publisher_conformance!(
    chaining_memory,
    Memory::harness(MemoryPublisher::chaining())
);
bento_testkit::publisher_conformance!(console, Console::harness());

struct Memory(MemoryPublisher);

impl Memory {
    async fn harness(publisher: MemoryPublisher) -> Option<Self> {
        Some(Self(publisher))
    }
}

impl PublisherHarness for Memory {
    type Publisher = MemoryPublisher;

    fn traits(&self) -> Traits {
        Traits {
            wire: None,
            ..Traits::default()
        }
    }

    async fn publisher(&self, _: Mode) -> MemoryPublisher {
        self.0.clone()
    }

    fn topic(&self) -> &str {
        "events"
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        self.0.wait_for(at_least).await;
        self.0.published().iter().map(Received::unchanged).collect()
    }
}

/// The text that was written to the console.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    async fn harness() -> Option<Self> {
        Some(Self::default())
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PublisherHarness for Console {
    type Publisher = ConsolePublisher<Self>;

    fn traits(&self) -> Traits {
        Traits {
            wire: None,
            has_keys: true,
            ..Traits::default()
        }
    }

    async fn publisher(&self, _: Mode) -> ConsolePublisher<Self> {
        ConsolePublisher::json().to_writer(self.clone())
    }

    fn topic(&self) -> &str {
        "events"
    }

    async fn received(&self, at_least: usize) -> Vec<Received> {
        let lines = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let received: Vec<_> = lines.lines().map(read).collect();
        assert!(
            received.len() >= at_least,
            "{} of {at_least} events were written",
            received.len()
        );
        received
    }
}

fn read(line: &str) -> Received {
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    let value: Value = serde_json::from_str(line).unwrap();
    let raw = serde_json::from_str::<Payload<'_>>(line)
        .unwrap()
        .payload
        .get();
    // Bytes that are neither JSON nor text are written as numbers.
    let body = serde_json::from_str::<Vec<u8>>(raw).unwrap_or_else(|_| raw.as_bytes().to_vec());
    let headers = value["headers"].as_object().unwrap().iter();
    Received {
        topic: value["topic"].as_str().unwrap().to_owned(),
        key: value["partition_key"].as_str().map(str::to_owned),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        body: body.into(),
    }
}
