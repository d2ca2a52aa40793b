//! The names of the metrics of handlers: they are part of the public interface.

use std::time::Instant;

use bento_relay::inspect::Backlog;
use bento_seaorm::ProjectionKey;

use crate::error::Class;

/// Log target of handlers: skipped events, records that are removed.
pub const TARGET_HANDLE: &str = "bento::handle";

/// Counter: events that a handler is done with, by `handler` and `outcome`: `handled`, `skipped`,
/// `repeated` (it was handled before), `filtered` (its settings leave the event out).
pub const HANDLED_EVENTS: &str = "bento_handled_events_total";
/// Counter: calls that failed, by `handler` and `class`: `transient`, `permanent`, `unavailable`,
/// `not_tried`.
pub const FAILED_CALLS: &str = "bento_failed_handler_calls_total";
/// Histogram: seconds of a call with its transaction, by `handler`.
pub const CALL_SECONDS: &str = "bento_handler_seconds";
/// Gauge: calls that run in this process, by `handler`.
pub const RUNNING_CALLS: &str = "bento_running_handler_calls";

/// Log target of projections: builds that end, versions that stop or are retired.
pub const TARGET_PROJECT: &str = "bento::project";

/// Counter: events of a projection, by `projection` (`balances@2`) and `outcome`: `projected`,
/// `repeated` (seen before), `skipped` (left out by an operator), `stored` (the build that goes on
/// reads it).
pub const PROJECTED_EVENTS: &str = "bento_projected_events_total";
/// Counter: batches and pages of a projection that failed, by `projection` and `class`:
/// `transient`, `permanent`.
pub const FAILED_PROJECTIONS: &str = "bento_failed_projections_total";
/// Gauge: 1 while a projection has stopped, by `projection`.
pub const PROJECTION_STOPPED: &str = "bento_projection_stopped";
/// Counter: stored events that builds have read, by `projection`.
pub const BUILT_EVENTS: &str = "bento_projection_built_events_total";
/// Gauge: stored events that a build has still to read, by `projection`.
pub const BUILD_LEFT: &str = "bento_projection_build_left";

/// Log target of consumers: subscriptions that begin and end, messages that are refused.
pub const TARGET_CONSUME: &str = "bento::consume";

/// Counter: messages that a source has received, by `source` and `outcome`: `stored`, `repeated`
/// (stored before), `ignored` (taken by no handler), `own` (an event of this service), `refused`
/// (a dead letter).
pub const RECEIVED_MESSAGES: &str = "bento_received_messages_total";
/// Gauge: messages that the broker still has for a source, by `source`, in the process that reads
/// it and where the broker tells; else 0.
pub const SOURCE_LAG: &str = "bento_source_lag";
/// Gauge: 1 while this process reads the source, by `source`.
pub const SOURCE_SUBSCRIBED: &str = "bento_source_subscribed";
/// Gauge: events in the inbox that wait for handlers, held ones too.
pub const INBOX_BACKLOG: &str = "bento_inbox_backlog";
/// Gauge: seconds since the oldest event in the inbox occurred; 0 without one.
pub const INBOX_OLDEST_SECONDS: &str = "bento_inbox_oldest_seconds";
/// Gauge: dead letters in the inbox.
pub const INBOX_DEAD_LETTERS: &str = "bento_inbox_dead_letters";
/// Span: a batch of messages that is stored, with `source` and the number of `messages`.
pub const SPAN_INGEST: &str = "bento.ingest";

/// Counts messages of a source.
pub(crate) fn count_received(source: &str, outcome: &'static str, messages: usize) {
    if messages > 0 {
        let labels = [
            ("source", source.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        metrics::counter!(RECEIVED_MESSAGES, &labels).increment(messages as u64);
    }
}

/// Sets the lag of a source; 0 where it is not known.
pub(crate) fn set_lag(source: &str, lag: Option<u64>) {
    metrics::gauge!(SOURCE_LAG, "source" => source.to_owned()).set(lag.unwrap_or(0) as f64);
}

/// Sets whether this process reads a source.
pub(crate) fn set_subscribed(source: &str, is_subscribed: bool) {
    let value = if is_subscribed { 1.0 } else { 0.0 };
    metrics::gauge!(SOURCE_SUBSCRIBED, "source" => source.to_owned()).set(value);
}

/// Sets the measures of the inbox.
pub(crate) fn set_inbox(backlog: &[Backlog]) {
    let waiting: u64 = backlog.iter().map(|part| part.counts.backlog()).sum();
    let dead: u64 = backlog.iter().map(|part| part.counts.dead).sum();
    let oldest = backlog.iter().filter_map(|part| part.oldest).max();
    metrics::gauge!(INBOX_BACKLOG).set(waiting as f64);
    metrics::gauge!(INBOX_DEAD_LETTERS).set(dead as f64);
    metrics::gauge!(INBOX_OLDEST_SECONDS).set(oldest.unwrap_or_default().as_secs_f64());
}

/// The outcome of an event that the settings of the handler leave out.
pub(crate) const FILTERED: &str = "filtered";

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

/// Counts events of a projection.
pub(crate) fn count_projected(key: &ProjectionKey, outcome: &'static str, events: usize) {
    if events > 0 {
        let labels = [("projection", key.route()), ("outcome", outcome.to_owned())];
        metrics::counter!(PROJECTED_EVENTS, &labels).increment(events as u64);
    }
}

/// Counts a batch or a page of a projection that failed.
pub(crate) fn count_failed_projection(key: &ProjectionKey, class: Class) {
    let class = class.as_str();
    let counter =
        metrics::counter!(FAILED_PROJECTIONS, PROJECTION => key.route(), "class" => class);
    counter.increment(1);
}

/// Sets whether a projection has stopped.
pub(crate) fn set_stopped(key: &ProjectionKey, has_stopped: bool) {
    let value = if has_stopped { 1.0 } else { 0.0 };
    metrics::gauge!(PROJECTION_STOPPED, PROJECTION => key.route()).set(value);
}

/// Counts stored events that a build has read.
pub(crate) fn count_built(key: &ProjectionKey, events: u64) {
    metrics::counter!(BUILT_EVENTS, PROJECTION => key.route()).increment(events);
}

/// Sets the stored events that a build has still to read.
pub(crate) fn set_build_left(key: &ProjectionKey, events: u64) {
    metrics::gauge!(BUILD_LEFT, PROJECTION => key.route()).set(events as f64);
}

const PROJECTION: &str = "projection";
