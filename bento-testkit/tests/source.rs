//! The source in memory behaves as sources do.

use bento_relay::source::MemorySource;
use bento_testkit::source::{Sent, SourceBench, Traits};

bento_testkit::source_conformance!(memory, Memory::bench());

struct Memory(MemorySource);

impl Memory {
    async fn bench() -> Option<Self> {
        Some(Self(MemorySource::default()))
    }
}

impl SourceBench for Memory {
    type Source = MemorySource;

    fn traits(&self) -> Traits {
        Traits {
            has_places: true,
            rewinds: true,
            ..Traits::default()
        }
    }

    fn source(&self) -> MemorySource {
        self.0.clone()
    }

    async fn send(&self, messages: &[Sent]) {
        for sent in messages {
            self.0.send_message(sent.unchanged());
        }
    }

    async fn sever(&self) -> bool {
        self.0.restart();
        true
    }

    async fn make_anew(&self) -> bool {
        self.0.make_anew();
        true
    }

    fn missing(&self) -> Option<MemorySource> {
        let source = MemorySource::default();
        source.fail(true);
        Some(source)
    }
}
