//! A span for each event on its way to the broker, in the trace of the span that raised it.
//!
//! Decision: docs/decisions/0023-a-message-carries-the-span-that-sent-it.md

use std::borrow::Cow;
use std::sync::Arc;

use crate::telemetry::{SPAN_PUBLISH, TARGET_RELAY};
use bento_core::envelope::Envelope;
use bento_core::metadata::Headers;
use bento_core::trace::{self, TraceContext};
use tracing::field::Empty;
use tracing::{Level, Span};

use super::reply::Reply;
use crate::machine::TOO_FEW_ANSWERS;
use crate::publish::{Delivery, FailureClass};

/// The spans of a wave, and the deliveries for the publisher. Without a subscriber no spans are
/// made, and the deliveries are unchanged.
///
/// The events of a wave come from different traces, so the call of the publisher runs outside of
/// their spans, unless each event has a call of its own.
#[derive(Debug)]
pub(super) struct Spans<'a> {
    spans: Vec<Span>,
    deliveries: Cow<'a, [Delivery]>,
}

impl<'a> Spans<'a> {
    /// Opens a span for each delivery. If a span has a trace context, the broker gets that context.
    pub(super) fn open(deliveries: &'a [Delivery]) -> Self {
        let mut opened = Self {
            spans: Vec::new(),
            deliveries: Cow::Borrowed(deliveries),
        };
        if !tracing::span_enabled!(target: TARGET_RELAY, Level::INFO) {
            return opened;
        }
        for (index, delivery) in deliveries.iter().enumerate() {
            // The publisher refuses headers that cannot be read.
            let headers = delivery.envelope.headers().ok();
            let span = span(delivery, headers.as_ref());
            if let Some(headers) = headers
                && let Some(own) = TraceContext::of(&span)
            {
                // The machine keeps the stored headers, so another attempt is another child of the
                // span that raised the event.
                opened.deliveries.to_mut()[index].envelope =
                    handed_on(&delivery.envelope, headers, &own);
            }
            opened.spans.push(span);
        }
        opened
    }

    /// The deliveries for the publisher.
    pub(super) fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The span of the only event; a span that is disabled if there are several, or none is made.
    pub(super) fn of_one(&self) -> Span {
        match &self.spans[..] {
            [span] => span.clone(),
            _ => Span::none(),
        }
    }

    /// Records the outcome of each delivery, and ends the spans.
    pub(super) fn close(self, reply: &Reply) {
        for (index, span) in self.spans.iter().enumerate() {
            match reply {
                Reply::Answers(answers) => match answers.get(index) {
                    Some(Ok(())) => {
                        span.record("outcome", "published");
                    }
                    Some(Err(error)) => failed(span, error.class(), &error.chain()),
                    None => failed(span, FailureClass::Unavailable, TOO_FEW_ANSWERS),
                },
                Reply::Broken { error, .. } => failed(span, error.class(), &error.chain()),
            }
        }
    }
}

/// A span with the names of OpenTelemetry's messaging conventions, independent of the span around
/// the relay.
fn span(delivery: &Delivery, headers: Option<&Headers>) -> Span {
    let (envelope, destination) = (&*delivery.envelope, &delivery.destination);
    let span = tracing::info_span!(
        target: TARGET_RELAY,
        parent: None,
        SPAN_PUBLISH,
        otel.kind = "producer",
        messaging.system = destination.publisher(),
        messaging.operation.type = "send",
        messaging.destination.name = &*delivery.topic(),
        messaging.message.id = %envelope.event_id,
        event_type = &*envelope.event_type,
        tenant_id = envelope.tenant_id.as_deref(),
        destination = &*destination.name,
        attempts = delivery.attempts,
        traceparent = headers.and_then(|headers| trace::parent_in(&headers.extra)),
        outcome = Empty,
        error.type = Empty,
        error = Empty,
        otel.status_code = Empty,
    );
    if let Some(raised_in) = headers.and_then(|headers| TraceContext::read(&headers.extra)) {
        raised_in.be_parent_of(&span);
    }
    span
}

fn failed(span: &Span, class: FailureClass, error: &str) {
    span.record("outcome", "failed");
    span.record("error.type", class.as_str());
    span.record("error", error);
    span.record("otel.status_code", "ERROR");
}

/// The event for the next hop: raised in the context `own`.
fn handed_on(envelope: &Envelope, mut headers: Headers, own: &TraceContext) -> Arc<Envelope> {
    own.write(&mut headers.extra);
    let mut handed_on = envelope.clone();
    handed_on.headers = headers.encoded();
    Arc::new(handed_on)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Destination;

    #[test]
    fn without_a_subscriber_no_span_is_made() {
        let envelope = Envelope::new("order.created", 1, chrono::DateTime::UNIX_EPOCH, "{}");
        let wave = [Delivery::new(Arc::new(envelope), Destination::default())];
        let opened = Spans::open(&wave);
        assert_eq!(opened.spans.capacity(), 0);
        assert!(
            std::ptr::eq(opened.deliveries(), &wave[..]),
            "the publisher sees another batch"
        );
        assert!(matches!(opened.deliveries, Cow::Borrowed(_)));
    }
}
