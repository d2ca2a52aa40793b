//! The spans of loads and appends.

use bento_core::report::with_causes;
use bento_core::telemetry::{SPAN_APPEND, SPAN_LOAD, TARGET_EVENTS};
use tracing::Span;
use tracing::field::Empty;

use crate::error::Error;
use crate::stream::{Head, StreamId};

/// The span of a load, before its first query.
pub(super) fn of_load(stream: &StreamId) -> Span {
    tracing::info_span!(
        target: TARGET_EVENTS,
        SPAN_LOAD,
        aggregate_type = stream.aggregate_type,
        aggregate_id = &*stream.aggregate_id,
        events = Empty,
        sequence = Empty,
        snapshot = Empty,
        error = Empty,
        otel.status_code = Empty,
    )
}

/// Records the number of the last event that was applied, and of the one whose snapshot the load
/// began at; 0 without one.
pub(super) fn loaded(span: &Span, snapshot: i64, sequence: i64) {
    span.record("events", sequence - snapshot);
    span.record("sequence", sequence);
    if snapshot > 0 {
        span.record("snapshot", snapshot);
    }
}

/// The span of an append, before its first statement.
pub(super) fn of_append(head: &Head) -> Span {
    tracing::info_span!(
        target: TARGET_EVENTS,
        SPAN_APPEND,
        aggregate_type = head.stream.aggregate_type,
        aggregate_id = &*head.stream.aggregate_id,
        events = head.after - head.before,
        sequence = head.after,
        outcome = Empty,
        error = Empty,
        otel.status_code = Empty,
    )
}

/// Records what became of an append. A conflict is no error of the span: the next attempt has a
/// span of its own.
pub(super) fn appended(span: &Span, answer: Result<(), &Error>) {
    if span.is_disabled() {
        return;
    }
    match answer {
        Ok(()) => {
            span.record("outcome", "appended");
        }
        Err(error @ Error::Conflict { .. }) => {
            span.record("outcome", "conflict");
            span.record("error", with_causes(error));
        }
        Err(error) => {
            span.record("outcome", "failed");
            failed(span, error);
        }
    }
}

/// Records an error.
pub(super) fn failed(span: &Span, error: &Error) {
    if !span.is_disabled() {
        span.record("error", with_causes(error));
        span.record("otel.status_code", "ERROR");
    }
}
