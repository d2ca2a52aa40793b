//! The empty trace context of a build without the feature `opentelemetry`.

use std::collections::BTreeMap;

use tracing::Span;

/// A type without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceContext {}

impl TraceContext {
    pub fn of(_: &Span) -> Option<Self> {
        None
    }

    pub fn read(_: &BTreeMap<String, String>) -> Option<Self> {
        None
    }

    pub fn write(&self, _: &mut BTreeMap<String, String>) {
        match *self {}
    }

    pub fn be_parent_of(&self, _: &Span) {
        match *self {}
    }
}
