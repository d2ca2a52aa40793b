//! The names of the metrics of handlers: they are part of the public interface.

use std::time::Instant;

use crate::error::Class;

/// Log target of handlers: skipped events, records that are removed.
pub const TARGET_HANDLE: &str = "bento::handle";

/// Counter: events that a handler is done with, by `handler` and `outcome`: `handled`, `skipped`,
/// `repeated` (it was handled before).
pub const HANDLED_EVENTS: &str = "bento_handled_events_total";
/// Counter: calls that failed, by `handler` and `class`: `transient`, `permanent`, `unavailable`,
/// `not_tried`.
pub const FAILED_CALLS: &str = "bento_failed_handler_calls_total";
/// Histogram: seconds of a call with its transaction, by `handler`.
pub const CALL_SECONDS: &str = "bento_handler_seconds";
/// Gauge: calls that run in this process, by `handler`.
pub const RUNNING_CALLS: &str = "bento_running_handler_calls";

const HANDLER: &str = "handler";

/// The measures of one call, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    handler: &'static str,
    began: Instant,
}

impl Running {
    pub(crate) fn begin(handler: &'static str) -> Self {
        metrics::gauge!(RUNNING_CALLS, HANDLER => handler).increment(1.0);
        let began = Instant::now();
        Self { handler, began }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::gauge!(RUNNING_CALLS, HANDLER => self.handler).decrement(1.0);
        let seconds = self.began.elapsed().as_secs_f64();
        metrics::histogram!(CALL_SECONDS, HANDLER => self.handler).record(seconds);
    }
}

/// Counts events that a handler is done with.
pub(crate) fn count(handler: &'static str, outcome: &'static str, events: usize) {
    if events > 0 {
        let counter = metrics::counter!(HANDLED_EVENTS, HANDLER => handler, "outcome" => outcome);
        counter.increment(events as u64);
    }
}

/// Counts a call that failed.
pub(crate) fn count_failure(handler: &'static str, class: Class) {
    let class = class.as_str();
    metrics::counter!(FAILED_CALLS, HANDLER => handler, "class" => class).increment(1);
}
