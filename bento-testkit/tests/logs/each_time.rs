//! Logs of one thread in a test program with several.
//!
//! `tracing` remembers of each place in the code whether any subscriber wants it. The answer is
//! "never" if the first thread to come there has no subscriber, also for a thread that sets one at
//! the same moment.

use std::sync::Once;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, Subscriber, set_global_default};
use tracing::{Event, Metadata};

/// Makes every thread ask its own subscriber each time, whoever comes to a place first.
///
/// It has to come before anything that logs: in the test that captures the log, and in each other
/// test of the program.
pub(crate) fn ask_each_time() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| set_global_default(AskEachTime).expect("no other global subscriber"));
}

/// The subscriber of threads without one. It wants nothing, and says so only when it is asked.
struct AskEachTime;

impl Subscriber for AskEachTime {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
