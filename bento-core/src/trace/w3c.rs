//! The trace context that OpenTelemetry keeps of a `tracing` span.

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{TRACEPARENT, parent_in, value_of};

const TRACESTATE: &str = "tracestate";

/// A trace and a span of it. Cheap to clone; it becomes text only when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// The trace of `span`; `None` unless OpenTelemetry records the span.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context();
        let own = context.span().span_context().clone();
        own.is_valid().then_some(Self(own))
    }

    /// The trace of the span which wrote these headers; `None` if they have none, or not in the
    /// form of the standard.
    pub fn read(headers: &BTreeMap<String, String>) -> Option<Self> {
        let mut parts = parent_in(headers)?.trim().split('-');
        let mut hex = |digits| parts.next().filter(|part| is_hex(part, digits));
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        // What a later version adds comes behind; version ff is forbidden.
        if version == "ff" || version == "00" && parts.next().is_some() {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        // A state that cannot be read is left out, the trace goes on without it.
        let state = value_of(headers, TRACESTATE)
            .and_then(|state| state.parse().ok())
            .unwrap_or_default();
        let (trace_id, span_id) = (
            TraceId::from_hex(trace_id).ok()?,
            SpanId::from_hex(span_id).ok()?,
        );
        let read = SpanContext::new(trace_id, span_id, flags, true, state);
        read.is_valid().then_some(Self(read))
    }

    /// Writes the trace into the headers, in place of the one that they have.
    pub fn write(&self, headers: &mut BTreeMap<String, String>) {
        headers.retain(|name, _| {
            ![TRACEPARENT, TRACESTATE]
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own))
        });
        let flags = self.0.trace_flags() & TraceFlags::SAMPLED;
        let parent = format!("00-{}-{}-{flags:02x}", self.0.trace_id(), self.0.span_id());
        headers.insert(TRACEPARENT.to_owned(), parent);
        // A state that no broker carries is left out, the trace goes on without it.
        let state = self.0.trace_state().header();
        if !state.is_empty() && !state.contains(char::is_control) {
            headers.insert(TRACESTATE.to_owned(), state);
        }
    }

    /// Makes `span` a child of this one, in its trace. Nothing happens if OpenTelemetry does not
    /// record `span`.
    pub fn be_parent_of(&self, span: &Span) {
        // It fails only if OpenTelemetry is absent: the span is new, so it has not been started.
        let _ = span.set_parent(Context::new().with_remote_span_context(self.0.clone()));
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers<const N: usize>(own: [(&str, &str); N]) -> BTreeMap<String, String> {
        own.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let given = headers([
            ("a", "b"),
            ("traceparent", PARENT),
            ("tracestate", "x=1,y=2"),
        ]);
        let context = TraceContext::read(&given).unwrap();
        let mut written = headers([("TraceParent", "old"), ("Tracestate", "old"), ("a", "b")]);
        context.write(&mut written);
        assert_eq!(written, given);
    }

    #[test]
    fn a_state_that_cannot_be_read_does_not_end_the_trace() {
        let context =
            TraceContext::read(&headers([("Traceparent", PARENT), ("tracestate", "?")])).unwrap();
        let mut written = headers([]);
        context.write(&mut written);
        assert_eq!(written, headers([("traceparent", PARENT)]));
    }

    #[test]
    fn a_state_with_a_control_character_is_not_written() {
        let given = headers([("traceparent", PARENT), ("tracestate", "x=a\tb,y=2")]);
        let mut written = headers([]);
        TraceContext::read(&given).unwrap().write(&mut written);
        assert_eq!(written, headers([("traceparent", PARENT)]));
    }

    #[test]
    fn a_later_version_may_say_more_and_this_one_may_not() {
        let read = |text: String| TraceContext::read(&headers([("traceparent", &text)])).is_some();
        assert!(read(format!("cc{}-more", &PARENT[2..])));
        assert!(!read(format!("{PARENT}-more")));
        assert!(!read(format!("ff{}", &PARENT[2..])));
    }

    #[test]
    fn what_is_not_in_the_form_of_the_standard_is_no_context() {
        let odd = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ];
        for text in odd {
            assert_eq!(
                TraceContext::read(&headers([("traceparent", text)])),
                None,
                "{text}"
            );
        }
    }
}
