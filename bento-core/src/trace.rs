//! The trace context of a span, in the headers of W3C Trace Context.
//!
//! Without the feature `opentelemetry` the type has no value, and headers that the application sets
//! itself stay as they are.

use std::collections::BTreeMap;

use tracing::Span;

#[cfg(not(feature = "opentelemetry"))]
mod absent;
#[cfg(feature = "opentelemetry")]
mod w3c;

#[cfg(not(feature = "opentelemetry"))]
pub use self::absent::TraceContext;
#[cfg(feature = "opentelemetry")]
pub use self::w3c::TraceContext;

const TRACEPARENT: &str = "traceparent";

impl TraceContext {
    /// The trace of the caller's span, for an event with these headers: `None` if the caller has
    /// set one.
    pub fn of_caller(headers: &BTreeMap<String, String>) -> Option<Self> {
        if parent_in(headers).is_some() {
            None
        } else {
            Self::of(&Span::current())
        }
    }
}

/// The value of the header `traceparent`, in whatever case its name is written.
pub fn parent_in(headers: &BTreeMap<String, String>) -> Option<&str> {
    value_of(headers, TRACEPARENT)
}

fn value_of<'a>(headers: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
